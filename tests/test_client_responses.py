"""OpenAI's own Python client on the Responses API, and the wire of Codex."""

import json
from typing import Any

import httpx2
import openai
import pydantic
import pytest

from app.emulator.quirks import DEFAULT_QUIRKS
from app.translators.turns import NO_RESULT
from tests.serving import (
    CHAT,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    NATIVE,
    THINKING,
    UNLISTED,
    VISION,
    Cloudflare,
    cloudflare,
    connected,
    flarelay,
)

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
TIME: Any = {"type": "function", "name": "time", "parameters": {"type": "object", "properties": {}}, "strict": False}
CALLS = [{"name": "weather", "arguments": {"city": "Zürich"}}, {"name": "time", "arguments": {}}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAA"
    "AfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def said(text: str | None = "Hello there, Zürich", **fields: Any) -> str:
    """A prompt that tells the emulator what to answer."""
    return f"Hello\n!emulate {json.dumps({'text': text, 'reasoning': ''} | fields)}"


def essence(response: Any) -> Any:
    """What two answers to the same have in common: all but ids and times."""
    found = response.model_dump(exclude={"id", "created_at", "completed_at", "output"}, exclude_unset=True)
    items = [item.model_dump(exclude={"id", "call_id", "parsed_arguments"}) for item in response.output]
    for item in items:
        for part in item.get("content") or ():
            part.pop("parsed", None)
    return found, items


@pytest.mark.parametrize("model", FAMILIES)
def test_a_text(client: openai.OpenAI, model: str) -> None:
    response = client.responses.create(model=model, input=said())
    assert response.output_text == "Hello there, Zürich"
    assert (response.status, response.model, response.error) == ("completed", model, None)
    assert response.usage
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.usage.input_tokens_details.cached_tokens >= 0
    assert response.usage.input_tokens_details.cache_write_tokens == 0


SCRIPTS: list[dict[str, Any]] = [
    {},
    {"reasoning": "Let me think. Yes."},
    {"tool_calls": CALLS, "reasoning": "I need a tool."},
    {"finish_reason": "length"},
    {"text": " \n", "reasoning": ""},
]


@pytest.mark.parametrize("summary", [None, "auto"])
@pytest.mark.parametrize("script", SCRIPTS, ids=["text", "thoughts", "calls", "cut", "blank"])
@pytest.mark.parametrize("model", FAMILIES)
def test_what_is_streamed_adds_up_to_the_whole_answer(
    client: openai.OpenAI, model: str, script: dict[str, Any], summary: Any
) -> None:
    fields: dict[str, Any] = {"model": model, "input": said(**script), "tools": [WEATHER, TIME]}
    fields["reasoning"] = {"summary": summary}
    whole = client.responses.create(**fields)
    with client.responses.stream(**fields) as stream:
        events = list(stream)
    assert events[0].type == "response.created"
    assert events[-1].type == f"response.{whole.status}"
    streamed: Any = events[-1].response  # type: ignore[union-attr]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.model_dump()["id"] for item in done] == [item.id for item in streamed.output]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == streamed.output_text == whole.output_text
    sent = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert sent == "".join(item.arguments for item in streamed.output if item.type == "function_call")
    numbers = [event.sequence_number for event in client.responses.create(**fields, stream=True)]
    assert numbers == list(range(len(numbers)))
    (told, items), (streamed_told, streamed_items) = essence(whole), essence(streamed)
    assert told.keys() <= streamed_told.keys()
    assert {item["type"] for item in items} == {item["type"] for item in streamed_items}
    assert [item for item in items if item["type"] == "function_call"] == [
        item for item in streamed_items if item["type"] == "function_call"
    ]


@pytest.mark.parametrize("model", [HYBRID, CHAT])
def test_thoughts_are_told_and_fed_back(client: openai.OpenAI, upstream: Cloudflare, model: str) -> None:
    given: list[Any] = [{"role": "user", "content": said(reasoning="Let me think.")}]
    response = client.responses.create(model=model, input=given, store=False)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    given += [item.model_dump(exclude_none=True) for item in response.output]
    client.responses.create(model=model, input=[*given, {"role": "user", "content": "And?"}], store=False)
    turn = upstream.sent["messages"][1]
    assert turn["content"] == "Hello there, Zürich"
    assert turn.get("reasoning") == (None if model == HYBRID else "Let me think.")


@pytest.mark.parametrize("model", FAMILIES)
def test_a_round_trip_through_tools(client: openai.OpenAI, upstream: Cloudflare, model: str) -> None:
    fields: dict[str, Any] = {"model": model, "tools": [WEATHER, TIME]}
    first = client.responses.create(**fields, input=said(None, tool_calls=CALLS))
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", {"city": "Zürich"}),
        ("time", {}),
    ]
    assert len({call.call_id for call in calls}) == 2
    results: list[Any] = [
        {"type": "function_call_output", "call_id": calls[0].call_id, "output": "fine"},
        {
            "type": "function_call_output",
            "call_id": calls[1].call_id,
            "output": [{"type": "input_text", "text": "noon"}],
        },
    ]
    second = client.responses.create(**fields, input=results, previous_response_id=first.id)
    assert second.output_text == "The tool says: noon"
    if model == GPT_OSS:
        assert [item["type"] for item in upstream.sent["input"]] == [
            *("message", "function_call", "function_call"),
            *("function_call_output", "function_call_output"),
        ]
        return
    asked = upstream.sent["messages"][1]["tool_calls"]
    assert [turn["tool_call_id"] for turn in upstream.sent["messages"][2:]] == [call["id"] for call in asked]


