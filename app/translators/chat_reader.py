"""ChatReader: what Workers AI answers to a chat, whole or event by event, in either of its dialects -> deltas.

A native answer is `{"response", "tool_calls", "usage"}`, an OpenAI-shaped one has `choices`. Which of the two comes
does not always follow from what was sent, so both are read wherever they turn up.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from app.calls import Call, Failure, FailureKind, Reply, Usage
from app.translators import json_mode
from app.translators.deltas import Delta, Text, Thought, ToolCall
from app.translators.json_mode import Wanted
from app.translators.leaks import LeakCatcher
from app.translators.stops import StopCutter
from app.translators.thoughts import ThoughtSplitter
from app.translators.tokens import estimate_tokens
from app.translators.tool_calls import ToolCallReader
from app.translators.tools import Offer

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""What models say -> what OpenAI has. Others, `null` and `unknown` among them, are derived from the answer."""

NUMBER = re.compile(rb'"(?:response|content)"\s*:\s*(-?[0-9.eE+-]+)')


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader needs to know of the request."""

    offer: Offer
    prompt_tokens: int
    """Estimated."""
    id: str
    think_tags: Literal["none", "tagged", "untagged"] = "none"
    stops: tuple[str, ...] = ()
    wanted: Wanted | None = None
    used_ids: frozenset[str] = frozenset()


class ChatReader:
    """The answer to one call."""

    def __init__(self, reading: Reading, call: Call, choice: int = 0) -> None:
        self._reading = reading
        self._max_tokens = call.body["max_tokens"]
        offer = reading.offer
        self._thoughts = ThoughtSplitter(reading.think_tags == "untagged") if reading.think_tags != "none" else None
        self._leaks = LeakCatcher(offer.functions, forced=offer.is_forced) if offer.is_open else None
        self._stops = StopCutter(reading.stops) if reading.stops else None
        self._is_plain = not (self._thoughts or self._leaks or self._stops)
        self._tools = ToolCallReader(f"{reading.id}{choice or ''}n", reading.used_ids, offer.is_parallel)
        self._said: list[str] = []
        self._thought_tokens = 0
        self._logprobs: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._finish: str | None = None
        self._is_ended = False
        self.neurons: float | None = None
        self.finish_reason = "stop"

    @property
    def is_done(self) -> bool:
        """Nothing that follows matters."""
        return self._stops is not None and self._stops.is_stopped

    @property
    def has_tool_calls(self) -> bool:
        return bool(self._tools)

    @property
    def text(self) -> str:
        """The answer so far, without thoughts and tool calls."""
        return "".join(self._said)

    def feed(self, payload: bytes) -> list[Delta]:
        """One event. Raises Failure if it can't be understood: left out, it would be a gap in the answer."""
        if payload == b"[DONE]":
            self._is_ended = True
            return []
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError as failure:
            raise Failure(FailureKind.BROKEN, "Cloudflare sent an event that is not JSON.", status=502) from failure
        if not isinstance(event, dict):
            raise Failure(FailureKind.BROKEN, "Cloudflare sent an event that is not an object.", status=502)
        return self._event(event, payload)

    def read(self, reply: Reply) -> list[Delta]:
        """A whole reply. Raises Failure if there is no answer in it, or not the JSON that was wanted."""
        self.neurons = reply.neurons
        self._is_ended = True
        deltas = self._body(reply.body, reply.raw)
        if json_mode.REFUSAL in self.text:
            raise Failure(FailureKind.JSON_MODE, "The model could not keep to the JSON schema.", status=502)
        deltas += self.close()
        if self._reading.wanted and not self._tools and self.finish_reason != "length":
            checked = json_mode.to_json(self.text, self._reading.wanted)
            deltas = [delta for delta in deltas if not isinstance(delta, Text)] + [Text(checked)]
        return deltas

    def close(self) -> list[Delta]:
        """The end of the answer. Raises Failure if it ended too early: it must not look whole."""
        if not (self._is_ended or self._finish or self.is_done):
            raise Failure(FailureKind.BROKEN, "Cloudflare's answer broke off before its end.", status=502)
        deltas = self._flush()
        deltas += self._tools.close()
        self.finish_reason = self._reason()
        return deltas

    @property
    def usage(self) -> Usage:
        """As Cloudflare counted it; what it did not count is estimated."""
        counted = self._usage
        prompt = _whole(counted.get("prompt_tokens") or counted.get("input_tokens"))
        completion = _whole(counted.get("completion_tokens") or counted.get("output_tokens"))
        is_estimated = not prompt or (not completion and bool(self._said or self._tools))
        if not completion:
            completion = estimate_tokens(self.text) + self._thought_tokens
        prompt_details = counted.get("prompt_tokens_details") or {}
        completion_details = counted.get("completion_tokens_details") or {}
        neurons = counted.get("neurons")
        return Usage(
            prompt or self._reading.prompt_tokens,
            completion,
            min(_whole(prompt_details.get("cached_tokens")), prompt),
            min(_whole(completion_details.get("reasoning_tokens")) or self._thought_tokens, completion),
            neurons if isinstance(neurons, int | float) else self.neurons,
            is_estimated,
        )

    def _event(self, event: dict[str, Any], payload: bytes) -> list[Delta]:
        if usage := event.get("usage"):
            self._count(usage)
        choices = event.get("choices")
        if choices is None:
            native = {"content": event.get("response"), "tool_calls": event.get("tool_calls")}
            return self._message(native, None, payload)
        deltas: list[Delta] = []
        for choice in choices[:1]:
            message = choice.get("delta") or choice.get("message") or choice
            deltas += self._message(message, choice.get("logprobs"), payload)
            self._finished(choice.get("finish_reason"))
        return deltas

    def _body(self, body: Any, raw: bytes) -> list[Delta]:
        if isinstance(body, dict) and body.get("output"):
            return self._responses(body)
        if isinstance(body, dict) and (body.get("choices") or "response" in body or "tool_calls" in body):
            return self._event(body, raw)
        if isinstance(body, str) and body:
            return self._text(body)
        raise Failure(FailureKind.BROKEN, "Cloudflare answered without an answer.", status=502, is_retryable=True)

    def _message(self, message: dict[str, Any], logprobs: Any, payload: bytes) -> list[Delta]:
        content = message.get("content", message.get("text"))
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        deltas: list[Delta] = self._thought(thoughts) if isinstance(thoughts, str) else []
        if content is not None and content != "":
            deltas += self._text(_string(content, payload), logprobs)
        if calls := message.get("tool_calls"):
            deltas += self._tools.feed(calls)
        return deltas

    def _responses(self, body: dict[str, Any]) -> list[Delta]:
        """OpenAI's Responses, which gpt-oss falls into at times."""
        deltas: list[Delta] = []
        self._count(body.get("usage") or {})
        if (body.get("incomplete_details") or {}).get("reason") == "max_output_tokens":
            self._finish = "length"
        for item in body["output"]:
            if item.get("type") == "function_call":
                deltas += self._tools.add(item["name"], item.get("arguments") or "{}", item.get("call_id"))
            for part in item.get("content") or ():
                text = part.get("text") or ""
                deltas += self._thought(text) if part.get("type") == "reasoning_text" else self._text(text)
        return deltas

    def _thought(self, text: str) -> list[Delta]:
        self._thought_tokens += estimate_tokens(text)
        return [Thought(text)]

    def _text(self, text: str, logprobs: dict[str, Any] | None = None) -> list[Delta]:
        if self._is_plain:
            self._said.append(text)
            return [Text(text, logprobs)]
        if logprobs:
            held = (self._logprobs or {}).get("content") or []
            self._logprobs = logprobs | {"content": held + (logprobs.get("content") or [])}
        return self._through_leaks(self._thoughts.feed(text) if self._thoughts else [Text(text)])

    def _through_leaks(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Texts through the catcher of leaked tool calls, then through the stop sequences."""
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Thought):
                out += self._thought(delta.text)
            elif isinstance(delta, Text):
                out += self._through_stops(self._leaks.feed(delta.text) if self._leaks else [delta])
        return out

    def _through_stops(self, deltas: Iterable[Delta]) -> list[Delta]:
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, ToolCall):
                out += [] if self.is_done else self._tools.add(delta.name or "", delta.arguments, delta.id)
            elif isinstance(delta, Thought):
                out += self._thought(delta.text)
            else:
                out += self._say(self._stops.feed(delta.text) if self._stops else delta.text)
        return out

    def _say(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._said.append(text)
        logprobs, self._logprobs = self._logprobs, None
        return [Text(text, logprobs)]

    def _flush(self) -> list[Delta]:
        deltas = self._through_leaks(self._thoughts.close(self._finish)) if self._thoughts else []
        if self._leaks:
            deltas += self._through_stops(self._leaks.close())
        if self._stops:
            deltas += self._say(self._stops.close())
        return deltas

    def _reason(self) -> str:
        """OpenAI's finish_reason: what the model said if it said it truly, else what the answer shows."""
        completion = _whole(self._usage.get("completion_tokens"))
        is_full = self._finish is None and completion >= self._max_tokens
        if self._tools:
            return "length" if self._tools.is_cut else "tool_calls"
        if self.is_done:
            return "stop"
        if self._finish == "tool_calls":
            return "stop"
        return self._finish or ("length" if is_full else "stop")

    def _finished(self, reason: Any) -> None:
        if reason == "error":
            raise Failure(FailureKind.BROKEN, "The model stopped with an error.", status=502, is_retryable=True)
        if reason:
            self._finish = FINISH_REASONS.get(reason, self._finish)
            self._is_ended = True

    def _count(self, usage: Any) -> None:
        """The last usage that is not zero: it may be repeated, growing, with zeros on the finish event."""
        if isinstance(usage, dict) and any(usage.get(key) for key in ("total_tokens", "completion_tokens")):
            self._usage = self._usage | usage


def _string(content: Any, payload: bytes) -> str:
    """Content as text. JSON mode gives objects; a model that says a number gives one."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "".join(str(part["text"]) for part in content)
    if isinstance(content, float) and (source := NUMBER.search(payload)):
        return source[1].decode()  # 0.50 is not 0.5
    return orjson.dumps(content).decode()


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
