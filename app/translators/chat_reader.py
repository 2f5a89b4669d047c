"""ChatReader: what Workers AI answers to a chat, whole or event by event, in either of its dialects -> deltas.

A native answer is `{"response", "tool_calls", "usage"}`, an OpenAI-shaped one has `choices`. Which of the two comes
does not always follow from what was sent, so both are read wherever they turn up.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from app.calls import Call, Failure, FailureKind, Reply, Usage
from app.translators import json_mode
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall, joined
from app.translators.json_mode import Wanted
from app.translators.leaks import LeakCatcher
from app.translators.said import checked_logprobs, list_in, object_in, text_alone, text_of, whole_alone, whole_in
from app.translators.stops import StopCutter
from app.translators.thoughts import ThoughtSplitter
from app.translators.tokens import estimate_tokens
from app.translators.tool_calls import ToolCallReader
from app.translators.tool_emulation import RESULT
from app.translators.tools import Offer
from app.values import immutable

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

INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response of OpenAI's Responses is incomplete -> a chat's finish_reason."""


@immutable
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
    is_emulated: bool = False
    """The tools are told in the prompt, and called in the text."""


def length_of(body: Mapping[str, Any]) -> int:
    """The tokens that an answer to the call may have, in either dialect."""
    length: int = body.get("max_tokens") or body.get("max_output_tokens") or sys.maxsize
    return length


def is_response(body: Any) -> bool:
    """Whether a body holds an answer in OpenAI's Responses, if only that a budget is spent."""
    answer = object_in(body)
    spent = object_in(answer.get("usage")).get("output_tokens")
    return bool(answer.get("output") or answer.get("incomplete_details") or spent)


