"""What the models that speak take, and the formats they speak in. Source: Cloudflare's docs and published types; which
containers, sample rates and bit rates go with an encoding: Deepgram's docs, Media Output Settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.catalog import Model
from app.emulator.checks import Check, field_problem, first, missing, quoted
from app.emulator.faults import bad_input
from app.emulator.sound_files import Coding
from app.emulator.sound_input import choice_problem

MOST_CHARACTERS = 2000
"""Of a text for Deepgram's voices."""


class Delivery(NamedTuple):
    """One way for an answer to be a file."""

    coding: Coding
    content_type: str
    sample_rate: int
    bit_rate: int | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """One value of the field `encoding`. The first container, sample rate and bit rate are the usual ones."""

    containers: Mapping[str, tuple[Coding, str]]
    """With the content type of each."""
    sample_rates: tuple[int, ...]
    bit_rate: int | None = None
    bit_rates: Check | None = None
    """None: it has none to choose."""


def _pcm(codec: str, format_: str, content_type: str, *sample_rates: int) -> Encoding:
    containers = {"wav": (Coding("wav", codec), "audio/wav"), "none": (Coding(format_, codec), content_type)}
    return Encoding(containers, sample_rates)


MP3 = Delivery(Coding("mp3", "libmp3lame"), "audio/mpeg", 44100)
WAV = Delivery(Coding("wav", "pcm_s16le"), "audio/wav", 44100)
ENCODINGS = {
    "mp3": Encoding({"none": (MP3.coding, MP3.content_type)}, (22050,), 48000, Check("integer", 32000, 48000)),
    "linear16": _pcm("pcm_s16le", "s16le", "audio/l16", 24000, 8000, 16000, 32000, 48000),
    "flac": Encoding({"none": (Coding("flac", "flac"), "audio/flac")}, (48000, 8000, 16000, 22050, 32000)),
    "mulaw": _pcm("pcm_mulaw", "mulaw", "audio/basic", 8000, 16000),
    "alaw": _pcm("pcm_alaw", "alaw", "audio/x-alaw-basic", 8000, 16000),
    "opus": Encoding({"ogg": (Coding("ogg", "libopus"), "audio/ogg")}, (48000,), 12000, Check("integer", 4000, 650000)),
    "aac": Encoding({"none": (Coding("adts", "aac"), "audio/aac")}, (22050,), 48000, Check("integer", 4000, 192000)),
}
MOST_BITS = 256000
"""A second, of what our encoders make for one channel."""

_SPEECH = {
    "text": Check("string", 1, MOST_CHARACTERS),
    "speaker": Check("string"),
    "encoding": Check("string"),
    "container": Check("string"),
    "sample_rate": Check("integer"),
    "bit_rate": Check("integer"),
}
_MELO = {"prompt": Check("string", 1), "lang": Check("string")}
_MELO_CHOICES = {"lang": ("en", "es", "fr", "zh", "jp", "kr")}


def check_melo(body: Mapping[str, Any]) -> None:
    """Raises 5006. Fields that it doesn't know change nothing, as with all native schemas."""
    absence = None if "prompt" in body else missing("/", "prompt")
    if problem := absence or field_problem(body, _MELO) or choice_problem(body, _MELO_CHOICES):
        raise bad_input(problem)


def delivery_of(body: Mapping[str, Any], model: Model) -> Delivery:
    """What a body asks one of Deepgram's voices for. Raises 5006; for fields that it doesn't know see `check_melo`."""
    absence = None if "text" in body else missing("/", "text")
    choices = {"encoding": tuple(ENCODINGS), "container": ("none", "wav", "ogg")}
    if model.voices:
        choices["speaker"] = model.voices
    if problem := absence or field_problem(body, _SPEECH) or choice_problem(body, choices):
        raise bad_input(problem)
    name = body.get("encoding", "mp3")
    encoding = ENCODINGS[name]
    if problem := _combination_problem(body, name, encoding):
        raise bad_input(problem)
    coding, content_type = encoding.containers[body.get("container", next(iter(encoding.containers)))]
    bit_rate = body.get("bit_rate", encoding.bit_rate)
    return Delivery(
        coding,
        content_type,
        body.get("sample_rate", encoding.sample_rates[0]),
        bit_rate and min(bit_rate, MOST_BITS),
    )


def _combination_problem(body: Mapping[str, Any], name: str, encoding: Encoding) -> str | None:
    return first(
        [
            _with(name, choice_problem(body, {"container": tuple(encoding.containers)})),
            _with(name, _rate_problem(body, encoding)),
            _with(name, _bits_problem(body, encoding)),
        ]
    )


def _rate_problem(body: Mapping[str, Any], encoding: Encoding) -> str | None:
    rates = encoding.sample_rates
    if body.get("sample_rate", rates[0]) in rates:
        return None
    return f"'/sample_rate' must be one of {quoted(map(str, rates))}"


def _bits_problem(body: Mapping[str, Any], encoding: Encoding) -> str | None:
    if "bit_rate" not in body:
        return None
    return field_problem(body, {"bit_rate": encoding.bit_rates}) if encoding.bit_rates else "'/bit_rate' is not allowed"


def _with(name: str, problem: str | None) -> str | None:
    return f"{problem} with encoding '{name}'" if problem else None
