"""Transcriptions and translations: what clients send beside the recording.

The fields of a form, so every value may be a text, and a list of one its item alone. An empty text counts as absent.
Beyond OpenAI's fields, the model's own go through under Cloudflare's names, and a translation may say which
`language` is spoken and may `stream`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

Form = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]


def _filled(value: Any) -> Any:
    """Without what is empty."""
    return [item for item in value if item not in ("", None)] if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unless_auto(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


Texts = Annotated[list[str], BeforeValidator(_listed)]


class ListeningRequest(BaseModel):
    """What both endpoints have in common."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    language: Annotated[str | None, BeforeValidator(_unless_auto)] = None
    """What is spoken: `en`, `en-US`, `english`; None and `auto` leave it to the model."""
    prompt: str | None = None
    response_format: str = "json"
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_form(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        filled = {name: _filled(value) for name, value in fields.items()}
        return {name: value for name, value in filled.items() if value not in ("", None, [])}


class TranslationRequest(ListeningRequest):
    """https://platform.openai.com/docs/api-reference/audio/createTranslation"""

    response_format: Form = "json"


class TranscriptionRequest(ListeningRequest):
    """https://platform.openai.com/docs/api-reference/audio/createTranscription"""

    response_format: Literal[Form, "diarized_json"] = "json"
    languages: Texts | None = None
    """What may be spoken."""
    chunking_strategy: str | dict[str, Any] | None = None
    """Taken and of no effect: recordings are always cut at pauses where they are too long."""
    timestamp_granularities: Annotated[list[Granularity], BeforeValidator(_listed)] | None = None
    include: Texts | None = None
    keywords: Texts | None = None
    """Words to listen for."""
    known_speaker_names: Texts | None = None
    known_speaker_references: Texts | None = None
