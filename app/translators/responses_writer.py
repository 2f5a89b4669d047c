"""Deltas -> OpenAI's response: the object, and the events in which it grows.

The object is what the events add up to, since both are made here at once. Rules of the stream, each because some client
breaks otherwise: `response.created` first; an item is added before anything of it comes; a part before its text; every
item is repeated whole when it is done, as Codex reads nothing else; one id for all; numbers without a gap; exactly one
of completed, incomplete and failed at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.calls import Usage
from app.errors import APIStatusError
from app.schemas.responses import Item, ResponsesRequest
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall
from app.translators.leak_calls import loads
from app.translators.responses_tools import Toolbox, call_item, custom_input
from app.values import immutable

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""A chat's finish_reason -> why a response is incomplete."""


@immutable
class Wish:
    """What the writer needs to know of a request."""

    request: ResponsesRequest
    box: Toolbox
    id: str
    created: int
    """Unix seconds."""
    name: str
    """The model as the caller wrote it."""


@dataclass(slots=True)
class _Open:
    """An item that is being written."""

    item: Item
    index: int
    part: str = ""
    """The type of what is said in it; a call has no parts."""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return bool(self.item["status"] == "in_progress")

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponseWriter:
    """One answer."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._has_summary = bool(wish.request.reasoning and wish.request.reasoning.summary)
        self._numbers = 0
        self._items: list[Item] = []
        self._open: _Open | None = None
        """A message, a refusal or thoughts."""
        self._calls: dict[int, _Open] = {}
        self._base = to_response(wish)
        self.response: dict[str, Any] = {}
        """The whole answer, once it is finished."""

    def write(self, deltas: Iterable[Delta]) -> bytes:
        events = self._begin()
        for delta in deltas:
            if isinstance(delta, Text):
                events += self._say(delta)
            elif isinstance(delta, Thought):
                events += self._think(delta)
            elif isinstance(delta, Refusal):
                events += self._refuse(delta)
            else:
                events += self._call(delta)
        return b"".join(events)

    def finish(self, finish_reason: str, usage: Usage) -> bytes:
        """The end of an answer."""
        reason = INCOMPLETE.get(finish_reason)
        events = self._begin() + self._close(reason)
        ending: dict[str, Any] = {"status": "completed", "completed_at": self._wish.created}
        if reason:
            ending = {"status": "incomplete", "incomplete_details": {"reason": reason}}
        self.response = self._base | ending | {"output": self._items, "usage": to_usage(usage)}
        return b"".join([*events, self._event(f"response.{ending['status']}", response=self.response)])

    def fail(self, error: APIStatusError) -> bytes:
        """The end of an answer that broke. `response` stays empty: it is no answer."""
        code = "server_error" if error.status >= 500 else error.code or error.type
        done = [item for item in self._items if item["status"] == "completed"]
        failed = {"status": "failed", "error": {"code": code, "message": error.message}, "output": done}
        return b"".join([*self._begin(), self._event("response.failed", response=self._base | failed)])

    def _begin(self) -> list[bytes]:
        if self._numbers:
            return []
        return [self._event(f"response.{state}", response=self._base) for state in ("created", "in_progress")]

    def _say(self, delta: Text) -> list[bytes]:
        events, message = self._opened("output_text")
        entries = [_logprob(entry) for entry in (delta.logprobs or {}).get("content", ())]
        message.pieces.append(delta.text)
        message.logprobs += entries
        at = self._at(message, content_index=0)
        return [*events, self._event("response.output_text.delta", **at, delta=delta.text, logprobs=entries)]

    def _refuse(self, delta: Refusal) -> list[bytes]:
        events, message = self._opened("refusal")
        message.pieces.append(delta.text)
        return [*events, self._event("response.refusal.delta", **self._at(message, content_index=0), delta=delta.text)]

    def _think(self, delta: Thought) -> list[bytes]:
        events, thoughts = self._opened("reasoning_text")
        thoughts.pieces.append(delta.text)
        kind, at = self._thoughts(thoughts)
        return [*events, self._event(f"response.{kind}.delta", **at, delta=delta.text)]

    def _call(self, delta: ToolCall) -> list[bytes]:
        events: list[bytes] = []
        if delta.call_index not in self._calls:
            events += self._settle()
            named = self._wish.box.named(delta.name or "")
            item_id = self._id("ctc" if named.is_custom else "fc")
            call = self._add(call_item(named, item_id, delta.id or item_id))
            self._calls[delta.call_index] = call
            events.append(self._added(call))
        call = self._calls[delta.call_index]
        if not call.is_open:
            return events  # blanks: nothing else can follow a whole call
        call.pieces.append(delta.arguments)
        if delta.arguments and call.item["type"] == "function_call":
            event = "response.function_call_arguments.delta"
            events.append(self._event(event, **self._at(call), delta=delta.arguments))
        return events

    def _opened(self, part: str) -> tuple[list[bytes], _Open]:
        """The item that is being written, begun if it is none of such parts. It has one part only."""
        if self._open and self._open.part == part:
            return [], self._open
        events = self._settle()
        prefix, kind, rest = OPENINGS[part]
        empty: Item = {"id": self._id(prefix), "type": kind, "status": "in_progress"} | {
            key: list(value) if isinstance(value, list) else value for key, value in rest.items()
        }
        self._open = self._add(empty, part)
        events.append(self._added(self._open))
        if kind == "message":
            at = self._at(self._open, content_index=0)
            events.append(self._event("response.content_part.added", **at, part=_said(self._open)))
        else:
            events.append(self._thought_part("added", self._open))
        return events, self._open

    def _settle(self) -> list[bytes]:
        """End what is whole, as something new begins. Some models write several calls at once: those stay open."""
        events = self._shut("completed")
        for call in self._calls.values():
            if call.is_open and isinstance(loads(call.text), dict):
                events += self._call_done(call, "completed")
        return events

    def _shut(self, status: str) -> list[bytes]:
        """End the message or the thoughts."""
        written, self._open = self._open, None
        if written is None:
            return []
        written.item["status"] = status
        ending = self._message_done if written.item["type"] == "message" else self._thoughts_done
        return [*ending(written), self._done(written)]

    def _message_done(self, message: _Open) -> list[bytes]:
        at, part = self._at(message, content_index=0), _said(message)
        message.item["content"] = [part]
        whole = {key: value for key, value in part.items() if key not in ("type", "annotations")}
        return [
            self._event(f"response.{message.part}.done", **at, **whole),
            self._event("response.content_part.done", **at, part=part),
        ]

    def _thoughts_done(self, thoughts: _Open) -> list[bytes]:
        kind, at = self._thoughts(thoughts)
        text = thoughts.text
        field_name, part_type = ("summary", "summary_text") if self._has_summary else ("content", "reasoning_text")
        thoughts.item[field_name] = [{"type": part_type, "text": text}]
        return [self._event(f"response.{kind}.done", **at, text=text), self._thought_part("done", thoughts)]

    def _thoughts(self, thoughts: _Open) -> tuple[str, dict[str, Any]]:
        """What their events are called, and where they belong."""
        if self._has_summary:
            return "reasoning_summary_text", self._at(thoughts, summary_index=0)
        return "reasoning_text", self._at(thoughts, content_index=0)

    def _thought_part(self, state: str, thoughts: _Open) -> bytes:
        _, at = self._thoughts(thoughts)
        part = {"type": "summary_text" if self._has_summary else "reasoning_text", "text": thoughts.text}
        kind = "reasoning_summary_part" if self._has_summary else "content_part"
        return self._event(f"response.{kind}.{state}", **at, part=part)

    def _close(self, reason: str | None) -> list[bytes]:
        """End whatever is open; what came last is what an answer that was cut lacks the end of."""
        events = self._shut("incomplete" if reason else "completed")
        for call in self._calls.values():
            if call.is_open:
                is_cut = reason is not None and call.index == len(self._items) - 1
                events += self._call_done(call, "incomplete" if is_cut else "completed")
        if not reason and all(item["type"] == "reasoning" for item in self._items):
            opening, _ = self._opened("output_text")
            events += opening + self._shut("completed")
        return events

    def _call_done(self, call: _Open, status: str) -> list[bytes]:
        item, at, text = call.item, self._at(call), call.text
        item["status"] = status
        if item["type"] == "function_call":
            item["arguments"] = text
            return [self._event("response.function_call_arguments.done", **at, arguments=text), self._done(call)]
        item["input"] = custom_input(text)
        return [
            self._event("response.custom_tool_call_input.delta", **at, delta=item["input"]),
            self._event("response.custom_tool_call_input.done", **at, input=item["input"]),
            self._done(call),
        ]

    def _add(self, item: Item, part: str = "") -> _Open:
        self._items.append(item)
        return _Open(item, len(self._items) - 1, part)

    def _added(self, written: _Open) -> bytes:
        return self._event("response.output_item.added", output_index=written.index, item=written.item)

    def _done(self, written: _Open) -> bytes:
        return self._event("response.output_item.done", output_index=written.index, item=written.item)

    def _at(self, written: _Open, **indexes: int) -> dict[str, Any]:
        return {"item_id": written.item["id"], "output_index": written.index} | indexes

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._wish.id}_{len(self._items)}"

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._numbers} | fields
        self._numbers += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data))


OPENINGS: dict[str, tuple[str, str, Item]] = {
    "output_text": ("msg", "message", {"role": "assistant", "content": []}),
    "refusal": ("msg", "message", {"role": "assistant", "content": []}),
    "reasoning_text": ("rs", "reasoning", {"summary": []}),
}
"""Types of parts -> what the ids of their items begin with, their type, and what else they begin as."""


def _said(message: _Open) -> dict[str, Any]:
    """What a message says, so far."""
    if message.part == "refusal":
        return {"type": "refusal", "refusal": message.text}
    return {"type": "output_text", "text": message.text, "annotations": [], "logprobs": message.logprobs}


def _logprob(entry: dict[str, Any]) -> dict[str, Any]:
    """A token's, with the fields that must not be missing."""
    return {"token": "", "logprob": 0, "bytes": [], "top_logprobs": []} | entry


def to_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def to_response(wish: Wish) -> dict[str, Any]:
    """The object as it is before anything is said. OpenAI repeats in it most of what was asked."""
    request = wish.request
    reasoning, text = request.reasoning, request.text
    return {
        "id": f"resp_{wish.id}",
        "object": "response",
        "created_at": wish.created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": wish.name,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.summary if reasoning else None,
        },
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": request.is_stored,
        "temperature": request.temperature,
        "text": {"format": (text and text.format) or {"type": "text"}}
        | ({"verbosity": text.verbosity} if text and text.verbosity else {}),
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
        "metadata": request.metadata or {},
    }
