"""Chat completions, from OpenAI's request to the calls that answer it, and what to try when one of them fails.

A model's row names the dialect it reads: `prompt-or-messages` runs natively at `ai/run/{model}`, which alone has
`top_k`, `repetition_penalty`, `lora` and the bare JSON schema; `chat-completions` goes to `ai/v1/chat/completions`,
which takes every family and so serves the models that are not in the catalogue too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.calls import Call, Failure, FailureKind, Reply
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest
from app.translators import json_mode, tools
from app.translators.base import Context, Picture, Plan, Translator
from app.translators.chat_reader import ChatReader, Reading
from app.translators.chat_writer import ChatStream, to_completion
from app.translators.json_mode import Wanted
from app.translators.thinking import COUSINS, Thinking, to_thinking, wanted_effort
from app.translators.tokens import estimate_tokens
from app.translators.tools import Offer
from app.translators.turns import Turn, call_ids, pictures_in, to_turns

Body = dict[str, Any]

HANDLED = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop", "seed",
        "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
        "reasoning_effort", *COUSINS,
    }
)  # fmt: skip
"""Fields that are put in the model's terms one by one. All others are passed on as they came."""

HARMLESS = frozenset(
    {
        "user", "store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
        "prediction", "verbosity", "web_search_options", "modalities", "audio",
    }
)  # fmt: skip
"""OpenAI's fields without a counterpart that don't change what an answer means."""

REFUSED = frozenset({"prompt", "requests", "raw"})
"""Fields of `ai/run` that would make another request of a chat."""

MARGIN = 64
"""Tokens left free between an estimated prompt, its answer and the end of the context window."""

PER_PICTURE = 1500
"""Tokens that a picture is taken for: the larger vision models need about that for 2048 pixels."""


@dataclass(frozen=True, slots=True)
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
        """Whether JSON can be asked for in the model's own terms; with tools beside it it can't."""
        return self.context.model.can("json-mode") and not self.offer.is_open


def to_plan(request: ChatCompletionRequest, context: Context) -> Plan[ChatCompletionRequest]:
    """One call for each choice. Raises BadRequestError for what the model can't do."""
    wish = _wish(request, context)
    body, ignored = _body(wish)
    is_whole = not request.stream or wish.wanted is not None or _needs_check(wish)
    call = _call(context, body, stream=not is_whole)
    calls = tuple(_choice(call, i, request.seed) for i in range(request.n or 1))
    return Plan(request, context, calls, ignored, _reading(wish))


def _wish(request: ChatCompletionRequest, context: Context) -> Wish:
    offer, wanted = tools.to_offer(request), json_mode.to_wanted(request.response_format)
    thinking = to_thinking(wanted_effort(request), context.model)
    turns = to_turns(request.messages, context)
    if thinking.suffix:
        _append(turns, thinking.suffix)
    texts = [turn["content"] for turn in turns]
    tokens = sum(_tokens(content) for content in texts) + 4 * len(turns)
    if offer.functions:
        tokens += estimate_tokens(orjson.dumps(list(offer.functions.values())).decode())
    return Wish(request, context, offer, wanted, thinking, turns, tokens)


def _tokens(content: str | list[Any]) -> int:
    if isinstance(content, str):
        return estimate_tokens(content)
    return sum(estimate_tokens(part["text"]) if "text" in part else PER_PICTURE for part in content)


def _append(turns: list[Turn], suffix: str) -> None:
    """Put `suffix` behind the last text of the user."""
    for turn in reversed(turns):
        if turn["role"] == "user" and isinstance(turn["content"], str):
            turn["content"] += f" {suffix}"
            return


def _needs_check(wish: Wish) -> bool:
    """Whether a call must be seen whole: upstream takes a forced tool for advice, save for one named in `chat`."""
    is_enforced = wish.offer.choice == "named" and wish.context.model.input_shape == "chat-completions"
    return wish.offer.is_forced and not is_enforced


