"""A chat's call in the words of OpenAI's Responses, for models that take those as well.

There the model gets its own thoughts, calls and their results as what they are, and answers in the same form, instead
of through a template of chats that is known to leave calls in the text. It is for whole answers only, and for what
Cloudflare's published types have; everything else stays a chat. The model is asked at `ai/run/{model}`, which tells
the two by the field `input` (Cloudflare's changelog, 2026-02-17) and which, unlike `ai/v1/responses`, every way
through AI Gateway has.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from app.calls import Call, Failure, FailureKind, Reply
from app.catalog import Model
from app.translators.chat_reader import is_response

Body = dict[str, Any]
Item = dict[str, Any]

SAME = ("temperature", "top_p", "parallel_tool_calls")
"""Fields that both have."""

CONVERTED = ("messages", "max_tokens", "tools", "tool_choice", "response_format", "reasoning_effort")
LEFT_OUT = ("model", "stream")

KNOWN = frozenset({*SAME, *CONVERTED, *LEFT_OUT})
"""A chat's fields that can be said in Responses."""


def can_speak(call: Call, model: Model) -> bool:
    """Whether a call can be made in Responses, and the model takes them.

    Source: Cloudflare's published types; a tool can be named there or forbidden, but none be required of several.
    """
    is_whole = model.quirks.speaks_responses and not call.stream
    return is_whole and call.body.keys() <= KNOWN and call.body.get("tool_choice") != "required"


def to_native(call: Call) -> Call:
    """The same call in Responses; `can_speak` has allowed it."""
    body = call.body
    native: Body = {name: body[name] for name in SAME if name in body}
    turns = body["messages"]
    if turns[0]["role"] == "system":
        native["instructions"], turns = turns[0]["content"], turns[1:]
    native["input"] = [item for i, turn in enumerate(turns) for item in _items(i, turn)]
    native["max_output_tokens"] = body["max_tokens"]
    if "tools" in body:
        native["tools"] = [{"type": "function", "strict": None} | tool["function"] for tool in body["tools"]]
    native |= _choice(body.get("tool_choice"))
    if "response_format" in body:
        native["text"] = {"format": _format(body["response_format"])}
    if "reasoning_effort" in body:
        native["reasoning"] = {"effort": body["reasoning_effort"]}
    return replace(call, path=f"run/{call.model}", body=native)


def is_native(call: Call) -> bool:
    return "input" in call.body


def is_unheard(outcome: Reply | Failure) -> bool:
    """Whether a native call came to nothing that a chat may still answer: it is not understood, or answered by nothing.

    A refused request costs nothing.
    """
    if isinstance(outcome, Failure):
        return outcome.kind in (FailureKind.BAD_REQUEST, FailureKind.MODEL_NOT_FOUND)
    body = outcome.body
    return not (is_response(body) or (isinstance(body, dict) and body.get("choices")))


def _items(i: int, turn: Mapping[str, Any]) -> Iterable[Item]:
    """A turn as items. `i` makes ids that the types want; nobody refers to them."""
    return WRITERS.get(turn["role"], _message)(i, turn)


def _message(_i: int, turn: Mapping[str, Any]) -> Iterable[Item]:
    content = turn["content"]
    told = _parts(content) if isinstance(content, list) else content
    yield {"type": "message", "role": turn["role"], "content": told}


def _parts(parts: Iterable[Mapping[str, Any]]) -> list[Item]:
    return [
        {"type": "input_image", "detail": "auto", "image_url": part["image_url"]["url"]}
        if "image_url" in part
        else {"type": "input_text", "text": part["text"]}
        for part in parts
    ]


def _assistant(i: int, turn: Mapping[str, Any]) -> Iterable[Item]:
    """Thoughts, text and calls, in the order in which a model says them."""
    if thoughts := turn.get("reasoning"):
        content = [{"type": "reasoning_text", "text": thoughts}]
        yield {"type": "reasoning", "id": f"rs_{i}", "summary": [], "content": content}
    calls = turn.get("tool_calls", ())
    if turn["content"] or not (calls or thoughts):
        part = {"type": "output_text", "text": turn["content"], "annotations": []}
        said = {"type": "message", "id": f"msg_{i}", "role": "assistant", "status": "completed"}
        yield said | {"content": [part]}
    for call in calls:
        yield {"type": "function_call", "call_id": call["id"]} | call["function"]


def _tool(_i: int, turn: Mapping[str, Any]) -> Iterable[Item]:
    yield {"type": "function_call_output", "call_id": turn["tool_call_id"], "output": turn["content"]}


WRITERS: Mapping[str, Callable[[int, Mapping[str, Any]], Iterable[Item]]] = {"assistant": _assistant, "tool": _tool}


def _choice(choice: Any) -> Body:
    """What is left to the model is left out."""
    if isinstance(choice, dict):
        return {"tool_choice": {"type": "function", "name": choice["function"]["name"]}}
    return {"tool_choice": choice} if choice == "none" else {}


def _format(wanted: Mapping[str, Any]) -> Body:
    """`response_format` without the chat's envelope."""
    return {"type": wanted["type"], **wanted.get("json_schema", {})}