def test_what_speaks_responses_is_asked_in_them(client: openai.OpenAI, upstream: Cloudflare) -> None:
    """With its thoughts as what they are. A stream is a chat, which goes on all the same."""
    fields: dict[str, Any] = {"model": GPT_OSS, "instructions": "Be brief.", "tools": [WEATHER], "store": False}
    given: list[Any] = [{"role": "user", "content": said(reasoning="Let me think.")}]
    first = client.responses.with_raw_response.create(**fields, input=given)
    assert float(first.headers["x-flarelay-neurons"]) > 0
    assert upstream.emulator.requests[-1].path.endswith(f"/ai/run/{GPT_OSS}")
    given += [item.model_dump(exclude_none=True) for item in first.parse().output]
    given += [{"role": "user", "content": "And?"}]
    client.responses.create(**fields, input=given)
    assert upstream.sent["instructions"] == "Be brief."
    _, thoughts, message, _ = upstream.sent["input"]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "Let me think."}]
    assert message["content"][0]["text"] == "Hello there, Zürich"
    assert upstream.sent["max_output_tokens"] > 256
    list(client.responses.create(**fields, input=given, stream=True))
    assert upstream.sent["messages"][2] == {
        "role": "assistant", "content": "Hello there, Zürich", "reasoning": "Let me think.",
    }  # fmt: skip


def test_a_chat_takes_over_where_responses_are_not_understood() -> None:
    with (
        cloudflare(quirks=DEFAULT_QUIRKS | {"no-responses"}) as old,
        flarelay(old) as server,
        connected(server) as http,
    ):
        answer = http.post("/v1/responses", json={"model": GPT_OSS, "input": said()})
    assert answer.json()["output"][0]["content"][0]["text"] == "Hello there, Zürich"
    assert [request.path.rpartition("/ai/")[2] for request in old.emulator.requests][-2:] == [
        f"run/{GPT_OSS}",
        "v1/chat/completions",
    ]


@pytest.mark.parametrize("model", [HYBRID, CHAT, GPT_OSS, UNLISTED])
def test_a_refusal(client: openai.OpenAI, model: str) -> None:
    """Whole and as OpenAI's helpers add it up, also where JSON was asked for."""
    given, answer = said(refusal="I can't help with that."), "I can't help with that."
    for whole in (
        client.responses.create(model=model, input=given),
        client.responses.parse(model=model, input=given, text_format=Person),
    ):
        assert whole.model_dump()["output"][-1]["content"] == [{"type": "refusal", "refusal": answer}]
        assert (whole.status, whole.output_text) == ("completed", "")
    with client.responses.stream(model=model, input=given) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.model_dump()["output"][-1]["content"] == [{"type": "refusal", "refusal": answer}]
    kinds = [event.type for event in events if "refusal" in event.type]
    assert set(kinds) == {"response.refusal.delta", "response.refusal.done"}
    assert "".join(event.delta for event in events if event.type == "response.refusal.delta") == answer
    messages: Any = [{"role": "user", "content": given}]
    message = client.chat.completions.create(model=model, messages=messages).choices[0].message
    assert (message.content, message.refusal) == (None, answer)
    with client.chat.completions.stream(model=model, messages=messages) as chat:
        told = [event.delta for event in chat if event.type == "refusal.delta"]
        choice = chat.get_final_completion().choices[0]
    assert "".join(told) == choice.message.refusal == answer
    assert (choice.message.content, choice.finish_reason) == ("", "stop")