class ChatReader:
    """The answer to one call."""

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

    def feed(self, payloads: Iterable[bytes]) -> list[str | list[Delta]]:
        """What each event says; one that is a text alone, and goes out as it came in, just that text.

        Raises Failure for one that can't be understood: left out, it would be a gap in the answer.
        """
        said: list[str | list[Delta]] = []
        for payload in payloads:
            if payload == b"[DONE]":
                self._is_ended = True
                continue
            try:
                event = orjson.loads(payload)
            except orjson.JSONDecodeError as failure:
                raise Failure(FailureKind.BROKEN, "Cloudflare sent an event that is not JSON.", status=502) from failure
            if not isinstance(event, dict):
                raise Failure(FailureKind.BROKEN, "Cloudflare sent an event that is not an object.", status=502)
            if self.is_plain and (text := text_alone(event)):
                self._said.append(text)
                said.append(text)
            else:
                said.append(self._event(event, payload))
        return said

    def read(self, reply: Reply) -> list[Delta]:
        """A whole reply. Raises Failure if there is no answer in it, or not the JSON or the call that was wanted."""
        self.neurons = reply.neurons
        self._is_ended = True
        if self._is_simple and (alone := whole_alone(reply.body)) and not self._may_begin_thought(alone[0]):
            return self._alone(*alone, reply.body.get("usage"))
        deltas = self._body(reply.body, reply.raw) + self.close()
        if self._thoughts and self._thoughts.was_answer:
            deltas = [delta for delta in deltas if not isinstance(delta, Thought)]
        if self.lacks_call:
            message = "The model answered without calling the tool that it was told to."
            raise Failure(FailureKind.BROKEN, message, status=502)
        wanted = self._reading.wanted
        if (
            wanted
            and not (self._tools or self._refused)
            and (self.finish_reason not in CUT or json_mode.REFUSAL in self.text)
        ):
            deltas = _as_json(deltas, json_mode.to_json(self.text, wanted))
        return deltas

    @property
    def _is_simple(self) -> bool:
        """Whether an answer that is a text alone is passed on as it came."""
        reading = self._reading
        return not (self._leaks or self._stops or self._results or reading.wanted or reading.think_tags == "untagged")

    def _may_begin_thought(self, text: str) -> bool:
        return self._thoughts is not None and text.lstrip()[:1] == "<"

    def _alone(self, text: str, finish_reason: Any, usage: Any) -> list[Delta]:
        """As all the stages below would read it."""
        if usage:
            self._count(usage)
        self._said.append(text)
        if finish_reason:
            self._finished(finish_reason)
        self.finish_reason = self._reason()
        return [Text(text)]

    def close(self) -> list[Delta]:
        """The end of the answer. Raises Failure if it ended too early: it must not look whole."""
        if not (self._is_ended or self.is_done):
            raise Failure(FailureKind.BROKEN, "Cloudflare's answer broke off before its end.", status=502)
        deltas = self._flush()
        deltas += self._tools.close()
        self.finish_reason = self._reason()
        return deltas

    @property
    def usage(self) -> Usage:
        """As Cloudflare counted it; what it did not count is estimated."""
        counted = self._usage
        prompt = whole_in(counted.get("prompt_tokens") or counted.get("input_tokens"))
        completion = whole_in(counted.get("completion_tokens") or counted.get("output_tokens"))
        thought = estimate_tokens("".join(self._thought)) if self._thought else 0
        written = completion or thought + self._estimated_tokens()
        prompt_details = object_in(counted.get("prompt_tokens_details") or counted.get("input_tokens_details"))
        details = object_in(counted.get("completion_tokens_details") or counted.get("output_tokens_details"))
        neurons = counted.get("neurons")
        return Usage(
            prompt or self._reading.prompt_tokens,
            written,
            min(whole_in(prompt_details.get("cached_tokens")), prompt),
            min(whole_in(details.get("reasoning_tokens")) or thought, written),
            neurons if isinstance(neurons, int | float) else self.neurons,
            is_estimated=not prompt or written > completion,
        )

    def _estimated_tokens(self) -> int:
        """Of all but the thoughts."""
        return estimate_tokens(self.text + "".join(self._refused)) + estimate_tokens(self._tools.text)

    def _event(self, event: dict[str, Any], payload: bytes) -> list[Delta]:
        if usage := event.get("usage"):
            self._count(usage)
        choices = event.get("choices")
        if choices is None:
            native = {"content": event.get("response"), "tool_calls": event.get("tool_calls")}
            return self._message(native, None, payload)
        if choices == []:
            return []
        choice = choices[0] if isinstance(choices, list) else None
        message = choice.get("delta") or choice.get("message") or choice if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise Failure(FailureKind.BROKEN, "Cloudflare sent a choice that can't be read.", status=502)
        deltas = self._message(message, choice.get("logprobs"), payload)
        if reason := choice.get("finish_reason"):
            self._finished(reason)
        return deltas

    def _body(self, body: Any, raw: bytes) -> list[Delta]:
        if isinstance(body, dict) and (body.get("choices") or "response" in body or "tool_calls" in body):
            return self._event(body, raw)
        if is_response(body):
            return self._responses(body)
        if isinstance(body, str) and body:
            return self._text(body)
        raise Failure(FailureKind.BROKEN, "Cloudflare answered without an answer.", status=502, is_retryable=True)

    def _message(self, message: dict[str, Any], logprobs: Any, payload: bytes) -> list[Delta]:
        if self.is_done:
            return []
        content = message.get("content", message.get("text"))
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        deltas: list[Delta] = self._think(thoughts) if isinstance(thoughts, str) else []
        if content is not None and (content != "" or logprobs):
            deltas += self._text(text_of(content, payload), checked_logprobs(logprobs) if logprobs else None)
        if (refusal := message.get("refusal")) and isinstance(refusal, str):
            deltas += self._refuse(refusal)
        if (calls := message.get("tool_calls")) and not self.is_done and self._reading.offer.choice != "none":
            deltas += self._tools.feed(calls)
        return deltas

    def _responses(self, body: dict[str, Any]) -> list[Delta]:
        """OpenAI's Responses, which gpt-oss is asked in, or falls into by itself."""
        deltas: list[Delta] = []
        self._count(body.get("usage"))
        reason = object_in(body.get("incomplete_details")).get("reason")
        self._finish = INCOMPLETE.get(str(reason)) or ("stop" if body.get("status") == "completed" else None)
        for item in map(object_in, list_in(body.get("output"))):
            if item.get("type") == "function_call" and self._reading.offer.choice != "none":
                deltas += self._tools.feed([item | {"id": item.get("call_id")}])
            for part in map(object_in, list_in(item.get("content") or item.get("summary"))):
                deltas += self._part(part)
        return deltas

    def _part(self, part: dict[str, Any]) -> list[Delta]:
        """A part of an item: its text goes where its type says."""
        text = part.get("text") or part.get("refusal")
        if not isinstance(text, str):
            return []
        if part.get("type") in ("reasoning_text", "summary_text"):
            return self._think(text)
        return self._refuse(text) if part.get("type") == "refusal" else self._text(text)

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

    @property
    def _is_full(self) -> bool:
        """Whether an answer that tells no reason for its end, or has none but thoughts, is as long as it may be.

        Some models call it a good end when all of their budget went into thoughts, hidden ones too.
        """
        if self._finish is not None and (self.text.strip() or self._refused):
            return False
        return whole_in(self._usage.get("completion_tokens") or self._usage.get("output_tokens")) >= self._max_tokens

    def _reason(self) -> str:
        """OpenAI's finish_reason: what the model said if it said it truly, else what the answer shows."""
        if self._finish in CUT and not self.is_done:
            return self._finish
        if self._tools:
            return "length" if self._tools.is_cut else "tool_calls"
        return "length" if self._is_full and not self.is_done else "stop"

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


def _as_json(deltas: list[Delta], source: str) -> list[Delta]:
    """The same answer with its text replaced."""
    logprobs = None
    for delta in deltas:
        if isinstance(delta, Text):
            logprobs = joined(logprobs, delta.logprobs)
    return [delta for delta in deltas if not isinstance(delta, Text)] + [Text(source, logprobs)]
