"""Tool calls as models write them, whole or in pieces of several makes -> the pieces that OpenAI's clients expect.

Once per call its id and name, then fragments of arguments that join to valid JSON.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.calls import Failure, FailureKind
from app.translators.deltas import ToolCall
from app.translators.sources import said_source


@dataclass(slots=True)
class _Open:
    """A call that is being written."""

    call_index: int
    id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)
    is_announced: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class ToolCallReader:
    """The tool calls of one answer."""

    id_root: str
    """What the ids made here begin with; unique in the world."""
    used_ids: Collection[str] = ()
    """Ids of the conversation so far: models like to start from `call_0` again, and agents take ids for keys."""
    is_parallel: bool = True
    """False keeps the first call only, as `parallel_tool_calls` asks."""
    keeps_ids: bool = True
    """False gives every call an id of ours: the answers to several choices may have the same ones."""
    _calls: list[_Open] = field(default_factory=list)
    _at: dict[int, _Open] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, pieces: Any) -> list[ToolCall]:
        """A list `tool_calls`: OpenAI's, nested; or Cloudflare's, flat, whole and without an id."""
        if not isinstance(pieces, list):
            return []
        return [delta for piece in pieces if isinstance(piece, dict) for delta in self._feed(piece)]

    def add(self, name: str, arguments: str, call_id: str | None = None) -> list[ToolCall]:
        """A whole call, found elsewhere."""
        return self._feed({"id": call_id, "name": name, "arguments": arguments})

    def close(self) -> list[ToolCall]:
        """What is missing at the end. Raises Failure for a call that never got a name."""
        deltas = []
        for call in self._kept:
            if not call.is_announced:
                raise Failure(FailureKind.BROKEN, "The model called a tool without naming it.", status=502)
            if not call.arguments.strip():
                call.pieces = ["{}"]
                deltas.append(ToolCall(call.call_index, "{}"))
        return deltas

    @property
    def is_cut(self) -> bool:
        """Whether the arguments of a call end in the middle."""
        return any(not _is_json(call.arguments) for call in self._kept)

    @property
    def text(self) -> str:
        """All that was written for the calls, to estimate its tokens."""
        return "".join((call.name or "") + call.arguments for call in self._calls)

    @property
    def _kept(self) -> list[_Open]:
        return self._calls if self.is_parallel else self._calls[:1]

    def _feed(self, piece: dict[str, Any]) -> list[ToolCall]:
        function = piece.get("function")
        function = function if isinstance(function, dict) else piece
        name, arguments = _string(function.get("name")), function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = said_source(arguments)
        if not name and not arguments:
            return []  # the null piece that closes a call
        call = self._call(piece, name, arguments or "")
        call.id = call.id or _string(piece.get("id"))
        call.name = call.name or name
        call.pieces.append(arguments or "")
        if call.call_index and not self.is_parallel:
            return []
        if call.is_announced:
            return [ToolCall(call.call_index, arguments)] if arguments else []
        if not call.name:
            return []
        call.is_announced = True
        return [ToolCall(call.call_index, call.arguments, self._unique(call), call.name)]

    def _call(self, piece: dict[str, Any], name: str | None, arguments: str) -> _Open:
        """The call that a piece belongs to: by its index, or the last one if it has none and begins none."""
        index = piece.get("index")
        index = index if isinstance(index, int) else None
        known = self._at.get(index) if index is not None else self._calls[-1] if self._calls else None
        if known is None or (name and (index is None or self._begins(piece, name, arguments, known))):
            known = _Open(len(self._calls))
            self._calls.append(known)
        if index is not None:
            self._at[index] = known
        return known

    @staticmethod
    def _begins(piece: dict[str, Any], name: str, arguments: str, known: _Open) -> bool:
        """Whether a named piece at a known index is a new call: an index may be reused, a name repeated."""
        if not known.name:
            return False
        if name != known.name or (piece.get("id") and known.id and piece["id"] != known.id):
            return True
        return bool(arguments.strip()) and _is_json(known.arguments)

    def _unique(self, call: _Open) -> str:
        call_id = call.id
        if not call_id or not self.keeps_ids or call_id in self.used_ids or call_id in self._given:
            call_id = f"call_{self.id_root}{call.call_index}"
        self._given.add(call_id)
        return call_id


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
