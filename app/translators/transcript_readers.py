"""What models answer to a piece of sound: one reader for each output shape. Times are put in their place on the way.

Shapes: Cloudflare's docs, Workers AI: whisper, whisper-large-v3-turbo, nova-3, nemotron. Old whisper tells words but
no segments; turbo tells words inside its segments; Deepgram tells words, their speakers, and channels. Where there are
no segments they are made from the words, or from subtitles.
"""

import html
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from app.calls import Sound
from app.translators.transcripts import Heard, Segment, Word, in_order, joined, joint
from app.translators.vectors import broken
from app.values import immutable

PAUSE_SECONDS = 0.8
SEGMENT_SECONDS = 12
SEGMENT_CHARACTERS = 84
"""Two lines of a subtitle."""

SENTENCE_END = re.compile(r"[.?!…。？！｡]+[\"'”’»)\]」』]*$")
CUE = re.compile(r"([0-9:.,]+)[ \t]+-->[ \t]+([0-9:.,]+)[^\n]*\n(.*?)(?=\n[ \t]*\n|\Z)", re.DOTALL)
TAG = re.compile(r"<[^>]*>")

Row = dict[str, Any]


@immutable
class Place:
    """Where in the recording a piece lies."""

    start: float
    end: float

    @classmethod
    def of(cls, sound: Sound) -> "Place":
        start = float(round(sound.start_seconds, 3))
        return cls(start, max(start, float(round(sound.start_seconds + sound.duration_seconds, 3))))

    @property
    def seek(self) -> int:
        return int(self.start * 100)

    def at(self, seconds: float) -> float:
        """A time inside the piece as one of the recording; never outside of the piece."""
        return min(self.end, max(self.start, round(self.start + seconds, 3)))

    def span(self, row: Row, default_start: float, default_end: float | None = None) -> tuple[float, float]:
        """When something begins and ends. A missing time is the default, or no length."""
        start, end = (number(row.get(name)) for name in ("start", "end"))
        begins = default_start if start is None else self.at(start)
        ends = default_end if end is None else self.at(end)
        return begins, max(begins, begins if ends is None else ends)


