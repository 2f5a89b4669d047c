"""Script: what a prompt tells the emulator to do, in a line `!emulate {json}` of the last user message."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from app.emulator.faults import Fault, bad_input

MARK = "!emulate "


@dataclass(frozen=True, slots=True)
class Script:
    """Every key is optional; what it leaves out, the emulator makes up."""

    text: str | None = None
    """The answer."""
    leak: str | None = None
    """The answer, whatever was asked for: JSON mode and forced tools don't change it."""
    empty: bool = False
    """Answer nothing at all."""
    refusal: str | None = None
    """Refuse with this text, in the field for that where the dialect has one."""
    tokens: int | None = None
    """Answer so many tokens."""
    reasoning: str | None = None
    """The thoughts before the answer, unless the request turned thinking off."""
    tool_calls: tuple[Mapping[str, Any], ...] | None = None
    """`[{"name", "arguments"}]`; arguments that are a text are sent as they are. After a tool's result
    only a step of its own makes more of them."""
    steps: "tuple[Script, ...] | None" = None
    """Scripts to play one after the other: the first as an answer to the user, the next to what its tools answered, and
    so on, as an agent's session goes. After the last one the emulator makes its answers up."""
    finish_reason: str | None = None
    logprobs: bool = False
    """Send them although nobody asked."""
    quirks: tuple[str, ...] = ()
    """Names out of `QUIRKS`; `-name` switches one off."""

    first_delay_ms: int = 0
    """Before the first byte."""
    delay_ms: int = 0
    """Before every event of a stream."""
    cut_bytes: int | None = None
    """Send the body in slices of so many bytes, wherever that cuts."""
    cut: int | bool = False
    """End a stream after so many events; `true`: after the last one with a part of the answer."""
    drop: bool = False
    """Close the connection where the body should end; of a whole answer, in its middle."""
    error: Mapping[str, Any] | None = None
    """Fail: `{"code", "status", "message", "retry_after"}`, all but one optional."""
    error_after: int | Mapping[str, Any] | None = None
    """Fail after so many events: a number, or `{"events", "code", "message", "form": "errors"|"error"|"success"}`."""

    def after(self, rounds: int) -> "Script":
        """What holds when tools have answered so often since the user spoke."""
        if self.steps is None:
            return replace(self, tool_calls=None) if rounds else self
        return self.steps[rounds] if rounds < len(self.steps) else Script()

    @property
    def fault(self) -> Fault | None:
        if self.error is None:
            return None
        error = self.error
        return Fault(
            error.get("code"), error.get("message"), status=error.get("status"), retry_after=error.get("retry_after")
        )


_KEYS = {each.name for each in fields(Script)}


def script_of(text: str) -> tuple[Script, str]:
    """The script in a text, and the text without it. A script that makes no sense is refused with 5006."""
    start = text.find(MARK)
    if start < 0 or (start and text[start - 1] != "\n"):
        return Script(), text
    try:
        values, end = json.JSONDecoder().raw_decode(text, start + len(MARK))
    except ValueError as failure:
        raise bad_input(f"!emulate: what follows it must be JSON: {failure}") from failure
    return _script(values), (text[:start] + text[end:]).strip()


def _script(values: Any) -> Script:
    unknown = values.keys() - _KEYS if isinstance(values, dict) else {"(not an object)"}
    if unknown:
        raise bad_input(f"!emulate: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(_KEYS))}")
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    steps = {"steps": tuple(map(_script, lists["steps"]))} if "steps" in lists else {}
    return Script(**(values | lists | steps))
