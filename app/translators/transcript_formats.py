"""Transcripts as files: what `response_format` names. Source: OpenAI's API reference; WebVTT: W3C's specification."""

import html
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from app.languages.codes import whisper_name
from app.translators.base import Plan
from app.translators.transcripts import Hearing, Segment, Transcript, joint

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
VTT = "text/vtt; charset=utf-8"

Body = dict[str, Any]


class Speakers:
    """The letters of speakers, in the order in which they begin to speak: A, B, ... Z, AA, AB, ..."""

    def __init__(self) -> None:
        self._letters: dict[str | None, str] = {}

    def letter(self, speaker: str | None) -> str:
        return self._letters.setdefault(speaker, _letter(len(self._letters)))


def _letter(index: int) -> str:
    rest, last = divmod(index, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("A") + last)


def written(plan: Plan[Any], whole: Transcript) -> tuple[bytes, str]:
    """The transcript in the form that was asked for, and its content type."""
    hearing: Hearing = plan.reading
    write, content_type = FORMS[hearing.response_format]
    return write(whole, hearing), content_type


def usage_of(whole: Transcript) -> Body:
    return {"type": "duration", "seconds": whole.seconds}


def _json(whole: Transcript, _hearing: Hearing) -> bytes:
    return orjson.dumps({"text": whole.text, "usage": usage_of(whole)})


def _text(whole: Transcript, _hearing: Hearing) -> bytes:
    return f"{whole.text}\n".encode()


def _verbose(whole: Transcript, hearing: Hearing) -> bytes:
    """As OpenAI's: a segment's text begins with the space that parts it from the one before."""
    code = "en" if hearing.task == "translate" else whole.language
    body: Body = {
        "task": hearing.task,
        "language": (code and whisper_name(code)) or code or "unknown",
        "duration": whole.duration,
        "text": whole.text,
    }
    if hearing.has_segments:
        body["segments"] = [_verbose_segment(i, segment) for i, segment in enumerate(whole.segments)]
    if hearing.has_words:
        body["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in whole.words]
    return orjson.dumps(body | {"usage": usage_of(whole)})


def _verbose_segment(index: int, segment: Segment) -> Body:
    return {
        "id": index,
        "seek": segment.seek,
        "start": segment.start,
        "end": segment.end,
        "text": joint(".", segment.text) + segment.text,
        "tokens": [],
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _diarized(whole: Transcript, hearing: Hearing) -> bytes:
    speakers = Speakers()
    segments = [diarized_segment(i, segment, speakers) for i, segment in enumerate(whole.segments)]
    body = {"task": hearing.task, "duration": whole.duration, "text": whole.text, "segments": segments}
    return orjson.dumps(body | {"usage": usage_of(whole)})


def diarized_segment(index: int, segment: Segment, speakers: Speakers) -> Body:
    return {
        "id": f"seg_{index}",
        "type": "transcript.text.segment",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": speakers.letter(segment.speaker),
    }


def _srt(whole: Transcript, _hearing: Hearing) -> bytes:
    cues = (
        f"{i}\n{_stamp(each.start, ',', has_hours=True)} --> {_stamp(each.end, ',', has_hours=True)}\n{text}\n\n"
        for i, (each, text) in enumerate(_subtitles(whole.segments), 1)
    )
    return "".join(cues).encode()


def _vtt(whole: Transcript, _hearing: Hearing) -> bytes:
    cues = (
        f"{_stamp(each.start, '.')} --> {_stamp(each.end, '.')}\n{html.escape(text, quote=False)}\n\n"
        for each, text in _subtitles(whole.segments)
    )
    return ("WEBVTT\n\n" + "".join(cues)).encode()


def _subtitles(segments: Iterable[Segment]) -> Iterable[tuple[Segment, str]]:
    """Segments with what can stand in a cue: an empty line would end it, an arrow would begin another one."""
    for segment in segments:
        lines = (line.strip() for line in segment.text.replace("-->", "->").replace("\0", "").splitlines())
        text = "\n".join(line for line in lines if line)
        if text:
            yield segment, text


def _stamp(seconds: float, point: str, *, has_hours: bool = False) -> str:
    """`01:02.345`, with hours where there are some or `has_hours`."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours:02}:" if hours or has_hours else ""
    return f"{before}{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


FORMS: dict[str, tuple[Callable[[Transcript, Hearing], bytes], str]] = {
    "json": (_json, JSON),
    "text": (_text, PLAIN),
    "verbose_json": (_verbose, JSON),
    "srt": (_srt, PLAIN),
    "vtt": (_vtt, VTT),
    "diarized_json": (_diarized, JSON),
}