def number(value: Any) -> float | None:
    """A finite number, which may be spelt as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def read_words(body: Any, place: Place) -> Heard:
    """`{"text", "words": [{"word", "start", "end"}], "vtt"}`: the old whispers."""
    answer = _answer(body)
    words = _words(_rows(answer, "words"), place)
    text = _text(answer, "text", words)
    segments = _spoken(words, place) or _cues(answer, place) or _whole(text, place)
    return Heard(place.start, place.end, text, segments, words)


def read_segments(body: Any, place: Place) -> Heard:
    """`{"transcription_info", "text", "segments": [{"start", "end", "text", "words", ...}], "vtt"}`: turbo."""
    answer = _answer(body)
    segments, words = list[Segment](), list[Word]()
    for row in _rows(answer, "segments"):
        own = _words(_rows(row, "words"), place)
        words += own
        text = _text(row, "text", own)
        if text:
            segments.append(_segment(row, text, own, segments, place))
    text = _text(answer, "text", segments)
    made = in_order(segments) or _cues(answer, place) or _whole(text, place)
    info = answer.get("transcription_info")
    language = info.get("language") if isinstance(info, dict) else None
    return Heard(place.start, place.end, text, made, in_order(words), _name(language))


def _segment(row: Row, text: str, words: Sequence[Word], before: Sequence[Segment], place: Place) -> Segment:
    default_start = words[0].start if words else before[-1].end if before else place.start
    start, end = place.span(row, default_start, words[-1].end if words else None)
    return Segment(
        text,
        start,
        end,
        seek=place.seek,
        temperature=number(row.get("temperature")) or 0.0,
        avg_logprob=number(row.get("avg_logprob")) or 0.0,
        compression_ratio=number(row.get("compression_ratio")) or 0.0,
        no_speech_prob=number(row.get("no_speech_prob")) or 0.0,
    )


def read_channels(body: Any, place: Place) -> Heard:
    """`{"results": {"channels": [{"alternatives": [{"transcript", "words"}], "detected_language"}]}}`: Deepgram.

    Several channels are several speakers, and are put together by time, segment by segment.
    """
    results = _answer(body).get("results")
    channels = _rows(_answer(results), "channels")
    if not channels:
        raise broken("sent an answer without a transcript")
    if len(channels) == 1:
        return _read_channel(channels[0], place)
    each = [_read_channel(channel, place, f"{i}") for i, channel in enumerate(channels)]
    segments = sorted((segment for one in each for segment in one.segments), key=lambda segment: segment.start)
    words = sorted((word for one in each for word in one.words), key=lambda word: word.start)
    language = next((one.language for one in each if one.language), None)
    text = joined(segment.text for segment in segments)
    return Heard(place.start, place.end, text, tuple(segments), tuple(words), language)


def _read_channel(channel: Row, place: Place, name: str | None = None) -> Heard:
    """The best alternative. `name` stands for the speaker of a channel of many."""
    language = _name(channel.get("detected_language"))
    alternatives = _rows(channel, "alternatives")
    if not alternatives:
        return Heard(place.start, place.end, language=language)
    words = _words(_rows(alternatives[0], "words"), place, name)
    text = _text(alternatives[0], "transcript", words)
    segments = _spoken(words, place) or _whole(text, place, name)
    return Heard(place.start, place.end, text, segments, words, language)


def read_text(body: Any, place: Place) -> Heard:
    """`{"text"}`, without any times."""
    text = _text(_answer(body), "text", ())
    return Heard(place.start, place.end, text, _whole(text, place))


def _answer(body: Any) -> Row:
    if not isinstance(body, dict):
        raise broken("sent an answer without a transcript")
    return body


def _rows(row: Row, name: str) -> list[Row]:
    """A list of objects, which may be absent."""
    rows = row.get(name)
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
        raise broken(f"sent a transcript whose '{name}' are no list of objects")
    return rows


def _text(row: Row, name: str, pieces: Sequence[Word] | Sequence[Segment]) -> str:
    """The text, or what its pieces add up to where there is none."""
    text = row.get(name)
    if isinstance(text, str) and (text.strip() or not pieces):
        return text.strip()
    if not isinstance(text, str | None) or (not pieces and name not in row):
        raise broken("sent an answer without a transcript")
    return sentence(pieces)


def sentence(pieces: Sequence[Word] | Sequence[Segment]) -> str:
    whole = ""
    for piece in pieces:
        is_glued = isinstance(piece, Word) and piece.is_glued
        whole += ("" if is_glued else joint(whole, piece.text)) + piece.text
    return whole


def _name(language: Any) -> str | None:
    return language.strip().lower() or None if isinstance(language, str) else None


def _words(rows: Sequence[Row], place: Place, channel: str | None = None) -> tuple[Word, ...]:
    """None at all if none of them has a time. Where some begin with a space, the others go on the word before."""
    if all(number(row.get("start")) is None for row in rows):
        return ()
    words = list[Word]()
    texts = [_word(row) for row in rows]
    are_spaced = any(text[:1].isspace() for text in texts)
    for row, text in zip(rows, texts, strict=True):
        if text.strip():
            start, end = place.span(row, words[-1].end if words else place.start)
            is_glued = are_spaced and bool(words) and not text[0].isspace()
            words.append(Word(text.strip(), start, end, _speaker(row, channel), is_glued))
    return in_order(words)


def _word(row: Row) -> str:
    text = row.get("punctuated_word", row.get("word"))
    if not isinstance(text, str):
        raise broken("sent a transcript with words that are no text")
    return text


def _speaker(row: Row, channel: str | None) -> str | None:
    speaker = row.get("speaker")
    if speaker is None:
        return channel
    return f"{speaker}" if channel is None else f"{channel}:{speaker}"


def _spoken(words: Sequence[Word], place: Place) -> tuple[Segment, ...]:
    """Segments made from words: by speaker, sentence and pause, and short enough for a subtitle."""
    return tuple(
        Segment(sentence(run), run[0].start, max(word.end for word in run), run[0].speaker, place.seek)
        for run in _runs(words)
    )


def _runs(words: Sequence[Word]) -> Iterator[list[Word]]:
    run = list[Word]()
    length = 0
    for word in words:
        if run and not (word.is_glued and word.speaker == run[0].speaker) and _ends(run, length, word):
            yield run
            run, length = [], 0
        run.append(word)
        length += len(word.text) + 1
    if run:
        yield run


def _ends(run: Sequence[Word], length: int, word: Word) -> bool:
    return (
        word.speaker != run[0].speaker
        or bool(SENTENCE_END.search(run[-1].text) and not word.text[0].islower())  # "e.g. this" is one sentence
        or word.start - run[-1].end > PAUSE_SECONDS
        or word.end - run[0].start > SEGMENT_SECONDS
        or length + len(word.text) > SEGMENT_CHARACTERS
    )


def _cues(answer: Row, place: Place) -> tuple[Segment, ...]:
    """The cues of the answer's WebVTT, if it has one."""
    vtt = answer.get("vtt")
    if not isinstance(vtt, str):
        return ()
    segments = list[Segment]()
    for start, end, text in CUE.findall(vtt.replace("\r\n", "\n")):
        said = html.unescape(TAG.sub("", text)).strip()
        if said:
            row = {"start": _seconds(start), "end": _seconds(end)}
            segments.append(Segment(said, *place.span(row, place.start), seek=place.seek))
    return in_order(segments)


def _seconds(stamp: str) -> float | None:
    """Of `00:01.100` or `00:00:01.100`."""
    seconds = 0.0
    for each in stamp.replace(",", ".").split(":"):
        unit = number(each)
        if unit is None:
            return None
        seconds = seconds * 60 + unit
    return seconds


def _whole(text: str, place: Place, speaker: str | None = None) -> tuple[Segment, ...]:
    """The whole piece as one segment: coarse, but right."""
    return (Segment(text, place.start, place.end, speaker, place.seek),) if text else ()


READERS = {
    "transcript-words": read_words,
    "transcript-segments": read_segments,
    "transcript-channels": read_channels,
    "transcript-text": read_text,
}
