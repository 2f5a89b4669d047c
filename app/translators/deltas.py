"""What a model says, piece by piece, in no client's dialect: the steps between a reader and a writer."""

from typing import Any, NamedTuple


class Text(NamedTuple):
    """A piece of the answer."""

    text: str
    logprobs: dict[str, Any] | None = None


class Thought(NamedTuple):
    """A piece of the reasoning before it."""

    text: str


class Refusal(NamedTuple):
    """A piece of what the model says in place of an answer that it refuses to give."""

    text: str


class ToolCall(NamedTuple):
    """A tool call, or a piece of one: `id` and `name` come with the first piece only."""

    call_index: int
    arguments: str
    id: str | None = None
    name: str | None = None


Delta = Text | Thought | Refusal | ToolCall


def joined(logprobs: dict[str, Any] | None, more: dict[str, Any] | None) -> dict[str, Any] | None:
    """The log probabilities of two neighbouring texts as those of one."""
    if not (logprobs and more):
        return logprobs or more
    return logprobs | {"content": (logprobs.get("content") or []) + (more.get("content") or [])}
