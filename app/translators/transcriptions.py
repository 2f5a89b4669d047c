"""Transcriptions and translations: a call for each piece of a recording, and what was heard in it.

The pieces come one after the other, cut and in a form that the model takes. Where we knowingly differ from OpenAI:

1. `temperature`, log probabilities and samples of known speakers have no counterpart; they are dropped, and told.
2. A language that we don't know is refused; one that the model can't be told is dropped, and told.
3. `timestamp_granularities` without `verbose_json` has no effect, rather than being refused.
4. Speakers are told apart within one piece; that the same number stands for the same one in the next is a guess.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from app.calls import Call, Failure, Reply, Sound, Usage
from app.catalog.models import Price
from app.catalog.sounds import FieldType, ListeningFacts, listening_of
from app.errors import BadRequestError
from app.languages.codes import code_of, split_tag
from app.schemas.transcriptions import ListeningRequest, TranscriptionRequest, TranslationRequest
from app.translators.base import Context, Plan, SerialTranslator
from app.translators.transcript_readers import READERS, Place, number
from app.translators.transcripts import Heard, Hearing, joined

Body = dict[str, Any]

CARRIED_CHARACTERS = 200
"""Of the text so far, as a prompt for the next piece. Whisper listens to the last 224 tokens of a prompt."""
GAP_SECONDS = 0.1
"""What two pieces may lie apart and still follow each other."""

ENCODINGS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/ogg": "ogg",
}

ANSWERED = frozenset({"model", "response_format", "stream", "chunking_strategy", "timestamp_granularities"})
"""Fields that are for whoever answers the request: none of them is the model's."""

TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def to_plan(request: ListeningRequest, context: Context) -> Plan[Any]:
    """A plan without calls. Raises BadRequestError for what the model can't do."""
    facts = listening_of(context.model.id)
    _check(request, context, facts)
    code = _language(request, context, facts)
    granularities = _listed(request, "timestamp_granularities")
    hearing = Hearing(
        facts,
        "translate" if isinstance(request, TranslationRequest) else "transcribe",
        request.response_format,
        _options(request, facts, code),
        _prompt(request, facts),
        code or facts.only_language,
        has_words="word" in granularities,
        has_segments=not granularities or "segment" in granularities,
    )
    return Plan(request, context, (), _ignored(request, facts), hearing)


def _check(request: ListeningRequest, context: Context, facts: ListeningFacts) -> None:
    model, name = context.model, context.name
    if model.input_shape not in CALLS or model.output_shape not in READERS:
        how = "only over a WebSocket" if "websocket" in model.capabilities else "in a form of its own"
        message = f"The model '{name}' listens {how}, so it can't take recordings here."
        raise BadRequestError(message, param="model", code="unsupported_model")
    if isinstance(request, TranslationRequest) and not facts.translates:
        message = f"The model '{name}' writes down what it hears, but can't translate it: use a model that can."
        raise BadRequestError(message, param="model", code="unsupported_model")
    if request.response_format == "diarized_json" and not facts.tells_speakers:
        message = f"The model '{name}' can't tell speakers apart, so there is no 'diarized_json' from it."
        raise BadRequestError(message, param="response_format", code="unsupported_value")
    wants_words = request.response_format == "verbose_json" and "word" in _listed(request, "timestamp_granularities")
    if wants_words and model.output_shape == "transcript-text":
        message = f"The model '{name}' doesn't tell when each word is said."
        raise BadRequestError(message, param="timestamp_granularities", code="unsupported_value")


def _language(request: ListeningRequest, context: Context, facts: ListeningFacts) -> str | None:
    """The code of the language that the caller names, alone. Raises BadRequestError for one that can't be."""
    asked, param = _asked(request)
    if asked is None:
        return None
    code = code_of(asked)
    if code is None:
        message = f"'{asked[:100]}' is no language that we know: use ISO 639-1, such as 'en'."
        raise BadRequestError(message, param=param, code="invalid_language_format")
    if facts.only_language and code != facts.only_language:
        message = f"The model '{context.name}' understands no language but '{facts.only_language}'."
        raise BadRequestError(message, param=param, code="unsupported_value")
    return code


