"""Chat completions, from OpenAI's request to the calls that answer it.

A model's row names the dialect it reads: `prompt-or-messages` runs natively at `ai/run/{model}`, which alone has
`top_k`, `repetition_penalty`, `lora` and the bare JSON schema; `chat-completions` goes to `ai/v1/chat/completions`,
which takes every family and so serves the models that are not in the catalogue too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.calls import Call
from app.catalog import Model
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest
from app.translators import json_mode, tool_emulation, tools
from app.translators.base import Context, Picture, Plan, Translator
from app.translators.budget import max_tokens
from app.translators.chat_again import again
from app.translators.chat_writer import ChatStream, to_completion
from app.translators.json_mode import Wanted
from app.translators.reading import Reading
from app.translators.sources import asked_source
from app.translators.thinking import COUSINS, Thinking, thinking_of
from app.translators.tokens import estimate_tokens
from app.translators.tools import Offer
from app.translators.turns import Turn, call_ids, instruct, pictures_in, to_turns
from app.values import immutable

Body = dict[str, Any]

HANDLED = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop", "seed",
        "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
        "reasoning_effort", "prompt_cache_key", *COUSINS,
    }
)  # fmt: skip
"""Fields that are put in the model's terms one by one. All others are passed on as they came."""

PASSED = tuple(name for name in ChatCompletionRequest.model_fields if name not in HANDLED)

HARMLESS = frozenset(
    {
        "user", "store", "metadata", "service_tier", "prompt_cache_retention", "safety_identifier", "prediction",
        "verbosity", "web_search_options", "modalities", "audio", "gateway",
    }
)  # fmt: skip
"""OpenAI's fields without a counterpart that don't change what an answer means."""

REFUSED = frozenset({"prompt", "requests", "raw"})
"""Fields of `ai/run` that would make another request of a chat."""

SEEDS = {"chat-completions": range(-(2**63), 2**63), "prompt-or-messages": range(1, 10**10)}
"""Source of the second: Cloudflare's docs, Workers AI, the native models' schemas."""

LEAST_TOP_P = 0.001
"""OpenAI takes 0, Workers AI and vLLM take what is above it."""

PER_PICTURE = 1500
"""Tokens that a picture is taken for: the larger vision models need about that for 2048 pixels."""


@immutable
class Wish:
    """A request, taken apart."""

    request: ChatCompletionRequest
    context: Context
    offer: Offer
    wanted: Wanted | None
    thinking: Thinking
    turns: list[Turn]
    prompt_tokens: int
    """Estimated."""

    @property
    def has_json_mode(self) -> bool:
        return _has_json_mode(self.context.model, self.offer)

    @property
    def has_native_tools(self) -> bool:
        """Whether there are tools to be sent as such, and not in the prompt."""
        return bool(self.offer.functions) and not self.context.emulates_tools

    @property
    def is_emulated(self) -> bool:
        """Whether there are tools in the prompt."""
        return self.offer.is_open and self.context.emulates_tools


def to_plan(request: ChatCompletionRequest, context: Context) -> Plan[ChatCompletionRequest]:
    """One call for each choice. Raises BadRequestError for what the model can't do."""
    wish = _wish(request, context)
    body, ignored = _body(wish)
    is_whole = not request.stream or wish.wanted is not None or _needs_check(wish)
    call = _call(context, body, stream=not is_whole)
    calls = (call, *[_choice(call, i, context.model) for i in range(1, request.n or 1)])
    return Plan(request, context, calls, ignored, _reading(wish))


