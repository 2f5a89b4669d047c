"""Speech: a text in pieces that the model takes, one call for each, and what the sounds shall become.

Joining, stretching and writing sounds is the business of whoever reads `Delivery`. Where we differ from OpenAI:

1. A voice that the model doesn't have is its own default voice, never an error: every client ships OpenAI's names.
2. `instructions` have no counterpart.
3. Texts may be longer than 4096 characters.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from app.calls import Call, Failure, Reply, Usage
from app.catalog import Model
from app.catalog.sounds import SpeakingFacts, speaking_of
from app.errors import BadRequestError
from app.languages.codes import code_of
from app.languages.detect import detect
from app.schemas.speech import Format, SpeechRequest, StreamFormat
from app.translators.base import Context, Plan, Translator
from app.translators.sentences import chunks
from app.translators.tokens import estimate_tokens
from app.translators.vectors import broken
from app.values import immutable

ANSWERED = frozenset({"model", "input", "response_format", "speed", "stream_format", "stream"})
"""Fields that are always honoured, by the model or by whoever delivers its sound."""

OPENAI_VOICES = frozenset(
    {
        "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
        "verse",
    }
)  # fmt: skip
FULL_NAME = re.compile(r"[a-z]+(?:-\d+)?-([a-z]+)-[a-z]{2}")
"""Deepgram's names for its speakers: family, generation, speaker, language."""

ANY_LANGUAGE = frozenset({"", "auto", "multi"})
"""Clients' ways to leave the language to the server."""


@immutable
class Delivery:
    """What the sounds of a plan's calls shall become, joined in their order."""

    wanted: Format
    """What the caller gets."""
    asked: Format | None
    """What the calls ask the model for; None if it answers in whatever format it likes."""
    speed: float
    """Times as fast as the model speaks: what the model can't do has to be done to its sound."""
    stream_format: StreamFormat
    characters: int
    """Sent, in all calls."""


def to_plan(request: SpeechRequest, context: Context) -> Plan[SpeechRequest]:
    """A call for each piece of the text. Raises BadRequestError for a language that the model doesn't speak."""
    model, facts = context.model, speaking_of(context.model.id)
    pieces = [stripped for piece in chunks(request.input.strip(), facts.max_characters) if (stripped := piece.strip())]
    speaker, is_voice_lost = _speaker(request.voice_name, model, facts)
    asked = _asked(request, len(pieces), facts)
    shared = speaker | _language(request, context, facts) | dict(facts.formats.get(asked or "", {}))
    calls = tuple(Call(model.id, f"run/{model.id}", {facts.text_field: piece} | shared) for piece in pieces)
    delivery = Delivery(
        wanted=request.response_format or "mp3",
        asked=asked,
        speed=request.speed or 1,
        stream_format=request.stream_format or "audio",
        characters=sum(map(len, pieces)),
    )
    return Plan(request, context, calls, _ignored(request, facts, is_voice_lost=is_voice_lost), delivery)


def _asked(request: SpeechRequest, count: int, facts: SpeakingFacts) -> Format | None:
    """The format to ask for. As samples, several sounds join without a click, and can be stretched."""
    wanted = request.response_format or "mp3"
    if count == 1 and request.speed in (None, 1) and wanted in facts.formats:
        return wanted
    return "pcm" if "pcm" in facts.formats else None


def _speaker(name: str | None, model: Model, facts: SpeakingFacts) -> tuple[dict[str, str], bool]:
    """The field that names the speaker, and whether the caller's voice got lost."""
    if not facts.voice_field:
        return {}, name is not None
    found = name and _native(name.lower(), model, facts.voices)
    speaker = found or model.default_voice
    return {facts.voice_field: speaker} if speaker else {}, bool(name and not found)


def _native(name: str, model: Model, voices: Mapping[str, str]) -> str | None:
    """The model's own speakers first: some of OpenAI's names might be among them.

    Of a model whose speakers nobody has listed, any name is believed that is not one of OpenAI's.
    """
    full = FULL_NAME.fullmatch(name)
    if full and (full[1] in model.voices or not model.voices):
        return full[1]
    if not model.voices:
        return None if name in OPENAI_VOICES else name
    return name if name in model.voices else voices.get(name)


