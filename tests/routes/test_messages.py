"""Anthropic's Messages over HTTP: its answers, its stream of events and its failures."""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from app.calls import Failure, FailureKind
from app.errors import APIStatusError, InternalServerError
from app.main import create_app
from app.routes.messages import Refusals, status_of
from app.routes.record import Record
from app.upstream.answers import to_error
from tests import serving
from tests.serving import (
    ACCOUNT,
    CHAT,
    HYBRID,
    KEY,
    NATIVE,
    NO_TLS,
    TOKEN,
    UNLISTED,
    Cloudflare,
    connected,
    flarelay,
    settings,
)
from tests.translators.test_messages import message_of, told

TOOL = {"name": "look", "description": "Looks", "input_schema": {"type": "object", "properties": {}}}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    529: "overloaded_error",
}


def asked(content: str, model: str, **options: Any) -> dict[str, Any]:
    """A request of one turn, with what Anthropic's clients never leave out."""
    return serving.asked(content, model, **({"max_tokens": 100} | options))


def scripted(model: str, script: dict[str, Any], **options: Any) -> dict[str, Any]:
    return serving.scripted(model, script, **({"max_tokens": 100} | options))


def refused(response: httpx2.Response, status: int) -> str:
    """The message of a failure in Anthropic's shape."""
    body = response.json()
    assert response.status_code == status
    assert body == {
        "type": "error",
        "error": {"type": TYPES[status], "message": body["error"]["message"]},
        "request_id": response.headers["request-id"],
    }
    assert response.headers["request-id"] == response.headers["x-request-id"]
    return str(body["error"]["message"])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true", "/messages", "/v1/v1/messages/"])
def test_a_message(http: httpx2.Client, path: str) -> None:
    response = http.post(path, json=scripted(CHAT, {"text": "Hello"}, max_tokens=100))
    body = response.json()
    assert response.status_code == 200
    assert body["content"] == [{"type": "text", "text": "Hello"}]
    assert (body["type"], body["model"], body["stop_reason"]) == ("message", CHAT, "end_turn")
    assert body["usage"]["input_tokens"] > 0
    assert response.headers["request-id"] == response.headers["x-request-id"]
    assert response.headers["x-flarelay-model"] == CHAT


@pytest.mark.parametrize("model", [NATIVE, HYBRID, CHAT, UNLISTED])
def test_a_stream_adds_up_to_the_whole(http: httpx2.Client, model: str) -> None:
    calls = [{"name": "look", "arguments": {"at": "é"}}, {"name": "look", "arguments": {}}]
    request = scripted(model, {"text": "Let me look.", "tool_calls": calls}, max_tokens=1000, tools=[TOOL])
    whole = http.post("/v1/messages", json=request).json()
    response = http.post("/v1/messages", json=request | {"stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["request-id"]
    message = message_of(told(response.content))
    assert [block["type"] for block in message["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["input"] for block in message["content"][1:]] == [{"at": "é"}, {}]
    assert message["stop_reason"] == "tool_use"
    assert message["usage"] == whole["usage"]
    assert _without_ids(message) == _without_ids(whole)


def _without_ids(message: dict[str, Any]) -> dict[str, Any]:
    content = [{key: value for key, value in block.items() if key != "id"} for block in message["content"]]
    return message | {"id": None, "content": content}


@pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}])
@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2023-06-01"}, {"anthropic-version": "2026-10-21"}])
def test_keys_and_versions(http: httpx2.Client, headers: dict[str, str], version: dict[str, str]) -> None:
    betas = {"anthropic-beta": "oauth-2025-04-20,unheard-of-2030-01-01"}
    with httpx2.Client(base_url=http.base_url, verify=NO_TLS) as client:
        response = client.post("/v1/messages", json=asked("Hi", CHAT), headers=headers | version | betas)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "no-such-model"}, 404, "The model 'no-such-model' does not exist."),
        ({"max_tokens": 0}, 400, "Invalid value for 'max_tokens'"),
        ({"max_tokens": None}, 400, "'max_tokens'"),
        ({"messages": []}, 400, "Invalid value for 'messages'"),
        ({"model": "@cf/baai/bge-m3"}, 400, "can't answer /v1/messages"),
    ],
)
def test_refusals(http: httpx2.Client, fields: dict[str, Any], status: int, message: str) -> None:
    assert message in refused(http.post("/v1/messages", json=asked("Hi", CHAT) | fields), status)