def test_a_refusal_in_anthropics_terms(http: httpx2.Client) -> None:
    asked = {"model": CHAT, "max_tokens": 50, "messages": [{"role": "user", "content": said(refusal="No.")}]}
    message = http.post("/v1/messages", json=asked).json()
    assert (message["stop_reason"], message["content"]) == ("refusal", [{"type": "text", "text": "No."}])
    assert '"stop_reason":"refusal"' in http.post("/v1/messages", json=asked | {"stream": True}).text


@pytest.mark.parametrize("first", ["call_0", "call_1"])
@pytest.mark.parametrize("model", [NATIVE, CHAT, GPT_OSS])
def test_ids_that_a_history_uses_again(client: openai.OpenAI, upstream: Cloudflare, model: str, first: str) -> None:
    """In one turn and from turn to turn; results without a call and calls without a result are taken, too."""

    def made(call_id: str) -> Any:
        return {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": "{}"}

    def result(call_id: str, output: str) -> Any:
        return {"type": "function_call_output", "call_id": call_id, "output": output}

    given = [
        {"role": "user", "content": "Go"},
        made(first), made("call_0"), result(first, "1"), result("call_0", "2"),
        made("call_0"), result("gone", "3"), result("call_0", "4"),
        made("call_9"),
        {"role": "user", "content": said("Yes")},
    ]  # fmt: skip
    assert client.responses.create(model=model, input=given, tools=[WEATHER]).output_text == "Yes"
    sent = upstream.sent
    if "input" in sent:
        calls = [item["call_id"] for item in sent["input"] if item["type"] == "function_call"]
        results = [item for item in sent["input"] if item["type"] == "function_call_output"]
        found = [(item["call_id"], item["output"]) for item in results]
    else:
        calls = [call["id"] for turn in sent["messages"] for call in turn.get("tool_calls", ())]
        found = [(turn["tool_call_id"], turn["content"]) for turn in sent["messages"] if turn["role"] == "tool"]
    assert len(set(calls)) == 4
    assert [call_id for call_id, _ in found] == calls
    assert [content for _, content in found] == ["1", "2", "4", NO_RESULT]
    assert "[Result of the tool gone]" in str(sent)


class Person(pydantic.BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("model", FAMILIES)
def test_parse_returns_the_pydantic_model(client: openai.OpenAI, model: str) -> None:
    assert isinstance(client.responses.parse(model=model, input="Who?", text_format=Person).output_parsed, Person)


@pytest.mark.parametrize("model", FAMILIES)
def test_a_forced_tool(client: openai.OpenAI, model: str) -> None:
    choice: Any = {"type": "function", "name": "weather"}
    response = client.responses.create(model=model, input="Hello", tools=[WEATHER, TIME], tool_choice=choice)
    assert [item.name for item in response.output if item.type == "function_call"] == ["weather"]


def test_pictures(client: openai.OpenAI, upstream: Cloudflare) -> None:
    parts: Any = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
    ]
    assert client.responses.create(model=VISION, input=[{"role": "user", "content": parts}]).output_text
    assert [part["type"] for part in upstream.sent["messages"][0]["content"]] == ["text", "image_url"]


def test_stored_responses(client: openai.OpenAI) -> None:
    made = client.responses.create(model=CHAT, input=said(), metadata={"a": "b"})
    assert client.responses.retrieve(made.id) == made
    gone_on = client.responses.create(model=CHAT, input="And?", previous_response_id=made.id)
    items = list(client.responses.input_items.list(gone_on.id, limit=1, order="asc"))
    assert [item.type for item in items] == ["message"] * 3
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as raised:
        client.responses.create(model=CHAT, input="And?", previous_response_id=made.id)
    assert raised.value.code == "previous_response_not_found"


@pytest.mark.parametrize("finish_reason", [None, "stop"])
@pytest.mark.parametrize("quirks", [[], ["hidden-thoughts"]])
@pytest.mark.parametrize("model", THINKING)
def test_a_budget_spent_on_thoughts_is_no_success(
    client: openai.OpenAI, http: httpx2.Client, model: str, quirks: list[str], finish_reason: str | None
) -> None:
    """In each API, whole and streamed, told or hidden, whatever the model calls its end."""
    given = said(None, reasoning="word " * 50, quirks=quirks, finish_reason=finish_reason)
    whole = client.responses.create(model=model, input=given, max_output_tokens=16)
    *_, last = client.responses.create(model=model, input=given, max_output_tokens=16, stream=True)
    assert last.type == "response.incomplete"
    for response in (whole, last.response):
        assert (response.status, response.output_text) == ("incomplete", "")
        assert response.incomplete_details
        assert response.incomplete_details.reason == "max_output_tokens"
    messages: Any = [{"role": "user", "content": given}]
    chat = client.chat.completions.create(model=model, messages=messages, max_tokens=16)
    chunks = client.chat.completions.create(model=model, messages=messages, max_tokens=16, stream=True)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert [chat.choices[0].finish_reason, *reasons] == ["length", "length"]
    asked = {"model": model, "max_tokens": 16, "messages": messages}
    assert http.post("/v1/messages", json=asked).json()["stop_reason"] == "max_tokens"
    assert '"stop_reason":"max_tokens"' in http.post("/v1/messages", json=asked | {"stream": True}).text


@pytest.mark.parametrize("model", FAMILIES)
def test_an_answer_that_breaks_off_is_a_failure(client: openai.OpenAI, model: str) -> None:
    events = list(client.responses.create(model=model, input=said("a b c d e f", cut=2), stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")


def codex(given: list[Any]) -> dict[str, Any]:
    """A request as Codex 0.169 sends it."""
    return {
        "model": UNLISTED,
        "input": given,
        "tools": [
            {"type": "function", "name": "shell", "description": "Runs", "strict": False, "parameters": {
                "type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}},
                "required": ["command"], "additionalProperties": False,
            }},
            {"type": "namespace", "name": "mcp__docs", "description": "Docs", "tools": [
                {"type": "function", "name": "lookup", "strict": False, "parameters": {"type": "object"}},
            ]},
            {"type": "custom", "name": "apply_patch", "description": "Edits", "format": {
                "type": "grammar", "syntax": "lark", "definition": "start: patch",
            }},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-thread",
        "client_metadata": {"x-codex-installation-id": "secret"},
    }  # fmt: skip


def heard(http: httpx2.Client, given: list[Any]) -> list[Any]:
    """The items that Codex takes: only those that are done, and only if the response is completed."""
    headers = {"accept": "text/event-stream", "originator": "codex_exec", "session-id": "1", "version": "0.169.0"}
    answer = http.post("/v1/responses", json=codex(given), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-flarelay-ignored"] == "tools[3]"
    blocks = [block for block in answer.text.split("\n\n") if block]
    assert all(block.startswith("event: response.") for block in blocks)
    events = [json.loads(block.split("\ndata: ")[1]) for block in blocks]
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    return [event["item"] for event in events if event["type"] == "response.output_item.done"]


def test_codex(http: httpx2.Client, upstream: Cloudflare) -> None:
    patch = "*** Begin Patch\n*** End Patch"
    calls = [
        {"name": "shell", "arguments": {"command": ["ls"]}},
        {"name": "lookup", "arguments": {}},
        {"name": "apply_patch", "arguments": {"input": patch}},
    ]
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are Codex."}]}
    user = [{"type": "input_text", "text": said(None, tool_calls=calls, reasoning="Look first.")}]
    given: list[Any] = [developer, {"type": "message", "role": "user", "content": user}]
    items = heard(http, given)
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call", "custom_tool_call"]
    assert items[0]["summary"] == [{"type": "summary_text", "text": "Look first."}]
    assert (items[1]["name"], json.loads(items[1]["arguments"])) == ("shell", {"command": ["ls"]})
    assert (items[2]["name"], items[2]["namespace"]) == ("lookup", "mcp__docs")
    assert (items[3]["name"], items[3]["input"]) == ("apply_patch", patch)
    sent = upstream.sent
    assert [turn["role"] for turn in sent["messages"]] == ["system", "user"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["shell", "lookup", "apply_patch"]
    assert not sent.keys() & {"client_metadata", "include", "store", "reasoning", "input"}

    given += items
    given += [
        {"type": "function_call_output", "call_id": items[1]["call_id"], "output": "README.md"},
        {
            "type": "function_call_output",
            "call_id": items[2]["call_id"],
            "output": [{"type": "input_text", "text": "-"}],
        },
        {"type": "custom_tool_call_output", "call_id": items[3]["call_id"], "output": "Done."},
    ]
    (answer,) = [item for item in heard(http, given) if item["type"] == "message"]
    assert answer["content"][0]["text"] == "The tool says: Done."
    _, _, turn, *results = upstream.sent["messages"]
    assert [result["tool_call_id"] for result in results] == [call["id"] for call in turn["tool_calls"]]
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["shell", "lookup", "apply_patch"]
    assert turn["reasoning"] == "Look first."
