"""Hearing: the words of a sound, each with the time at which it is really heard."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from app.emulator.sound_files import HEARING_RATE, QUIET
from app.emulator.sounds import word_at, words_of

SHORTEST_SILENCE = HEARING_RATE * 30 // 1000
"""Samples between two words."""
SHORTEST_WORD = HEARING_RATE * 30 // 1000
"""Samples; what is shorter is a click."""
LONGEST_WORD = HEARING_RATE * 7 // 10
"""Samples; a longer burst is heard as several words."""
USUAL_WORD = HEARING_RATE * 4 // 10
"""Samples of each of these."""
LISTENED = HEARING_RATE // 10
"""Samples in the middle of a word that tell its pitch."""

_RISE = re.compile(b"d_*u")
"""A crossing of zero, however long the wave stays near it."""


class Heard(NamedTuple):
    """Start and end are seconds."""

    word: str
    start: float
    end: float


def heard(levels: bytes) -> list[Heard]:
    """The words of one channel of a Sound."""
    return [
        Heard(word_at(_pitch(levels[start:end])), round(start / HEARING_RATE, 3), round(end / HEARING_RATE, 3))
        for start, end in _words(levels)
    ]


def as_if_heard(text: str, seconds: float) -> list[Heard]:
    """The words of a text, spread evenly over a sound."""
    words = words_of(text)
    edges = [round(seconds * number / len(words), 3) for number in range(len(words) + 1)] if words else []
    return [Heard(word, start, end) for word, start, end in zip(words, edges, edges[1:], strict=False)]


def _words(levels: bytes) -> Iterator[tuple[int, int]]:
    """First sample of each word, and that behind its last one."""
    for start, end in _bursts(levels):
        count = max(1, round((end - start) / USUAL_WORD)) if end - start > LONGEST_WORD else 1
        edges = [start + (end - start) * number // count for number in range(count + 1)]
        yield from pairwise(edges)


def _bursts(levels: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    for piece in levels.split(bytes([QUIET]) * SHORTEST_SILENCE):
        end = position + len(piece.rstrip(bytes([QUIET])))
        start = position + len(piece) - len(piece.lstrip(bytes([QUIET])))
        if end - start >= SHORTEST_WORD:
            yield start, end
        position += len(piece) + SHORTEST_SILENCE


def _pitch(levels: bytes) -> float:
    """Hz, by the time that the waves in the middle take; 0 for less than one wave."""
    middle = max(0, (len(levels) - LISTENED) // 2)
    rises = [rise.end() for rise in _RISE.finditer(levels, middle, middle + LISTENED)]
    return (len(rises) - 1) * HEARING_RATE / (rises[-1] - rises[0]) if len(rises) > 1 else 0.0
