"""Messages, Anthropic's API: the chat that a request stands for, planned as one.

Where we differ from Anthropic:

1. Thoughts are answered only where thinking was asked for, signed with a mark that nobody checks.
2. Tools that Anthropic runs itself, such as a web search, are left out and named as ignored.
3. Answers that shall be JSON come whole, also in a stream.
"""

from typing import Any

from app.catalog import Model
from app.schemas.chat import ChatCompletionRequest
from app.schemas.messages import MessagesRequest, Tool
from app.translators import chat
from app.translators.base import Context, Picture, Plan, Translator
from app.translators.chat_again import again
from app.translators.messages_input import to_turns
from app.translators.messages_writer import MessageStream, to_message
from app.translators.turns import pictures_in

CHOICES = {"auto": "auto", "any": "required", "none": "none"}

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
    ignored += [f"tools[{i}]" for i, tool in enumerate(request.tools or ()) if not _is_client(tool)]
    ignored += [name for name, value in (request.model_extra or {}).items() if value is not None]
    if request.top_k and not top_k:
        ignored.append("top_k")
    return Plan(request, context, made.calls, tuple(dict.fromkeys(ignored)), made.reading)


def count_tokens(request: MessagesRequest, model: Model) -> int:
    """The tokens of a request, estimated as they are for an answer. Raises BadRequestError as an answer would."""
    urls = {picture.url: picture.url for picture in pictures(request)}
    plan = to_plan(request, Context(model, request.model, "", 0, urls))
    tokens: int = plan.reading.prompt_tokens
    return tokens


def pictures(request: MessagesRequest) -> list[Picture]:
    return pictures_in(to_turns(request))  # type: ignore[arg-type]  # turns are messages of a chat


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
    return given | _tools(request) | _thinking(request, model)


def _format(request: MessagesRequest) -> dict[str, Any] | None:
    wanted = (request.output_config or {}).get("format") or request.output_format
    if wanted and wanted.get("type") == "json_schema" and "schema" in wanted:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted["schema"]}}
    return wanted


def _tools(request: MessagesRequest) -> dict[str, Any]:
    tools = [_function(tool) for tool in request.tools or () if _is_client(tool)]
    if not tools:
        return {}
    fields: dict[str, Any] = {"tools": tools}
    if choice := request.tool_choice:
        named = {"type": "function", "function": {"name": choice.get("name") or ""}}
        fields["tool_choice"] = named if choice["type"] == "tool" else CHOICES[choice["type"]]
        if choice.get("disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
    return fields


def _is_client(tool: Tool) -> bool:
    """Whether it is described here, and not one that Anthropic knows by its type."""
    return tool.get("type") in (None, "custom") or tool.get("input_schema") is not None


def _function(tool: Tool) -> dict[str, Any]:
    """Without the marks that only Anthropic understands, and the schema's own address."""
    schema = {key: value for key, value in (tool.get("input_schema") or {}).items() if key != "$schema"}
    function = {"name": tool["name"], "description": tool.get("description") or "", "parameters": schema or None}
    return {"type": "function", "function": function}


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
