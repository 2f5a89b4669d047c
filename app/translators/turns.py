"""The turns of a conversation, in the form that a model takes them."""

import re
from typing import Any

from app.catalog import Model
from app.errors import BadRequestError
from app.schemas.chat import ImageURL, Message, Part, ToolCall
from app.translators.base import Context, Picture
from app.translators.call_ids import CallIds, Made
from app.translators.documents import want, with_texts
from app.translators.sources import asked_source
from app.translators.tool_emulation import in_text

Turn = dict[str, Any]

TOOLS = ("tool", "function")
SYSTEM = ("system", "developer")

UNKNOWN_CALL = "000000001"
"""What Cloudflare's types tell to use where a tool result names no call."""

DATA_URI = re.compile(r"(data:)(?=[a-z]+/[a-z0-9.+-]+;base64,)", re.IGNORECASE)
WORD_JOINER = "\u2060"

FOUND = "found"
"""Marks a part as found by a tool, where it does not stand in the tool's own turn."""
UNSEEN = "[a picture, which this model can't see]"

NO_RESULT = "[This call has no result.]"
"""Templates of the Mistral kind refuse a call without one."""


def pictures_in(messages: list[Message]) -> list[Picture]:
    """Every picture that the messages name, in order."""
    return [
        Picture(_url(image), f"messages[{i}].content[{j}].image_url.url", message["role"] in TOOLS or FOUND in part)
        for i, message in enumerate(messages)
        if type(message.get("content")) is list
        for j, part in enumerate(_parts(message))
        if (image := part.get("image_url"))
    ]


def to_turns(messages: list[Message], context: Context) -> list[Turn]:
    """The conversation as `context.model` takes it.

    Texts are flattened, the system's turns merged into one in front (templates of the Gemma and Mistral kind refuse
    others), null contents filled, and pictures put inline; those that are not in a user's turn get one of their own
    before the user's next. Raises BadRequestError for what the model can't take, and DocumentsWanted for files that are
    still to be read.
    """
    if context.documents:
        messages = with_texts(messages, context.documents)
    if all(map(_is_plain, messages)):  # as in most conversations
        texts = [(each["role"], str(each["content"])) for each in messages]
        said = [(role, _mask(text) if "base64," in text else text) for role, text in texts]
        system = [text for role, text in said if text and role in SYSTEM]
        turns = [{"role": role, "content": text} for role, text in said if role not in SYSTEM]
    else:
        system = [text for each in messages if _is_system(each) and (text := _text(each.get("content")))]
        turns = _conversation(messages, context)
        if context.emulates_tools:
            turns = in_text(turns)
    if system:
        turns.insert(0, {"role": "system" if turns else "user", "content": "\n\n".join(system)})
    if context.model.quirks.turns == "alternating":
        turns = _alternating(turns)
    if not turns:
        raise BadRequestError("messages must hold something to answer.", param="messages", code="invalid_value")
    return turns


def instruct(turns: list[Turn], text: str, model: Model) -> None:
    """Put `text` to what the system says in front, or to the first user turn of a model without a system."""
    if turns[0]["role"] == "system":
        turns[0]["content"] += f"\n\n{text}"
    elif model.quirks.turns == "alternating":
        turns[0]["content"] = f"{text}\n\n{turns[0]['content']}"
    else:
        turns.insert(0, {"role": "system", "content": text})


def call_ids(messages: list[Message]) -> frozenset[str]:
    """The tool call ids that the conversation has used up."""
    calls = [_calls(i, each) for i, each in enumerate(messages) if "tool_calls" in each or "function_call" in each]
    return frozenset(_id(call) for made in calls for call in made) if calls else frozenset()


def _is_plain(message: Message) -> bool:
    """Whether there is nothing to it but who said what."""
    return len(message) == 2 and type(message.get("content")) is str and message["role"] not in TOOLS


def _conversation(messages: list[Message], context: Context) -> list[Turn]:
    if not context.model.can("vision"):
        messages = [_unseen(message) for message in messages]
    turns: list[Turn] = []
    names: dict[str, str] = {}
    ids = CallIds()
    shown: list[Turn] = []  # what stands in no tool's turn: a result must stay with the call that it answers
    for i, message in enumerate(messages):
        role = message["role"]
        if role in ("user", "assistant"):
            turns += shown
            shown = []
        if role != "assistant":
            _check_parts(i, messages, context)
        if role == "user":
            turns.append(_user(message, context))
            continue
        if role == "assistant":
            calls = _calls(i, message)
            made = ids.made([Made(_id(call), call["function"]["name"]) for call in calls])
            names |= {call_id: call["function"]["name"] for call_id, call in zip(made, calls, strict=True)}
            turns.append(_assistant(i, message, calls, made, context.model))
        elif not _is_system(message):
            turn = _tool(message, names, ids)
            (turns if turn["role"] == "tool" else shown).append(turn)
        if pictures := [_picture(image, context) for part in _parts(message) if (image := part.get("image_url"))]:
            shown.append({"role": "user", "content": pictures})
    turns += shown
    return _with_results(turns) if names else turns


