"""ListeningFacts and SpeakingFacts: what each model that hears or speaks takes, from the rows of `sounds.json`.

Cloudflare publishes no longest recording. Its tutorial for long files sends whisper pieces of about 1 MB, one minute of
speech as FLAC; Deepgram's own limits are far above ours, which keep a piece small enough to be sent again.
"""

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from importlib import resources
from typing import Any, Literal

import orjson

from app.values import immutable

FieldType = Literal["bool", "int", "float", "str", "list"]


@immutable
class ListeningFacts:
    """One model's fields. The defaults are for models that are not listed: a plain whisper."""

    max_seconds: float = 60
    """Of one call; longer recordings are cut."""
    max_bytes: int = 2 * 2**20
    """Of one call, before base64."""
    takes: frozenset[str] = frozenset({"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg"})
    """Content types that reach the model as they came."""
    only_language: str | None = None
    """ISO 639-1, of a model that knows one language."""
    language_field: str | None = None
    takes_regions: bool = False
    """It tells `en-GB` from `en` (BCP 47); others get the language alone."""
    detect_field: str | None = None
    """The switch that makes it find the language out; others do so, as far as they can, when none is sent."""
    prompt_field: str | None = None
    keywords_field: str | None = None
    """Takes words to listen for, one by one."""
    translates: bool = False
    """It has `task: translate`, into English."""
    tells_speakers: bool = False
    """It has `diarize`."""
    encoding_field: str | None = None
    """Where it wants to be told what the bytes are: `wav`, `flac` or `ogg`."""
    always: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are sent with every call."""
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    """Its further fields in Cloudflare's own names, which callers may set."""
    silence_code: int | None = None
    """The error that it answers silence with."""


@immutable
class SpeakingFacts:
    """One model's fields. The defaults are for models that are not listed: Deepgram's."""

    text_field: str = "text"
    max_characters: int = 2000
    """Of one call; longer texts are cut at sentences."""
    voice_field: str | None = "speaker"
    """None if the model has one voice."""
    voices: Mapping[str, str] = field(default_factory=dict)
    """OpenAI's voices -> the model's speakers. What the speakers are stands in the model's row."""
    language_field: str | None = None
    languages: Mapping[str, str] = field(default_factory=dict)
    """ISO 639-1 -> what the model calls it, where it has that field."""
    default_language: str = "en"
    formats: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """OpenAI's `response_format` -> the fields that make the model answer in it; what is not here we make ourselves.

    `pcm` is 24 kHz, 16 bit, mono, without a header.
    """


UNLISTED_LISTENING = ListeningFacts()
UNLISTED_SPEAKING = SpeakingFacts()


def listening_of(model_id: str) -> ListeningFacts:
    return _listening().get(model_id, UNLISTED_LISTENING)


def speaking_of(model_id: str) -> SpeakingFacts:
    return _speaking().get(model_id, UNLISTED_SPEAKING)


@cache
def _rows() -> dict[str, Any]:
    rows: dict[str, Any] = orjson.loads(resources.files(__package__).joinpath("sounds.json").read_bytes())
    return rows


@cache
def _listening() -> dict[str, ListeningFacts]:
    return {model_id: _listens(row) for model_id, row in _rows()["listening"].items()}


@cache
def _speaking() -> dict[str, SpeakingFacts]:
    formats = _rows()["formats"]
    return {
        model_id: SpeakingFacts(**row | {"formats": formats.get(row.get("formats"), {})})
        for model_id, row in _rows()["speaking"].items()
    }


def _listens(row: dict[str, Any]) -> ListeningFacts:
    return ListeningFacts(**row | ({"takes": frozenset(row["takes"])} if "takes" in row else {}))
