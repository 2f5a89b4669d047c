"""Items, which a Responses request is made of, as the messages of a chat.

What the model said in one go comes as several items: thoughts, a text, calls. They are one turn of the chat again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.errors import BadRequestError
from app.schemas.responses import Item
from app.translators.documents import to_document
from app.translators.responses_tools import Toolbox
from app.translators.sources import asked_source

Message = dict[str, Any]

PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
"""What the ids of items begin with, as OpenAI's do."""


def kind_of(item: Item) -> str:
    """An item's type, which messages may leave out."""
    return str(item.get("type") or ("message" if "role" in item else "unknown"))


def to_items(given: str | list[Item] | None) -> list[Item]:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given or []


def references_in(items: Iterable[Item]) -> list[str]:
    """The ids of items that stand in earlier answers."""
    return [str(item.get("id")) for item in items if kind_of(item) == "item_reference"]


def response_id_of(item_id: str) -> str | None:
    """The answer that an item of ours belongs to; None for ids of others."""
    parts = item_id.split("_")
    return f"resp_{parts[1]}" if len(parts) == 3 and parts[0] in PREFIXES.values() else None


def resolved(items: list[Item], history: list[Item], known: Mapping[str, Item]) -> list[Item]:
    """The items with references replaced by what they refer to, unless that is part of the history anyway.

    Raises BadRequestError for one that leads nowhere.
    """
    past = {item.get("id") for item in history}
    found: list[Item] = []
    for i, item in enumerate(items):
        if kind_of(item) != "item_reference":
            found.append(item)
        elif (name := str(item.get("id"))) not in past:
            if name not in known:
                message = f"Item with id '{name[:200]}' not found. Items are kept only of answers made with store=true."
                raise BadRequestError(message, param=f"input[{i}].id", code="item_not_found")
            found.append(known[name])
    return found


def with_ids(items: Iterable[Item], root: str) -> list[Item]:
    """Input as it is kept and listed: every item with an id, a type and, if it is a message, its content in parts."""
    return [_with_id(item, f"{root}_i{i}") for i, item in enumerate(items)]


def _with_id(item: Item, tail: str) -> Item:
    kind, content = kind_of(item), item.get("content")
    given = item.get("id")
    kept: Item = {"id": given if isinstance(given, str) and given else f"{PREFIXES.get(kind, 'item')}_{tail}"}
    kept["type"] = kind
    if kind == "message" and isinstance(content, str):
        part = {"type": "output_text", "text": content, "annotations": []}
        kept["content"] = [part if item.get("role") == "assistant" else {"type": "input_text", "text": content}]
    status = {"status": "completed"} if kind == "message" else {}
    return status | item | kept


class Conversation:
    """The messages that items come to."""

    def __init__(self, box: Toolbox, instructions: str | None = None) -> None:
        self._box = box
        self.messages: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
        self.ignored: list[str] = []
        """Where items stand that mean nothing to a chat."""
        self._thoughts: list[str] = []
        self._adders: dict[str, Callable[[Item, str], None]] = {
            "message": self._message,
            "function_call": self._function_call,
            "custom_tool_call": self._custom_call,
            "local_shell_call": self._shell_call,
            "function_call_output": self._output,
            "custom_tool_call_output": self._output,
            "local_shell_call_output": self._output,
            "reasoning": self._reasoning,
        }

    def add(self, item: Item, where: str) -> None:
        """Raises BadRequestError for what can't be understood."""
        adder = self._adders.get(kind_of(item))
        if adder:
            adder(item, where)
        else:
            self.ignored.append(where)

    def _message(self, item: Item, where: str) -> None:
        content = _content(item.get("content"), f"{where}.content")
        role = item.get("role")
        if role != "assistant":
            self._thoughts.clear()
            self.messages.append({"role": role, "content": content})
            return
        last = self._last
        turn = last if last and last.get("tool_calls") and not last["content"] else self._begin()
        turn["content"] = content
        self._think(turn)

    def _function_call(self, item: Item, where: str) -> None:
        arguments = item.get("arguments")
        source = arguments if isinstance(arguments, str) else asked_source(arguments or {}, f"{where}.arguments")
        self._call(item, self._box.flat(item.get("name"), item.get("namespace")), source)

    def _custom_call(self, item: Item, where: str) -> None:
        arguments = asked_source({"input": item.get("input")}, f"{where}.input")
        self._call(item, self._box.flat(item.get("name"), item.get("namespace")), arguments)

    def _shell_call(self, item: Item, where: str) -> None:
        self._call(item, "local_shell", asked_source(item.get("action") or {}, f"{where}.action"))

    def _call(self, item: Item, name: str, arguments: str) -> None:
        turn = self._last or self._begin()
        self._think(turn)
        function = {"name": name, "arguments": arguments}
        turn.setdefault("tool_calls", []).append({"id": _call_id(item), "type": "function", "function": function})

    def _output(self, item: Item, where: str) -> None:
        content = _content(item.get("output"), f"{where}.output")
        self.messages.append({"role": "tool", "tool_call_id": _call_id(item), "content": content})

    def _reasoning(self, item: Item, _where: str) -> None:
        """What can be read of it; `encrypted_content` is another server's."""
        for field in ("content", "summary"):
            parts = item.get(field)
            texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
            if said := [text for text in texts if isinstance(text, str) and text]:
                self._thoughts += said
                return

    @property
    def _last(self) -> Message | None:
        """The model's turn, if it is the last one."""
        return self.messages[-1] if self.messages and self.messages[-1]["role"] == "assistant" else None

    def _begin(self) -> Message:
        self.messages.append({"role": "assistant", "content": None})
        return self.messages[-1]

    def _think(self, turn: Message) -> None:
        if self._thoughts:
            before = [turn["reasoning_content"]] if "reasoning_content" in turn else []
            turn["reasoning_content"] = "\n\n".join(before + self._thoughts)
            self._thoughts.clear()


def _call_id(item: Item) -> str | None:
    call_id = item.get("call_id") or item.get("id")
    return None if call_id is None else str(call_id)


def _content(content: Any, where: str) -> Any:
    if isinstance(content, list):
        return [_part(part, f"{where}[{j}]") for j, part in enumerate(content)]
    return asked_source(content, where) if isinstance(content, dict) else content


def _part(part: Any, where: str) -> Any:
    match part:
        case {"type": "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text"}:
            return {"type": "text", "text": part.get("text")}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "input_image", "image_url": {"url": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "input_file"}:
            return {"type": "document", "document": to_document(part, where)}
        case {"type": "input_image"}:
            message = "A picture must come as an image_url: files are not stored here."
            raise BadRequestError(message, param=where, code="unsupported_content")
    return part
