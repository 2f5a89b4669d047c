"""Responses, OpenAI's newer API, by way of a chat: whatever a model can do there it can do here.

An Exchange is the request with the conversation that it goes on from; what it means as a chat is found once, before the
relay asks for a plan. What has no counterpart in a chat and does not change what the answer means is left out and
named in `x-flarelay-ignored`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from app.calls import Call, Failure, Reply, Usage
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest
from app.schemas.responses import Item, ResponsesRequest
from app.translators import chat, chat_again
from app.translators.base import Context, Picture, Plan, Translator
from app.translators.chat_reader import ChatReader
from app.translators.choices import ChoiceStream
from app.translators.deltas import Delta
from app.translators.responses_input import Conversation, resolved, to_items
from app.translators.responses_native import can_speak, is_native, is_unheard, to_native
from app.translators.responses_tools import Toolbox, to_choice, to_toolbox
from app.translators.responses_writer import ResponseWriter, Wish
from app.translators.sources import asked_source
from app.translators.turns import pictures_in
from app.values import immutable

OWN = frozenset(ResponsesRequest.model_fields) - {"model", "temperature", "top_p", "stream", "parallel_tool_calls"} | {
    "messages", "stream_options", "service_tier", "client_metadata", "context_management", "moderation",
    "prompt_cache_retention", "prompt_cache_options",
}  # fmt: skip
"""Fields that a chat has not, or has in another form. All others are passed on as they came."""

UNSUPPORTED = {
    "n": "There is one answer: leave 'n' out.",
    "functions": "Functions are offered in 'tools'.",
    "function_call": "A function is chosen by 'tool_choice'.",
    "prompt": "Prompt templates are not kept here: send their text in 'instructions' and 'input'.",
    "conversation": "Conversations are not kept here: go on from a response by 'previous_response_id'.",
}
"""Without them the answer would be another one. What to do instead."""

UNHEARD = ("max_tool_calls", "service_tier", "context_management", "moderation")
"""Fields that change nothing here."""

PARAMS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "top_logprobs",
}
"""A chat's fields -> those that they were made of."""

LOGPROBS = "message.output_text.logprobs"


@immutable
class Exchange:
    """A request, the items it comes to, and the chat that answers it."""

    request: ResponsesRequest
    items: tuple[Item, ...]
    """The request's own, without the conversation before."""
    chat: ChatCompletionRequest
    box: Toolbox
    ignored: tuple[str, ...] = ()
    chat_call: Call | None = None
    """What a call in Responses stands for."""

    @property
    def messages(self) -> list[Any]:
        return self.chat.messages

    @property
    def prompt_cache_key(self) -> str | None:
        return self.chat.prompt_cache_key


def to_exchange(
    request: ResponsesRequest, history: Sequence[Item] = (), known: Mapping[str, Item] | None = None
) -> Exchange:
    """`history`: the conversation that the request goes on from. `known`: the items that it refers to, by id.

    Raises BadRequestError for what can't be understood, or not be done by any model here.
    """
    _check(request)
    items = resolved(to_items(request.input), list(history), known or {})
    box = to_toolbox(request.tools or ())
    talk = Conversation(box, request.instructions)
    for item in history:
        talk.add(item, "previous_response_id")
    for i, item in enumerate(items):
        talk.add(item, f"input[{i}]")
    if not talk.messages:
        raise BadRequestError("'input' must hold something to answer.", param="input", code="invalid_value")
    ignored = [*box.ignored, *talk.ignored, *_unheard(request)]
    return Exchange(request, tuple(items), _as_chat(request, talk.messages, box), box, tuple(ignored))


def _check(request: ResponsesRequest) -> None:
    extra = request.model_extra or {}
    if request.input is None and request.previous_response_id is None:
        raise BadRequestError("'input' is missing.", param="input", code="missing_required_parameter")
    if request.background:
        raise _unsupported("background", "Answers can't be made in the background here: leave 'background' out.")
    for field in UNSUPPORTED:
        if extra.get(field) is not None:
            raise _unsupported(field, UNSUPPORTED[field])
    asked_source(request.model_dump(exclude={"input"}, exclude_none=True), "The request")
    asked_source(request.input, "input")


def _unheard(request: ResponsesRequest) -> list[str]:
    given = request.__dict__ | (request.model_extra or {})
    ignored = [field for field in UNHEARD if given.get(field) not in (None, "auto", "default")]
    if request.truncation == "auto":  # agents would lose their instructions without noticing
        ignored.append("truncation")
    return ignored


