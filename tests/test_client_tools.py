"""OpenAI's own Python client: tools, and answers that are JSON."""

import json
from typing import Any

import openai
import pydantic
import pytest

from tests.serving import (
    CHAT,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    NATIVE,
    UNLISTED,
    Cloudflare,
    asked,
    connected,
    flarelay,
    scripted,
)

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
CALLS = [{"name": "weather", "arguments": {"city": "Zürich", "days": 3}}, {"name": "time", "arguments": {}}]
EXPECTED = [("weather", {"city": "Zürich", "days": 3}), ("time", {})]


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str]


def called(calls: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


@pytest.mark.parametrize("model", FAMILIES)
def test_parallel_tool_calls(client: openai.OpenAI, model: str) -> None:
    completion = client.chat.completions.create(**scripted(model, {"tool_calls": CALLS}), tools=[WEATHER, TIME])
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert called(choice.message.tool_calls) == EXPECTED
    assert len({call.id for call in choice.message.tool_calls or ()}) == 2
    assert {call.type for call in choice.message.tool_calls or ()} == {"function"}


@pytest.mark.parametrize("model", FAMILIES)
def test_parallel_tool_calls_streamed(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"tool_calls": CALLS})
    with client.chat.completions.stream(**request, tools=[WEATHER, TIME]) as stream:
        events = list(stream)
    choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert called(choice.message.tool_calls) == EXPECTED
    assert len({call.id for call in choice.message.tool_calls or ()}) == 2
    assert sum(event.type == "tool_calls.function.arguments.done" for event in events) == 2


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", FAMILIES)
def test_a_round_trip_through_a_tool(client: openai.OpenAI, model: str, streamed: bool) -> None:
    messages: list[Any] = scripted(model, {"tool_calls": CALLS})["messages"]
    tools = [WEATHER, TIME]

    def turn() -> Any:
        if not streamed:
            return client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
            return stream.get_final_completion().choices[0].message

    first = turn()
    messages.append(first.model_dump(exclude_none=True))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name}: fine"} for call in first.tool_calls
    ]
    second = turn()
    assert second.content == "The tool says: time: fine"
    assert not second.tool_calls


@pytest.mark.parametrize("model", FAMILIES)
def test_a_forced_tool(client: openai.OpenAI, model: str) -> None:
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    request = asked("Hello", model)
    message = client.chat.completions.create(**request, tools=[WEATHER, TIME], tool_choice=choice).choices[0].message
    assert [call.function.name for call in message.tool_calls or () if call.type == "function"] == ["weather"]


@pytest.mark.parametrize("model", FAMILIES)
def test_legacy_functions(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"tool_calls": CALLS[:1]}) | {"functions": [WEATHER["function"]]}
    choice = client.chat.completions.create(**request).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call
    assert choice.message.function_call.name == "weather"
    assert json.loads(choice.message.function_call.arguments) == CALLS[0]["arguments"]
    deltas = [chunk.choices[0] for chunk in client.chat.completions.create(**request, stream=True)]
    pieces = [delta.delta.function_call for delta in deltas if delta.delta.function_call]
    assert [piece.name for piece in pieces] == ["weather"] + [None] * (len(pieces) - 1)
    assert json.loads("".join(piece.arguments or "" for piece in pieces)) == CALLS[0]["arguments"]
    assert deltas[-1].finish_reason == "function_call"


@pytest.mark.parametrize("model", FAMILIES)
def test_json_mode(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"text": '{"a": [1, 2], "ö": null}', "reasoning": ""})
    for streamed in (False, True):
        answer = client.chat.completions.create(**request, response_format={"type": "json_object"}, stream=streamed)
        if isinstance(answer, openai.Stream):
            content = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        else:
            content = answer.choices[0].message.content or ""
        assert json.loads(content) == {"a": [1, 2], "ö": None}


@pytest.mark.parametrize("model", FAMILIES)
def test_a_json_schema_is_kept(client: openai.OpenAI, model: str) -> None:
    wanted: Any = {
        "type": "json_schema",
        "json_schema": {"name": "person", "strict": True, "schema": Person.model_json_schema()},
    }
    answer = client.chat.completions.create(**asked("Who?", model), response_format=wanted).choices[0].message.content
    assert Person.model_validate_json(answer or "", strict=True)


@pytest.mark.parametrize("model", FAMILIES)
def test_parse_returns_the_pydantic_model(client: openai.OpenAI, model: str) -> None:
    parsed = client.chat.completions.parse(**asked("Who?", model), response_format=Person).choices[0].message.parsed
    assert isinstance(parsed, Person)


