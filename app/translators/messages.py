"""Messages, Anthropic's API: the chat that a request stands for, planned as one.

Where we differ from Anthropic:

1. Thoughts are answered only where thinking was asked for, signed with a mark that nobody checks.
2. Tools that Anthropic runs itself, such as a web search, are left out and named as ignored. Those that clients run
   and Claude knows by heart, such as `bash_20250124`, are told with the inputs that Anthropic documents.
3. Answers that shall be JSON come whole, also in a stream.
"""

from dataclasses import replace
from typing import Any

from app.calls import Call
from app.catalog import Model
from app.schemas.chat import ChatCompletionRequest
from app.schemas.messages import MessagesRequest
from app.translators import chat
from app.translators.base import Context, DocumentsWanted, Picture, Plan, Translator
from app.translators.chat_again import again
from app.translators.documents import estimates
from app.translators.messages_input import to_turns
from app.translators.messages_tools import ignored_tools, tool_fields
from app.translators.messages_writer import MessageStream, to_message
from app.translators.turns import pictures_in

MOST_TOP_K = 50
"""Source: Cloudflare's docs, Workers AI, the native models' schemas."""

BUDGETS = {"low": 4096, "medium": 16384}
"""Efforts -> tokens of thought below which they are meant."""

ON = {"type": "enabled"}
"""Thinking as much as the model does by itself."""

NAMES = {
    "reasoning_effort": "thinking",
    "thinking": "thinking",
    "prompt_cache_key": "cache_control",
}
"""A chat's fields -> what stands for them here."""


def to_plan(request: MessagesRequest, context: Context) -> Plan[MessagesRequest]:
    """One call. Raises BadRequestError for what the model can't do."""
    top_k = request.top_k if context.model.input_shape == "prompt-or-messages" else None
    extra = {"top_k": min(top_k, MOST_TOP_K)} if top_k else {}
    made = chat.to_plan(ChatCompletionRequest(**_fields(request, context.model) | extra), context)
    ignored = [NAMES.get(name, name) for name in made.ignored]
    ignored += ignored_tools(request)
    ignored += [name for name, value in (request.model_extra or {}).items() if value is not None]
    if request.top_k and not top_k:
        ignored.append("top_k")
    return Plan(request, context, tuple(map(_unstopped, made.calls)), tuple(dict.fromkeys(ignored)), made.reading)


def count_tokens(request: MessagesRequest, model: Model) -> int:
    """The tokens of a request, estimated as they are for an answer. Raises BadRequestError as an answer would.

    Files are taken for what their size speaks of: nobody is asked to read them.
    """
    urls = {picture.url: picture.url for picture in pictures(request)}
    context = Context(model, request.model, "", 0, urls)
    try:
        plan = to_plan(request, context)
    except DocumentsWanted as wanted:
        plan = to_plan(request, replace(context, documents=estimates(wanted.documents)))
    tokens: int = plan.reading.prompt_tokens
    return tokens


def pictures(request: MessagesRequest) -> list[Picture]:
    return pictures_in(to_turns(request))  # type: ignore[arg-type]  # turns are messages of a chat


def _unstopped(call: Call) -> Call:
    """A stream without stop sequences: upstream says in whole answers only which one it met, the reader always."""
    return replace(call, body={name: call.body[name] for name in call.body if not (call.stream and name == "stop")})


def _fields(request: MessagesRequest, model: Model) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": to_turns(request),
        "stream": request.stream,
        "max_tokens": request.max_tokens,
        "stop": request.stop_sequences,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "response_format": _format(request),
        "prompt_cache_key": request.prompt_cache_key,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return given | tool_fields(request) | _thinking(request, model)


def _format(request: MessagesRequest) -> dict[str, Any] | None:
    wanted = (request.output_config or {}).get("format") or request.output_format
    if wanted and wanted.get("type") == "json_schema" and "schema" in wanted:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted["schema"]}}
    return wanted


def _thinking(request: MessagesRequest, model: Model) -> dict[str, Any]:
    """How much to think: said as an effort, or as a budget where the model tells efforts apart."""
    thinking = request.thinking
    if thinking and thinking["type"] == "disabled":
        return {"reasoning_effort": "none"}
    has_efforts = model.reasoning is not None and bool(model.reasoning.efforts)
    effort = (request.output_config or {}).get("effort")
    if effort and (has_efforts or not thinking):
        return {"reasoning_effort": effort}
    if thinking is None:
        return {}
    budget = thinking.get("budget_tokens")
    if budget is None or not has_efforts:
        return {"thinking": ON}
    return {"reasoning_effort": next((each for each, tokens in BUDGETS.items() if budget < tokens), "high")}


messages: Translator[MessagesRequest, dict[str, Any]] = Translator(
    tasks=frozenset({"text-generation"}),
    endpoint="/v1/messages",
    to_plan=to_plan,
    from_replies=to_message,
    to_stream=MessageStream,
    again=again,  # type: ignore[arg-type]  # it reads what the two kinds of plan have in common
    pictures=pictures,
)
