"""Translations: units of text through a model that does nothing but translate, and back in their order.

A reply without a translation, which Cloudflare's schema allows, gives an empty text for its unit and not a failure of
them all: whoever asked sees which one is missing and can try that one again. The same goes for a list of the wrong
length, whose texts nobody can tell apart.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from app.calls import Call, Reply, Usage
from app.catalog.translators import TranslatingFacts, translating_of
from app.errors import BadRequestError
from app.translators.base import Context, Plan, Translator
from app.translators.native_usage import usage_in
from app.translators.tokens import estimate_tokens
from app.translators.vectors import broken
from app.values import immutable

Batch = tuple[int, ...]
"""The places of the units that one call translates."""


class Direction(Protocol):
    """From one language into another, as tags: `en`, `pt-BR`, `zh-Hans`."""

    @property
    def source(self) -> str: ...

    @property
    def target(self) -> str: ...


@immutable
class UnitsRequest:
    """Texts to be translated, each by itself, in one direction."""

    units: tuple[str, ...]
    direction: Direction
    model: str = ""
    """A name of the catalogue, for whoever passes the request on; the plan goes by its context."""


def to_plan(request: UnitsRequest, context: Context) -> Plan[UnitsRequest]:
    """A call for each unit, or for as many as the model takes together; none for blank ones.

    Raises BadRequestError `unsupported_language` with the param `source_lang` or `target_lang`.
    """
    facts = translating_of(context.model.id)
    languages = _languages(request.direction, facts, context)
    batches = _batches(request.units, facts.max_texts)
    calls = tuple(_call(batch, request.units, languages, context) for batch in batches)
    return Plan(request, context, calls, reading=batches)


def from_replies(plan: Plan[UnitsRequest], replies: Sequence[Reply]) -> tuple[list[str], Usage]:
    """The translations, as many as units; see above for the empty ones among them. Blank units stay as they are.

    Raises Failure for a reply that is no object.
    """
    translations = list(plan.request.units)
    usage = Usage()
    for reply, batch in zip(replies, plan.reading, strict=True):
        texts = _texts(reply.body, len(batch))
        usage += _usage(reply, [plan.request.units[place] for place in batch], texts)
        for place, text in zip(batch, texts, strict=True):
            translations[place] = text
    return translations, usage


def _languages(direction: Direction, facts: TranslatingFacts, context: Context) -> dict[str, str]:
    source, target = facts.source_code(direction.source), facts.target_code(direction.target)
    if source is None:
        raise _unsupported("source_lang", f"read '{direction.source}'", context)
    if target is None:
        raise _unsupported("target_lang", f"write '{direction.target}'", context)
    return ({facts.source_field: source} if facts.source_field else {}) | {facts.target_field: target}


def _unsupported(param: str, what: str, context: Context) -> BadRequestError:
    return BadRequestError(f"The model '{context.name}' can't {what}.", param=param, code="unsupported_language")


def _batches(units: Sequence[str], most: int) -> list[Batch]:
    places = [place for place, unit in enumerate(units) if unit.strip()]
    return [tuple(places[start : start + most]) for start in range(0, len(places), most)]


def _call(batch: Batch, units: Sequence[str], languages: dict[str, str], context: Context) -> Call:
    texts = [units[place] for place in batch]
    text: Any = texts if translating_of(context.model.id).is_in_lists else texts[0]
    return Call(context.model.id, f"run/{context.model.id}", {"text": text} | languages)


def _texts(body: Any, count: int) -> list[str]:
    if not isinstance(body, dict):
        raise broken("sent a translation that can't be read")
    found = body.get("translations", [body.get("translated_text")])
    if not isinstance(found, list) or len(found) != count:
        return [""] * count
    return [text if isinstance(text, str) else "" for text in found]


def _usage(reply: Reply, units: Sequence[str], texts: Sequence[str]) -> Usage:
    """As Cloudflare counted it; its documents promise no count for translations."""
    counted = usage_in(reply.raw)
    if counted and counted.prompt_tokens:
        return Usage(
            counted.prompt_tokens,
            counted.completion_tokens,
            neurons=reply.neurons if counted.neurons is None else counted.neurons,
        )
    prompt_tokens, completion_tokens = (sum(map(estimate_tokens, each)) for each in (units, texts))
    return Usage(prompt_tokens, completion_tokens, neurons=reply.neurons, is_estimated=True)


translations = Translator(
    tasks=frozenset({"translation"}), endpoint="/translate", to_plan=to_plan, from_replies=from_replies
)
