"""Transport against real servers on loopback, on both event loops."""

import asyncio
import gc
import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.upstream.transport import EnvironmentTransport, ResponseStream, Transport, make_transport
from tests.upstream.scripted import Peer, Server, Step, ask, hang_up, pause, reset, serving, wait

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SOON = {"timeout": {"connect": 0.05, "read": 0.05, "write": 0.05, "pool": None}}
LARGE = bytes(range(256)) * 4096 * 8  # 8 MiB, more than loopback holds


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


def get(server: Server, path: str = "/", **options: Any) -> httpx2.Request:
    return httpx2.Request("GET", server.url + path, **options)


def post(server: Server, content: Any = b"{}", **options: Any) -> httpx2.Request:
    return httpx2.Request("POST", server.url + "/run", content=content, **options)


async def body(response: httpx2.Response) -> bytes:
    return b"".join(await pieces(response))


async def pieces(response: httpx2.Response) -> list[bytes]:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    return [piece async for piece in response.stream]


async def outcome(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> Any:
    """Status and body, or the class of what was raised."""
    try:
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        try:
            return response.status_code, await body(response)
        finally:
            await response.stream.aclose()
    except httpx2.RequestError as failure:
        return type(failure)


# The plain case


async def test_request_and_response_pass_unchanged() -> None:
    answer = b"HTTP/1.1 201 Whatever\r\nX-Name: One\r\nx-name: two \r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    async with serving([ask, answer + b"\x1f\x8b\x08"]) as server, Transport() as transport:
        request = httpx2.Request("POST", server.url + "/a%20b?c=d", headers={"X-Key": "é".encode()}, content=b"body")
        response = await transport.handle_async_request(request)
        assert response.status_code == 201
        assert response.request is request
        assert response.headers.multi_items() == [
            ("x-name", "One"), ("x-name", "two"), ("content-encoding", "gzip"), ("content-length", "3"),
        ]  # fmt: skip
        assert await pieces(response) == [b"\x1f\x8b\x08"]
        host = f"127.0.0.1:{server.port}".encode()
        assert server.requests == [
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: " + host + b"\r\nX-Key: \xc3\xa9\r\nContent-Length: 4\r\n"
            b"Accept-Encoding: identity\r\n\r\nbody"
        ]


async def test_accept_encoding_of_the_caller_is_kept() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server, headers={"Accept-Encoding": "br"}))
        assert server.requests[0].count(b"ccept-") == 1
        assert b"Accept-Encoding: br\r\n" in server.requests[0]


async def test_body_that_came_with_the_headers_is_read_without_waiting() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        with pytest.raises(StopIteration) as stopped:
            response.stream.__anext__().__await__().__next__()
        assert stopped.value.value == b"ok"
        with pytest.raises(StopAsyncIteration):
            response.stream.__anext__().__await__().__next__()


async def test_what_arrives_together_is_one_piece() -> None:
    async with (
        serving([ask, CHUNKED + b"1\r\na\r\n1\r\nb\r\n", wait, b"1\r\nc\r\n1\r\nd\r\n1\r\ne\r\n0\r\n\r\n"]) as server,
        Transport() as transport,
    ):
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"ab"
        server.go.set()
        assert await pieces(response) == [b"cde"]