def test_how_long_an_answer_may_be_has_to_be_said(http: httpx2.Client) -> None:
    request = {"model": CHAT, "messages": [{"role": "user", "content": "Hi"}]}
    assert refused(http.post("/v1/messages", json=request), 400) == "'max_tokens' is missing."
    assert http.post("/v1/messages/count_tokens", json=request).status_code == 200


def test_counting_refuses_a_model_that_there_is_not(http: httpx2.Client) -> None:
    assert "does not exist" in refused(http.post("/v1/messages/count_tokens", json=asked("Hi", "no-such-model")), 404)


def test_a_wrong_key_is_refused(http: httpx2.Client) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        response = http.post(path, json=asked("Hi", CHAT), headers={"authorization": "Bearer wrong"})
        assert "The API key is not valid." in refused(response, 401)


def test_a_body_that_is_no_json_is_refused(http: httpx2.Client) -> None:
    assert "not valid JSON" in refused(http.post("/v1/messages", content=b"{"), 400)


def test_documents_that_can_not_be_read_are_refused_in_words(http: httpx2.Client) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "bm8gcGRm"}
    turn = {"role": "user", "content": [{"type": "document", "source": source}]}
    response = http.post("/v1/messages", json={"model": CHAT, "max_tokens": 9, "messages": [turn]})
    assert refused(response, 400) == "The document could not be read: Invalid PDF structure."


def test_unknown_paths_and_methods_are_refused_in_the_same_shape(http: httpx2.Client) -> None:
    assert refused(http.post("/v1/messages/batches"), 404) == "There is no POST /v1/messages/batches here."
    assert refused(http.get("/v1/messages/batches/x"), 404) == "There is no GET /v1/messages/batches/x here."
    assert refused(http.get("/v1/messages"), 405) == "/v1/messages takes POST, not GET."
    assert refused(http.put("/v1/messages/count_tokens"), 405) == "/v1/messages/count_tokens takes POST, not PUT."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        ({"code": 3040, "retry_after": 7}, 529, "7"),
        ({"code": 3036}, 429, None),
        ({"code": 5006, "message": "bad"}, 400, None),
    ],
)
def test_cloudflares_failures_have_anthropics_names(
    upstream: Cloudflare, stream: bool, error: dict[str, Any], status: int, wait: str | None
) -> None:
    with flarelay(upstream, max_tries=1) as server, connected(server) as client:
        response = client.post("/v1/messages", json=scripted(CHAT, {"error": error}, stream=stream))
        refused(response, status)
        assert wait is None or response.headers["retry-after"] == wait


