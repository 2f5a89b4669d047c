"""Engines: what translates units, a model made for it or a chat model, behind one interface."""

from collections.abc import Callable, Sequence
from typing import Protocol

from app.calls import Caller
from app.catalog import Catalog, Model
from app.catalog.translators import HEED_MANNER, translating_model, translating_of
from app.errors import BadRequestError, ModelNotFoundError
from app.relay import Relay
from app.translation.charges import Charges, charges_of
from app.translation.masks import FOR_CHAT_MODELS, FOR_TRANSLATION_MODELS, Style
from app.translation.prompts import LLM_MOST_CHARACTERS, LLM_MOST_UNITS, from_chat, to_chat
from app.translation.wishes import Direction, Manner, Split
from app.translators.chat import chat
from app.translators.translations import UnitsRequest, translations
from app.values import immutable

Versions = list[str]
"""A translation, then its alternatives; empty if there is none."""

THOUGHTS_TOKENS = 8000
"""What a model that can't leave thinking may spend on it."""


@immutable
class Batch:
    """What an engine made of some units."""

    versions: list[Versions]
    charges: Charges


class Engine(Protocol):
    @property
    def model(self) -> Model: ...

    @property
    def styles(self) -> Sequence[Style]:
        """How masks are written for it, to be tried in this order."""

    @property
    def split(self) -> Split: ...

    @property
    def most_characters(self) -> int:
        """Of a unit."""

    @property
    def most_units(self) -> int:
        """Of a call."""

    @property
    def most_together(self) -> int:
        """Characters of a call."""

    @property
    def heeds_manner(self) -> bool:
        """Formality, context, glossary and alternatives reach it."""

    def can(self, direction: Direction) -> bool: ...

    async def run(
        self, units: Sequence[str], direction: Direction, manner: Manner, alternatives: int, caller: Caller
    ) -> Batch:
        """Raises APIStatusError."""


class TranslationModel:
    """A model that does nothing else."""

    styles = FOR_TRANSLATION_MODELS
    split: Split = "sentences"
    heeds_manner = HEED_MANNER["translation"]

    def __init__(self, relay: Relay, name: str, model: Model) -> None:
        self._relay = relay
        self._name = name
        self._facts = translating_of(model.id)
        self.model = model
        self.most_characters = self._facts.safe_characters
        self.most_units = self._facts.max_texts
        self.most_together = self._facts.max_texts * self._facts.max_characters

    def can(self, direction: Direction) -> bool:
        facts = self._facts
        return facts.source_code(direction.source) is not None and facts.target_code(direction.target) is not None

    async def run(
        self,
        units: Sequence[str],
        direction: Direction,
        manner: Manner,  # noqa: ARG002 - other engines heed it
        alternatives: int,  # noqa: ARG002
        caller: Caller,
    ) -> Batch:
        request = UnitsRequest(tuple(units), direction, self._name)
        answer = await self._relay.complete(translations, self._name, request, caller)
        return Batch([[text] if text else [] for text in answer.body], charges_of(answer))


class ChatModel:
    """Any model that follows instructions. What it can't unpack it sends again in halves, down to single units."""

    styles = FOR_CHAT_MODELS
    split: Split = "lines"
    most_characters = LLM_MOST_CHARACTERS // 2
    most_units = LLM_MOST_UNITS
    most_together = LLM_MOST_CHARACTERS
    heeds_manner = HEED_MANNER["text-generation"]

    def __init__(self, relay: Relay, name: str, model: Model) -> None:
        self._relay = relay
        self._name = name
        self.model = model

    def can(self, direction: Direction) -> bool:  # noqa: ARG002 - who knows
        return True

    async def run(
        self, units: Sequence[str], direction: Direction, manner: Manner, alternatives: int, caller: Caller
    ) -> Batch:
        thinks = self.model.can("reasoning") and not (self.model.reasoning and self.model.reasoning.is_optional)
        spare = THOUGHTS_TOKENS if thinks else 0
        request = to_chat(units, direction, manner, model=self._name, alternatives=alternatives, spare_tokens=spare)
        answer = await self._relay.complete(chat, self._name, request, caller)
        text = answer.body["choices"][0]["message"]["content"] or ""
        versions, charges = from_chat(text, len(units)), charges_of(answer)
        if versions is not None:
            return Batch(versions, charges)
        if len(units) == 1:
            return Batch([[]], charges)
        middle = len(units) // 2
        first = await self.run(units[:middle], direction, manner, alternatives, caller)
        second = await self.run(units[middle:], direction, manner, alternatives, caller)
        return Batch(first.versions + second.versions, charges + first.charges + second.charges)


KINDS: dict[str, Callable[[Relay, str, Model], Engine]] = {
    "translation": TranslationModel,
    "text-generation": ChatModel,
}
"""A model's task -> the engine that it drives."""


class Engines:
    """Which engine translates what."""

    def __init__(self, relay: Relay, catalog: Catalog, default: str, fallback: str | None) -> None:
        """`default` and `fallback` are names of the catalogue. Raises ValueError for one that can't translate."""
        self._relay = relay
        self._catalog = catalog
        self.default = self._checked(default)
        self.fallback = self._checked(fallback) if fallback else None
        self._specialists: list[Engine] = [
            TranslationModel(relay, model.id, model)
            for model in catalog
            if model.task == "translation" and model.is_listed and translating_of(model.id).is_specialist
        ]

    def named(self, name: str) -> Engine:
        """Raises BadRequestError for a model that can't translate, ModelNotFoundError."""
        model = translating_model(self._catalog, name)
        return KINDS[model.task](self._relay, name, model)

    def engine_for(self, direction: Direction, name: str | None) -> Engine:
        """The caller's, if it has named one; else a specialist of the two languages, the default, or the fallback.

        Raises BadRequestError for languages that nobody can translate.
        """
        if name:
            candidates: list[Engine] = [self.named(name)]
        else:
            specialists = self._specialists if isinstance(self.default, TranslationModel) else []
            candidates = [*specialists, self.default, *([self.fallback] if self.fallback else [])]
        for engine in candidates:
            if engine.can(direction):
                return engine
        message = f"There is no translation from '{direction.source}' to '{direction.target}'."
        raise BadRequestError(message, param="target_lang", code="unsupported_language")

    def _checked(self, name: str) -> Engine:
        try:
            return self.named(name)
        except (BadRequestError, ModelNotFoundError) as failure:
            raise ValueError(failure.message) from failure