def _wish(request: ChatCompletionRequest, context: Context) -> Wish:
    offer, wanted = tools.to_offer(request), json_mode.to_wanted(request.response_format)
    is_emulated = offer.is_open and context.emulates_tools
    if offer.is_open and not (is_emulated or context.model.can("function-calling")):
        raise BadRequestError(
            f"The model '{context.name}' can't call tools. GET /v1/models lists those with 'function-calling'.",
            param="functions" if offer.is_legacy else "tools",
            code="unsupported_parameter",
        )
    thinking = thinking_of(request, context.model)
    turns = to_turns(request.messages, context)
    if thinking.suffix:
        _append(turns, thinking.suffix)
    if is_emulated:
        instruct(turns, tool_emulation.instruction(offer), context.model)
    if wanted and not _has_json_mode(context.model, offer):
        unless = "If you call no tool: " if is_emulated else ""
        instruct(turns, unless + json_mode.instruction(wanted), context.model)
    told = tools.NOTHING if context.emulates_tools else offer  # in the turns, they are counted there
    return Wish(request, context, offer, wanted, thinking, turns, _tokens(turns, told))


def _has_json_mode(model: Model, offer: Offer) -> bool:
    """Whether JSON can be asked for in the model's own terms; with tools beside it it can't."""
    return model.can("json-mode") and not offer.is_open


def _tokens(turns: list[Turn], offer: Offer) -> int:
    """Of the whole prompt, estimated."""
    tokens = 4 * len(turns)
    for turn in turns:
        content = turn["content"]
        for part in content if isinstance(content, list) else [{"text": content}]:
            tokens += estimate_tokens(part["text"]) if "text" in part else PER_PICTURE
        for call in turn.get("tool_calls", ()):
            tokens += estimate_tokens(call["function"]["arguments"])
    if offer.functions:
        tokens += estimate_tokens(asked_source(list(offer.functions.values()), "tools"))
    return tokens


def _append(turns: list[Turn], suffix: str) -> None:
    """Put `suffix` behind the last text of the user."""
    for turn in reversed(turns):
        if turn["role"] == "user" and isinstance(turn["content"], str):
            turn["content"] += f" {suffix}"
            return


def _needs_check(wish: Wish) -> bool:
    """Whether a call must be seen whole: upstream takes a forced tool for advice, save for one named in `chat`."""
    takes_names = wish.has_native_tools and wish.context.model.input_shape == "chat-completions"
    is_enforced = wish.offer.choice == "named" and takes_names
    return wish.offer.is_forced and not is_enforced


def _body(wish: Wish) -> tuple[Body, tuple[str, ...]]:
    request = wish.request
    fields = request.__dict__
    given = {name: value for name in PASSED if (value := fields[name]) is not None}
    if extra := request.model_extra:
        given |= {name: value for name, value in extra.items() if value is not None and name not in HANDLED}
        for field in REFUSED & given.keys():
            message = f"'{field}' is not a field of chat completions."
            raise BadRequestError(message, param=field, code="unknown_parameter")
    if isinstance(modalities := given.get("modalities"), list | str) and "audio" in modalities:
        raise BadRequestError("Answers can't be spoken.", param="modalities", code="unsupported_parameter")
    ignored = [*wish.offer.ignored, *wish.thinking.unheard]
    body: Body = given
    if harmless := HARMLESS & given.keys():
        ignored = [key for key in given if key in harmless] + ignored
        body = {key: value for key, value in given.items() if key not in harmless}
    body["messages"] = wish.turns
    body |= _length(wish)
    body |= _thinking_fields(wish.thinking, body.get("chat_template_kwargs"))
    if "top_p" in body:
        body["top_p"] = max(body["top_p"], LEAST_TOP_P)
    seed, shape = request.seed, wish.context.model.input_shape
    if seed is not None and seed in SEEDS[shape]:
        body["seed"] = seed
    elif seed is not None:
        ignored.append("seed")
    INPUTS[shape](wish, body)
    return body, tuple(ignored)


def _length(wish: Wish) -> Body:
    """How long the answer may be. Other providers have limits of their own, and each takes one of the fields only."""
    request = wish.request
    if wish.context.model.is_foreign:
        given = {"max_completion_tokens": request.max_completion_tokens, "max_tokens": request.max_tokens}
        return {name: tokens for name, tokens in given.items() if tokens is not None}
    asked = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    return {"max_tokens": max_tokens(wish.context, asked, wish.prompt_tokens)}


