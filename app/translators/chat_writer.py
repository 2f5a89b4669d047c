"""Deltas -> OpenAI's chat completions: one object, or chunks that every known parser of streams accepts.

Rules of the stream, each because some client breaks otherwise: the role alone in the first chunk; never two kinds of
content in one delta; a tool's id and name once; `finish_reason` in a chunk of its own with an empty delta; usage in a
chunk of its own, without choices, only if asked for; no line above 60 KiB; `[DONE]` at the end of a whole answer only.
"""

from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any

import orjson

from app.calls import Reply, Usage
from app.schemas.chat import ChatCompletionRequest
from app.translators.base import Plan
from app.translators.chat_reader import ChatReader
from app.translators.choices import ChoiceStream
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall, joined

DONE = b"data: [DONE]\n\n"

SAID = '},"logprobs":null,"finish_reason":null}]}\n\n'
"""Behind the text of an event."""

LONGEST_PIECE = 8000
"""Characters of content in one line; written as JSON, and as JSON in JSON, they stay below 60 KiB."""


def to_completion(plan: Plan[ChatCompletionRequest], replies: Sequence[Reply]) -> tuple[dict[str, Any], Usage]:
    """The replies, one for each choice, as a `chat.completion`. Raises Failure."""
    choices, usages = [], []
    for i, reply in enumerate(replies):
        reader = ChatReader(plan.reading, plan.calls[i], i)
        deltas = reader.read(reply)
        choices.append(_choice(i, deltas, reader.finish_reason, is_legacy=plan.reading.offer.is_legacy))
        usages.append(reader.usage)
    usage = usages[0] if len(usages) == 1 else sum(usages, Usage())
    return {
        "id": f"chatcmpl-{plan.context.id}",
        "object": "chat.completion",
        "created": plan.context.created,
        "model": plan.context.name,
        "choices": choices,
        "usage": to_usage(usage),
    }, usage


