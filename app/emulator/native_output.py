"""What native models answer on ai/run: `{"response"}`, whole and as events."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from app.emulator.answers import Answer, parsed
from app.emulator.run import Run
from app.emulator.tokens import Usage, pieces
from app.emulator.tools import ToolCall

Frame = dict[str, Any]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Frames(NamedTuple):
    """The events of a stream: those with parts of the answer, and those that close it."""

    answer: Iterator[Frame]
    closing: Iterator[Frame]


def as_number(text: str) -> Any:
    """A text that is a JSON number, as that number, digit for digit; any other text as it is."""
    return orjson.Fragment(text) if _NUMBER.fullmatch(text) else text


def native_result(run: Run, answer: Answer, usage: Usage) -> Any:
    """The `result` of a whole answer: no finish_reason, and tool calls without id and type."""
    if "string-result" in run.quirks:
        return answer.whole_text
    calls = [_native_call(run, call) for call in answer.tool_calls]
    response = None if calls and not answer.text else _response(run, answer)
    result = {"response": response, "tool_calls": calls}
    return result if "no-usage" in run.quirks else result | {"usage": usage.body(details=["neurons"])}


def native_frames(run: Run, answer: Answer, usage: Usage) -> Frames:
    return Frames(_answer_frames(run, answer), _closing_frames(run, usage))


def _response(run: Run, answer: Answer) -> Any:
    text = answer.whole_text
    if answer.is_json and "stringified-json-mode-object" not in run.quirks:
        return parsed(text)
    return as_number(text) if "numeric-response" in run.quirks else text


def _native_call(run: Run, call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments if "string-arguments" in run.quirks else parsed(call.arguments)
    flat = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": flat} if "nested-tool-calls" in run.quirks else flat


def _answer_frames(run: Run, answer: Answer) -> Iterator[Frame]:
    for piece in answer.text:
        yield {"response": as_number(piece) if "numeric-response" in run.quirks else piece}
        if "null-response" in run.quirks:
            yield {"response": None}
            yield {}
    for number, call in enumerate(answer.tool_calls):
        if "flat-tool-frames" in run.quirks:
            yield {"tool_calls": [{"name": call.name, "arguments": parsed(call.arguments)}]}
            continue
        for part in call_parts(run, call):
            part |= {} if "missing-index" in run.quirks else {"index": number}
            yield ({"response": None} if part.get("id") else {}) | {"tool_calls": [part]}
        if "null-finaliser" in run.quirks:
            nulls = {"id": None, "type": None, "index": number, "function": {"name": None, "arguments": ""}}
            yield {"tool_calls": [nulls]}


def call_parts(run: Run, call: ToolCall) -> Iterator[dict[str, Any]]:
    """A tool call in pieces, OpenAI's way, without their index."""
    opening: dict[str, Any] = {"id": call.id, "type": "function", "function": {"name": call.name}}
    nulls = {"id": None, "type": None} if "null-ids" in run.quirks else {}
    null_name = {"name": None} if nulls else {}
    first, *rest = pieces(call.arguments) or [""]
    if "arguments-first" in run.quirks:
        yield {"function": {"arguments": first}}
        yield opening
    else:
        yield opening
        rest.insert(0, first)
    for piece in rest:
        yield nulls | {"function": null_name | {"arguments": piece}}


def _closing_frames(run: Run, usage: Usage) -> Iterator[Frame]:
    if "no-usage" not in run.quirks:
        yield {"response": "", "usage": usage.body(details=["neurons"])}
