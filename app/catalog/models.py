"""Model and Catalog: the rows of `models.json` as values, and the way from a caller's name to a row."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, fields, replace
from fnmatch import fnmatchcase, translate
from importlib import resources
from typing import Any, Literal

import orjson

from app.errors import ModelNotFoundError
from app.values import immutable

Status = Literal["current", "beta", "deprecated", "unlisted"]

MODEL_ID = re.compile(r"@(?:cf|hf)/[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
"""What goes into an upstream path literally, so nothing that could leave its place in one."""

WORKERS_AI = "workers-ai/"
"""What AI Gateway calls Cloudflare where it takes models of several providers."""


@immutable
class Price:
    """Neurons per unit: `input_tokens_M`, `cached_input_tokens_M`, `output_tokens_M`, `audio_minute`, ..."""

    unit: str
    neurons: float


@immutable
class Reasoning:
    """How a model's thinking is set. Source: section 4.9 of Cloudflare's published types, `AiModels`."""

    efforts: tuple[str, ...] = ()
    """The values of `reasoning_effort` that the model takes; empty if it has no such field."""
    effort_aliases: Mapping[str, str] = field(default_factory=dict)
    """OpenAI's other efforts -> one of `efforts`."""
    thinking_switch: str | None = None
    """The name in `chat_template_kwargs` that turns thinking on and off."""
    low_switch: str | None = None
    """The name in `chat_template_kwargs` that asks for less thinking."""
    off_suffix: str | None = None
    """A text after the last user turn that turns thinking off."""
    is_optional: bool = False


@immutable
class Quirks:
    """What else sets a model apart. The defaults are the plain case."""

    think_tags: Literal["none", "tagged", "untagged"] = "none"
    """Thoughts inside the text: never; between `<think>` tags; or from the start up to `</think>`, unopened."""
    turns: Literal["free", "alternating"] = "free"
    """`alternating`: only user and assistant turns, in turn, the user first."""
    picture_max_side: int = 2048
    """Pixels; larger pictures are scaled down before they are sent."""
    pooling: str | None = None
    """How an embedding model sums its tokens up, sent with every call: vectors of two poolings must never mix."""
    document_field: str = "text"
    """The field that takes the texts to embed."""
    query_field: str | None = None
    """The field for search queries, where the model tells them from documents."""
    can_shorten: bool = False
    """Its vectors may be cut to fewer dimensions (Matryoshka training)."""
    scores_contexts: bool = False
    """An embedding model that also takes `query` and `contexts` and scores them, as a reranker does."""
    max_call_tokens: int | None = None
    """What all texts of one call may have together."""
    fill_in_middle: tuple[str, str, str] | None = None
    """The marks around prompt and suffix of a model that was trained to fill in between: before, between, behind."""
    speaks_responses: bool = False
    """A text model that takes OpenAI's Responses as well as chats, but streams chats only."""
    license_prompt: str | None = None
    """A prompt that has to be sent once per account before the model answers (error 5016)."""


