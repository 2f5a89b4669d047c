"""ChatReader: what Workers AI answers to a chat, whole or event by event, in either of its dialects -> deltas.

A native answer is `{"response", "tool_calls", "usage"}`, an OpenAI-shaped one has `choices`. Which of the two comes
does not always follow from what was sent, so both are read wherever they turn up.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from app.calls import Failure, FailureKind, Reply
from app.translators import json_mode
from app.translators.chat_answer import CUT, ChatAnswer
from app.translators.deltas import Delta, Text, Thought, joined
from app.translators.said import checked_logprobs, list_in, object_in, text_alone, text_of, whole_alone

INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response of OpenAI's Responses is incomplete -> a chat's finish_reason."""


def is_response(body: Any) -> bool:
    """Whether a body holds an answer in OpenAI's Responses, if only that a budget is spent."""
    answer = object_in(body)
    spent = object_in(answer.get("usage")).get("output_tokens")
    return bool(answer.get("output") or answer.get("incomplete_details") or spent)


class ChatReader(ChatAnswer):
    """The answer to one call, read as it comes."""

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


def _as_json(deltas: list[Delta], source: str) -> list[Delta]:
    """The same answer with its text replaced."""
    logprobs = None
    for delta in deltas:
        if isinstance(delta, Text):
            logprobs = joined(logprobs, delta.logprobs)
    return [delta for delta in deltas if not isinstance(delta, Text)] + [Text(source, logprobs)]
