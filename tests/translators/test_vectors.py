"""Vectors from replies, cut, and as base64."""

import base64
import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.translators.vectors import in_order, read_vectors, shorten, to_base64

FLOATS = st.floats(-1e30, 1e30)
VECTORS = st.lists(FLOATS, min_size=1, max_size=50)


def decoded(text: str) -> list[float]:
    """As the Python client decodes it on a machine with the least byte first."""
    return array("f", base64.b64decode(text)).tolist()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": [[0.5, -1], [2, 0.25]], "shape": [2, 2]}, [[0.5, -1], [2, 0.25]]),
        ({"data": [[0.5], [1.5]], "shape": [2, 1], "pooling": "cls", "usage": None}, [[0.5], [1.5]]),
        ({"data": [{"embedding": [1.5], "index": 1}, {"embedding": [0.5], "index": 0}]}, [[0.5], [1.5]]),
    ],
)
def test_vectors_are_read_in_order_of_the_texts(body: Any, expected: list[list[float]]) -> None:
    assert read_vectors(body, 2) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "Cloudflare did not send one vector for each of 2 texts."),
        ([[0.5], [1.5]], "Cloudflare did not send one vector for each of 2 texts."),
        ({}, "Cloudflare did not send one vector for each of 2 texts."),
        ({"data": None}, "Cloudflare did not send one vector for each of 2 texts."),
        ({"data": [[0.5]]}, "Cloudflare did not send one vector for each of 2 texts."),
        ({"data": [[0.5], [1.5], [2.5]]}, "Cloudflare did not send one vector for each of 2 texts."),
        ({"data": [[0.5], ["1.5"]]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], [None]]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], [True]]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], [[1.5]]]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], []]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], "AAAA"]}, "Cloudflare sent a vector that is no list of numbers."),
        ({"data": [[0.5], {"embedding": [1.5], "index": 1}]}, "Cloudflare sent a vector that is no list of numbers."),
        (
            {"data": [{"embedding": [0.5], "index": 0}, {"index": 1}]},
            "Cloudflare sent a vector that is no list of numbers.",
        ),
        (
            {"data": [{"embedding": [0.5], "index": 0}, {"embedding": [1.5], "index": 0}]},
            "Cloudflare sent results whose 'index' does not tell which is which.",
        ),
        (
            {"data": [{"embedding": [0.5], "index": "0"}, {"embedding": [1.5]}]},
            "Cloudflare sent results whose 'index' does not tell which is which.",
        ),
    ],
)
def test_a_reply_that_is_not_vectors_is_broken(body: Any, message: str) -> None:
    with pytest.raises(Failure) as failure:
        read_vectors(body, 2)
    assert (failure.value.kind, failure.value.message, failure.value.status) == (FailureKind.BROKEN, message, 502)


@given(st.permutations(range(8)))
def test_rows_come_back_in_order_however_they_came(order: list[int]) -> None:
    assert in_order([{"id": i} for i in order], "id") == [{"id": i} for i in range(8)]


@given(VECTORS)
def test_base64_holds_the_32_bit_floats_of_the_vector(vector: list[float]) -> None:
    assert decoded(to_base64(vector)) == array("f", vector).tolist()


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([1.0], b"\x00\x00\x80\x3f"),
        ([-2, 0.5], b"\x00\x00\x00\xc0\x00\x00\x00\x3f"),
        ([0.1], b"\xcd\xcc\xcc\x3d"),
    ],
)
def test_base64_has_the_least_byte_first_on_every_machine(vector: list[float], expected: bytes) -> None:
    assert base64.b64decode(to_base64(vector)) == expected


def test_a_number_beyond_32_bit_floats_is_broken() -> None:
    with pytest.raises(Failure, match="no 32-bit float") as failure:
        to_base64([0.5, 1e39])
    assert failure.value.kind is FailureKind.BROKEN


@given(VECTORS, st.integers(1, 50))
def test_a_shortened_vector_has_length_1_and_the_direction_of_its_beginning(
    vector: list[float], dimensions: int
) -> None:
    short = shorten(vector, dimensions)
    beginning = vector[:dimensions]
    norm = math.hypot(*beginning)
    assert len(short) == len(beginning)
    if any(beginning):
        assert math.hypot(*short) == pytest.approx(1)
        assert [number * norm for number in short] == pytest.approx(beginning)
    else:
        assert short == beginning


def test_shortening_leaves_the_whole_vector_as_it_was() -> None:
    vector = [3.0, 4.0, 12.0]
    assert (shorten(vector, 2), vector) == ([0.6, 0.8], [3.0, 4.0, 12.0])
