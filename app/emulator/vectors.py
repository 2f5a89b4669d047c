"""Vectors and scores that follow the words of texts: hashed n-grams of words and letters, the same in every process."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise

from app.emulator.tokens import IDEOGRAPHS

WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\W{IDEOGRAPHS}]+")
PLACES = 4
"""Of a vector that one n-gram changes."""
LONG_WORD = 6
"""Letters from which on a word counts in full; shorter ones say less about a text."""

Vector = list[float]


def features(text: str) -> dict[str, float]:
    """The n-grams of a text with their weights: words, pairs of words, and threes of letters in a word."""
    words = WORD.findall(text.casefold()) or [text]
    found: defaultdict[str, float] = defaultdict(float)
    for word, times in Counter(words).items():
        weight = math.sqrt(times) * _weight(word)
        found[f"word {word}"] += weight
        for part in _parts(word):
            found[f"part {part}"] += weight / 3
    for pair in pairwise(words):
        found[f"pair {' '.join(pair)}"] += min(map(_weight, pair)) / 2
    return found


def vector(text: str, dimensions: int, space: str) -> Vector:
    """Of length 1. Vectors of two spaces have nothing in common."""
    values = [0.0] * dimensions
    for feature, weight in features(text).items():
        for place, sign in _places(space, feature):
            values[place % dimensions] += sign * weight
    return normalised(values)


def normalised(values: Vector) -> Vector:
    length = math.hypot(*values) or 1.0
    return [value / length for value in values]


def overlap(query: str, text: str) -> float:
    """How much of a query a text repeats, from 0 to 1."""
    asked, given = features(query), features(text)
    return sum(weight for feature, weight in asked.items() if feature in given) / sum(asked.values())


def _weight(word: str) -> float:
    if re.match(f"[{IDEOGRAPHS}]", word):
        return 1.0
    return max(1, min(len(word), LONG_WORD)) ** 2 / LONG_WORD**2


def _parts(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[start : start + 3] for start in range(len(padded) - 2)]


@lru_cache(maxsize=65536)
def _places(space: str, feature: str) -> list[tuple[int, int]]:
    digest = hashlib.shake_128(f"{space}\n{feature}".encode("utf-8", "surrogatepass")).digest(4 * PLACES)
    numbers = [int.from_bytes(digest[start : start + 4]) for start in range(0, 4 * PLACES, 4)]
    return [(number >> 1, 1 if number & 1 else -1) for number in numbers]
