"""Chats for the tests of the translators: models, requests, answers, and streams put together again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.calls import Call, Reply, Usage
from app.catalog import Model, Quirks, Reasoning
from app.schemas.chat import ChatCompletionRequest, Function
from app.translators.base import Context, Plan
from app.translators.chat import to_plan
from app.translators.chat_reader import ChatReader
from app.translators.chat_writer import ChatStream, to_completion
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall
from app.translators.reading import Reading
from app.translators.tools import Offer
from app.upstream.events import EventDecoder

GOLDEN = Path(__file__).parents[1] / "golden" / "chat"

ABLE = frozenset({"function-calling", "json-mode", "vision", "streaming"})
NATIVE = Model("@cf/test/native", "text-generation", "current", "prompt-or-messages", "response-text", ABLE)
HYBRID = Model("@cf/test/hybrid", "text-generation", "current", "prompt-or-messages", "openai-choices", ABLE)
CHAT = Model("@cf/test/chat", "text-generation", "current", "chat-completions", "openai-choices", ABLE)
OSS = Model(
    "@cf/test/oss",
    "text-generation",
    "current",
    capabilities=ABLE | {"reasoning"},
    reasoning=Reasoning(("low", "medium", "high"), {"none": "low", "minimal": "low", "xhigh": "high"}),
    quirks=Quirks(think_tags="tagged"),
)
FAMILIES = {"native": NATIVE, "hybrid": HYBRID, "chat": CHAT, "oss": OSS}

HI = {"role": "user", "content": "Hi"}
WEATHER: Function = {
    "name": "get_weather",
    "description": "Tells it",
    "parameters": {"type": "object", "properties": {}},
}
TIME: Function = {"name": "get_time", "description": "", "parameters": {"type": "object", "properties": {}}}

TOOLS = Offer({"get_weather": WEATHER, "get_time": TIME})
FORCED = Offer({"get_weather": WEATHER}, "named")
PARIS = '{"city":"Paris"}'
DONE = "[DONE]"
CALL = {"id": "c", "function": {"name": "get_time", "arguments": "{}"}}


def nested(*functions: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": function} for function in functions]


def a_request(*messages: dict[str, Any], **fields: Any) -> ChatCompletionRequest:
    body = {"model": "m", "messages": list(messages or (HI,))} | fields
    return ChatCompletionRequest.model_validate_json(json.dumps(body))  # orjson writes no large integers


def a_context(model: Model = CHAT, /, **fields: Any) -> Context:
    plain: dict[str, Any] = {"name": "m", "id": "abc", "created": 1790000000}
    return Context(model, **plain | fields)


def a_plan(model: Model, /, *messages: dict[str, Any], **fields: Any) -> Plan[ChatCompletionRequest]:
    request = a_request(*messages, **fields)
    return to_plan(request, a_context(model, name=request.model))


def a_reading(**fields: Any) -> Reading:
    plain: dict[str, Any] = {"offer": Offer({}), "prompt_tokens": 5, "id": "abc"}
    return Reading(**plain | fields)


def a_reader(max_tokens: int = 100, choice: int = 0, kind: type[ChatReader] = ChatReader, **fields: Any) -> ChatReader:
    return kind(a_reading(**fields), Call("m", "run/m", {"max_tokens": max_tokens}), choice)


def a_reply(body: Any, neurons: float | None = None) -> Reply:
    return Reply(body, orjson.dumps(body), neurons)


def payloads(*events: Any) -> list[bytes]:
    """Events as they are read from a stream; a text stands for itself."""
    return [event.encode() if isinstance(event, str) else orjson.dumps(event) for event in events]


def golden_reply(name: str) -> Reply:
    raw = (GOLDEN / f"{name}.json").read_bytes()
    body = orjson.loads(raw)
    return Reply(body.get("result", body), raw)


def golden_events(name: str) -> list[bytes]:
    decoder = EventDecoder()
    return decoder.feed((GOLDEN / f"{name}.sse").read_bytes()) + decoder.close()


class Said(NamedTuple):
    """An answer, put together from its deltas."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str | None, str | None, str], ...] = ()
    """Id, name, arguments."""
    finish_reason: str = "stop"
    usage: Usage | None = None
    refusal: str = ""


def said(deltas: Iterable[Delta], reader: ChatReader) -> Said:
    text, thought, refusal, calls = "", "", "", list[tuple[str | None, str | None, str]]()
    for delta in deltas:
        if isinstance(delta, Text):
            text += delta.text
        elif isinstance(delta, Thought):
            thought += delta.text
        elif isinstance(delta, Refusal):
            refusal += delta.text
        elif delta.call_index == len(calls):
            calls.append((delta.id, delta.name, delta.arguments))
        else:
            assert isinstance(delta, ToolCall)
            assert (delta.id, delta.name) == (None, None)
            call_id, name, arguments = calls[delta.call_index]
            calls[delta.call_index] = (call_id, name, arguments + delta.arguments)
    return Said(text, thought, tuple(calls), reader.finish_reason, reader.usage, refusal)


def read_whole(body: Any, **fields: Any) -> Said:
    reader = a_reader(**fields)
    return said(reader.read(body if isinstance(body, Reply) else a_reply(body)), reader)


def fed(reader: ChatReader, *events: bytes) -> list[Delta]:
    """What a reader says of events, texts alone as the deltas that they are short for."""
    deltas: list[Delta] = []
    for said in reader.feed(events):
        deltas += [Text(said)] if isinstance(said, str) else said
    return deltas


def read_stream(events: Iterable[bytes], **fields: Any) -> Said:
    reader = a_reader(**fields)
    deltas = fed(reader, *events)
    return said(deltas + reader.close(), reader)


def written(plan: Plan[ChatCompletionRequest], *choices: Sequence[bytes]) -> bytes:
    """The stream of a plan, from the upstream events of each choice."""
    stream = ChatStream(plan)
    out = [stream.feed(i, [payload]) for i, events in enumerate(choices) for payload in events]
    return b"".join([*out, *(stream.finish(i) for i in range(len(choices))), stream.end()])


def chunks(stream: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream as it went out, which must end with `[DONE]`."""
    lines = stream.split(b"\n\n")
    assert lines[-2:] == [b"data: [DONE]", b""]
    assert all(line.startswith(b"data: {") and b"\n" not in line for line in lines[:-2])
    return [orjson.loads(line[6:]) for line in lines[:-2]]


def completed(plan: Plan[ChatCompletionRequest], *bodies: Any) -> dict[str, Any]:
    return to_completion(plan, [body if isinstance(body, Reply) else a_reply(body) for body in bodies])[0]
