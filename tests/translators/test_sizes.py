"""Sizes that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.pictures import Range
from app.translators.sizes import Size, fitted, png_size, shaped_like

FLUX = Range(256, 1920)
SIDES = st.integers(1, 10**6 - 1)
MODELS = st.sampled_from([(FLUX, 16), (Range(256, 2048), 8), (Range(32, 2500), 8)])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), (1024, 1024)),
        ((1792, 1024), (1792, 1024)),
        ((1000, 500), (992, 496)),
        ((3840, 2160), (1920, 1088)),
        ((100, 200), (256, 512)),
        ((1, 999999), (256, 1920)),
        ((999999, 1), (1920, 256)),
    ],
)
def test_a_size_is_fitted(size: Size, expected: Size) -> None:
    assert fitted(size, FLUX, 16) == expected


@given(SIDES, SIDES, MODELS)
def test_a_fitted_size_is_within_the_limits_and_keeps_its_ratio(
    width: int, height: int, model: tuple[Range, int]
) -> None:
    sides, multiple = model
    size = fitted((width, height), sides, multiple)
    assert all(sides.least <= side <= sides.most and side % multiple == 0 for side in size)
    assert fitted(size, sides, multiple) == size
    if max(width, height) * sides.least <= min(width, height) * sides.most:
        least = max((size[0] - multiple) / width, (size[1] - multiple) / height)
        most = min((size[0] + multiple) / width, (size[1] + multiple) / height)
        assert least <= most  # one scale explains both sides, give or take a step of rounding


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (1024, 512)), ((3, 6), (512, 1024)), ((1, 9999), (1, 1024))]
)
def test_a_shape_is_scaled_to_its_longer_side(size: Size, expected: Size) -> None:
    assert shaped_like(size, 1024) == expected


def test_a_png_tells_its_size() -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big")
    assert png_size(head + b"\x08\x06\0\0\0") == (640, 480)
