"""Anthropic's turns -> a chat's, in their order as far as a chat can keep it.

A chat wants the results of tools right behind the calls, and takes nothing but text in them. So of what follows an
assistant's turn the results come first and all else behind them, in one turn of the user; the pictures of results
are shown there, under the name of their call. What the system says in the middle stays in its place, as a reminder
to the user: in front, where chats have it, it would change the beginning that prompt caches know.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from app.errors import BadRequestError
from app.schemas.messages import Block, Message, MessagesRequest, Source
from app.translators.sources import asked_source

Turn = dict[str, Any]
Part = dict[str, Any]

REMINDER = "<system-reminder>\n{text}\n</system-reminder>"
SEE_BELOW = "[a picture, shown in the user's next turn]"
FAILED = "[The tool failed]\n"

SYSTEM = ("system", "developer")

DROPPED = ("redacted_thinking", "thinking")
"""Kinds of blocks that no text stands for: what is thought has a field of its own, and what is hidden none."""


def to_turns(request: MessagesRequest) -> list[Turn]:
    """The whole conversation as messages of a chat. Raises BadRequestError for what can't be said in one."""
    leading = next((i for i, message in enumerate(request.messages) if message["role"] not in SYSTEM), None)
    opening = request.messages[:leading]
    texts = [*request.system_texts, *(_joined(_parts(message, f"messages[{i}]")) for i, message in enumerate(opening))]
    turns: list[Turn] = [{"role": "system", "content": text} for text in texts if text]
    calls = _Calls()
    numbered = list(enumerate(request.messages))[len(opening) :]
    for is_assistant, group in groupby(numbered, key=lambda each: each[1]["role"] == "assistant"):
        say = calls.made if is_assistant else calls.answered
        turns += say(group)
    return turns


class _Calls:
    """The tool calls of a conversation, each under an id of its own, whatever ids the client has given twice."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._now: dict[str, str] = {}
        """The client's id -> the one sent; of the latest call with it."""

    def made(self, messages: Iterable[tuple[int, Message]]) -> list[Turn]:
        """The assistant's turns."""
        return [turn for i, message in messages if (turn := self._made(message, f"messages[{i}]"))]

    def _made(self, message: Message, where: str) -> Turn | None:
        blocks = _blocks(message.get("content"))
        calls = [self._call(block, f"{where}.content[{j}]") for j, block in enumerate(blocks) if _is_call(block)]
        thoughts = "\n".join(filter(None, (block.get("thinking") for block in blocks)))
        text = _joined(_parts(message, where))
        if not (calls or thoughts or text):
            return None
        turn: Turn = {"role": "assistant", "content": text}
        return turn | ({"tool_calls": calls} if calls else {}) | ({"reasoning_content": thoughts} if thoughts else {})

    def _call(self, block: Block, where: str) -> dict[str, Any]:
        given, arguments = block.get("id") or "", block.get("input")
        self._now[given] = call_id = self._unique(given)
        if not isinstance(arguments, str):
            arguments = asked_source({} if arguments is None else arguments, f"{where}.input")
        return {"id": call_id, "type": "function", "function": {"name": block["name"], "arguments": arguments}}

    def _unique(self, given: str) -> str:
        call_id, number = given or "toolu", 1
        while call_id in self._used:
            number += 1
            call_id = f"{given or 'toolu'}_{number}"
        self._used.add(call_id)
        return call_id

    def answered(self, messages: Iterable[tuple[int, Message]]) -> list[Turn]:
        """What comes between two turns of the assistant: the results, then one turn of the user."""
        results: list[Turn] = []
        shown: list[Part] = []
        rest: list[Part] = []
        for i, message in messages:
            if message["role"] in SYSTEM:
                rest += _reminder(message, f"messages[{i}]")
                continue
            for j, block in enumerate(_blocks(message.get("content"))):
                where = f"messages[{i}].content[{j}]"
                if block.get("type") == "tool_result":
                    result, pictures = self._result(block, where)
                    results.append(result)
                    shown += pictures
                else:
                    rest += _of_block(block, where)
        parts = shown + rest
        if parts and all(part["type"] == "text" for part in parts):
            return [*results, {"role": "user", "content": "\n".join(part["text"] for part in parts)}]
        return results + ([{"role": "user", "content": parts}] if parts else [])

    def _result(self, block: Block, where: str) -> tuple[Turn, list[Part]]:
        """The result as text, and the pictures in it."""
        given = block.get("tool_use_id") or ""
        call_id = self._now.get(given, given)
        parts = _inside(block.get("content"), where)
        text = "\n".join(part.get("text", SEE_BELOW) for part in parts)
        pictures = [part for part in parts if part["type"] != "text"]
        if pictures:
            pictures.insert(0, _text(f"[The pictures in the result of the tool call {call_id}]"))
        return {
            "role": "tool",
            "tool_call_id": call_id,
            "content": FAILED * bool(block.get("is_error")) + text,
        }, pictures