def _body(wish: Wish) -> tuple[Body, tuple[str, ...]]:
    given = {
        key: value
        for key, value in (wish.request.__dict__ | (wish.request.model_extra or {})).items()
        if value is not None and key not in HANDLED
    }
    for field in REFUSED & given.keys():
        raise BadRequestError(f"'{field}' is not a field of chat completions.", param=field, code="unknown_parameter")
    if "audio" in (given.get("modalities") or ()):
        raise BadRequestError("Answers can't be spoken.", param="modalities", code="unsupported_parameter")
    ignored = [key for key in given if key in HARMLESS] + list(wish.offer.ignored)
    body: Body = {key: value for key, value in given.items() if key not in HARMLESS}
    body["messages"] = wish.turns
    body["max_tokens"] = _max_tokens(wish)
    if not wish.thinking.is_honoured:
        ignored.append("reasoning_effort")
    if wish.thinking.fields:
        kwargs = given.get("chat_template_kwargs", {}) | wish.thinking.fields.get("chat_template_kwargs", {})
        body |= dict(wish.thinking.fields) | ({"chat_template_kwargs": kwargs} if kwargs else {})
    if wish.wanted and not wish.has_json_mode:
        _instruct(wish.turns, json_mode.instruction(wish.wanted))
    INPUTS[wish.context.model.input_shape](wish, body, ignored)
    return body, tuple(ignored)


def _to_chat(wish: Wish, body: Body, _ignored: list[str]) -> None:
    """OpenAI's dialect: `ai/v1/chat/completions`."""
    request, offer = wish.request, wish.offer
    if offer.functions:
        body["tools"] = tools.nested(offer)
        body["parallel_tool_calls"] = offer.is_parallel
        body["tool_choice"] = offer.choice
        if offer.choice == "named":
            body["tool_choice"] = {"type": "function", "function": {"name": next(iter(offer.functions))}}
    if request.stops:
        body["stop"] = list(request.stops[:4])
    if request.seed is not None:
        body["seed"] = request.seed
    if wish.wanted and wish.has_json_mode:
        body["response_format"] = json_mode.enveloped(wish.wanted)


def _to_native(wish: Wish, body: Body, ignored: list[str]) -> None:
    """Cloudflare's own dialect: `ai/run/{model}`. `stop` is unknown to it and enforced by the reader."""
    request, offer = wish.request, wish.offer
    for field in ("logprobs", "top_logprobs", "logit_bias"):
        if body.pop(field, None):
            raise BadRequestError(
                f"The model '{wish.context.name}' has no '{field}'.", param=field, code="unsupported_parameter"
            )
    if offer.is_open:
        body["tools"] = tools.strict(offer)
        body["tool_choice"] = "required" if offer.is_forced else "auto"
    if "top_p" in body:
        body["top_p"] = max(body["top_p"], 0.001)
    if request.seed is not None:
        if 1 <= request.seed <= 9_999_999_999:
            body["seed"] = request.seed
        else:
            ignored.append("seed")
    if wish.wanted and wish.has_json_mode:
        body["response_format"] = json_mode.bare(wish.wanted)
    license_prompt = wish.context.model.quirks.license_prompt
    if license_prompt and [turn["content"] for turn in wish.turns] == [license_prompt]:
        del body["messages"]
        body["prompt"] = license_prompt


INPUTS: dict[str, Callable[[Wish, Body, list[str]], None]] = {
    "chat-completions": _to_chat,
    "prompt-or-messages": _to_native,
}
PATHS = {"chat-completions": "v1/chat/completions", "prompt-or-messages": "run/{model}"}


def _call(context: Context, body: Body, *, stream: bool) -> Call:
    path = PATHS[context.model.input_shape].format(model=context.model.id)
    named = {"model": context.model.id} if context.model.input_shape == "chat-completions" else {}
    return Call(context.model.id, path, named | body | {"stream": stream}, stream, context.affinity)


def _choice(call: Call, i: int, seed: int | None) -> Call:
    """The same call for another choice: with a fixed seed the answers would be equal."""
    return replace(call, body=call.body | {"seed": seed + i}) if i and "seed" in call.body and seed else call


def _max_tokens(wish: Wish) -> int:
    """What the caller wants, as far as the model and its context window have room. Always sent: else it is 256."""
    model, request = wish.context.model, wish.request
    asked = request.max_completion_tokens or request.max_tokens
    tokens = asked or wish.context.default_max_tokens or model.default_max_tokens
    if model.max_output_tokens:
        tokens = min(tokens, model.max_output_tokens)
    if model.context_window:
        tokens = min(tokens, max(model.context_window - wish.prompt_tokens - MARGIN, MARGIN))
    return tokens