def to_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _choice(i: int, deltas: Iterable[Delta], finish_reason: str, *, is_legacy: bool) -> dict[str, Any]:
    content, thoughts, refusal, calls, logprobs = [], [], "", list[dict[str, Any]](), None
    for delta in deltas:
        if isinstance(delta, Text):
            content.append(delta.text)
            logprobs = joined(logprobs, delta.logprobs)
        elif isinstance(delta, Thought):
            thoughts.append(delta.text)
        elif isinstance(delta, Refusal):
            refusal += delta.text
        elif delta.id is not None:
            function = {"name": delta.name, "arguments": delta.arguments}
            calls.append({"id": delta.id, "type": "function", "function": function})
        else:
            calls[delta.call_index]["function"]["arguments"] += delta.arguments
    message: dict[str, Any] = {"role": "assistant", "content": "".join(content) or (None if calls or refusal else "")}
    if refusal:
        message["refusal"] = refusal
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls and is_legacy:
        message["function_call"] = calls[0]["function"]
        finish_reason = _legacy(finish_reason)
    elif calls:
        message["tool_calls"] = calls
    return {"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def _legacy(finish_reason: str) -> str:
    return "function_call" if finish_reason == "tool_calls" else finish_reason


class ChatStream(ChoiceStream):
    """The event stream of one request, over all its choices."""

    def __init__(self, plan: Plan[ChatCompletionRequest]) -> None:
        super().__init__([ChatReader(plan.reading, call, i) for i, call in enumerate(plan.calls)])
        self._is_legacy = plan.reading.offer.is_legacy
        self._include_usage = plan.request.include_usage
        head = {
            "id": f"chatcmpl-{plan.context.id}",
            "object": "chat.completion.chunk",
            "created": plan.context.created,
            "model": plan.context.name,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        self._openings = [b'%b{"index":%d,"delta":' % (self._head, i) for i in range(len(plan.calls))]
        self._sayings = [opening.decode() + '{"content":' for opening in self._openings]
        self._has_begun = [False] * len(plan.calls)

    def end(self) -> bytes:
        if not self._include_usage:
            return DONE
        return self._head + b'],"usage":' + orjson.dumps(to_usage(self.usage)) + b"}\n\n" + DONE

    def _say(self, choice: int, texts: Sequence[str]) -> bytes:
        begin = b"" if self._has_begun[choice] else self._begin(choice)
        saying = self._sayings[choice]
        if len(texts) == 1 and len(texts[0]) <= LONGEST_PIECE:
            return begin + (saying + encode_basestring(texts[0]) + SAID).encode()
        if max(map(len, texts)) > LONGEST_PIECE:
            return begin + super()._say(choice, texts)
        quoted = list(map(encode_basestring, texts))  # orjson takes a kilobyte for each of them
        quoted[0] = saying + quoted[0]
        quoted[-1] += SAID
        return begin + (SAID + saying).join(quoted).encode()

    def _write(self, choice: int, deltas: Iterable[Delta]) -> bytes:
        opening = self._openings[choice]
        out = [] if self._has_begun[choice] else [self._begin(choice)]
        out += [self._chunk(opening, piece) for delta in deltas for piece in _pieces(delta)]
        return b"".join(out)

    def _chunk(self, opening: bytes, delta: Delta) -> bytes:
        logprobs = delta.logprobs if isinstance(delta, Text) else None
        return b'%b%b,"logprobs":%b,"finish_reason":null}]}\n\n' % (
            opening, orjson.dumps(self._delta(delta)), orjson.dumps(logprobs)
        )  # fmt: skip

    def _delta(self, delta: Delta) -> dict[str, Any]:
        if isinstance(delta, Text):
            return {"content": delta.text}
        if isinstance(delta, Thought):
            return {"reasoning_content": delta.text}
        if isinstance(delta, Refusal):
            return {"refusal": delta.text}
        function = {"arguments": delta.arguments}
        if delta.id is not None:
            function = {"name": delta.name or "", "arguments": delta.arguments}
        if self._is_legacy:
            return {"function_call": function}
        first = {"id": delta.id, "type": "function"} if delta.id is not None else {}
        return {"tool_calls": [{"index": delta.call_index, **first, "function": function}]}

    def _begin(self, choice: int) -> bytes:
        self._has_begun[choice] = True
        role = b'{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
        return self._openings[choice] + role

    def _ending(self, choice: int, finish_reason: str) -> bytes:
        reason = _legacy(finish_reason) if self._is_legacy else finish_reason
        return b'%b{},"logprobs":null,"finish_reason":%b}]}\n\n' % (self._openings[choice], orjson.dumps(reason))


def _pieces(delta: Delta) -> Iterator[Delta]:
    """A delta in lines that every parser can hold."""
    if isinstance(delta, Text) and delta.logprobs and delta.logprobs.get("content"):
        yield from _by_token(delta.text, delta.logprobs)
    elif isinstance(delta, ToolCall):
        yield from _arguments(delta)
    else:
        for start in range(0, len(delta.text), LONGEST_PIECE):
            yield delta._replace(text=delta.text[start : start + LONGEST_PIECE])


def _arguments(delta: ToolCall) -> Iterator[ToolCall]:
    yield delta._replace(arguments=delta.arguments[:LONGEST_PIECE])
    for start in range(LONGEST_PIECE, len(delta.arguments), LONGEST_PIECE):
        yield ToolCall(delta.call_index, delta.arguments[start : start + LONGEST_PIECE])


def _by_token(text: str, logprobs: dict[str, Any]) -> Iterator[Text]:
    """A chunk for each token, if the tokens are the text; else the text first."""
    entries = logprobs["content"]
    is_text = "".join(str(entry.get("token")) for entry in entries) == text
    if not is_text:
        yield from (Text(text[start : start + LONGEST_PIECE]) for start in range(0, len(text), LONGEST_PIECE))
    for entry in entries:
        yield Text(str(entry["token"]) if is_text else "", logprobs | {"content": [entry]})