def _is_call(block: Block) -> bool:
    return block.get("type") == "tool_use" and bool(block.get("name"))


def _blocks(content: str | list[Block] | None) -> list[Block]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _parts(message: Message, where: str) -> list[Part]:
    blocks = enumerate(_blocks(message.get("content")))
    return [part for j, block in blocks if not _is_call(block) for part in _of_block(block, f"{where}.content[{j}]")]


def _joined(parts: Sequence[Part]) -> str:
    """For turns that take text only: a picture in one of the assistant's leaves its mark."""
    return "\n".join(part.get("text", "[a picture]") for part in parts)


def _reminder(message: Message, where: str) -> list[Part]:
    text = _joined(_parts(message, where))
    return [_text(REMINDER.format(text=text))] if text else []


def _inside(content: Any, where: str) -> list[Part]:
    """The content of a block: a text, blocks, or whatever else a beta puts there."""
    if isinstance(content, dict):
        return [_text(asked_source(content, where))]
    return [part for k, each in enumerate(_blocks(content)) for part in _of_block(each, f"{where}.content[{k}]")]


def _of_block(block: Block, where: str) -> list[Part]:
    kind = block.get("type")
    if kind == "image":
        return [_image(block, where)]
    if kind == "document":
        return _document(block, where)
    if kind in DROPPED:
        return []
    if kind == "search_result":
        named = f"{block.get('title') or ''} {block.get('source') or ''}".strip()
        return [_text(f"[Search result: {named}]"), *_inside(block.get("content"), where)]
    if isinstance(text := block.get("text"), str) or kind == "text":
        return [_text(text)] if text else []
    rest = {key: value for key, value in block.items() if key != "cache_control" and value is not None}
    return [_text(asked_source(rest, where))]  # server_tool_use, tool_reference and others: as they are, nothing lost


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _source(block: Block) -> Source:
    source = block.get("source")
    return source if isinstance(source, dict) else {}


def _image(block: Block, where: str) -> Part:
    source = _source(block)
    if source.get("type") == "base64" and source.get("data"):
        url = f"data:{source.get('media_type') or 'image/png'};base64,{source['data']}"
    elif source.get("type") == "url" and source.get("url"):
        url = str(source["url"])
    else:
        raise _unsupported("Pictures can be sent as base64 or by url.", where)
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, where: str) -> list[Part]:
    source = _source(block)
    if source.get("type") == "content":
        parts = _inside(source.get("content"), f"{where}.source")
    elif source.get("type") == "text":
        parts = [_text(source.get("data") or "")]
    else:
        raise _unsupported("PDF documents are not supported: send documents as text.", where)
    about = [f"{name}: {value}" for name in ("title", "context") if (value := block.get(name))]
    return [_text("\n".join(["<document>", *about])), *parts, _text("</document>")]


def _unsupported(message: str, where: str) -> BadRequestError:
    return BadRequestError(f"{where}.source: {message}", param=f"{where}.source", code="unsupported_content")