def _asked(request: ListeningRequest) -> tuple[str | None, str]:
    """The one language that is named, and the field that does. Of several none is certain."""
    languages = _listed(request, "languages")
    if request.language is None and len(languages) == 1:
        return languages[0], "languages"
    return request.language, "language"


def _listed(request: ListeningRequest, name: str) -> list[str]:
    """A field that is a list, where the endpoint has it; what another one is sent under that name may be anything."""
    value: list[str] | None = getattr(request, name) if name in type(request).model_fields else None
    return value or []


def _options(request: ListeningRequest, facts: ListeningFacts, code: str | None) -> Body:
    """What every call has. The caller's own fields win over those that the model is always sent."""
    options: Body = dict(facts.always)
    asked, _ = _asked(request)
    if facts.language_field and code and asked:
        region = split_tag(asked).region if facts.takes_regions else None
        options[facts.language_field] = f"{code}-{region}" if region else code
    elif facts.detect_field and not code:
        options[facts.detect_field] = True
    if isinstance(request, TranslationRequest):
        options["task"] = "translate"
    if request.response_format == "diarized_json":
        options["diarize"] = True
    keywords = _listed(request, "keywords")
    if facts.keywords_field and keywords:
        options[facts.keywords_field] = keywords
    for name, value in _native(request, facts).items():
        listed = options.get(name) if isinstance(value, list) else None
        options[name] = [*listed, *value] if isinstance(listed, list) else value
    return options


def _prompt(request: ListeningRequest, facts: ListeningFacts) -> str:
    if not facts.prompt_field:
        return ""
    words = _listed(request, "keywords")
    glossary = f"Glossary: {', '.join(words)}" if words and not facts.keywords_field else ""
    return " ".join(each for each in (request.prompt, glossary) if each)


def _native(request: ListeningRequest, facts: ListeningFacts) -> Body:
    """The caller's fields in Cloudflare's own names, as what they are. Raises BadRequestError."""
    sent = request.model_extra or {}
    return {name: _typed(name, sent[name], kind) for name, kind in facts.fields.items() if sent.get(name) is not None}


def _typed(name: str, value: Any, kind: FieldType) -> Any:
    found = TYPES[kind](value)
    if found is None:
        message = f"Invalid value for '{name}': it must be of the type {kind}."
        raise BadRequestError(message, param=name, code="invalid_value")
    return found


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else TRUTHS.get(str(value).strip().lower())


