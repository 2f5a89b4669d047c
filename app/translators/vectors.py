"""Vectors: read from a reply, cut to fewer dimensions, written as base64.

A vector stays the list that the JSON parser made, all the way, unless it has to change.
"""

import math
from binascii import b2a_base64
from collections.abc import Sequence
from struct import pack
from typing import Any

from app.calls import Failure, FailureKind

Vector = list[float]

NUMBERS = frozenset({float, int})


def read_vectors(body: Any, count: int) -> list[Vector]:
    """The vectors of `{"data": [[...]]}` or of OpenAI's `{"data": [{"embedding", "index"}]}`, in order of the texts.

    Raises Failure unless there are `count` of them, made of numbers.
    """
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or len(data) != count:
        raise broken(f"did not send one vector for each of {count} texts")
    if all(isinstance(row, dict) for row in data):
        data = [row.get("embedding") for row in in_order(data, "index")]
    if not all(isinstance(vector, list) and vector and NUMBERS.issuperset(map(type, vector)) for vector in data):
        raise broken("sent a vector that is no list of numbers")
    return data


def in_order(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Rows by the place that each says it has. Raises Failure if some place is missing or taken twice."""
    places = {row.get(key): row for row in rows if type(row.get(key)) is int}
    if places.keys() != set(range(len(rows))):
        raise broken(f"sent results whose '{key}' does not tell which is which")
    return [places[i] for i in range(len(rows))]


def shorten(vector: Sequence[float], dimensions: int) -> Vector:
    """The first dimensions, as a vector of length 1 again. Only for models trained to be cut (Matryoshka)."""
    cut = vector[:dimensions]
    largest = max(map(abs, cut), default=0.0) or 1.0  # nothing but zeros has no direction
    scaled = [number / largest for number in cut]  # the squares of tiny numbers would lose their digits
    norm = math.hypot(*scaled) or 1.0
    return [number / norm for number in scaled]


def to_base64(vector: Sequence[float]) -> str:
    """As OpenAI's clients read it: 32-bit floats, least byte first. Raises Failure for a number beyond them."""
    try:
        return b2a_base64(pack(f"<{len(vector)}f", *vector), newline=False).decode("ascii")
    except OverflowError as failure:
        raise broken("sent a number that is no 32-bit float") from failure


def broken(what: str) -> Failure:
    """The Failure for a reply that can't be understood. `what`: the rest of "Cloudflare …"."""
    return Failure(FailureKind.BROKEN, f"Cloudflare {what}.", status=502)
