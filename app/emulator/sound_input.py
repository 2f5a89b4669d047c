"""What the models that hear take. Source: Cloudflare's docs and published types, and refusals users met.

How a recording comes, as a list of bytes, as base64 or as the body itself, depends on the model, and none takes
another's.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.catalog import Model
from app.emulator.bodies import QUERY_SHAPE
from app.emulator.checks import Check, field_problem, first, missing, quoted, type_problem
from app.emulator.faults import Fault, bad_input, invalid_input
from app.emulator.pictures import listed
from app.emulator.run import Run
from app.emulator.sound_files import HEARING_RATE, Raw

RUN_OPTIONS = frozenset({"options", "queueRequest", "tags"})
"""Stand beside the model's fields, but are not the model's."""
RAW_FORMATS = {"linear16": "s16le", "mulaw": "mulaw"}
LANGUAGE = re.compile(r"multi|[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
"""BCP 47, or what Deepgram calls many at once."""

_SWITCHES = (
    "detect_entities|detect_language|diarize|dictation|filler_words|measurements|mip_opt_out|multichannel|numerals|"
    "paragraphs|profanity_filter|punctuate|sentiment|smart_format|topics|utterances"
)
_TEXTS = "custom_topic|custom_intent|extra|keyterm|keywords|redact|replace|search"
_ENCODINGS = ("linear16", "flac", "mulaw", "amr-nb", "amr-wb", "opus", "speex", "g729")


@dataclass(frozen=True, slots=True)
class Ear:
    """A group of models that take the same: every field with its check, and the values of those that have few."""

    fields: Mapping[str, Check] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_closed: bool = False
    """Other fields are refused; elsewhere they change nothing."""
    language: re.Pattern[str] | None = None
    """What the field of that name may be; None if it may be any text."""


_RATE = {"sample_rate": Check("integer", 4000, 192000), "channels": Check("integer", 1, 8)}
_TURBO = Ear(
    {
        "task": Check("string"),
        "language": Check("string"),
        "initial_prompt": Check("string"),
        "prefix": Check("string"),
        "vad_filter": Check("boolean"),
        "condition_on_previous_text": Check("boolean"),
        "beam_size": Check("integer", 1),
        "no_speech_threshold": Check("number"),
        "compression_ratio_threshold": Check("number"),
        "log_prob_threshold": Check("number"),
        "hallucination_silence_threshold": Check("number"),
    },
    {"task": ("transcribe", "translate")},
)
_NOVA = Ear(
    {
        **dict.fromkeys(_SWITCHES.split("|"), Check("boolean")),
        **dict.fromkeys(_TEXTS.split("|"), Check("string|array")),
        **dict.fromkeys(("custom_topic_mode", "custom_intent_mode", "encoding", "language", "mode"), Check("string")),
        "utt_split": Check("number"),
        **_RATE,
    },
    {
        "custom_topic_mode": ("extended", "strict"),
        "custom_intent_mode": ("extended", "strict"),
        "encoding": _ENCODINGS,
        "mode": ("general", "medical", "finance"),
    },
    is_closed=True,
    language=LANGUAGE,
)
_NEMOTRON = Ear({"encoding": Check("string"), **_RATE}, {"encoding": ("wav", "flac", "ogg", "linear16")})
_TURN = Ear({"dtype": Check("string")}, {"dtype": ("uint8", "float32", "float64")})

EARS = {
    "transcript-words": Ear(),
    "transcript-segments": _TURBO,
    "transcript-channels": _NOVA,
    "transcript-text": _NEMOTRON,
    "turn": _TURN,
}
"""Output shape -> what its models take."""


def fields_of(run: Run) -> dict[str, Any]:
    """What the model knows of a run's body, or of its query, read as what it should be.

    Raises 5006 for fields that the schema refuses, and 8001 for a model that listens over WebSocket only.
    """
    ear = EARS.get(run.model.output_shape)
    if ear is None:
        raise invalid_input(f"{run.model.id} takes WebSocket connections only")
    body = run.body
    if run.model.input_shape == QUERY_SHAPE:
        body = {name: _read(ear.fields.get(name), value) for name, value in body.items()}
    problem = field_problem(body, ear.fields) or choice_problem(body, ear.choices) or _surplus(body, ear)
    if problem := problem or _language_problem(body, ear):
        raise bad_input(problem)
    return {name: body[name] for name in ear.fields if name in body}


def choice_problem(body: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> str | None:
    """The first field whose value is none of those it may have."""
    return first(
        f"'/{name}' must be one of {quoted(values)}"
        for name, values in choices.items()
        if name in body and body[name] not in values
    )


def audio_of(run: Run) -> bytes:
    """The recording, in the one way that the model takes it.

    Raises 5006 for another way and where there is none, and 5004 for text that is not base64.
    """
    if run.model.input_shape != "audio-base64":
        return run.data or listed(run.body, "audio")
    if run.data:
        raise bad_input("Type mismatch of '/audio', 'array' not in 'string'")
    if "audio" not in run.body:
        raise bad_input(missing("/", "audio"))
    if problem := type_problem("/audio", run.body["audio"], "string"):
        raise bad_input(problem)
    try:
        return base64.b64decode(run.body["audio"], validate=True)
    except ValueError as failure:
        raise Fault(5004, "Invalid data type: '/audio' is not valid base64") from failure


def raw_of(body: Mapping[str, Any], model: Model) -> Raw | None:
    """What bytes without a header are; None if they say so themselves."""
    if format_ := {"float32": "f32le", "float64": "f64le"}.get(body.get("dtype", "")):
        return Raw(format_, HEARING_RATE)
    format_ = RAW_FORMATS.get(body.get("encoding", ""))
    if format_ is None or (model.input_shape == QUERY_SHAPE and "sample_rate" not in body):
        return None
    return Raw(format_, body.get("sample_rate", HEARING_RATE), body.get("channels", 1))


def undecodable(model: Model) -> Fault:
    """The refusal of what is no sound, or is damaged."""
    if model.input_shape == QUERY_SHAPE:
        return Fault(3030, "failed to process audio: corrupt or unsupported data")
    return invalid_input("failed to decode audio file")


def _read(check: Check | None, value: Any) -> Any:
    """All values of a query are texts; what should be something else and isn't stays one, to be refused."""
    if check is None or not isinstance(value, str):
        return value
    if check.type == "boolean":
        return {"true": True, "false": False}.get(value, value)
    try:
        return {"integer": int, "number": float}.get(check.type, str)(value)
    except ValueError:
        return value


def _language_problem(body: Mapping[str, Any], ear: Ear) -> str | None:
    if ear.language is None or ear.language.fullmatch(body.get("language", "en")):
        return None
    return f"'/language' does not match pattern '^({ear.language.pattern})$'"


def _surplus(body: Mapping[str, Any], ear: Ear) -> str | None:
    surplus = [name for name in body if name not in ear.fields and name not in RUN_OPTIONS]
    return f"additional properties at '/' are {quoted(surplus)}" if ear.is_closed and surplus else None
