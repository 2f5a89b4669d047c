"""Streams over real sockets: who leaves, what breaks, what is silent, and what is too large."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import orjson
import pytest
from starlette.types import Receive, Scope, Send

from tests.serving import (
    CHAT,
    DEADLINE_SECONDS,
    FAMILIES,
    KEY,
    NATIVE,
    UNLISTED,
    Cloudflare,
    Server,
    asked,
    connected,
    finish_reasons,
    flarelay,
    payloads,
    scripted,
    serving,
    until,
    written,
)

CHAT_URL = "/v1/chat/completions"
SLOW = {"text": "one two three four five six", "delay_ms": 30_000}
"""Its first event comes after half a minute."""
ENDLESS = {"tokens": 100_000, "delay_ms": 20, "reasoning": ""}
QUIET = {"reasoning": ""}
CANCEL_SECONDS = 2.0
"""Within it Cloudflare has to see that nobody listens any more."""


def line_of(caplog: pytest.LogCaptureFixture, request_id: str) -> dict[str, Any]:
    """The log line of a request, as soon as it is written."""

    def lines() -> list[dict[str, Any]]:
        found = [vars(record).get("fields", {}) for record in caplog.records if record.message == "request"]
        return [fields for fields in found if fields["request_id"] == request_id]

    until(lines)
    (line,) = lines()
    return line


@contextmanager
def watched(upstream: Cloudflare, server: Server) -> Iterator[Callable[[], None]]:
    """Gives what waits until the call is there; at the end of the block it has to be cancelled soon."""
    emulator = upstream.emulator
    until(lambda: not emulator.open_requests and not server.tasks())
    cancelled = emulator.cancelled_requests

    def arrived() -> None:
        until(lambda: emulator.open_requests)

    yield arrived
    until(lambda: emulator.cancelled_requests > cancelled, seconds=CANCEL_SECONDS)
    until(lambda: not emulator.open_requests and not server.tasks())


def ask(server: Server, request: dict[str, Any], request_id: str) -> socket.socket:
    """Send a request and leave the answer in the socket."""
    body = orjson.dumps(request)
    head = (
        f"POST {CHAT_URL} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\n"
        f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS)
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("model", FAMILIES)
def test_a_client_that_leaves_mid_stream_ends_the_upstream_call(
    upstream: Cloudflare, server: Server, caplog: pytest.LogCaptureFixture, model: str, n: int
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    name = f"mid-stream-{n}-{FAMILIES.index(model)}"
    with watched(upstream, server), ask(server, scripted(model, ENDLESS, stream=True, n=n), name) as connection:
        until(lambda: b"many" in connection.recv(65536))
    line = line_of(caplog, name)
    assert (line["status"], line["error"], line["stream"], line["model"]) == (499, "client_left", True, model)
    assert line["first_byte_ms"] > 0
    assert line["completion_tokens"] > 0


@pytest.mark.parametrize("model", [NATIVE, CHAT])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_leaves_before_the_first_byte_ends_the_upstream_call(
    upstream: Cloudflare, server: Server, caplog: pytest.LogCaptureFixture, model: str, stream: bool, n: int
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    name = f"before-first-{model == CHAT}-{stream}-{n}"
    script = {"text": "too late", "first_delay_ms": 30_000}
    request = scripted(model, script, stream=stream, n=n)
    with watched(upstream, server) as arrived, ask(server, request, name):
        arrived()
    line = line_of(caplog, name)
    assert (line["status"], line["error"]) == (499, "client_left")
    assert "first_byte_ms" not in line


def test_a_client_that_leaves_before_the_first_event_ends_the_upstream_call(
    upstream: Cloudflare, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    with watched(upstream, server) as arrived, ask(server, scripted(CHAT, SLOW, stream=True), "first-event"):
        arrived()
    assert line_of(caplog, "first-event")["status"] == 499


def test_a_client_that_leaves_while_it_asks_costs_nothing(
    upstream: Cloudflare, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    calls = len(upstream.emulator.requests)
    with socket.create_connection(server.socket.getsockname()) as connection:
        head = f"POST {CHAT_URL} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\nx-request-id: half\r\n"
        connection.sendall(f'{head}content-length: 5000\r\n\r\n{{"model":'.encode())
        until(server.tasks)
    assert line_of(caplog, "half")["status"] == 499
    until(lambda: not server.tasks())
    assert len(upstream.emulator.requests) == calls


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nothing_is_left_behind_by_an_answer_that_was_read(upstream: Cloudflare, server: Server, stream: bool) -> None:
    cancelled = upstream.emulator.cancelled_requests
    with connected(server) as client:
        assert client.post(CHAT_URL, json=asked("Hello", CHAT, stream=stream, n=3)).status_code == 200
        until(lambda: not server.tasks())
    assert upstream.emulator.open_requests == 0
    assert upstream.emulator.cancelled_requests == cancelled


BREAKS: dict[str, dict[str, Any]] = {
    "cut": {"cut": 3},
    "cut-before-the-end": {"cut": True},
    "dropped": {"cut": 3, "drop": True},
    "error-frame": {"error_after": {"events": 3, "form": "errors"}},
    "openai-error-frame": {"error_after": {"events": 3, "form": "error"}},
    "failure-frame": {"error_after": {"events": 3, "form": "success"}},
    "garbage": {"quirks": ["broken-frame"]},
    "finish-error": {"finish_reason": "error"},
}


BROKEN = [(model, name) for model in FAMILIES for name in BREAKS if (model, name) != (NATIVE, "finish-error")]
"""Native streams have no finish_reason."""


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("model", "name"), BROKEN)
def test_a_stream_that_breaks_ends_with_an_error(http: httpx2.Client, model: str, name: str, n: int) -> None:
    # a pause between the events: what breaks together with the first one still has a status of its own
    script = {"text": "one two three four five", "delay_ms": 10} | QUIET | BREAKS[name]
    request = scripted(model, script, stream=True, n=n)
    response = http.post(CHAT_URL, json=request)
    assert response.status_code == 200
    *events, last = payloads(response.text)
    assert set(last) == {"error"}
    error = last["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "server_error"
    assert error["message"]
    assert isinstance(error["code"], str)
    assert all("error" not in event and event != "[DONE]" for event in events)
    if n == 1:
        assert finish_reasons(events) == []


def test_a_silence_that_is_too_long_ends_a_stream(upstream: Cloudflare) -> None:
    with flarelay(upstream, idle_timeout_seconds=0.2, max_tries=1) as server, connected(server) as client:
        silent = scripted(CHAT, {"text": "a b c", "delay_ms": 150, "cut_bytes": 10**6}, stream=True)
        *events, last = payloads(client.post(CHAT_URL, json=silent).text)
        before = client.post(CHAT_URL, json=scripted(CHAT, SLOW, stream=True))
    assert last == "[DONE]"
    assert written(events) == "a b c"
    assert (before.status_code, before.json()["error"]["code"]) == (504, "upstream_timeout")


class Endless:
    """An upstream that begins a stream and never ends it: it repeats an event, or says it once and is `silent`."""

    def __init__(self, event: bytes, *, silent: bool) -> None:
        self._event = event
        self._is_silent = silent
        self.has_ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        left = asyncio.create_task(leave())
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        message = {"type": "http.response.body", "body": self._event, "more_body": True}
        while not left.done():
            await send(message)
            await asyncio.wait([left], timeout=None if self._is_silent else 0)
        self.has_ended.set()


@contextmanager
def in_front_of(app: Endless, **options: Any) -> Iterator[Server]:
    account: Any = {"cloudflare_account_id": "a", "cloudflare_api_token": "t", "api_keys": KEY}
    with ExitStack() as stack:
        upstream = stack.enter_context(serving(app, lifespan="off"))
        yield stack.enter_context(flarelay(cloudflare_api_base_url=upstream.url, **account, **options))


@pytest.mark.parametrize("n", [1, 2])
def test_a_silence_in_the_middle_ends_a_stream(n: int) -> None:
    half = Endless(b'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n', silent=True)
    with in_front_of(half, idle_timeout_seconds=0.2) as server, connected(server) as client:
        response = client.post(CHAT_URL, json=asked("Hello", CHAT, stream=True, n=n))
    *events, last = payloads(response.text)
    assert written(events) == "Half"
    assert finish_reasons(events) == []
    assert last["error"]["code"] == "upstream_timeout"
    assert half.has_ended.wait(CANCEL_SECONDS)


def test_a_reader_that_stops_reading_and_leaves_ends_the_upstream_call() -> None:
    flood = Endless(b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 5000), silent=False)
    with in_front_of(flood) as server:
        with ask(server, asked("Hello", CHAT, stream=True), "stuck") as connection:
            assert connection.recv(1024)
        assert flood.has_ended.wait(CANCEL_SECONDS)
        until(lambda: not server.tasks())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"code": 3040}, 503, "overloaded"),
        ({"code": 4006}, 429, "daily_limit_reached"),
        ({"code": 5006}, 400, "invalid_value"),
        ({"code": 5007}, 404, "model_not_found"),
        ({"code": 3006}, 413, "request_too_large"),
        ({"code": 8004}, 502, "upstream_error"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", FAMILIES)
def test_a_failure_before_the_first_event_has_its_status(
    impatient: httpx2.Client, model: str, error: dict[str, Any], status: int, code: str
) -> None:
    response = impatient.post(CHAT_URL, json=scripted(model, {"error": error}, stream=True))
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert response.json()["error"]["code"] == code


@pytest.fixture(scope="module")
def impatient(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    """A client of a server that tries once."""
    with flarelay(upstream, max_tries=1) as server, connected(server) as client:
        yield client


@pytest.mark.parametrize("n", [1, 2])
def test_heartbeats_fill_the_silence_and_nothing_else(upstream: Cloudflare, n: int) -> None:
    with flarelay(upstream, heartbeat_seconds=0.05) as server, connected(server) as client:
        slow = client.post(
            CHAT_URL, json=scripted(CHAT, {"text": "a b", "delay_ms": 120} | QUIET, stream=True, n=n)
        ).text
        quick = client.post(CHAT_URL, json=scripted(CHAT, {"text": "a b"} | QUIET, stream=True, n=n)).text
    assert slow.count(": keepalive\n\n") >= 3
    assert written(payloads(slow)) == "a b"
    assert slow.endswith("data: [DONE]\n\n")
    assert "keepalive" not in quick


def test_a_slow_reader_gets_everything(server: Server) -> None:
    text = "word " * 40_000
    request = scripted(UNLISTED, {"text": text}, stream=True, max_tokens=1_000_000)
    with connected(server) as client, client.stream("POST", CHAT_URL, json=request) as response:
        pieces = []
        for piece in response.iter_raw(256 * 1024):
            time.sleep(0.002)
            pieces.append(piece)
    events = payloads(b"".join(pieces).decode())
    assert written(events) == text
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit_is_refused(upstream: Cloudflare, is_chunked: bool) -> None:
    body = orjson.dumps(asked("x" * 5000))
    with flarelay(upstream, max_body_bytes=2000) as server, connected(server) as client:
        content: Any = iter([body[:1500], body[1500:]]) if is_chunked else body
        response = client.post(CHAT_URL, content=content)
        assert response.request.headers.get("transfer-encoding") == ("chunked" if is_chunked else None)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        fits = orjson.dumps(asked("Hello"))
        content = iter([fits[:20], fits[20:]]) if is_chunked else fits
        assert client.post(CHAT_URL, content=content).status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    head = f"POST {CHAT_URL} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\ncontent-length: {10**10}\r\n\r\n"
    with socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_client_may_wait_for_permission_to_send_its_body(server: Server) -> None:
    body = orjson.dumps(asked("Hello"))
    head = (
        f"POST {CHAT_URL} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\nexpect: 100-continue\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
