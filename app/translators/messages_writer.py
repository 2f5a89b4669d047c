"""Deltas -> Anthropic's answers: one message, or the events that its clients put together to the same.

Each event has an `event:` line, without which Anthropic's clients see nothing. `message_start` goes out with the
model's first event, so that a client knows that it is heard while a model thinks unseen.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from typing_extensions import override

from app.calls import Reply, Usage
from app.schemas.messages import MessagesRequest
from app.translators.base import Plan
from app.translators.choices import ChoiceStream
from app.translators.deltas import Delta
from app.translators.messages_blocks import Blocks, Event
from app.translators.messages_reader import MessageReader

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""OpenAI's finish_reason -> Anthropic's stop_reason."""


def to_message(plan: Plan[MessagesRequest], replies: Sequence[Reply]) -> tuple[dict[str, Any], Usage]:
    """The one reply as a `message`. Raises Failure."""
    reader, blocks = MessageReader(plan.reading, plan.calls[0]), _blocks(plan)
    for _ in blocks.feed(reader.read(replies[0])):
        continue
    for _ in blocks.close():
        continue
    usage = reader.usage
    return _head(plan) | {"content": blocks.content()} | _ending(reader) | {"usage": to_usage(usage)}, usage


def to_usage(usage: Usage) -> dict[str, int]:
    """Anthropic counts cached tokens beside the others, not among them."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


class MessageStream(ChoiceStream):
    """The event stream of one message."""

    def __init__(self, plan: Plan[MessagesRequest]) -> None:
        self._reader = MessageReader(plan.reading, plan.calls[0])
        super().__init__([self._reader])
        self._plan = plan
        self._blocks = _blocks(plan)
        self._has_begun = False

    def end(self) -> bytes:
        return _line({"type": "message_stop"})

    @override
    def _write(self, choice: int, deltas: Iterable[Delta]) -> bytes:
        opening = b"" if self._has_begun else self._begin()
        return opening + b"".join(map(_line, self._blocks.feed(deltas)))

    def _begin(self) -> bytes:
        self._has_begun = True
        usage = to_usage(Usage(prompt_tokens=self._plan.reading.prompt_tokens))
        message = _head(self._plan) | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _line({"type": "message_start", "message": message}) + _line({"type": "ping"})

    @override
    def _ending(self, choice: int, finish_reason: str) -> bytes:
        closing = b"".join(map(_line, self._blocks.close()))
        ending = _ending(self._reader)
        usage = to_usage(self._reader.usage)
        return closing + _line({"type": "message_delta", "delta": ending, "usage": usage})


def _blocks(plan: Plan[MessagesRequest]) -> Blocks:
    return Blocks(plan.context.id, plan.request.shows_thoughts)


def _head(plan: Plan[MessagesRequest]) -> dict[str, Any]:
    return {"id": f"msg_{plan.context.id}", "type": "message", "role": "assistant", "model": plan.context.name}


def _ending(reader: MessageReader) -> dict[str, Any]:
    reason, sequence = STOP_REASONS[reader.finish_reason], reader.stop_sequence
    if reader.has_refused and reason == "end_turn":
        return {"stop_reason": "refusal", "stop_sequence": None}
    if reason == "end_turn" and sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    return {"stop_reason": reason, "stop_sequence": None}


def _line(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
