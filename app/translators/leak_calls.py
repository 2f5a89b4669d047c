"""Gate: lets a call pass if it is to a tool that was offered, and reads the JSON in which models call."""

from collections.abc import Collection
from typing import Any

import orjson

from app.translators.deltas import ToolCall
from app.values import immutable

CHANNELS = ("analysis", "commentary", "final")
"""Names that gpt-oss writes where a tool's name belongs: they are channels of its harmony format."""

CALL_KEYS = frozenset({"arguments", "parameters", "function", "tool_calls"})


@immutable
class Gate:
    """What a request said in `tools` and `tool_choice`."""

    names: frozenset[str]
    is_forced: bool = False
    """The model has to call a tool."""
    forced: str | None = None
    """The tool that it has to call."""

    @classmethod
    def of(cls, tools: Collection[str], forced: str | bool | None) -> "Gate":
        name = forced if isinstance(forced, str) and forced in tools else None
        return cls(frozenset(tools), bool(forced), name)

    def call(self, name: object, arguments: object, call_id: object = None) -> ToolCall | None:
        """A call, if a tool of that name was offered and the arguments are an object, or a string that holds one."""
        if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
            arguments = {}
        elif isinstance(arguments, str):
            arguments = loads(arguments)
        if not isinstance(name, str) or name not in self.names or not isinstance(arguments, dict):
            return None
        source = dumps(arguments)
        return ToolCall(0, source, call_id if isinstance(call_id, str) and call_id else None, name) if source else None

    def calls(self, source: str | None, *, is_certain: bool) -> list[ToolCall]:
        """The calls that a JSON text stands for, one or several; none if any part of it is not a call.

        `is_certain` says that it can't be an answer (it came in tags, or a call was forced), so that the arguments
        may also be missing, or stand beside the name: `{"name": "t", "field": "x"}`, as gpt-oss does.
        """
        value = loads(source)
        if isinstance(value, dict):
            value = value.get("tool_calls", [value])
        if not isinstance(value, list):
            return []
        calls = [self._call(each, is_certain) for each in value]
        found = [call for call in calls if call]
        return found if len(found) == len(calls) else []

    def forced_call(self, source: str) -> list[ToolCall]:
        """The forced tool's arguments without its name.

        A caller who forces a tool by name wants nothing else, and serving engines then have the model write the
        arguments alone, bound to the tool's schema, and put the name around them themselves; an object that is the
        whole answer is what is left if they didn't. One that looks like another call, or is addressed to a harmony
        channel, is not taken.
        """
        value = loads(source)
        if not self.forced or not isinstance(value, dict):
            return []
        if CALL_KEYS & value.keys() or value.get("name") in CHANNELS:
            return []
        call = self.call(self.forced, value)
        return [call] if call else []

    def _call(self, value: object, is_certain: bool) -> ToolCall | None:
        if not isinstance(value, dict):
            return None
        call_id, function = value.get("id"), value.get("function")
        if isinstance(function, dict):
            value = {"type": "function", **function}
        name = value.get("name", function)
        if "arguments" in value:
            return self.call(name, value["arguments"], call_id)
        if not is_certain and "description" in value:  # then it is the definition of the tool, shown to the user
            return None
        if "parameters" in value:
            return self.call(name, value["parameters"], call_id)
        if not is_certain and value.get("type") != "function":
            return None
        return self.call(name, {key: each for key, each in value.items() if not _is_frame(key, each)})


def _is_frame(key: str, value: object) -> bool:
    return key in ("name", "function") or (key == "type" and value == "function")


def loads(source: str | None) -> Any:
    """The value of a JSON text; None for one that is broken."""
    try:
        return orjson.loads(source or "")
    except orjson.JSONDecodeError:
        return None


def dumps(value: object) -> str | None:
    """Compact JSON; None for what has none, such as an object of hundreds of levels."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return None
