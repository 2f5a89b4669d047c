"""Blocks: deltas -> Anthropic's content blocks, one after the other, as events and as a whole.

Anthropic's blocks never overlap, while models may write several tool calls at once: the first block goes out as it
comes, and what belongs to later ones waits until it is complete. Blocks without anything to be seen are left out.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.translators.deltas import Delta, Thought, ToolCall

Event = dict[str, Any]

LONGEST_PIECE = 8000
"""Characters in one event: some parsers of streams have limits for a line."""

FIELDS = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}
DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}


@dataclass(slots=True)
class _Block:
    kind: str
    opening: dict[str, Any]
    """The block as it starts, empty."""
    pieces: list[str] = field(default_factory=list)
    """All that was said, never joined before the end: models say a file of 100 kB in 30,000 pieces."""
    written: int = 0
    """How many of them went out."""
    parsed: int = 0
    """How many there were when they were last looked at as a whole."""
    last: str = ""
    """The last character that is no white space."""
    index: int | None = None
    """None until there is something in it."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow, now that another block has begun."""
        if self.kind != "tool_use":
            return True
        if self.last != "}" or self.parsed == len(self.pieces):
            return False
        self.parsed = len(self.pieces)
        return _parsed(self.said) is not None

    @property
    def said(self) -> str:
        return "".join(self.pieces)

    def say(self, piece: str) -> None:
        self.pieces.append(piece)
        self.last = piece.rstrip()[-1:] or self.last

    def write(self) -> Iterator[Event]:
        new = "".join(self.pieces[self.written :])
        for start in range(0, len(new), LONGEST_PIECE):
            piece = new[start : start + LONGEST_PIECE]
            yield self._delta({"type": DELTAS[self.kind], FIELDS[self.kind]: piece})
        self.written = len(self.pieces)

    def stop(self) -> Iterator[Event]:
        if self.kind == "thinking":
            yield self._delta({"type": "signature_delta", "signature": self.opening["signature"]})
        yield {"type": "content_block_stop", "index": self.index}

    def start(self, index: int) -> Event:
        self.index = index
        empty = {"signature": ""} if self.kind == "thinking" else {}
        return {"type": "content_block_start", "index": index, "content_block": self.opening | empty}

    def whole(self) -> dict[str, Any]:
        if self.kind == "tool_use":
            return self.opening | {"input": _parsed(self.said) or {}}
        return self.opening | {self.kind: self.said}

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self.index, "delta": delta}


@dataclass(slots=True)
class Blocks:
    """The content of one answer."""

    id: str
    """Random and unique: the root of the ids of tool calls, and what thoughts are signed with."""
    shows_thoughts: bool
    _waiting: deque[_Block] = field(default_factory=deque)
    """The block that is being written, and those behind it."""
    _calls: dict[int, _Block] = field(default_factory=dict)
    _begun: list[_Block] = field(default_factory=list)

    def feed(self, deltas: Iterable[Delta]) -> Iterator[Event]:
        for delta in deltas:
            if isinstance(delta, Thought) and not self.shows_thoughts:
                continue
            block = self._block(delta)
            block.say(delta.arguments if isinstance(delta, ToolCall) else delta.text)
            while True:
                yield from self._write(self._waiting[0])
                if len(self._waiting) == 1 or not self._waiting[0].is_complete:
                    break
                yield from self._stop()

    def close(self) -> Iterator[Event]:
        while self._waiting:
            yield from self._write(self._waiting[0])
            yield from self._stop()

    def content(self) -> list[dict[str, Any]]:
        return [block.whole() for block in self._begun]

    def _block(self, delta: Delta) -> _Block:
        """The block that a delta belongs to."""
        if isinstance(delta, ToolCall):
            if delta.call_index not in self._calls:
                call_id = f"toolu_{self.id}n{delta.call_index}"
                opening: Event = {"type": "tool_use", "id": call_id, "name": delta.name, "input": {}}
                self._calls[delta.call_index] = block = _Block("tool_use", opening)
                self._waiting.append(block)
            return self._calls[delta.call_index]
        kind = "thinking" if isinstance(delta, Thought) else "text"
        if not self._waiting or self._waiting[-1].kind != kind:
            signature = {} if kind == "text" else {"signature": f"flarelay-{self.id}"}
            self._waiting.append(_Block(kind, {"type": kind, kind: ""} | signature))
        return self._waiting[-1]

    def _write(self, block: _Block) -> Iterator[Event]:
        """Blanks wait until something else comes: a text of them alone is refused by Anthropic as input."""
        if block.index is None:
            if block.kind != "tool_use" and not block.last:
                return
            self._begun.append(block)
            yield block.start(len(self._begun) - 1)
        yield from block.write()

    def _stop(self) -> Iterator[Event]:
        block = self._waiting.popleft()
        if block.index is not None:
            yield from block.stop()


def _parsed(source: str) -> Any:
    """The JSON value; None where there is none yet."""
    try:
        return orjson.loads(source)
    except orjson.JSONDecodeError:
        return None