def _instruct(turns: list[Turn], text: str) -> None:
    """Add to the system's turn, which is the first."""
    if turns[0]["role"] == "system":
        turns[0]["content"] += f"\n\n{text}"
    else:
        turns.insert(0, {"role": "system", "content": text})


def _reading(wish: Wish) -> Reading:
    return Reading(
        think_tags=wish.context.model.quirks.think_tags,
        offer=wish.offer,
        stops=wish.request.stops,
        wanted=wish.wanted,
        prompt_tokens=wish.prompt_tokens,
        used_ids=call_ids(wish.request.messages),
        id=wish.context.id,
    )


def again(plan: Plan[ChatCompletionRequest], call: Call, outcome: Reply | Failure) -> Call | None:
    """A changed call after an outcome that it can mend; None for all others."""
    if isinstance(outcome, Reply):
        return _after_reply(plan, call, outcome)
    if outcome.kind is FailureKind.CONTEXT_LENGTH:
        return _shorter(call, outcome)
    if outcome.kind in (FailureKind.JSON_MODE, FailureKind.NO_JSON_MODE) and "response_format" in call.body:
        return _instructed(plan, call)
    return None


def _after_reply(plan: Plan[ChatCompletionRequest], call: Call, reply: Reply) -> Call | None:
    reader = ChatReader(plan.reading, call)
    try:
        reader.read(reply)
    except Failure as failure:
        if failure.kind is FailureKind.JSON_MODE:
            return _instructed(plan, call) if "response_format" in call.body else _corrected(call, reader, failure)
        if call.stream:  # a stream answered by an empty object, as gpt-oss and kimi do at times
            return replace(call, body=call.body | {"stream": False}, stream=False)
        return None
    if plan.reading.offer.is_forced and not reader.has_tool_calls and reader.finish_reason != "length":
        return _pressed(call, plan.reading.offer)
    return None


def _shorter(call: Call, failure: Failure) -> Call | None:
    """With an answer that fits behind the prompt: Cloudflare counts both, and its message says how much there is."""
    if not failure.context_window or not failure.prompt_tokens:
        return None
    asked = call.body["max_tokens"]
    prompt_tokens = failure.prompt_tokens
    if prompt_tokens > failure.context_window:  # the number is the sum of both
        prompt_tokens -= asked
    room = failure.context_window - prompt_tokens - MARGIN
    return replace(call, body=call.body | {"max_tokens": room}) if MARGIN <= room < asked else None


def _instructed(plan: Plan[ChatCompletionRequest], call: Call) -> Call:
    """JSON by prompt, after a JSON mode that is none."""
    body = {key: value for key, value in call.body.items() if key != "response_format"}
    turns = [dict(turn) for turn in body["messages"]]
    _instruct(turns, json_mode.instruction(plan.reading.wanted))
    return replace(call, body=body | {"messages": turns})


def _corrected(call: Call, reader: ChatReader, failure: Failure) -> Call:
    """The same question once more, with the answer that was no good and what was wrong with it."""
    turns = [
        *call.body["messages"],
        {"role": "assistant", "content": reader.text},
        {"role": "user", "content": f"{failure.message} Answer again, with the JSON only."},
    ]
    return replace(call, body=call.body | {"messages": turns})


def _pressed(call: Call, offer: Offer) -> Call:
    """The same question with the demand for a tool in words, and in a form that the reader finds in a text."""
    names = " or ".join(offer.functions)
    turns = [dict(turn) for turn in call.body["messages"]]
    demand = (
        f"You must call the tool {names} now. If you cannot call it directly, answer with nothing but "
        'JSON of the form {"name": "<tool>", "arguments": {...}}.'
    )
    _instruct(turns, demand)
    return replace(call, body=call.body | {"messages": turns})


def _to_stream(plan: Plan[ChatCompletionRequest]) -> ChatStream:
    return ChatStream(plan)


def _pictures(request: ChatCompletionRequest) -> list[Picture]:
    return pictures_in(request.messages)


chat = Translator(
    tasks=frozenset({"text-generation", "moderation"}),
    endpoint="/v1/chat/completions",
    to_plan=to_plan,
    from_replies=to_completion,
    to_stream=_to_stream,
    again=again,
    pictures=_pictures,
)
