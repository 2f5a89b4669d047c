"""Transcripts: the values Word, Segment, Heard (one piece, in its place) and Transcript (the whole), and stitching.

All times are seconds from the start of the recording, to the millisecond. The pieces are cut one after the other, so
stitching only joins: no word is in two of them.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any, Literal, TypeVar

from app.calls import Usage
from app.catalog.sounds import ListeningFacts
from app.languages.detect import detect
from app.translators.base import Plan
from app.values import immutable

Timed = TypeVar("Timed", "Word", "Segment")

UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    r"\U00020000-\U0003ffff]"
)
"""Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, kana, Han, and their punctuation."""


@immutable
class Hearing:
    """What was asked for, in the model's terms: a plan's `reading`."""

    facts: ListeningFacts
    task: Literal["transcribe", "translate"]
    response_format: str
    options: dict[str, Any] = field(default_factory=dict)
    """The fields that every call has, besides the sound and a prompt."""
    prompt: str = ""
    """The caller's, with the words to listen for."""
    language: str | None = None
    """ISO 639-1 code of what is spoken, as far as it is known beforehand."""
    has_words: bool = False
    """Words are wanted, each with its times."""
    has_segments: bool = True


@immutable
class Word:
    text: str
    """Without spaces around it."""
    start: float
    end: float
    speaker: str | None = None
    """Whoever the model says it is, within one piece."""
    is_glued: bool = False
    """It goes on the word before it: no space between them."""


@immutable
class Segment:
    """A sentence or so. The numbers are whisper's, and 0 where a model doesn't tell."""

    text: str
    start: float
    end: float
    speaker: str | None = None
    seek: int = 0
    """Where its piece begins, in frames of 10 ms."""
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0


@immutable
class Heard:
    """What became of one piece."""

    start: float
    end: float
    text: str = ""
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None
    """As the model tells it."""
    usage: Usage = field(default_factory=Usage)


@immutable
class Transcript:
    """The whole recording."""

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    duration: float
    known_language: str | None
    """Told by the model or the caller."""
    usage: Usage

    @property
    def language(self) -> str | None:
        """A code such as `en`; found out from the text where nobody told it."""
        found = None if self.known_language or not self.text else detect(self.text)
        return found.code if found else self.known_language

    @property
    def seconds(self) -> int:
        """The duration as OpenAI bills it: begun seconds."""
        return math.ceil(self.duration)


def transcript(plan: Plan[Any], parts: Sequence[Heard]) -> Transcript:
    """The parts as one, in their order. What the stream's deltas add up to is its `text`."""
    hearing: Hearing = plan.reading
    return Transcript(
        text=joined(part.text for part in parts),
        segments=in_order(segment for part in parts for segment in part.segments),
        words=in_order(word for part in parts for word in part.words),
        duration=parts[-1].end if parts else 0.0,
        known_language=_most_spoken(parts) or hearing.language,
        usage=sum((part.usage for part in parts), Usage()),
    )


def _most_spoken(parts: Sequence[Heard]) -> str | None:
    seconds: dict[str, float] = {}
    for part in parts:
        if part.language and part.text:
            seconds[part.language] = seconds.get(part.language, 0) + part.end - part.start
    return max(seconds, key=lambda language: seconds[language], default=None)


def joint(before: str, after: str) -> str:
    """What goes between two texts that follow each other: a space, unless there is nothing to part."""
    if not before or not after or UNSPACED.match(before[-1]) or UNSPACED.match(after):
        return ""
    return " "


def joined(texts: Iterable[str]) -> str:
    whole: list[str] = []
    last = ""
    for text in texts:
        whole += [joint(last, text), text]
        last = text or last
    return "".join(whole)


def in_order(timed: Iterable[Timed]) -> tuple[Timed, ...]:
    """None begins before the one before it, or ends before it begins."""
    ordered: list[Timed] = []
    latest = 0.0
    for each in timed:
        start = max(latest, each.start)
        moved = each if start == each.start <= each.end else replace(each, start=start, end=max(start, each.end))
        ordered.append(moved)
        latest = start
    return tuple(ordered)