@pytest.mark.parametrize(
    ("model", "window", "words"),
    [(NATIVE, 24_000, 24_010), (NATIVE, 24_000, 30_000), (CHAT, 131_072, 131_082)],
    ids=["native", "native-without-numbers", "chat"],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_is_told_in_the_words_that_agents_know(
    http: httpx2.Client, model: str, window: int, words: int, stream: bool
) -> None:
    request = asked("word " * words, model, max_tokens=32_000, stream=stream)
    message = refused(http.post("/v1/messages", json=request), 400)
    told_words = re.fullmatch(rf"prompt is too long: (\d+) tokens > {window} maximum", message)
    assert told_words
    assert int(told_words[1]) > window


def test_where_no_window_is_known_the_words_come_without_numbers(http: httpx2.Client) -> None:
    error = {"code": 5021, "message": "The context length is exceeded."}
    message = refused(http.post("/v1/messages", json=scripted(UNLISTED, {"error": error})), 400)
    assert message.startswith("prompt is too long. ")


def test_a_stream_that_breaks_ends_with_an_error_event(http: httpx2.Client) -> None:
    response = http.post("/v1/messages", json=scripted(CHAT, {"text": "a b c d e f", "cut": 4}, stream=True))
    assert response.status_code == 200
    *events, last = told(response.content)
    assert events[0]["type"] == "message_start"
    assert "message_stop" not in [event["type"] for event in events]
    assert last == {
        "type": "error",
        "error": {"type": "api_error", "message": "Cloudflare's answer broke off before its end."},
        "request_id": response.headers["request-id"],
    }


@pytest.mark.parametrize("fields", [{}, {"system": "word " * 1000}, {"tools": [TOOL]}, {"max_tokens": None}])
def test_tokens_are_counted_without_asking_anybody(
    http: httpx2.Client, upstream: Cloudflare, fields: dict[str, Any]
) -> None:
    before = len(upstream.emulator.requests)
    response = http.post("/v1/messages/count_tokens?beta=true", json=asked("Hi", CHAT) | fields)
    assert response.status_code == 200
    assert list(response.json()) == ["input_tokens"]
    assert response.json()["input_tokens"] >= (1000 if "system" in fields else 1)
    assert len(upstream.emulator.requests) == before


def test_requests_of_one_conversation_go_to_the_same_place(http: httpx2.Client, upstream: Cloudflare) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    hi = {"role": "user", "content": [{"type": "text", "text": "Hi"} | mark]}
    grown = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": "More"} | mark]},
    ]
    ties = []
    for turns in ([hi], grown, [{"role": "user", "content": "Bye"}]):
        http.post("/v1/messages", json={"model": CHAT, "max_tokens": 9, "messages": turns})
        ties.append(upstream.emulator.requests[-1].headers.get("x-session-affinity"))
    assert ties[0] == ties[1] != ties[2]
    assert ties[0]


def test_the_chat_behind_it_has_no_field_of_anthropics(http: httpx2.Client, upstream: Cloudflare) -> None:
    fields = {"metadata": {"user_id": "u"}, "context_management": {}, "mcp_servers": [{"url": "x"}], "speed": "fast"}
    response = http.post("/v1/messages", json=asked("Hi", CHAT, max_tokens=9) | fields)
    assert response.headers["x-flarelay-ignored"] == "context_management, mcp_servers, speed"
    assert upstream.sent.keys() == {"model", "messages", "max_tokens", "stream"}