def _thinking_fields(thinking: Thinking, kwargs: Any) -> Body:
    """With the caller's own template options, which win: ours may come from the name of the model only."""
    if kwargs is None:
        return dict(thinking.fields)
    if not isinstance(kwargs, dict):
        param = "chat_template_kwargs"
        raise BadRequestError("chat_template_kwargs must be an object.", param=param, code="invalid_value")
    return {**thinking.fields, "chat_template_kwargs": thinking.fields.get("chat_template_kwargs", {}) | kwargs}


def _to_chat(wish: Wish, body: Body) -> None:
    """OpenAI's dialect: `ai/v1/chat/completions`."""
    request, offer = wish.request, wish.offer
    if wish.has_native_tools:
        body["tools"] = tools.nested(offer)
        body["parallel_tool_calls"] = offer.is_parallel
        body["tool_choice"] = offer.choice
        if offer.choice == "named":
            body["tool_choice"] = {"type": "function", "function": {"name": next(iter(offer.functions))}}
    if request.stops and not wish.is_emulated:  # it would end a call in the middle
        body["stop"] = list(request.stops[:4])  # upstream takes no more; the reader enforces all
    if wish.wanted and wish.has_json_mode:
        body["response_format"] = json_mode.enveloped(wish.wanted)


def _to_native(wish: Wish, body: Body) -> None:
    """Cloudflare's own dialect: `ai/run/{model}`. `stop` is unknown to it and enforced by the reader."""
    offer = wish.offer
    for field in ("logprobs", "top_logprobs", "logit_bias"):
        if body.pop(field, None):
            raise BadRequestError(
                f"The model '{wish.context.name}' has no '{field}'.", param=field, code="unsupported_parameter"
            )
    if offer.is_open and wish.has_native_tools:
        body["tools"] = tools.strict(offer)
        body["tool_choice"] = "required" if offer.is_forced else "auto"
    if wish.wanted and wish.has_json_mode:
        body["response_format"] = json_mode.bare(wish.wanted)
    license_prompt = wish.context.model.quirks.license_prompt
    is_bare = not (wish.wanted or offer.is_open)
    if license_prompt and is_bare and [turn["content"] for turn in wish.turns] == [license_prompt]:
        del body["messages"]
        body["prompt"] = license_prompt


INPUTS: dict[str, Callable[[Wish, Body], None]] = {
    "chat-completions": _to_chat,
    "prompt-or-messages": _to_native,
}
PATHS = {"chat-completions": "v1/chat/completions", "prompt-or-messages": "run/{model}"}


def _call(context: Context, body: Body, *, stream: bool) -> Call:
    shape = context.model.input_shape
    path = PATHS[shape].format(model=context.model.id)
    named = {"model": context.model.id} if shape == "chat-completions" else {}
    options = {"stream_options": {"include_usage": True}} if stream and shape == "chat-completions" else {}
    return Call(context.model.id, path, named | body | {"stream": stream} | options, stream, context.affinity)


def _choice(call: Call, i: int, model: Model) -> Call:
    """The same call for another choice: with a fixed seed the answers would be equal."""
    call = replace(call, choice=i)
    if "seed" not in call.body:
        return call
    seeds = SEEDS[model.input_shape]
    seed = seeds.start + (call.body["seed"] + i - seeds.start) % (seeds.stop - seeds.start)
    return replace(call, body=call.body | {"seed": seed})


def _reading(wish: Wish) -> Reading:
    return Reading(
        think_tags=wish.context.model.quirks.think_tags,
        offer=wish.offer,
        stops=wish.request.stops,
        wanted=wish.wanted,
        prompt_tokens=wish.prompt_tokens,
        used_ids=call_ids(wish.request.messages),
        id=wish.context.id,
        is_emulated=wish.is_emulated,
    )


def _pictures(request: ChatCompletionRequest) -> list[Picture]:
    return pictures_in(request.messages)


chat = Translator(
    tasks=frozenset({"text-generation", "moderation"}),
    endpoint="/v1/chat/completions",
    to_plan=to_plan,
    from_replies=to_completion,
    to_stream=ChatStream,
    again=again,
    pictures=_pictures,
)
