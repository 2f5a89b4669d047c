"""One API and new-api in front of the server: what they send, and the answers by which they keep a channel."""

import json
from typing import Any

import httpx2
import pytest

from tests.serving import (
    BEARER,
    CHAT,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    NATIVE,
    THINKING,
    UNLISTED,
    VISION,
    Cloudflare,
    Server,
    asked,
    cloudflare,
    connected,
    flarelay,
    payloads,
    scripted,
    written,
)

CHAT_URL = "/v1/chat/completions"
LONGEST_LINE = 65536
"""Bytes. One API's scanner ends a stream at a longer line, and says nothing."""

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("model", FAMILIES)
def test_one_api_tests_a_channel(server: Server, model: str) -> None:
    prompt = "Output only your specific model name with no additional text."
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "model": model}).encode()
    with httpx2.Client(base_url=server.url) as client:
        bare = client.build_request("POST", CHAT_URL, content=body, headers=BEARER)
        for name in ("accept", "accept-encoding", "user-agent"):
            del bare.headers[name]
        response = client.send(bare)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert isinstance(response.json()["choices"][0]["message"]["content"], str)
    assert "error" not in response.json()


@pytest.mark.parametrize("model", FAMILIES)
def test_one_api_never_gets_null_for_content(http: httpx2.Client, model: str) -> None:
    script = {"empty": True, "reasoning": "I think too much." if model in THINKING else ""}
    answer = http.post(CHAT_URL, json=scripted(model, script)).json()
    assert answer["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize("model", FAMILIES)
def test_one_api_reads_a_stream_line_by_line(http: httpx2.Client, model: str) -> None:
    response = http.post(CHAT_URL, json=scripted(model, {"text": "Two\n\nparagraphs"}, stream=True))
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    blocks = response.content.split(b"\n\n")
    assert blocks[-1] == b""
    assert blocks[-2] == b"data: [DONE]"
    assert all(block.startswith(b'data: {"id":') and b"\n" not in block for block in blocks[:-2])
    assert b"\r" not in response.content


@pytest.mark.parametrize("letter", ["x", "\x01", "\N{GRINNING FACE}", '"'], ids=["plain", "control", "emoji", "quote"])
@pytest.mark.parametrize("kind", ["text", "json", "tool"])
def test_one_api_gets_no_line_that_is_too_long(http: httpx2.Client, kind: str, letter: str) -> None:
    value = {"long": letter * (300_000 // len(json.dumps(letter)))}
    script: dict[str, Any] = {"text": json.dumps(value, ensure_ascii=False), "reasoning": ""}
    options: dict[str, Any] = {}
    if kind == "json":
        options = {"response_format": {"type": "json_object"}}
    elif kind == "tool":
        script = {"tool_calls": [{"name": "weather", "arguments": value}]}
        options = {"tools": [WEATHER], "tool_choice": "required"}
    request = scripted(UNLISTED, script, stream=True, max_tokens=1_000_000, **options)
    response = http.post(CHAT_URL, json=request)
    assert max(map(len, response.content.split(b"\n"))) < LONGEST_LINE
    events = payloads(response.text)
    if kind == "tool":
        calls = [call for event in events[:-1] for call in event["choices"][0]["delta"].get("tool_calls", ())]
        text = "".join(call["function"]["arguments"] for call in calls)
    else:
        text = written(events)
    assert json.loads(text) == value


def test_one_api_and_new_api_tell_a_wrong_key_from_everything_else(server: Server) -> None:
    with connected(server, authorization="Bearer wrong") as client:
        for request in (asked("Hello"), asked("Hello", stream=True)):
            response = client.post(CHAT_URL, json=request)
            assert response.status_code == 401
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)


def test_new_api_keeps_its_models_while_cloudflare_is_away() -> None:
    with cloudflare() as upstream, flarelay(upstream, model_list_ttl_seconds=0) as server, connected(server) as client:
        before = client.get("/v1/models").json()
        upstream.emulator.options = upstream.emulator.options.__class__(tokens={})
        after = client.get("/v1/models").json()
    assert {model["id"] for model in before["data"]} >= set(FAMILIES)
    assert {model["id"] for model in after["data"]} >= {model["id"] for model in before["data"]}


def test_new_api_reads_the_list_of_models_into_a_strict_struct(http: httpx2.Client) -> None:
    response = http.get("/v1/models")
    assert response.status_code == 200
    for model in response.json()["data"]:
        assert isinstance(model["id"], str)
        assert model["id"]
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)


@pytest.mark.parametrize("model", FAMILIES)
def test_new_api_tests_a_channel(http: httpx2.Client, model: str) -> None:
    response = http.post(CHAT_URL, json=asked("hi", model, max_tokens=16, stream=False))
    assert response.status_code == 200
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] in ("stop", "length")
    assert "error" not in response.json()