def _language(request: SpeechRequest, context: Context, facts: SpeakingFacts) -> dict[str, str]:
    """The field that names the language: as the caller says, else as the text shows."""
    if not facts.language_field:
        return {}
    field, given = ("language", request.language) if request.language else ("lang", request.lang or "")
    if given.strip().lower() in ANY_LANGUAGE:
        found = detect(request.input, facts.languages.keys())
        own = facts.languages[facts.default_language]
        return {facts.language_field: facts.languages.get(found.code, own) if found else own}
    known = code_of(given)
    if known is None or known not in facts.languages:
        spoken = ", ".join(sorted(facts.languages))
        message = f"The model '{context.name}' does not speak '{given[:40]}', but {spoken}."
        raise BadRequestError(message, param=field, code="unsupported_language")
    return {facts.language_field: facts.languages[known]}


def _ignored(request: SpeechRequest, facts: SpeakingFacts, *, is_voice_lost: bool) -> tuple[str, ...]:
    """The fields that ask for something and won't get it."""
    done = set(ANSWERED)
    if not is_voice_lost:
        done.add("voice")
    if facts.language_field:
        done |= {"language", "lang"}
    given = {name: getattr(request, name) for name in SpeechRequest.model_fields} | (request.model_extra or {})
    return tuple(name for name, value in given.items() if name not in done and value not in (None, ""))


def usage_of(plan: Plan[SpeechRequest], seconds: float = 0) -> Usage:
    """What a plan consumes, once its sound is `seconds` long (0: not known). Neurons are those of the price list."""
    delivery: Delivery = plan.reading
    counts = {"characters_1k": delivery.characters / 1000, "audio_minute": seconds / 60}
    costs = [price.neurons * counts[price.unit] for price in plan.context.model.price if counts.get(price.unit)]
    return Usage(
        estimate_tokens(plan.request.input),
        neurons=sum(costs) if costs else None,
        is_estimated=True,
        is_priced=True,
        audio_seconds=seconds,
    )


def from_replies(plan: Plan[SpeechRequest], replies: Sequence[Reply]) -> tuple[list[bytes], Usage]:
    """The sounds as they came, one for each call. Raises Failure."""
    usage = usage_of(plan)
    charges = [reply.neurons for reply in replies if reply.neurons is not None]
    if len(charges) == len(replies):
        usage = replace(usage, neurons=sum(charges), is_priced=False)
    return [audio_in(reply.body) for reply in replies], usage


def audio_in(body: Any) -> bytes:
    """The sound in a reply: bytes, base64 in `audio`, a list of numbers, or an object of numbers by their places.

    The last is what becomes of bytes where JavaScript writes them as JSON. Raises Failure for what is no sound.
    """
    data = body if isinstance(body, bytes) else _from_json(body)
    if not data:
        raise broken("sent an answer without a sound")
    return data


def _from_json(body: Any) -> bytes:
    if isinstance(body, list):
        return _from_numbers(body)
    if not isinstance(body, dict):
        return b""
    if "audio" in body:
        return _from_base64(body["audio"])
    return _from_numbers([body.get(str(i)) for i in range(len(body))])


def _from_numbers(numbers: list[Any]) -> bytes:
    if not all(type(number) is int and 0 <= number <= 255 for number in numbers):
        raise _unreadable()
    return bytes(numbers)


def _from_base64(text: Any) -> bytes:
    if not isinstance(text, str):
        return b""
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except ValueError as failure:
        raise _unreadable() from failure


def _unreadable() -> Failure:
    return broken("sent a sound that can't be read")


def delta_event(audio: bytes) -> bytes:
    """A piece of the sound, as an event of `stream_format: sse`."""
    return _event("speech.audio.delta", {"audio": base64.b64encode(audio).decode()})


def done_event(usage: Usage) -> bytes:
    """The last event of a stream."""
    tokens = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    return _event("speech.audio.done", {"usage": tokens})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | fields))


speech = Translator(
    tasks=frozenset({"text-to-speech"}), endpoint="/v1/audio/speech", to_plan=to_plan, from_replies=from_replies
)
