"""Recordings and what models say of them, for the tests of transcripts."""

from pathlib import Path
from typing import Any

import orjson

from app.calls import Reply, Sound
from app.catalog import Catalog
from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest
from app.translators.base import Context, Plan
from app.translators.transcriptions import to_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "automatic-speech-recognition"

CATALOG = Catalog.load()
WHISPER = CATALOG.resolve("@cf/openai/whisper")
TINY = CATALOG.resolve("@cf/openai/whisper-tiny-en")
TURBO = CATALOG.resolve("@cf/openai/whisper-large-v3-turbo")
NOVA = CATALOG.resolve("@cf/deepgram/nova-3")
NEMOTRON = CATALOG.resolve("@cf/nvidia/nemotron-speech-streaming-en-0.6b")
FLUX = CATALOG.resolve("@cf/deepgram/flux")


def a_plan(model: Any = TURBO, **fields: Any) -> Plan[Any]:
    """Of a transcription, with fields as they come from a form."""
    return to_plan(TranscriptionRequest.model_validate({"model": "m"} | fields), a_context(model))


def a_translation(model: Any = TURBO, **fields: Any) -> Plan[Any]:
    return to_plan(TranslationRequest.model_validate({"model": "m"} | fields), a_context(model))


def a_context(model: Any) -> Context:
    return Context(model, "m", id="abc", created=1790000000, affinity="near")


def a_sound(start: float = 0, duration: float = 3.2, *, is_silent: bool = False, kind: str = "audio/flac") -> Sound:
    return Sound(b"fLaC", kind, start, duration, is_silent)


def golden(name: str) -> Reply:
    return Reply(orjson.loads((GOLDEN / f"{name}.json").read_bytes())["result"])