def _int(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[str] | None:
    items = value if isinstance(value, list) else [value]
    return items if all(isinstance(item, str) for item in items) else None


TYPES: dict[FieldType, Callable[[Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": number,
    "str": _str,
    "list": _list,
}


def _ignored(request: ListeningRequest, facts: ListeningFacts) -> tuple[str, ...]:
    """The fields that ask for something and won't get it."""
    asked, param = _asked(request)
    is_told = bool(facts.language_field or facts.only_language)
    honoured = {
        "language": is_told or request.language is None,
        "languages": is_told and asked is not None and param == "languages",
        "prompt": bool(facts.prompt_field),
        "keywords": bool(facts.keywords_field or facts.prompt_field),
        "temperature": not request.temperature,
    }
    done = {name for name, is_honoured in honoured.items() if is_honoured} | ANSWERED
    own = [name for name in type(request).model_fields if name not in done and getattr(request, name) is not None]
    extra = (name for name, value in (request.model_extra or {}).items() if value is not None)
    return (*own, *(name for name in extra if name not in facts.fields))


def to_call(plan: Plan[Any], sound: Sound, parts: Sequence[Heard]) -> Call | None:
    """The call for a piece; None for silence. With the text before it, where the piece before it has been heard."""
    if sound.is_silent:
        return None
    hearing: Hearing = plan.reading
    facts = hearing.facts
    options = dict(hearing.options)
    prompt = " ".join(each for each in (hearing.prompt, _carried(hearing, sound, parts)) if each)
    if facts.prompt_field and prompt:
        options[facts.prompt_field] = prompt
    encoding = ENCODINGS.get(sound.content_type.partition(";")[0].strip().lower())
    if facts.encoding_field and encoding:
        options[facts.encoding_field] = encoding
    return CALLS[plan.context.model.input_shape](plan.context, sound, options)


def _carried(hearing: Hearing, sound: Sound, parts: Sequence[Heard]) -> str:
    """The end of the text so far, in whole words."""
    follows = bool(parts) and abs(parts[-1].end - sound.start_seconds) <= GAP_SECONDS
    if not hearing.facts.prompt_field or not follows or hearing.options.get("condition_on_previous_text") is False:
        return ""
    text = ""
    for part in reversed(parts):
        text = joined([part.text, text])
        if len(text) > CARRIED_CHARACTERS:
            break
    if len(text) <= CARRIED_CHARACTERS:
        return text
    end = text[-CARRIED_CHARACTERS - 1 :]
    whole = end.partition(" ")[2]
    return whole or end[1:]


def _as_bytes(context: Context, sound: Sound, _options: Body) -> Call:
    return _bytes_call(context, sound, f"run/{context.model.id}")


def _as_query(context: Context, sound: Sound, options: Body) -> Call:
    """Lists are repeated: `keyterm=a&keyterm=b`."""
    spelt = {name: f"{value}".lower() if isinstance(value, bool) else value for name, value in options.items()}
    query = urlencode(spelt, doseq=True, errors="replace")
    return _bytes_call(context, sound, f"run/{context.model.id}{'?' if query else ''}{query}")


def _bytes_call(context: Context, sound: Sound, path: str) -> Call:
    return Call(
        context.model.id,
        path,
        {},
        affinity=context.affinity,
        content=sound.data,
        content_type=sound.content_type,
    )


def _as_base64(context: Context, sound: Sound, options: Body) -> Call:
    body = {"audio": base64.b64encode(sound.data).decode()} | options
    return Call(context.model.id, f"run/{context.model.id}", body, affinity=context.affinity)


CALLS = {"audio-bytes": _as_bytes, "audio-query": _as_query, "audio-base64": _as_base64}


def from_reply(plan: Plan[Any], sound: Sound, reply: Reply | None) -> Heard:
    """What was heard in a piece, and what that cost; nothing where there was no call. Raises Failure."""
    if reply is None:
        return _silence(plan, sound)
    heard = READERS[plan.context.model.output_shape](reply.body, Place.of(sound))
    price = plan.context.model.price
    neurons = neurons_of(sound.duration_seconds, price) if reply.neurons is None else reply.neurons
    return replace(
        heard,
        language=heard.language and (code_of(heard.language) or heard.language),
        usage=Usage(neurons=neurons, audio_seconds=sound.duration_seconds, is_priced=reply.neurons is None),
    )


def from_failure(plan: Plan[Any], sound: Sound, failure: Failure) -> Heard | None:
    """Silence, where the failure is how the model says that; None for a failure.

    Deepgram says of silence that it can't decode it. The recording was decoded before, so that it isn't broken.
    """
    hearing: Hearing = plan.reading
    is_silence = failure.code is not None and failure.code == hearing.facts.silence_code
    return _silence(plan, sound) if is_silence else None


def _silence(plan: Plan[Any], sound: Sound) -> Heard:
    place = Place.of(sound)
    return Heard(place.start, place.end, usage=Usage(neurons=neurons_of(0, plan.context.model.price)))


def neurons_of(seconds: float, price: Sequence[Price]) -> float | None:
    """By Cloudflare's price list; None where it has no price for minutes."""
    per_minute = next((each.neurons for each in price if each.unit == "audio_minute"), None)
    return None if per_minute is None else seconds / 60 * per_minute


TASKS = frozenset({"automatic-speech-recognition"})

transcriptions: SerialTranslator[TranscriptionRequest, Sound, Heard] = SerialTranslator(
    tasks=TASKS,
    endpoint="/v1/audio/transcriptions",
    to_plan=to_plan,
    to_call=to_call,
    from_reply=from_reply,
    from_failure=from_failure,
)
translations: SerialTranslator[TranslationRequest, Sound, Heard] = SerialTranslator(
    tasks=TASKS,
    endpoint="/v1/audio/translations",
    to_plan=to_plan,
    to_call=to_call,
    from_reply=from_reply,
    from_failure=from_failure,
)