def test_a_body_that_is_too_large_is_refused() -> None:
    with flarelay(max_body_bytes=1000) as server, connected(server) as client:
        assert refused(client.post("/v1/messages", json=asked("x" * 1000, CHAT)), 413)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InternalServerError("x"), 500),
        (InternalServerError("x", status=503), 529),
        (InternalServerError("x", status=503, should_retry=False), 503),
        (to_error(Failure(FailureKind.AUTHENTICATION, "x"), is_ours=True), 503),
    ],
)
def test_only_what_waiting_mends_is_an_overload(error: APIStatusError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.anyio
async def test_a_failure_after_the_headers_breaks_the_connection() -> None:
    record = Record("id", "POST", "/v1/messages", status=200)

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise InternalServerError("late")

    async def nothing(*_: Any) -> Any:
        raise AssertionError("Nothing is to be sent or read.")

    with pytest.raises(InternalServerError, match="late"):
        await Refusals(fail)({"type": "http", "record": record}, nothing, nothing)


class Stumbling(httpx2.AsyncByteStream):
    """A stream that fails as nobody foresaw, once its first event was read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
        raise ZeroDivisionError("a detail")


async def posted(answer: Callable[[httpx2.Request], httpx2.Response], body: Any, path: str = "") -> httpx2.Response:
    """What a server answers whose Cloudflare does just this."""
    account: dict[str, Any] = {"cloudflare_account_id": ACCOUNT, "cloudflare_api_token": TOKEN}
    app = create_app(settings(**account), transport=httpx2.MockTransport(answer))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        return await client.post(f"/v1/messages{path}", json=body)


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False])
async def test_what_nobody_foresaw_is_told_in_the_same_shape(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    def stumble(request: httpx2.Request) -> httpx2.Response:
        raise ZeroDivisionError("a detail")

    message = refused(await posted(stumble, asked("Hi", CHAT, stream=stream)), 500)
    assert message == "The server failed. Its log has the reason under the request's id."
    assert "crash" in [record.message for record in caplog.records]


@pytest.mark.anyio
async def test_a_stream_that_breaks_as_nobody_foresaw_ends_with_an_error_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stumble(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Stumbling())

    response = await posted(stumble, asked("Hi", CHAT, stream=True))
    assert response.status_code == 200
    *events, last = told(response.content)
    assert [event["type"] for event in events] == [
        "message_start", "ping", "content_block_start", "content_block_delta"
    ]  # fmt: skip
    assert last == {
        "type": "error",
        "error": {
            "type": "api_error",
            "message": "The server failed. Its log has the reason under the request's id.",
        },
        "request_id": response.headers["request-id"],
    }
    line: Any = next(vars(record)["fields"] for record in caplog.records if record.message == "crash")
    assert line == {"request_id": response.headers["request-id"]}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_other_methods_are_told_the_right_one(http: httpx2.Client, path: str) -> None:
    assert http.get(path).headers["allow"] == "POST"
    assert http.head(path).status_code == 405
    assert http.options(path).status_code == 204


def test_a_key_that_has_used_up_its_requests_is_told_when_to_come_back(upstream: Cloudflare) -> None:
    with (
        flarelay(upstream, api_keys="ada=limited;rpm=1") as server,
        connected(server, authorization="Bearer limited") as client,
    ):
        first = client.post("/v1/messages", json=asked("Hi", CHAT))
        second = client.post("/v1/messages", json=asked("Hi", CHAT))
    assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    assert "Rate limit reached" in refused(second, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert second.headers["x-ratelimit-limit-requests"] == "1"


def test_a_spent_budget_is_told_as_a_limit_that_is_not_worth_trying_again(upstream: Cloudflare) -> None:
    with flarelay(upstream, neuron_budget=1e-9) as server, connected(server) as client:
        client.post("/v1/messages", json=asked("Hi", CHAT))
        response = client.post("/v1/messages", json=asked("Hi", CHAT, stream=True))
    assert "has used up its allowance" in refused(response, 429)
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-flarelay-remaining-neurons"] == "0"


def test_a_model_that_a_key_may_not_use_is_one_that_there_is_not(upstream: Cloudflare) -> None:
    with (
        flarelay(upstream, api_keys="ada=limited;models=@cf/zai-org/*") as server,
        connected(server, authorization="Bearer limited") as client,
    ):
        assert client.post("/v1/messages", json=asked("Hi", CHAT)).status_code == 200
        refused(client.post("/v1/messages", json=asked("Hi", NATIVE)), 404)


def test_web_pages_may_read_the_failures_and_their_ids(http: httpx2.Client) -> None:
    response = http.post("/v1/messages", content=b"{", headers={"origin": "https://page.example"})
    refused(response, 400)
    assert response.headers["access-control-allow-origin"] == "*"
    assert "request-id" in response.headers["access-control-expose-headers"].split(", ")


def test_a_stream_that_is_silent_has_pings(upstream: Cloudflare) -> None:
    with flarelay(upstream, heartbeat_seconds=0.05) as server, connected(server) as client:
        request = scripted(CHAT, {"text": "a b c", "delay_ms": 200}, stream=True)
        events = told(client.post("/v1/messages", json=request).content)
    assert [event["type"] for event in events].count("ping") > 1
    assert message_of([event for i, event in enumerate(events) if event["type"] != "ping" or i == 1])


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": None}],
        [{"role": "user", "content": ""}, {"role": "assistant", "content": [{"type": "redacted_thinking"}]}],
    ],
)
@pytest.mark.parametrize("path", ["", "/count_tokens"])
def test_messages_with_nothing_in_them_are_refused(http: httpx2.Client, turns: Any, path: str) -> None:
    response = http.post(f"/v1/messages{path}", json={"model": CHAT, "max_tokens": 9, "messages": turns})
    assert refused(response, 400) == "messages must hold something to answer."


def test_numbers_beyond_64_bits_in_fields_that_nobody_knows_do_no_harm(http: httpx2.Client) -> None:
    block = {"type": "text", "text": "Hi", "unheard_of": 2**70}
    body = {"model": CHAT, "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
    response = http.post("/v1/messages", content=json.dumps(body))
    assert response.status_code == 200