def _unseen(message: Message) -> Message:
    """With words for the pictures, which can only be a tool's: an agent that has looked at one has to go on."""
    parts = _parts(message)
    if not (parts and any(part.get("image_url") for part in parts)):
        return message
    told: list[Part] = [{"type": "text", "text": UNSEEN} if part.get("image_url") else part for part in parts]
    return {**message, "content": told}


def _with_results(turns: list[Turn]) -> list[Turn]:
    """With a result for each call that the conversation has left behind without one."""
    answered = {turn["tool_call_id"] for turn in turns if turn["role"] == "tool"}
    complete: list[Turn] = []
    missing: list[Turn] = []
    for turn in turns:
        if turn["role"] != "tool":
            complete += missing
            missing = [
                {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": NO_RESULT}
                for call in turn.get("tool_calls", ())
                if call["id"] not in answered
            ]
        complete.append(turn)
    return complete + missing if turns[-1]["role"] == "tool" else complete


def _check_parts(i: int, messages: list[Message], context: Context) -> None:
    for j, part in enumerate(_parts(messages[i])):
        if not part.get("image_url") and _part_text(part) is None:
            want(messages)
            raise BadRequestError(
                f"A part of type '{part.get('type')}' can't be sent to '{context.name}': it takes text, "
                "pictures and files.",
                param=f"messages[{i}].content[{j}].type",
                code="unsupported_content",
            )


def _user(message: Message, context: Context) -> Turn:
    """A text, or parts if there are pictures among them."""
    parts = _parts(message)
    content: str | list[Part] = _text(message.get("content"))
    if any(part.get("image_url") for part in parts):
        content = [
            _picture(image, context)
            if (image := part.get("image_url"))
            else {"type": "text", "text": _mask(_part_text(part) or "")}
            for part in parts
        ]
    return {"role": "user", "content": content} | _named(message)


def _assistant(i: int, message: Message, calls: list[ToolCall], ids: list[str], model: Model) -> Turn:
    text = _text(message.get("content")) or _mask(message.get("refusal") or "")
    turn: Turn = {"role": "assistant", "content": text} | _named(message)
    if calls:
        turn["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {
                    "name": call["function"]["name"],
                    "arguments": _arguments(call["function"].get("arguments"), f"messages[{i}].tool_calls[{j}]"),
                },
            }
            for j, (call_id, call) in enumerate(zip(ids, calls, strict=True))
        ]
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if thoughts and model.input_shape == "chat-completions":
        turn["reasoning"] = _mask(thoughts)  # in `content` it garbles the next turn of kimi and glm
    return turn


def _tool(message: Message, names: dict[str, str], ids: CallIds) -> Turn:
    text = _text(message.get("content"))
    given = message.get("tool_call_id")
    # the role `function` knows no ids, and some clients of `tool` forget them
    call_id = None if given else ids.answered_by_name(message.get("name"))
    call_id = call_id or ids.answered(given or UNKNOWN_CALL)
    if call_id is None:  # its call was compacted away, and a result without one is refused
        which = message.get("name") or given or UNKNOWN_CALL
        return {"role": "user", "content": f"[Result of the tool {which}]\n{text}"}
    return {"role": "tool", "tool_call_id": call_id, "name": names[call_id], "content": text}


def _calls(i: int, message: Message) -> list[ToolCall]:
    function = message.get("function_call")
    return message.get("tool_calls") or ([{"id": f"call_{i}", "function": function}] if function else [])


def _id(call: ToolCall) -> str:
    return call.get("id") or UNKNOWN_CALL


def _arguments(arguments: str | dict[str, Any] | None, where: str) -> str:
    source = asked_source(arguments, f"{where}.function.arguments") if isinstance(arguments, dict) else arguments
    return _mask(source or "{}")


def _named(message: Message) -> Turn:
    """Who of several users or agents speaks, for models that take it."""
    name = message.get("name")
    return {"name": name} if name else {}


def _parts(message: Message) -> list[Part]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _picture(image: ImageURL | str, context: Context) -> Part:
    return {"type": "image_url", "image_url": {"url": context.pictures[_url(image)]}}


def _text(content: str | list[Part] | None) -> str:
    if isinstance(content, list):
        return _mask("\n".join(filter(None, map(_part_text, content))))
    return _mask(content or "")


def _part_text(part: Part) -> str | None:
    text = part.get("text")
    return text if isinstance(text, str) else part.get("refusal")


def _url(image: ImageURL | str) -> str:
    return image if isinstance(image, str) else image["url"]


def _is_system(message: Message) -> bool:
    return message["role"] in SYSTEM


def _mask(text: str) -> str:
    """A data URI inside a text is taken for a picture upstream (error 8006): an invisible joiner parts its name."""
    return DATA_URI.sub(r"\1" + WORD_JOINER, text) if "base64," in text else text


def _alternating(turns: list[Turn]) -> list[Turn]:
    """Only user and assistant turns, in turn, the user first."""
    said: list[tuple[str, list[str]]] = []
    for turn in turns:
        role = "assistant" if turn["role"] == "assistant" else "user"
        if said and said[-1][0] == role:
            said[-1][1].append(turn["content"])
        elif said or role == "user":
            said.append((role, [turn["content"]]))
    return [{"role": role, "content": "\n\n".join(texts)} for role, texts in said]
