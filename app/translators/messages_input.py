"""Anthropic's turns -> a chat's, in their order as far as a chat can keep it.

A chat wants the results of tools right behind the calls, and takes nothing but text in them. So of what follows an
assistant's turn the results come first and all else behind them, in one turn of the user; the pictures of results
are shown there, under the name of their call. What the system says in the middle stays in its place, as a reminder
to the user: in front, where chats have it, it would change the beginning that prompt caches know. Documents are parts
of a kind that only our own chats know, until they are texts.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from app.calls import Document
from app.errors import BadRequestError
from app.schemas.messages import Block, Message, MessagesRequest, Source
from app.translators import documents
from app.translators.call_ids import CallIds, Made
from app.translators.sources import asked_source
from app.translators.turns import FOUND

Turn = dict[str, Any]
Part = dict[str, Any]

REMINDER = "<system-reminder>\n{text}\n</system-reminder>"
SEE_BELOW = "[a picture, shown in the user's next turn]"
FAILED = "[The tool failed]\n"
MARKS = {"image_url": "[a picture]", "document": "[a document]"}
"""Kinds of parts -> what stands for them where only text can."""
NO_ID = "toolu"
"""The id of calls, and of results, that have none."""

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
    if not turns:
        raise BadRequestError("messages must hold something to answer.", param="messages", code="invalid_value")
    return turns


class _Calls:
    """The tool calls of a conversation, each under an id of its own, whatever ids the client has given twice."""

    def __init__(self) -> None:
        self._ids = CallIds()

    def made(self, messages: Iterable[tuple[int, Message]]) -> list[Turn]:
        """The assistant's turn: Anthropic takes several in a row for one, and results have to stand behind it."""
        uses: list[tuple[Block, str]] = []
        thoughts: list[str] = []
        parts: list[Part] = []
        for i, message in messages:
            for j, block in enumerate(_blocks(message.get("content"))):
                where = f"messages[{i}].content[{j}]"
                if _is_call(block):
                    uses.append((block, where))
                    continue
                thoughts += filter(None, [block.get("thinking")])
                parts += _of_block(block, where)
        turn: Turn = {"role": "assistant", "content": _joined(parts)}
        ids = self._ids.made([Made(block.get("id") or NO_ID, block["name"] or "") for block, _ in uses])
        calls = [_call(call_id, block, where) for call_id, (block, where) in zip(ids, uses, strict=True)]
        turn |= {"tool_calls": calls} if calls else {}
        turn |= {"reasoning_content": "\n".join(thoughts)} if thoughts else {}
        return [turn] if turn["content"] or len(turn) > 2 else []

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
        """The result, which is text but for its documents, and the pictures in it."""
        given = block.get("tool_use_id") or NO_ID
        call_id = self._ids.answered(given) or given
        parts = _inside(block.get("content"), where)
        pictures: list[Part] = [part | {FOUND: True} for part in parts if part["type"] == "image_url"]
        told = [_text(SEE_BELOW) if part["type"] == "image_url" else part for part in parts]
        if pictures:
            pictures.insert(0, _text(f"[The pictures in the result of the tool call {call_id}]"))
        failed = FAILED * bool(block.get("is_error"))
        content: Any = failed + _joined(told)
        if any(part["type"] == "document" for part in told):
            content = [_text(failed), *told]
        return {"role": "tool", "tool_call_id": call_id, "content": content}, pictures


def _call(call_id: str, block: Block, where: str) -> dict[str, Any]:
    arguments = block.get("input")
    if not isinstance(arguments, str):
        arguments = asked_source({} if arguments is None else arguments, f"{where}.input")
    return {"id": call_id, "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _is_call(block: Block) -> bool:
    return block.get("type") == "tool_use" and bool(block.get("name"))


def _blocks(content: str | list[Block] | None) -> list[Block]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _parts(message: Message, where: str) -> list[Part]:
    blocks = enumerate(_blocks(message.get("content")))
    return [part for j, block in blocks for part in _of_block(block, f"{where}.content[{j}]")]


def _joined(parts: Sequence[Part]) -> str:
    """For turns that take text only: a picture or a file in one of the assistant's leaves its mark."""
    return "\n".join(part["text"] if part["type"] == "text" else MARKS[part["type"]] for part in parts)


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
    about: dict[str, Any] = {name: block.get(name) or "" for name in ("title", "context")}
    kind = source.get("type")
    if given := {"base64": source.get("data"), "url": source.get("url")}.get(str(kind)):
        document = Document(given, source.get("media_type") or "", param=f"{where}.source", **about)
        return [{"type": "document", "document": document}]
    if kind == "content":
        parts = _inside(source.get("content"), f"{where}.source")
    elif kind == "text":
        parts = [_text(source.get("data") or "")]
    else:
        raise _unsupported("Documents can be sent as base64, by url, or as text or content.", where)
    return [_text(documents.opening(**about)), *parts, _text(documents.CLOSING)]


def _unsupported(message: str, where: str) -> BadRequestError:
    return BadRequestError(f"{where}.source: {message}", param=f"{where}.source", code="unsupported_content")