def test_parse_streamed(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**asked("Who?", CHAT), response_format=Person) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)


@pytest.mark.parametrize("model", [NATIVE, HYBRID, GPT_OSS, UNLISTED])
def test_an_answer_that_breaks_the_schema_is_no_answer(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.parse(
            **scripted(model, {"leak": '{"name": 1}', "reasoning": ""}), response_format=Person
        )
    assert (raised.value.code, raised.value.param) == ("json_mode_failed", "response_format")


WITHOUT_TOOLS = (
    "@cf/meta/llama-3.2-3b-instruct",
    "@cf/qwen/qwen2.5-coder-32b-instruct",  # has a JSON mode
    "@cf/aisingapore/gemma-sea-lion-v4-27b-it",  # answers in OpenAI's form
    "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b",  # thinks
    "@cf/daily-co/phonellm-mini-alpha-2",  # takes OpenAI's form
)
"""Models that are told tools in the prompt."""


def emulated(model: str, script: dict[str, Any], **options: Any) -> Any:
    return scripted(model, script) | {"tools": [WEATHER, TIME]} | options


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", WITHOUT_TOOLS)
def test_models_without_tools_call_them_all_the_same(client: openai.OpenAI, model: str, streamed: bool) -> None:
    request = emulated(model, {"tool_calls": CALLS, "text": "Let me see."})
    if streamed:
        with client.chat.completions.stream(**request) as stream:
            events = list(stream)
        choice: Any = stream.get_final_completion().choices[0]
        assert sum(event.type == "tool_calls.function.arguments.done" for event in events) == 2
    else:
        choice = client.chat.completions.create(**request).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert called(choice.message.tool_calls) == EXPECTED
    assert choice.message.content.strip() == "Let me see."
    assert len({call.id for call in choice.message.tool_calls}) == 2


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", WITHOUT_TOOLS)
def test_three_rounds_through_tools_without_any(client: openai.OpenAI, model: str, streamed: bool) -> None:
    messages: list[Any] = []
    tools = [WEATHER, TIME]

    def turn() -> Any:
        if not streamed:
            return client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
            return stream.get_final_completion().choices[0].message

    ids: list[str] = []
    for number in range(3):
        messages += scripted(model, {"tool_calls": CALLS})["messages"]
        message = turn()
        assert called(message.tool_calls) == EXPECTED
        ids += [call.id for call in message.tool_calls]
        messages.append(message.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name}: {number}"}
            for call in reversed(message.tool_calls)
        ]
        message = turn()
        assert message.content.strip() == f"The tool says: time: {number}"
        assert not message.tool_calls
        messages.append(message.model_dump(exclude_none=True))
    assert len(set(ids)) == 6


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", WITHOUT_TOOLS)
def test_forced_tools_without_any(client: openai.OpenAI, model: str, streamed: bool) -> None:
    named: Any = {"type": "function", "function": {"name": "time"}}
    for choice, expected in (("required", "weather"), (named, "time")):
        request: Any = asked("Hello", model, tools=[WEATHER, TIME], tool_choice=choice)
        if streamed:
            with client.chat.completions.stream(**request) as stream:
                message: Any = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**request).choices[0].message
        assert [call.function.name for call in message.tool_calls] == [expected]


def test_a_model_that_will_not_call_a_forced_tool_has_no_answer(client: openai.OpenAI, upstream: Cloudflare) -> None:
    upstream.emulator.requests.clear()
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(**emulated(WITHOUT_TOOLS[0], {"leak": "No."}, tool_choice="required"))
    assert raised.value.status_code == 502
    assert len(upstream.emulator.requests) == 2


@pytest.mark.parametrize("model", WITHOUT_TOOLS)
def test_a_call_that_is_cut_is_no_call(client: openai.OpenAI, model: str) -> None:
    request = emulated(
        model, {"tool_calls": [{"name": "weather", "arguments": {"city": "Bern " * 30}}]}, max_completion_tokens=24
    )
    choice = client.chat.completions.create(**request).choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)
    assert (choice.message.content or "").startswith("<tool_call>")


@pytest.mark.parametrize("model", WITHOUT_TOOLS)
def test_legacy_functions_without_tools(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"tool_calls": CALLS}) | {"functions": [WEATHER["function"]]}
    choice = client.chat.completions.create(**request).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call
    assert choice.message.function_call.name == "weather"


def test_emulation_can_be_switched_off(upstream: Cloudflare) -> None:
    with (
        flarelay(upstream, tool_emulation=False) as server,
        connected(server) as http,
    ):
        answer = http.post("/v1/chat/completions", json=emulated(WITHOUT_TOOLS[0], {"tool_calls": CALLS}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