@immutable
class Model:
    """One model: what it can do, and how it reads and writes."""

    id: str
    task: str
    status: Status = "unlisted"
    input_shape: str = "chat-completions"
    output_shape: str = "openai-choices"
    capabilities: frozenset[str] = frozenset()
    context_window: int | None = None
    max_output_tokens: int | None = None
    default_max_tokens: int = 4096
    """Length of an answer when nobody sets one; models that think need more."""
    requires_paid_plan: bool = False
    replacement: str | None = None
    also_seen_as: tuple[str, ...] = ()
    created: int = 0
    """Unix seconds."""
    price: tuple[Price, ...] = ()
    embedding_dimensions: int | None = None
    max_input_tokens: int | None = None
    """Of one text, where that is less than the context window."""
    max_batch: int = 1
    """Texts in one call."""
    hazards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """A moderation model's codes -> OpenAI's categories; none where OpenAI has no such category."""
    voices: tuple[str, ...] = ()
    default_voice: str | None = None
    reasoning: Reasoning | None = None
    default_effort: str | None = None
    """The `reasoning_effort` of a caller who names none: some aliases turn thinking off."""
    picture_model: str | None = None
    """The model that takes over when pictures come with the request."""
    quirks: Quirks = Quirks()
    is_foreign: bool = False
    """It is another provider's, reached through AI Gateway."""

    @property
    def is_listed(self) -> bool:
        return self.status in ("current", "beta")

    def can(self, capability: str) -> bool:
        """Whether the model has a capability. One that is not in the catalogue is given the benefit of the doubt."""
        return self.status == "unlisted" or capability in self.capabilities

    def neurons(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float | None:
        """What the tokens cost, by Cloudflare's price list; None where it lists no token price."""
        per_million = {price.unit: price.neurons for price in self.price}
        if "input_tokens_M" not in per_million:
            return None
        full = per_million["input_tokens_M"]
        cached = per_million.get("cached_input_tokens_M", full)
        out = per_million.get("output_tokens_M", 0)
        return ((prompt_tokens - cached_tokens) * full + cached_tokens * cached + completion_tokens * out) / 1e6


@immutable
class Alias:
    """Another name for a model, with the options that belong to the name. `*` in the name matches any text."""

    name: str
    model: str
    reasoning_effort: str | None = None
    picture_model: str | None = None

    @classmethod
    def from_setting(cls, name: str, to: "str | Mapping[str, str]") -> "Alias":
        """Raises ValueError for an option that there is not."""
        if isinstance(to, str):
            return cls(name, to)
        try:
            return cls(name, **to)
        except TypeError as failure:
            known = ", ".join(each.name for each in fields(cls)[1:])
            raise ValueError(f"MODEL_ALIASES: {name!r} may have {known}, and needs model.") from failure


MOST_RESOLVED = 1024
"""Names whose models are remembered."""


class Catalog:
    """Every known model, and the names that lead to one."""

    def __init__(
        self,
        models: Iterable[Model],
        aliases: Iterable[Alias] = (),
        *,
        replace_retired_models: bool = True,
        is_foreign: Callable[[str], bool] | None = None,
        has_gateway: bool = False,
    ) -> None:
        """Of two aliases that match a name, an exact one wins, then the earlier one.

        `is_foreign`: whether a name is one of those that only AI Gateway knows. `has_gateway`: there is one.
        """
        self.aliases = tuple(aliases)
        self._models = {model.id: model for model in models}
        self._misspelt = {seen: model.id for model in self for seen in model.also_seen_as}
        self._replace_retired_models = replace_retired_models
        self._is_foreign = is_foreign
        self._has_gateway = has_gateway
        self._exact: dict[str, Alias] = {}
        self._patterns: list[Alias] = []
        for alias in self.aliases:
            if "*" in alias.name:
                self._patterns.append(alias)
            else:
                self._exact.setdefault(alias.name, alias)
        self._resolved: dict[str, Model] = {}
        self._any_pattern = re.compile("|".join(translate(alias.name) for alias in self._patterns) or r"(?!)")
        self.names = [model.id for model in self if model.is_listed] + list(self._exact)

    @classmethod
    def load(
        cls,
        aliases: Mapping[str, str | Mapping[str, str]] | None = None,
        *,
        replace_retired_models: bool = True,
        is_foreign: Callable[[str], bool] | None = None,
        has_gateway: bool = False,
    ) -> "Catalog":
        """The built-in catalogue; `aliases` come before its own.

        An alias that leads nowhere is refused with a ValueError: better at the start than at a request.
        """
        rows = orjson.loads(resources.files(__package__).joinpath("models.json").read_bytes())
        own = [Alias.from_setting(name, to) for name, to in (aliases or {}).items()]
        built_in = [Alias.from_setting(name, to) for name, to in rows["aliases"].items()]
        models = [_model(row) for row in rows["models"]]
        catalog = cls(
            models,
            own + built_in,
            replace_retired_models=replace_retired_models,
            is_foreign=is_foreign,
            has_gateway=has_gateway,
        )
        for alias in own:
            try:
                catalog.resolve(alias.model)
                catalog.resolve(alias.picture_model or alias.model)
            except ModelNotFoundError as failure:
                raise ValueError(f"MODEL_ALIASES: {alias.name!r} leads to no model. {failure}") from failure
        return catalog

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, model_id: str) -> Model | None:
        return self._models.get(model_id)

    def resolve(self, name: str) -> Model:
        """The model that a caller's name leads to.

        A retired model leads to its successor. A name that is unknown but has the form of a model id is
        believed, and spoken to in the default shapes. Raises ModelNotFoundError for everything else.
        """
        model = self._resolved.get(name)
        if model is None:
            model = self._resolve(name)
            if len(self._resolved) >= MOST_RESOLVED:  # callers may invent names
                self._resolved.clear()
            self._resolved[name] = model
        return model

    def check(self, setting: str, names: Iterable[str]) -> None:
        """Better refused at the start than at a request. Raises ValueError for the first that leads to no model."""
        for name in names:
            try:
                self.resolve(name)
            except ModelNotFoundError as failure:
                raise ValueError(f"{setting}: {name!r} leads to no model. {failure}") from failure

    def _resolve(self, name: str) -> Model:
        alias = self._alias(name)
        if alias is None:
            return self._named(name)
        further = self._alias(alias.model)  # a user's alias may lead to one of ours
        if further and further is not alias:
            alias = replace(
                further,
                reasoning_effort=alias.reasoning_effort or further.reasoning_effort,
                picture_model=alias.picture_model or further.picture_model,
            )
        model = self._named(alias.model)
        return replace(model, default_effort=alias.reasoning_effort, picture_model=alias.picture_model)

    def _alias(self, name: str) -> Alias | None:
        exact = self._exact.get(name)
        if exact or name in self._models or not self._any_pattern.match(name):
            return exact
        return next((alias for alias in self._patterns if fnmatchcase(name, alias.name)), None)

    def _named(self, name: str) -> Model:
        model = self._models.get(name) or self._models.get(self._misspelt.get(name, f"@cf/{name}"))
        if model and model.status == "deprecated" and model.replacement and self._replace_retired_models:
            model = self._models[model.replacement]
        if model:
            return model
        if MODEL_ID.fullmatch(name) and ".." not in name and len(name) <= 200:
            return Model(name, "text-generation", quirks=Quirks(think_tags="tagged"))
        if self._is_foreign and self._is_foreign(name):
            return self._foreign(name)
        raise ModelNotFoundError(name, self.names)

    def _foreign(self, name: str) -> Model:
        if not self._has_gateway:
            hint = "It is reached through an AI Gateway only, and AI_GATEWAY_ID is not set."
            raise ModelNotFoundError(name, hint=hint)
        if not name.startswith(WORKERS_AI):
            return Model(name, "text-generation", is_foreign=True)
        model = self._named(name.removeprefix(WORKERS_AI))
        if model.task != "text-generation":  # the gateway needs no other name for it
            return model
        return replace(
            model,
            id=WORKERS_AI + model.id,
            input_shape="chat-completions",
            output_shape="openai-choices",
            quirks=replace(model.quirks, speaks_responses=False),  # the gateway's host knows only chats of this name
        )


def _model(row: dict[str, Any]) -> Model:
    known = {each.name for each in fields(Model)}
    return Model(
        **{key: value for key, value in row.items() if key in known}
        | {
            "capabilities": frozenset(row.get("capabilities", ())),
            "also_seen_as": tuple(row.get("also_seen_as", ())),
            "hazards": {code: tuple(categories) for code, categories in row.get("hazards", {}).items()},
            "voices": tuple(row.get("voices", ())),
            "price": tuple(Price(unit, neurons) for unit, neurons in row.get("price", {}).items()),
            "reasoning": Reasoning(**row["reasoning"]) if "reasoning" in row else None,
            "quirks": Quirks(**row.get("quirks", {})),
        }
    )