@pytest.mark.parametrize("model", THINKING)
def test_new_api_tests_a_model_that_thinks_for_too_long(http: httpx2.Client, model: str) -> None:
    response = http.post(CHAT_URL, json=scripted(model, {"reasoning": "word " * 100}, max_tokens=16))
    assert response.status_code == 200
    (choice,) = response.json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")


@pytest.mark.parametrize("model", FAMILIES)
def test_new_api_gets_the_usage_behind_the_finish_reason(http: httpx2.Client, model: str) -> None:
    script = {"tool_calls": [{"name": "weather", "arguments": {}}], "reasoning": ""}
    request = scripted(model, script, stream=True, stream_options={"include_usage": True}, tools=[WEATHER])
    *_, finish, usage, done = payloads(http.post(CHAT_URL, json=request).text)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    (choice,) = finish["choices"]
    assert (choice["finish_reason"], choice["delta"]) == ("tool_calls", {})
    assert "usage" not in finish


@pytest.mark.parametrize("stream_options", [None, {}, {"include_usage": False}, {"include_usage": None}], ids=str)
@pytest.mark.parametrize("model", FAMILIES)
def test_usage_is_not_streamed_unasked(http: httpx2.Client, model: str, stream_options: Any) -> None:
    events = payloads(http.post(CHAT_URL, json=asked("Hi", model, stream=True, stream_options=stream_options)).text)
    assert not [event for event in events if event != "[DONE]" and ("usage" in event or not event["choices"])]


@pytest.mark.parametrize("model", [NATIVE, HYBRID, CHAT, GPT_OSS])
def test_new_api_renames_the_fields_of_models_that_begin_with_an_o(upstream: Cloudflare, model: str) -> None:
    with flarelay(upstream, model_aliases={"o-my": model}) as server, connected(server) as client:
        new = asked("Hello", "o-my", max_completion_tokens=50)
        old = asked("Hello", "o-my", max_tokens=50)
        new["messages"].insert(0, {"role": "developer", "content": "Be brief."})
        old["messages"].insert(0, {"role": "system", "content": "Be brief."})
        answers = []
        for request in (new, old):
            answer = client.post(CHAT_URL, json=request).json()
            answers.append((answer["model"], answer["choices"], upstream.sent))
    assert answers[0] == answers[1]
    assert answers[0][0] == "o-my"
    assert answers[0][2]["max_tokens"] == 50


def test_one_api_may_turn_integers_into_floats(http: httpx2.Client, upstream: Cloudflare) -> None:
    nulls: Any = {"stop": None, "tools": [], "tool_choice": None, "stream_options": None, "logit_bias": None}
    response = http.post(CHAT_URL, json=asked("Hello", max_tokens=256.0, seed=1.0, n=1.0, top_p=1, **nulls))
    assert response.status_code == 200
    assert (upstream.sent["max_tokens"], upstream.sent["seed"]) == (256, 1)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
def test_the_body_is_json_whatever_its_type_says(http: httpx2.Client, content_type: str) -> None:
    body = json.dumps(asked("Hello", VISION)).encode()
    assert http.post(CHAT_URL, content=body, headers={"content-type": content_type}).status_code == 200
