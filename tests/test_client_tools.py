"""OpenAI's own Python client: tools, and answers that are JSON."""

import json
from typing import Any

import openai
import pydantic
import pytest

from tests.serving import CHAT, FAMILIES, GPT_OSS, HYBRID, NATIVE, UNLISTED, asked, scripted

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