def _as_chat(request: ResponsesRequest, messages: list[Any], box: Toolbox) -> ChatCompletionRequest:
    given = {**request.__dict__, **(request.model_extra or {})}
    fields = {key: value for key, value in given.items() if value is not None and key not in OWN}
    fields |= {key: value for key, value in _made(request, box).items() if value is not None}
    try:
        return ChatCompletionRequest.model_validate(fields | {"messages": messages})
    except ValidationError as failure:
        errors = failure.errors(include_url=False, include_context=False, include_input=False)
        fault = max(errors, key=lambda each: len(each["loc"]))
        param = to_param(str(fault["loc"][0]))
        message = f"Invalid value for '{param}': {fault['msg']}."
        raise BadRequestError(message, param=param, code="invalid_value") from failure


def _made(request: ResponsesRequest, box: Toolbox) -> dict[str, Any]:
    """The fields that are put in the chat's terms."""
    text, reasoning = request.text, request.reasoning
    has_logprobs = bool(request.top_logprobs) or LOGPROBS in (request.include or ())
    return {
        "tools": box.functions or None,
        "tool_choice": to_choice(request.tool_choice, box),
        "max_completion_tokens": request.max_output_tokens,
        "response_format": _to_format(text.format) if text else None,
        "verbosity": text.verbosity if text else None,
        "reasoning_effort": reasoning.effort if reasoning else None,
        "logprobs": has_logprobs or None,
        "top_logprobs": request.top_logprobs or None,
        "prompt_cache_key": request.prompt_cache_key,
    }


def _to_format(wish: dict[str, Any] | None) -> dict[str, Any] | None:
    """`text.format` with its schema in the chat's envelope. Raises BadRequestError if there is none."""
    if wish is None or wish.get("type") != "json_schema" or "json_schema" in wish:
        return wish
    if wish.get("schema") is None:
        message = "'text.format.schema' is missing."
        raise BadRequestError(message, param="text.format.schema", code="missing_required_parameter")
    return {"type": "json_schema", "json_schema": {key: value for key, value in wish.items() if key != "type"}}


def to_param(param: str) -> str:
    """A chat's field, or a place in it, as the field of a Responses request that it comes from."""
    for field, own in PARAMS.items():
        if param == field or param.startswith((f"{field}.", f"{field}[")):
            return own
    return param


def to_plan(exchange: Exchange, context: Context) -> Plan[Exchange]:
    """The chat's one call, in the model's own Responses if that can be; ChatReader reads the answers to both.

    Raises BadRequestError for what the model can't do, in the chat's terms.
    """
    plan = chat.to_plan(exchange.chat, context)
    (call,) = plan.calls
    ignored = dict.fromkeys([*exchange.ignored, *map(to_param, plan.ignored)])
    if not exchange.request.stream and can_speak(call, context.model):
        exchange, call = replace(exchange, chat_call=call), to_native(call)
    return Plan(exchange, context, (call,), tuple(ignored), plan.reading)


def again(plan: Plan[Exchange], call: Call, outcome: Reply | Failure) -> Call | None:
    """As in a chat, which also takes over from a call in Responses that is not understood."""
    stood_for = plan.request.chat_call if is_native(call) else None
    if stood_for and is_unheard(outcome):
        return stood_for
    as_chat: Plan[Any] = replace(plan, request=plan.request.chat)  # type: ignore[arg-type]
    return chat_again.again(as_chat, stood_for or call, outcome)


def from_replies(plan: Plan[Exchange], replies: Sequence[Reply]) -> tuple[dict[str, Any], Usage]:
    """The reply as a `response`. Raises Failure."""
    reader, writer = ChatReader(plan.reading, plan.calls[0]), _writer(plan)
    writer.write(reader.read(replies[0]))
    writer.finish(reader.finish_reason, reader.usage)
    return writer.response, reader.usage


def _writer(plan: Plan[Exchange]) -> ResponseWriter:
    exchange, context = plan.request, plan.context
    return ResponseWriter(Wish(exchange.request, exchange.box, context.id, context.created, context.name))


class ResponseStream(ChoiceStream):
    """The event stream of one answer."""

    def __init__(self, plan: Plan[Exchange]) -> None:
        super().__init__([ChatReader(plan.reading, plan.calls[0])])
        self.writer = _writer(plan)

    def end(self) -> bytes:
        return self.writer.finish(self._readers[0].finish_reason, self.usage)

    def _write(self, _choice: int, deltas: Sequence[Delta]) -> bytes:
        return self.writer.write(deltas)

    def _ending(self, _choice: int, _finish_reason: str) -> bytes:
        return b""


def _pictures(exchange: Exchange) -> list[Picture]:
    return [replace(picture, param="input") for picture in pictures_in(exchange.chat.messages)]


def _unsupported(param: str, message: str) -> BadRequestError:
    return BadRequestError(message, param=param, code="unsupported_parameter")


responses = Translator(
    tasks=frozenset({"text-generation"}),
    endpoint="/v1/responses",
    to_plan=to_plan,
    from_replies=from_replies,
    to_stream=ResponseStream,
    again=again,
    pictures=_pictures,
)
