"""What holds for any answer: streamed or whole, in either dialect, however it is cut and whatever comes along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.translators.base import Plan
from app.translators.chat_writer import ChatStream
from tests.translators.chats import (
    CHAT,
    HI,
    NATIVE,
    OSS,
    WEATHER,
    a_plan,
    a_reply,
    chunks,
    completed,
    nested,
    payloads,
    written,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JUNK = "JUNK"
"""Stands in every junk value, and in no answer."""


@dataclass(frozen=True)
class Answer:
    """What a model says, before any dialect."""

    thought: str
    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    """Ids and arguments."""
    finish_reason: str | None
    usage: dict[str, Any] | None


ARGUMENTS = st.dictionaries(WORDS, WORDS | st.integers(-9, 9), max_size=3)
USAGE = st.builds(
    lambda prompt, completion: {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    },
    st.integers(1, 99),
    st.integers(1, 4096),
)
ANSWERS = st.builds(
    Answer,
    thought=WORDS,
    text=WORDS,
    calls=st.lists(st.tuples(st.sampled_from(["a", "b", "call_0"]), ARGUMENTS), max_size=3).map(tuple),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "model_length", "unknown", None]),
    usage=st.none() | USAGE,
)
TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "\n", "END", "E", "ND", "Hm", " ", "<tool_call>", "{", '"name"', "a"]),
    max_size=8,
).map("".join)


def whole(answer: Answer, *, is_native: bool) -> dict[str, Any]:
    counted = {"usage": answer.usage} if answer.usage else {}
    if is_native:
        calls = [{"name": "get_weather", "arguments": arguments} for _, arguments in answer.calls]
        return {"response": answer.text, "tool_calls": calls} | counted
    calls = [
        {"id": i, "type": "function", "function": {"name": "get_weather", "arguments": source(arguments)}}
        for i, arguments in answer.calls
    ]
    message = {"role": "assistant", "content": answer.text, "tool_calls": calls}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    return {"choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}]} | counted


def source(arguments: dict[str, Any]) -> str:
    return orjson.dumps(arguments).decode()


def streamed(answer: Answer, cut: "Cut", *, is_native: bool) -> list[dict[str, Any]]:
    """The same answer in events."""
    deltas: list[dict[str, Any]] = (
        [{"reasoning_content": piece} for piece in cut(answer.thought)] if not is_native else []
    )
    deltas += [{"content": piece} for piece in cut(answer.text)]
    for i, (call_id, arguments) in enumerate(answer.calls):
        first, *rest = cut(source(arguments))
        function = {"name": "get_weather", "arguments": first}
        deltas.append(
            {"tool_calls": [{"index": i, "type": "function", "function": function} | _id(call_id, is_native)]}
        )
        null = {"id": None, "type": None, "index": i}
        deltas += [{"tool_calls": [null | {"function": {"name": None, "arguments": piece}}]} for piece in rest]
    end = {"usage": answer.usage} if answer.usage else {}
    if is_native:
        events = [{"response": delta.get("content"), "tool_calls": delta.get("tool_calls")} for delta in deltas]
        return [*events, {"response": ""} | end]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]} | end]


def _id(call_id: str, is_native: bool) -> dict[str, str]:
    return {} if is_native else {"id": call_id}


class Cut:
    """Cuts texts into pieces of the sizes drawn, over and over."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes

    def __call__(self, text: str) -> list[str]:
        pieces: list[str] = []
        start = 0
        while start < len(text):
            size = self._sizes[len(pieces) % len(self._sizes)]
            pieces.append(text[start : start + size])
            start += size
        return pieces


CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(Cut)