async def test_response_is_returned_before_its_body_has_come() -> None:
    async with serving([ask, OK[:-2], wait, b"ok"]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert response.headers["content-length"] == "2"
        server.go.set()
        assert await body(response) == b"ok"


async def test_it_works_under_httpx_client() -> None:
    async with serving([ask, OK, ask, OK]) as server, httpx2.AsyncClient(transport=Transport()) as client:
        for _ in range(2):
            assert (await client.post(server.url, json={})).text == "ok"
        assert server.accepted == 1


async def test_small_writes_are_not_held_back() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        (connection,) = transport._idle["http", b"127.0.0.1", server.port]
        sock = connection._socket.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# What servers answer: status and body, or an error, as from httpx's own transport

SAME: list[tuple[list[Step], Any]] = [
    ([ask, OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], (200, b"")),
    ([ask, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"], (200, b"ok")),
    ([ask, b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", hang_up], (503, b"no")),
    ([ask, b"HTTP/1.1 200 OK\r\n\r\nto the ", pause, b"end", hang_up], (200, b"to the end")),
    ([ask, b"HTTP/1.0 200 OK\r\n\r\nto the end", hang_up], (200, b"to the end")),
    ([ask, CHUNKED + b"2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"], (200, b"ok")),
    ([ask, CHUNKED + b"2\r\no", pause, b"k\r\n", pause, b"0", pause, b"\r\n\r\n"], (200, b"ok")),
    ([ask, b"HTTP/1.1 204 No\r\n\r\n"], (204, b"")),
    ([ask, b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"], (304, b"")),
    ([ask, b"HTTP/1.1 100 Continue\r\n\r\n" + OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 H\r\nLink: a\r\n\r\n", pause, b"HTTP/1.1 102 P\r\n\r\n" + OK], (200, b"ok")),
    ([b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", pause, hang_up], (429, b"")),
    ([ask, hang_up], httpx2.RemoteProtocolError),
    ([hang_up], httpx2.RemoteProtocolError),
    ([ask, reset], httpx2.ReadError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Le", hang_up], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", hang_up], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", pause, reset], httpx2.ReadError),
    ([ask, b"HTTP/1.1 200 OK\r\n\r\nto the", pause, reset], httpx2.ReadError),
    ([ask, CHUNKED + b"2\r\nok\r\n", hang_up], httpx2.RemoteProtocolError),
    ([ask, CHUNKED + b"2\r\nok\r\n0\r\n", hang_up], httpx2.RemoteProtocolError),
    ([ask, CHUNKED + b"x\r\nok\r\n0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, CHUNKED + b"-2\r\nok\r\n0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, CHUNKED + b"2\r\nokay\r\n0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", hang_up], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"<html>\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 99 What\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000], httpx2.RemoteProtocolError),
]  # fmt: skip


@pytest.mark.parametrize(("script", "expected"), SAME, ids=str)
async def test_outcome_is_that_of_httpx(script: list[Step], expected: Any) -> None:
    async with serving(script) as server, Transport() as ours, httpx2.AsyncHTTPTransport() as theirs:
        assert await outcome(ours, get(server)) == expected
        assert await outcome(theirs, get(server)) == expected
        assert server.accepted == 2


STRICTER: list[tuple[list[Step], Any]] = [
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
     httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
     httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 101 Switching\r\n\r\n"], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 150 What\r\nContent-Length: 2\r\n\r\nok" + OK], httpx2.RemoteProtocolError),
    ([ask, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 66_000 + b"\r\nContent-Length: 2\r\n\r\nok"], httpx2.RemoteProtocolError),
    ([ask, *[b"HTTP/1.1 103 Hints\r\nLink: " + b"x" * 30_000 + b"\r\n\r\n", pause] * 3, OK], httpx2.RemoteProtocolError),
    ([ask, CHUNKED + b"2\r\nok\r\n0\r\nX: y", pause, b"y" * 66_000], httpx2.RemoteProtocolError),
    ([ask, CHUNKED, pause, b"2;", b"y" * 66_000], httpx2.RemoteProtocolError),
]  # fmt: skip


@pytest.mark.parametrize(("script", "expected"), STRICTER, ids=[str(n) for n in range(len(STRICTER))])
async def test_outcome_is_stricter_than_that_of_httpx(script: list[Step], expected: Any) -> None:
    async with serving(script) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == expected


@pytest.mark.parametrize("size", [1000, 60_000, 65_000])
async def test_headers_may_be_as_large_as_the_limit(size: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: " + b"x" * size + b"\r\nContent-Length: 100000\r\n\r\n" + b"b" * 100_000
    async with serving([ask, answer]) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == (200, b"b" * 100_000)


async def test_everything_before_a_fault_is_delivered() -> None:
    async with serving([ask, CHUNKED + b"2\r\nok\r\nx\r\n"]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"ok"
        with pytest.raises(httpx2.RemoteProtocolError) as raised:
            await anext(response.stream)
        assert raised.value.request is response.request


# The pool


async def test_connection_is_used_again() -> None:
    async with serving([ask, OK] * 3) as server, Transport() as transport:
        for _ in range(3):
            assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 1


async def test_the_last_used_connection_is_taken_first() -> None:
    async with serving([ask, wait, OK], [ask, OK, ask, OK]) as server, Transport() as transport:
        first = asyncio.ensure_future(outcome(transport, get(server, "/first")))
        await server.has_open(1)
        await outcome(transport, get(server, "/second"))
        server.go.set()
        assert await first == (200, b"ok")
        for connections in transport._idle.values():
            connections[next(iter(connections))] = connections.pop(next(iter(connections)))  # the second is now last
        await outcome(transport, get(server, "/third"))
        assert server.accepted == 2


NOT_REUSED: list[tuple[str, list[Step]]] = [
    ("connection: close", [ask, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"]),
    ("HTTP/1.0", [ask, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"]),
    ("bytes after the end", [ask, OK + b"surplus"]),
    ("a second response", [ask, OK + OK]),
    ("the beginning of a second response", [ask, OK + b"HTTP/1.1 20"]),
    ("bytes after a close", [ask, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokmore"]),
    ("bytes after the last chunk", [ask, CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore"]),
    ("bytes a little after the end", [ask, OK, b"", pause, OK]),
]


@pytest.mark.parametrize("script", [script for _, script in NOT_REUSED], ids=[name for name, _ in NOT_REUSED])
async def test_connection_is_not_used_again_after(script: list[Step]) -> None:
    async with serving(script, [ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == (200, b"ok")
        await server.has_open(0)
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 2


async def test_connection_is_not_used_again_after_the_request_asked_for_that() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, get(server, headers={"Connection": "close"})) == (200, b"ok")
        await server.has_open(0)


async def test_bytes_after_the_end_are_noticed_before_the_body_is_read() -> None:
    async with serving([ask, CHUNKED + b"2\r\nok\r\n", pause, b"0\r\n\r\n", pause, OK]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        await server.has_open(0)
        assert await body(response) == b"ok"


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_idle_connection_that_the_server_closes_is_dropped(end: Step) -> None:
    async with serving([ask, OK, wait, end], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        server.go.set()
        await server.has_open(0)
        await asyncio.sleep(0.02)
        assert transport._count_idle() == 0
        assert await outcome(transport, get(server, content=None)) == (200, b"ok")


async def test_idle_connection_expires() -> None:
    async with serving([ask, OK] * 3) as server, Transport(keepalive_seconds=0.05) as transport:
        for _ in range(3):  # a request starts the time anew
            await asyncio.sleep(0.02)
            await outcome(transport, get(server))
        assert server.accepted == 1
        await server.has_open(0)
        assert transport._count_idle() == 0


async def test_idle_connection_expires_although_reads_may_take_longer() -> None:
    async with serving([ask, pause, OK]) as server, Transport(keepalive_seconds=0.05) as transport:
        await outcome(transport, get(server, extensions={"timeout": {"read": 60}}))
        await server.has_open(0)


async def test_idle_connections_above_the_limit_are_closed() -> None:
    async with serving([ask, wait, OK]) as server, Transport(max_idle_connections=2) as transport:
        requests = [asyncio.ensure_future(outcome(transport, get(server))) for _ in range(5)]
        await server.has_open(5)
        server.go.set()
        assert await asyncio.gather(*requests) == [(200, b"ok")] * 5
        await server.has_open(2)


async def test_servers_do_not_share_connections() -> None:
    async with serving([ask, OK]) as one, serving([ask, OK]) as other, Transport() as transport:
        await outcome(transport, get(one))
        await outcome(transport, get(other))
        assert (one.accepted, other.accepted) == (1, 1)


# A pooled connection that turns out to be closed


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_request_on_a_connection_closed_meanwhile_is_sent_once_more(end: Step) -> None:
    async with serving([ask, OK, ask, end], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, b"twice")) == (200, b"ok")
        assert [request[-5:] for request in server.requests[1:]] == [b"twice", b"twice"]


async def test_large_request_on_a_connection_closed_meanwhile_is_sent_once_more() -> None:
    async with serving([ask, OK, pause, hang_up], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, LARGE)) == (200, b"ok")
        assert server.requests[1].endswith(LARGE)


async def test_request_is_not_sent_a_third_time() -> None:
    async with serving([ask, OK, ask, hang_up], [ask, hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server)) is httpx2.RemoteProtocolError
        assert len(server.requests) == 3


async def test_request_is_not_sent_again_after_a_byte_of_its_response() -> None:
    async with serving([ask, OK, ask, b"H", hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server)) is httpx2.RemoteProtocolError
        assert server.accepted == 1


async def test_request_that_timed_out_is_not_sent_again() -> None:
    async with serving([ask, OK, ask]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, extensions=SOON)) is httpx2.ReadTimeout
        assert server.accepted == 1


async def test_request_with_a_streamed_body_is_not_sent_again() -> None:
    async with serving([ask, OK, ask, hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, chunks(b"once"))) is httpx2.RemoteProtocolError
        assert server.accepted == 1


# Request bodies


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def test_large_body_is_sent_whole() -> None:
    async with serving([ask, OK, ask, OK]) as server, Transport() as transport:
        for _ in range(2):
            assert await outcome(transport, post(server, LARGE)) == (200, b"ok")
        assert server.requests[1].endswith(b"\r\n\r\n" + LARGE)
        assert server.accepted == 1


FRAMED: list[tuple[dict[str, Any], bytes]] = [
    ({"content": b""}, b"Content-Length: 0\r\nAccept-Encoding: identity\r\n\r\n"),
    ({"stream": httpx2.ByteStream(b"ab")}, b"Host: {}\r\nAccept-Encoding: identity\r\nContent-Length: 2\r\n\r\nab"),
    ({"content": b"ab", "headers": {"Transfer-Encoding": "Chunked"}},
     b"Transfer-Encoding: Chunked\r\nAccept-Encoding: identity\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
    ({"content": b"", "headers": {"Transfer-Encoding": "chunked"}},
     b"Transfer-Encoding: chunked\r\nAccept-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ({"content": ("ab", "", "c")}, b"Transfer-Encoding: chunked\r\nAccept-Encoding: identity\r\n\r\n"
     b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    ({"content": ("ab", "", "c"), "headers": {"Content-Length": "3"}},
     b"Content-Length: 3\r\nAccept-Encoding: identity\r\n\r\nabc"),
    ({"stream": ("ab", "c")}, b"Accept-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
]  # fmt: skip
