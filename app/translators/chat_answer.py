"""ChatAnswer: what a model says to a chat, whatever dialect it comes in, and what that amounts to.

Texts go through stages, each of which may hold something back: thoughts are split off, then tool calls that leaked
into the text, and the rest ends at a stop sequence.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from app.calls import Call, Failure, FailureKind, Usage
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall, joined
from app.translators.leaks import LeakCatcher
from app.translators.reading import Reading
from app.translators.said import object_in, whole_in
from app.translators.stops import StopCutter
from app.translators.thoughts import ThoughtSplitter
from app.translators.tokens import estimate_tokens
from app.translators.tool_calls import ToolCallReader
from app.translators.tool_emulation import RESULT

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

CUT = ("length", "content_filter")
"""The finish_reasons of answers that end before their end."""


def length_of(body: Mapping[str, Any]) -> int:
    """The tokens that an answer to the call may have, in either dialect."""
    length: int = body.get("max_tokens") or body.get("max_output_tokens") or sys.maxsize
    return length


class ChatAnswer:
    """Of one call, as far as it has come. Whoever reads it hands over texts, thoughts, calls and numbers."""

    def __init__(self, reading: Reading, call: Call, choice: int = 0) -> None:
        self._reading = reading
        self._max_tokens = length_of(call.body)  # other providers have limits of their own
        offer = reading.offer
        self._thoughts = ThoughtSplitter(reading.think_tags == "untagged") if reading.think_tags != "none" else None
        self._leaks = LeakCatcher(offer.functions, forced=offer.forced) if offer.is_open else None
        self._stops = StopCutter(reading.stops) if reading.stops else None
        self._results = StopCutter([RESULT]) if reading.is_emulated else None
        self.is_plain = not (self._thoughts or self._leaks or self._stops)
        """Texts come out as they go in."""
        root = f"{reading.id}{choice or ''}n"
        self._tools = ToolCallReader(root, reading.used_ids, offer.is_parallel, keeps_ids=not choice)
        self._said: list[str] = []
        self._thought: list[str] = []
        self._refused: list[str] = []
        self._logprobs: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._finish: str | None = None
        self._is_ended = False
        self.neurons: float | None = None
        self.finish_reason = ""
        """As OpenAI has it, once the answer is closed."""

    @property
    def is_done(self) -> bool:
        """Nothing that follows matters."""
        return bool((self._stops and self._stops.is_stopped) or (self._results and self._results.is_stopped))

    @property
    def lacks_call(self) -> bool:
        """Whether the answer is over without the tool call that was asked for."""
        is_over = self.finish_reason == "stop" and not self._refused
        return self._reading.offer.is_forced and not self._tools and is_over

    @property
    def has_refused(self) -> bool:
        """Whether the model says why it gives no answer, in the field for that."""
        return bool(self._refused)

    @property
    def text(self) -> str:
        """The answer so far, without thoughts and tool calls."""
        return "".join(self._said)

    @property
    def usage(self) -> Usage:
        """As Cloudflare counted it; what it did not count is estimated."""
        counted = self._usage
        prompt = whole_in(counted.get("prompt_tokens") or counted.get("input_tokens"))
        completion = whole_in(counted.get("completion_tokens") or counted.get("output_tokens"))
        thought = estimate_tokens("".join(self._thought)) if self._thought else 0
        written = completion or thought + self._estimated_tokens()
        cached = _detail("cached_tokens", counted.get("prompt_tokens_details") or counted.get("input_tokens_details"))
        details = counted.get("completion_tokens_details") or counted.get("output_tokens_details")
        neurons = counted.get("neurons")
        return Usage(
            prompt or self._reading.prompt_tokens,
            written,
            min(cached, prompt),
            min(_detail("reasoning_tokens", details) or thought, written),
            neurons if isinstance(neurons, int | float) else self.neurons,
            is_estimated=not prompt or written > completion,
        )

    def _estimated_tokens(self) -> int:
        """Of all but the thoughts."""
        return estimate_tokens(self.text + "".join(self._refused)) + estimate_tokens(self._tools.text)

    def close(self) -> list[Delta]:
        """The end of the answer. Raises Failure if it ended too early: it must not look whole."""
        if not (self._is_ended or self.is_done):
            raise Failure(FailureKind.BROKEN, "Cloudflare's answer broke off before its end.", status=502)
        deltas = self._flush()
        deltas += self._tools.close()
        self.finish_reason = self._reason()
        return deltas

    def _flush(self) -> list[Delta]:
        deltas: list[Delta] = []
        if self._thoughts:
            deltas += self._through_leaks(self._thoughts.close(self._finish or ("length" if self._is_full else None)))
            if self._thoughts.was_answer:
                self._thought.clear()
        if self._leaks:
            deltas += self._through_stops(self._leaks.close())
        if self._results:
            deltas += self._until_stop(self._results.close())
        if self._stops:
            deltas += self._say(self._stops.close())
        return deltas

    def _reason(self) -> str:
        """OpenAI's finish_reason: what the model said if it said it truly, else what the answer shows."""
        if self._finish in CUT and not self.is_done:
            return self._finish
        if self._tools:
            return "length" if self._tools.is_cut else "tool_calls"
        return "length" if self._is_full and not self.is_done else "stop"

    @property
    def _is_full(self) -> bool:
        """Whether an answer that tells no reason for its end, or has none but thoughts, is as long as it may be.

        Some models call it a good end when all of their budget went into thoughts, hidden ones too.
        """
        if self._finish is not None and (self.text.strip() or self._refused):
            return False
        return whole_in(self._usage.get("completion_tokens") or self._usage.get("output_tokens")) >= self._max_tokens

    def _finished(self, reason: Any) -> None:
        if reason == "error":
            raise Failure(FailureKind.BROKEN, "The model stopped with an error.", status=502, is_retryable=True)
        self._finish = FINISH_REASONS.get(str(reason), self._finish)
        self._is_ended = True

    def _count(self, usage: Any) -> None:
        """The last numbers that are not zero: they may be repeated, growing, with zeros on the finish event."""
        counted = {key: value for key, value in object_in(usage).items() if value}
        for value in counted.values():
            if isinstance(value, int | float):
                self._usage = self._usage | counted
                return

    def _think(self, text: str) -> list[Delta]:
        self._thought.append(text)
        return [Thought(text)]

    def _refuse(self, text: str) -> list[Delta]:
        self._refused.append(text)
        return [Refusal(text)]

    def _text(self, text: str, logprobs: dict[str, Any] | None = None) -> list[Delta]:
        if self.is_plain:
            self._said.append(text)
            return [Text(text, logprobs)] if text or logprobs else []
        if logprobs:
            self._logprobs = joined(self._logprobs, logprobs)
        deltas = self._through_leaks(self._thoughts.feed(text) if self._thoughts else [Text(text)])
        self.is_plain = not (self._leaks or self._stops or self._results or self._logprobs) and self._is_answering
        return deltas

    @property
    def _is_answering(self) -> bool:
        """Whether what may be thoughts is over."""
        return self._thoughts is None or self._thoughts.is_over

    def _through_leaks(self, deltas: Iterable[Text | Thought]) -> list[Delta]:
        """Texts through the catcher of leaked tool calls, then through the stop sequences."""
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Thought):
                out += self._think(delta.text)
            else:
                out += self._through_stops(self._leaks.feed(delta.text) if self._leaks else [delta])
        return out

    def _through_stops(self, deltas: Iterable[Delta]) -> list[Delta]:
        out: list[Delta] = []
        for delta in deltas:
            if self.is_done:
                break
            if isinstance(delta, ToolCall):
                out += self._tools.add(delta.name or "", delta.arguments, delta.id)
            elif isinstance(delta, Thought):
                out += self._think(delta.text)
            else:
                results = self._results if self._tools else None  # before a call, it may be a text about them
                out += self._until_stop(results.feed(delta.text) if results else delta.text)
        return out

    def _until_stop(self, text: str) -> list[Delta]:
        return self._say(self._stops.feed(text) if self._stops else text)

    def _say(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._said.append(text)
        logprobs, self._logprobs = self._logprobs, None
        return [Text(text, logprobs)]


def _detail(name: str, details: Any) -> int:
    return whole_in(details.get(name)) if isinstance(details, dict) else 0