def put_together(stream: bytes) -> dict[str, Any]:
    """A stream as the whole answer it stands for, as OpenAI's own helper puts it together; checks its rules."""
    *told, last = chunks(stream)
    choices: dict[int, dict[str, Any]] = {}
    for chunk in told:
        assert "usage" not in chunk
        [choice] = chunk["choices"]
        delta = choice["delta"]
        known = choices.setdefault(choice["index"], {"index": choice["index"], "message": {}, "finish_reason": None})
        assert known["finish_reason"] is None
        if not known["message"]:
            assert delta == {"role": "assistant", "content": ""}
            known["message"] = {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": []}
        elif choice["finish_reason"]:
            assert delta == {}
            known["finish_reason"] = choice["finish_reason"]
        else:
            assert len(delta) == 1
            _add(known["message"], delta)
    assert last["choices"] == []
    return {"choices": [_tidy(choices[i]) for i in sorted(choices)], "usage": last["usage"]}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key in delta.keys() & {"content", "reasoning_content"}:
        assert delta[key]
        message[key] += delta[key]
    for piece in delta.get("tool_calls", ()):
        if piece["index"] == len(message["tool_calls"]):
            assert piece.keys() == {"index", "id", "type", "function"}
            message["tool_calls"].append({key: piece[key] for key in ("id", "type", "function")})
        else:
            assert piece.keys() == {"index", "function"}
            assert piece["function"].keys() == {"arguments"}
            message["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def _tidy(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    message["content"] = message["content"] or (None if message["tool_calls"] else "")
    for key in ("reasoning_content", "tool_calls"):
        if not message[key]:
            del message[key]
    return choice


def told(body: dict[str, Any]) -> dict[str, Any]:
    """A whole answer without what only a whole answer has."""
    choices = [{key: value for key, value in choice.items() if key != "logprobs"} for choice in body["choices"]]
    return {"choices": choices, "usage": body["usage"]}


def planned(is_native: bool, **fields: Any) -> Plan[Any]:
    model = NATIVE if is_native else OSS
    tools = nested(WEATHER)
    return a_plan(model, HI, **{"stream": True, "stream_options": {"include_usage": True}, "tools": tools} | fields)


@given(ANSWERS, CUTS, st.booleans())
def test_the_chunks_are_the_whole(answer: Answer, cut: Cut, is_native: bool) -> None:
    plan = planned(is_native)
    events = payloads(*streamed(answer, cut, is_native=is_native), "[DONE]")
    assert put_together(written(plan, events)) == told(completed(plan, whole(answer, is_native=is_native)))


@given(TEXTS, CUTS, st.booleans(), st.sampled_from([None, "END", ["END", "E"]]), st.booleans())
def test_the_chunks_are_the_whole_for_texts_full_of_marks(
    text: str, cut: Cut, is_native: bool, stop: Any, has_tools: bool
) -> None:
    plan = planned(is_native, stop=stop, **({} if has_tools else {"tools": None}))
    answer = Answer("", text, (), None, None)
    events = payloads(*streamed(answer, cut, is_native=is_native), "[DONE]")
    assert put_together(written(plan, events)) == told(completed(plan, whole(answer, is_native=is_native)))


@given(ANSWERS, st.booleans())
def test_a_replayed_answer_is_the_whole(answer: Answer, is_native: bool) -> None:
    plan = planned(is_native)
    stream = ChatStream(plan)
    reply = whole(answer, is_native=is_native)
    body = completed(plan, reply)
    replayed = stream.replay(0, a_reply(reply)) + stream.end()
    assert put_together(replayed) == told(body)


JUNK_VALUES = st.sampled_from([JUNK, 7777777, None, [JUNK], {JUNK: JUNK}, [{"content": JUNK}]])
JUNK_KEYS = st.dictionaries(st.sampled_from(["p", "token_ids", "stop_reason", "annotations", "x"]), JUNK_VALUES)


def _littered(value: Any, junk: dict[str, Any]) -> Any:
    """With junk in every object of an event but the usage, whose keys are numbers that count."""
    if isinstance(value, list):
        return [_littered(each, junk) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: each if key in ("usage", "arguments") else _littered(each, junk) for key, each in value.items()}
    return junk | kept


@given(ANSWERS, CUTS, st.booleans(), JUNK_KEYS)
def test_unknown_keys_change_nothing(answer: Answer, cut: Cut, is_native: bool, junk: dict[str, Any]) -> None:
    plan = planned(is_native)
    events = streamed(answer, cut, is_native=is_native)
    clean = written(plan, payloads(*events, "[DONE]"))
    assert written(plan, payloads(*_littered(events, junk), "[DONE]")) == clean
    body = whole(answer, is_native=is_native)
    assert completed(plan, _littered(body, junk)) == completed(plan, body)


@given(st.lists(ANSWERS, min_size=2, max_size=3), CUTS, st.booleans(), st.lists(st.sampled_from(["a", "call_0"])))
def test_ids_are_unique_over_choices_and_history(
    answers: list[Answer], cut: Cut, is_native: bool, used: list[str]
) -> None:
    history = [{"role": "assistant", "tool_calls": [{"id": i, "function": {"name": "get_weather"}}]} for i in used]
    model = NATIVE if is_native else CHAT
    plan = a_plan(
        model, HI, *history, HI, n=len(answers), tools=nested(WEATHER), stream_options={"include_usage": True}
    )
    body = completed(plan, *(whole(answer, is_native=is_native) for answer in answers))
    ids = [call["id"] for choice in body["choices"] for call in choice["message"].get("tool_calls", ())]
    assert len({*ids, *used}) == len(ids) + len(set(used))
    assert len(ids) == sum(len(answer.calls) for answer in answers)
    events = [payloads(*streamed(answer, cut, is_native=is_native), "[DONE]") for answer in answers]
    assert put_together(written(plan, *events)) == told(body)
