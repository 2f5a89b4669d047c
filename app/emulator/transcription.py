"""The task automatic-speech-recognition: what was really heard, in the form of each model's answers.

Source of the forms: Cloudflare's docs and published types.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.emulator.bodies import QUERY_SHAPE
from app.emulator.hearing import Heard, as_if_heard, heard
from app.emulator.meters import Meters
from app.emulator.replies import Reply
from app.emulator.results import fail_as_wanted, paid_reply
from app.emulator.run import Run
from app.emulator.sound_files import NoSoundError, decoded, in_thread
from app.emulator.sound_input import audio_of, fields_of, raw_of, undecodable
from app.emulator.sounds import WORDS, pitch_of

SEGMENT_PAUSE_SECONDS = 0.6
"""A longer one begins a new segment."""
SEGMENT_WORDS = 10
"""The most in one segment."""
SENTENCE_PAUSE_SECONDS = 0.3
"""A longer one ends a sentence."""
LANGUAGE = "en"
"""Heard where none is told."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a run was asked for, and what its recording holds."""

    fields: Mapping[str, Any]
    seconds: float
    channels: Sequence[Sequence[Heard]]

    @property
    def words(self) -> Sequence[Heard]:
        return self.channels[0]

    @property
    def text(self) -> str:
        return _joined(self.words)


async def run_transcription(run: Run, meters: Meters) -> Reply:
    fields, data = fields_of(run), audio_of(run)
    fail_as_wanted(run)
    recording = await in_thread(_listened, run, data, fields)
    result = WRITERS[run.model.output_shape](recording)
    return paid_reply(run, meters, result, minutes_price(run, recording.seconds))


def minutes_price(run: Run, seconds: float) -> float:
    """Neurons of a sound."""
    per_minute = next((price.neurons for price in run.model.price if price.unit == "audio_minute"), 0.0)
    return round(per_minute * seconds / 60, 6)


def speaker_of(word: str) -> int:
    """Who says it: the words of the vocabulary's lower half have the one voice, the others the other."""
    return int(pitch_of(word) > pitch_of(WORDS[len(WORDS) // 2]))


def _listened(run: Run, data: bytes, fields: Mapping[str, Any]) -> Recording:
    raw = raw_of(fields, run.model)
    try:
        sound = decoded(data, raw, is_mono=fields.get("multichannel") is not True)
    except NoSoundError as failure:
        raise undecodable(run.model) from failure
    channels = [heard(levels) for levels in sound.channels]
    if not any(channels) and run.model.input_shape == QUERY_SHAPE and "silence-refused" in run.quirks:
        raise undecodable(run.model)
    said = "" if run.script.empty else run.script.text
    if said is not None:
        channels = [as_if_heard(said, sound.seconds)]
    return Recording(fields, sound.seconds, channels)


def _words(recording: Recording) -> dict[str, Any]:
    words = [{"word": word, "start": start, "end": end} for word, start, end in recording.words]
    vtt = _vtt(_segments(recording.words))
    return {"text": recording.text, "word_count": len(words), "words": words, "vtt": vtt}


def _text(recording: Recording) -> dict[str, Any]:
    return {"text": recording.text, "duration": round(recording.seconds, 3)}


def _in_segments(recording: Recording) -> dict[str, Any]:
    words, fields, duration = recording.words, recording.fields, round(recording.seconds, 3)
    if fields.get("task") == "translate":  # nobody here knows another language, but that it was done has to show
        words = [Heard(word.upper(), start, end) for word, start, end in words]
    segments = _segments(words)
    spoken_seconds = round(sum(end - start for _, start, end in words), 3)
    return {
        "transcription_info": {
            "language": fields.get("language", LANGUAGE),
            "language_probability": 0.99,
            "duration": duration,
            "duration_after_vad": spoken_seconds if fields.get("vad_filter") else duration,
        },
        "text": _joined(words),
        "word_count": len(words),
        "segments": [_segment(segment) for segment in segments],
        "vtt": _vtt(segments),
    }


def _segment(words: Sequence[Heard]) -> dict[str, Any]:
    return {
        "start": words[0].start,
        "end": words[-1].end,
        "text": f" {_joined(words)}",
        "temperature": 0,
        "avg_logprob": -0.2,
        "compression_ratio": 0.8,
        "no_speech_prob": 0.01,
        "words": [{"word": f" {word}", "start": start, "end": end} for word, start, end in words],
    }


def _in_channels(recording: Recording) -> dict[str, Any]:
    return {"results": {"channels": [_channel(words, recording.fields) for words in recording.channels]}}


def _channel(heard_words: Sequence[Heard], fields: Mapping[str, Any]) -> dict[str, Any]:
    words = [{"word": word, "start": start, "end": end, "confidence": 0.99} for word, start, end in heard_words]
    shown = [word for word, _, _ in heard_words]
    if fields.get("smart_format") or fields.get("punctuate"):
        shown = _punctuated(heard_words)
        words = [word | {"punctuated_word": said} for word, said in zip(words, shown, strict=True)]
    if fields.get("diarize"):
        words = [word | {"speaker": speaker_of(said.word)} for word, said in zip(words, heard_words, strict=True)]
    channel = {"alternatives": [{"transcript": " ".join(shown), "confidence": 0.98 if words else 0, "words": words}]}
    if fields.get("detect_language"):
        return channel | {"detected_language": LANGUAGE, "language_confidence": 0.99}
    return channel


def _punctuated(words: Sequence[Heard]) -> list[str]:
    """Capitals and full stops where the pauses are."""
    found = []
    for sentence in _grouped(words, SENTENCE_PAUSE_SECONDS, len(words)):
        said = [word for word, _, _ in sentence]
        said[0] = said[0].capitalize()
        said[-1] += "."
        found += said
    return found


def _segments(words: Sequence[Heard]) -> list[list[Heard]]:
    return _grouped(words, SEGMENT_PAUSE_SECONDS, SEGMENT_WORDS)


def _grouped(words: Sequence[Heard], pause_seconds: float, most: int) -> list[list[Heard]]:
    groups: list[list[Heard]] = []
    for word in words:
        if not groups or len(groups[-1]) == most or word.start - groups[-1][-1].end > pause_seconds:
            groups.append([])
        groups[-1].append(word)
    return groups


def _joined(words: Iterable[Heard]) -> str:
    return " ".join(word for word, _, _ in words)


def _vtt(segments: Iterable[Sequence[Heard]]) -> str:
    cues = [f"{_clock(words[0].start)} --> {_clock(words[-1].end)}\n{_joined(words)}\n" for words in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    return f"{hours:02}:{clock}" if hours else clock


WRITERS: dict[str, Callable[[Recording], dict[str, Any]]] = {
    "transcript-words": _words,
    "transcript-segments": _in_segments,
    "transcript-channels": _in_channels,
    "transcript-text": _text,
}
"""Output shape -> what writes it."""
