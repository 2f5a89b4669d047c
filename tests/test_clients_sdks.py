"""SDKs and coding agents: what they need beyond what OpenAI's Python client shows by itself."""

import json
from typing import Any, Literal

import httpx2
import openai
import pydantic
import pytest

from tests.serving import CHAT, FAMILIES, NATIVE, Server, asked, connected, payloads, scripted, written

CHAT_URL = "/v1/chat/completions"
USAGE = {"include_usage": True}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TEXT = "def f():\n\treturn '\\u00e9 é \u2028 \x0b \x1c \x85'  \r\n\n<tag> & \"quotes\" </tag>\n\n```\n{}\n```  \n"


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)


class Message(Strict):
    role: Literal["assistant"]
    content: str | None


class Choice(Strict):
    index: int
    message: Message
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    logprobs: None


class Usage(Strict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Completion(Strict):
    """What Pydantic AI validates an answer with."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/nothing", b"{}", 404),
        ("GET", "/nothing.html", b"", 404),
        ("GET", "/v1/chat/completions", b"", 405),
        ("DELETE", "/v1/models", b"", 405),
        ("POST", CHAT_URL, b"", 400),
        ("POST", CHAT_URL, b"not json", 400),
        ("POST", CHAT_URL, b"[]", 400),
        ("POST", CHAT_URL, b'{"model":"m\xff","messages":[]}', 400),
        ("POST", CHAT_URL, b'{"model":7,"messages":[{"role":"user","content":"Hi"}]}', 400),
        ("POST", CHAT_URL, b'{"messages":[{"role":"user","content":"Hi"}]}', 400),
        ("POST", CHAT_URL, b'{"model":"gpt-4o","messages":[{"role":"user","content":{"a":1}}]}', 400),
    ],
)
def test_every_refusal_has_openais_shape(
    http: httpx2.Client, method: str, path: str, content: bytes, status: int
) -> None:
    response = http.request(method, path, content=content)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert isinstance(error["code"], str)


@pytest.mark.parametrize("field", ["seed", "max_tokens", "n", "top_k", "unheard_of"])
@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 30, "1e400", "NaN"])
@pytest.mark.parametrize("model", [NATIVE, CHAT])
def test_no_number_is_too_large_for_a_proper_answer(http: httpx2.Client, model: str, field: str, number: str) -> None:
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}],"{field}":{number}}}'
    response = http.post(CHAT_URL, content=body)
    assert response.status_code in (200, 400)
    assert response.status_code == 200 or response.json()["error"]["type"] == "invalid_request_error"


def test_every_answer_has_an_id_of_its_own(http: httpx2.Client) -> None:
    responses = [http.get("/v1/models"), http.get("/health"), http.post(CHAT_URL, json=asked("Hi", stream=True))]
    assert len({response.headers["x-request-id"] for response in responses}) == 3


@pytest.mark.parametrize(("given", "is_kept"), [("trace-7:a.b_c", True), ("two words", False), ("x" * 129, False)])
def test_a_callers_own_id_is_kept_if_it_is_one(http: httpx2.Client, given: str, is_kept: bool) -> None:
    assert (http.get("/health", headers={"x-request-id": given}).headers["x-request-id"] == given) == is_kept


@pytest.mark.parametrize("model", FAMILIES)
def test_the_stream_helper_needs_object_role_ids_and_indices(http: httpx2.Client, model: str) -> None:
    calls = [{"name": "weather", "arguments": {"city": "Bern"}}, {"name": "weather", "arguments": {"city": "Rom"}}]
    request = scripted(model, {"tool_calls": calls, "reasoning": ""}, stream=True, tools=[WEATHER])
    events = payloads(http.post(CHAT_URL, json=request).text)[:-1]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {choice["index"] for event in events for choice in event["choices"]} == {0}
    deltas = [event["choices"][0]["delta"] for event in events]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    for index in (0, 1):
        first, *rest = [piece for piece in pieces if piece["index"] == index]
        assert first["id"]
        assert (first["type"], first["function"]["name"]) == ("function", "weather")
        assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in rest)


@pytest.mark.parametrize("model", FAMILIES)
def test_opencode_and_aider_get_a_text_byte_for_byte(http: httpx2.Client, model: str) -> None:
    request = scripted(model, {"text": TEXT, "reasoning": ""}, max_tokens=32_000)
    assert http.post(CHAT_URL, json=request).json()["choices"][0]["message"]["content"] == TEXT
    assert written(payloads(http.post(CHAT_URL, json=request | {"stream": True}).text)) == TEXT


@pytest.mark.parametrize("model", FAMILIES)
def test_continue_never_finds_usage_beside_content(http: httpx2.Client, model: str) -> None:
    for quirks in (["repeat-usage"], ["late-finish"], ["zero-usage", "usage-frame"]):
        script = {"text": "The answer.", "quirks": quirks}
        request = scripted(model, script, stream=True, stream_options=USAGE)
        events = payloads(http.post(CHAT_URL, json=request).text)[:-1]
        assert not [event for event in events if event.get("usage") and event["choices"]]
        assert sum("usage" in event for event in events) == 1


@pytest.mark.parametrize("arguments", [{}, {"city": "São Paulo"}, ""], ids=["empty", "some", "none"])
@pytest.mark.parametrize("model", FAMILIES)
def test_roo_and_cline_find_the_end_of_a_tool_call(http: httpx2.Client, model: str, arguments: Any) -> None:
    script = {"tool_calls": [{"name": "weather", "arguments": arguments}], "reasoning": ""}
    request = scripted(model, script, stream=True, tools=[WEATHER])
    events = payloads(http.post(CHAT_URL, json=request).text)[:-1]
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    pieces = [piece for event in events for piece in event["choices"][0]["delta"].get("tool_calls", ())]
    assert json.loads("".join(piece["function"]["arguments"] for piece in pieces)) == (arguments or {})


@pytest.mark.parametrize("quirks", [[], ["no-usage"], ["null-finish"], ["vllm-fields"], ["numeric-response"]], ids=str)
@pytest.mark.parametrize("model", FAMILIES)
def test_pydantic_ai_validates_strictly(http: httpx2.Client, model: str, quirks: list[str]) -> None:
    text = http.post(CHAT_URL, json=scripted(model, {"text": "42", "quirks": quirks, "reasoning": ""})).text
    completion = Completion.model_validate_json(text)
    assert completion.choices[0].message.content == "42"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0


def test_litellm_recognises_a_prompt_that_is_too_long(http: httpx2.Client) -> None:
    turns = [{"role": "user", "content": "word " * 10_000}] * 3
    response = http.post(CHAT_URL, json={"model": NATIVE, "messages": turns})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "This model's maximum context length is 24000 tokens" in error["message"]


def test_an_error_in_a_stream_is_raised_by_openais_client(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**scripted(NATIVE, {"text": "a b c", "error_after": 2}), stream=True)
    with pytest.raises(openai.APIError) as raised:
        list(stream)
    assert raised.value.code == "overloaded"


def test_claude_code_probes_without_a_key(server: Server) -> None:
    with connected(server, authorization="") as client:
        assert client.head("/api/hello").status_code == 200


RESPONSES_CALL = {"name": "weather", "arguments": {"city": "Bern"}}


@pytest.mark.parametrize("script", [{"text": "Hello there."}, {"tool_calls": [RESPONSES_CALL], "reasoning": "Look."}])
@pytest.mark.parametrize("model", FAMILIES)
def test_the_ai_sdk_meets_each_item_of_a_response_before_its_deltas(
    http: httpx2.Client, model: str, script: dict[str, Any]
) -> None:
    """As its `openai("m")` asks; every response it is told of has the same id."""
    (message,) = scripted(model, script)["messages"]
    text = [{"type": "input_text", "text": message["content"]}]
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
    body = {"model": model, "input": [{"role": "user", "content": text}], "tools": [tool], "tool_choice": "auto"}
    blocks = http.post("/v1/responses", json=body | {"stream": True}).text.split("\n\n")[:-1]
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks]
    begun: set[str] = set()
    deltas = 0
    for event in events:
        if event["type"] == "response.output_item.added":
            begun.add(event["item"]["id"])
        if event["type"].endswith(".delta"):
            deltas += 1
            assert event["item_id"] in begun
    assert deltas
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    assert events[-1]["type"] == "response.completed"
