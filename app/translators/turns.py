"""The turns of a conversation, in the form that a model takes them."""

import re
from typing import Any

import orjson

from app.catalog import Model
from app.errors import BadRequestError
from app.schemas.chat import Message, Part, ToolCall
from app.translators.base import Context, Picture

Turn = dict[str, Any]

UNKNOWN_CALL = "000000001"
"""What Cloudflare's types tell to use where a tool result names no call."""

DATA_URI = re.compile(r"(data:)(?=[a-z]+/[a-z0-9.+-]+;base64,)", re.IGNORECASE)
WORD_JOINER = "\u2060"


def pictures_in(messages: list[Message]) -> list[Picture]:
    """Every picture that the messages name, in order."""
    return [
        Picture(_url(part), f"messages[{i}].content[{j}].image_url.url")
        for i, message in enumerate(messages)
        if isinstance(content := message.get("content"), list)
        for j, part in enumerate(content)
        if _is_picture(part)
    ]


def to_turns(messages: list[Message], context: Context) -> list[Turn]:
    """The conversation as `context.model` takes it.

    Texts are flattened, the system's turns merged into one in front (templates of the Gemma and Mistral kind refuse
    others), null contents filled, and pictures put inline. Raises BadRequestError for what the model can't take.
    """
    system = [text for message in messages if _is_system(message) and (text := _text(message.get("content")))]
    turns = _conversation(messages, context)
    if system:
        turns.insert(0, {"role": "system" if turns else "user", "content": "\n\n".join(system)})
    if context.model.quirks.turns == "alternating":
        turns = _alternating(turns)
    return turns


def call_ids(messages: list[Message]) -> frozenset[str]:
    """The tool call ids that the conversation has used up."""
    return frozenset(_id(call) for i, message in enumerate(messages) for call in _calls(i, message))


def _conversation(messages: list[Message], context: Context) -> list[Turn]:
    turns: list[Turn] = []
    names: dict[str, str] = {}
    shown: list[Turn] = []  # pictures that tools returned: they follow the tools' turns, which stay together
    for i, message in enumerate(messages):
        role = message["role"]
        if role in ("user", "assistant"):
            turns += shown
            shown = []
        if role == "user":
            turns.append({"role": "user", "content": _content(i, message, context)})
        elif role == "assistant":
            calls = _calls(i, message)
            names |= {_id(call): call["function"]["name"] for call in calls}
            turns.append(_assistant(message, calls, context.model))
        elif not _is_system(message):
            turns.append(_tool(message, names))
            if pictures := _pictures(message, context):
                shown.append({"role": "user", "content": pictures})
    return turns + shown


def _assistant(message: Message, calls: list[ToolCall], model: Model) -> Turn:
    turn: Turn = {"role": "assistant", "content": _text(message.get("content")) or message.get("refusal") or ""}
    if calls:
        turn["tool_calls"] = [
            {
                "id": _id(call),
                "type": "function",
                "function": {
                    "name": call["function"]["name"],
                    "arguments": _arguments(call["function"].get("arguments")),
                },
            }
            for call in calls
        ]
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if thoughts and model.input_shape == "chat-completions":
        turn["reasoning"] = thoughts  # in `content` it garbles the next turn of kimi and glm
    return turn


def _tool(message: Message, names: dict[str, str]) -> Turn:
    text = _text(message.get("content"))
    call_id = message.get("tool_call_id") or UNKNOWN_CALL
    if message["role"] == "function":  # the older form, which knows names instead of ids
        call_id = next((known for known in reversed(names) if names[known] == message.get("name")), call_id)
    name = names.get(call_id)
    if name is None:  # its call was compacted away, and a result without one is refused
        return {"role": "user", "content": f"[Result of the tool {message.get('name') or call_id}]\n{text}"}
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": text}


def _calls(i: int, message: Message) -> list[ToolCall]:
    function = message.get("function_call")
    return message.get("tool_calls") or ([{"id": f"call_{i}", "function": function}] if function else [])


def _id(call: ToolCall) -> str:
    return call.get("id") or UNKNOWN_CALL


def _arguments(arguments: str | dict[str, Any] | None) -> str:
    return orjson.dumps(arguments).decode() if isinstance(arguments, dict) else arguments or "{}"


def _content(i: int, message: Message, context: Context) -> str | list[Part]:
    """A user's turn: a text, or parts if there are pictures among them."""
    content = message.get("content")
    if not isinstance(content, list):
        return _text(content)
    for j, part in enumerate(content):
        if not _is_picture(part) and _part_text(part) is None:
            raise BadRequestError(
                f"A part of type '{part.get('type')}' can't be sent to '{context.name}': it takes text and pictures.",
                param=f"messages[{i}].content[{j}].type",
                code="unsupported_content",
            )
    if not any(map(_is_picture, content)):
        return _text(content)
    return [_picture(part, context) if _is_picture(part) else _text_part(part) for part in content]


def _pictures(message: Message, context: Context) -> list[Part]:
    content = message.get("content")
    return [_picture(part, context) for part in content if _is_picture(part)] if isinstance(content, list) else []


def _picture(part: Part, context: Context) -> Part:
    return {"type": "image_url", "image_url": {"url": context.pictures[_url(part)]}}


def _text_part(part: Part) -> Part:
    return {"type": "text", "text": _mask(_part_text(part) or "")}


def _text(content: str | list[Part] | None) -> str:
    if isinstance(content, list):
        return _mask("\n".join(filter(None, map(_part_text, content))))
    return _mask(content or "")


def _part_text(part: Part) -> str | None:
    return part.get("text") if isinstance(part.get("text"), str) else part.get("refusal")


def _is_picture(part: Part) -> bool:
    return bool(part.get("image_url"))


def _url(part: Part) -> str:
    image = part["image_url"]
    return image if isinstance(image, str) else image["url"]


def _is_system(message: Message) -> bool:
    return message["role"] in ("system", "developer")


def _mask(text: str) -> str:
    """A data URI inside a text is taken for a picture upstream (error 8006): an invisible joiner parts its name."""
    return DATA_URI.sub(r"\1" + WORD_JOINER, text) if "base64," in text else text


def _alternating(turns: list[Turn]) -> list[Turn]:
    """Only user and assistant turns, in turn, the user first."""
    merged: list[Turn] = []
    for turn in turns:
        role = "assistant" if turn["role"] == "assistant" else "user"
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += "\n\n" + turn["content"]
        elif merged or role == "user":
            merged.append({"role": role, "content": turn["content"]})
    return merged
