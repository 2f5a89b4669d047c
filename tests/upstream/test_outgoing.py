"""Outgoing: which bytes a request becomes, and which requests are refused."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.upstream.outgoing import PIECE_BYTES, Outgoing
from app.upstream.wire import Request, parsed

pytestmark = pytest.mark.anyio

URL = "http://host.test:81/path"
START = b"POST /path HTTP/1.1\r\nHost: host.test:81\r\n"
IDENTITY = b"Accept-Encoding: identity\r\n"


class Parts(httpx2.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


class Ready(httpx2.AsyncByteStream):
    """An asynchronous iterable that is no generator."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = iter(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            raise StopAsyncIteration from None


async def wire(outgoing: Outgoing) -> bytes:
    data = outgoing.opening()
    if not outgoing.is_small:
        async for piece in outgoing.pieces():
            data += piece
    return data


CHUNKED = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

FRAMED: list[tuple[dict[str, Any], bytes]] = [
    ({}, START + b"Content-Length: 0\r\n" + IDENTITY + b"\r\n"),
    (
        {"headers": [("X", "1"), ("x", "2")]},
        START + b"Content-Length: 0\r\nX: 1\r\nx: 2\r\n" + IDENTITY + b"\r\n",
    ),
    ({"content": b"abc"}, START + b"Content-Length: 3\r\n" + IDENTITY + b"\r\nabc"),
    ({"json": {}}, START + b"Content-Length: 2\r\nContent-Type: application/json\r\n" + IDENTITY + b"\r\n{}"),
    ({"stream": httpx2.ByteStream(b"abc")}, START + IDENTITY + b"Content-Length: 3\r\n\r\nabc"),
    ({"stream": httpx2.ByteStream(b"")}, START + IDENTITY + b"\r\n"),
    (
        {"content": b"abc", "headers": {"Transfer-Encoding": "Chunked"}},
        START + b"Transfer-Encoding: Chunked\r\n" + IDENTITY + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        {"content": b"", "headers": {"Transfer-Encoding": "chunked"}},
        START + b"Transfer-Encoding: chunked\r\n" + IDENTITY + b"\r\n0\r\n\r\n",
    ),
    ({"content": Parts(b"ab", b"", b"c")}, START + b"Transfer-Encoding: chunked\r\n" + IDENTITY + b"\r\n" + CHUNKED),
    ({"stream": Parts(b"ab", b"", b"c")}, START + IDENTITY + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED),
    ({"stream": Ready(b"ab", b"c")}, START + IDENTITY + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED),
    (
        {"content": Parts(b"ab", b"", b"c"), "headers": {"Content-Length": "3"}},
        START + b"Content-Length: 3\r\n" + IDENTITY + b"\r\nabc",
    ),
    (
        {"headers": {"Host": "other.test", "accept-encoding": "gzip"}},
        b"POST /path HTTP/1.1\r\nContent-Length: 0\r\nHost: other.test\r\naccept-encoding: gzip\r\n\r\n",
    ),
]


@pytest.mark.parametrize(("options", "expected"), FRAMED)
async def test_request_is_framed_as_its_headers_say(options: dict[str, Any], expected: bytes) -> None:
    assert await wire(Outgoing.from_request(httpx2.Request("POST", URL, **options))) == expected


async def test_large_body_comes_in_pieces() -> None:
    body = bytes(range(256)) * 1024
    outgoing = Outgoing.from_request(httpx2.Request("POST", URL, content=body))
    assert outgoing.opening() == outgoing.head
    pieces = [bytes(piece) async for piece in outgoing.pieces()]
    assert {len(piece) for piece in pieces} == {PIECE_BYTES}
    assert b"".join(pieces) == body


@pytest.mark.parametrize(("value", "is_last"), [("close", True), ("Keep-Alive, Close", True), ("keep-alive", False)])
def test_request_may_be_the_last_of_its_connection(value: str, is_last: bool) -> None:
    assert Outgoing.from_request(httpx2.Request("GET", URL, headers={"Connection": value})).is_last is is_last


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("GET", {"headers": {"X": "a\r\nY: b"}}),
    ("GET", {"headers": {"X": "a\r\n"}}),
    ("GET", {"headers": {"X": "a\nb"}}),
    ("GET", {"headers": {"X": "a\rb"}}),
    ("GET", {"headers": {"X": "a\0b"}}),
    ("GET", {"headers": {"X\r\nY": "a"}}),
    ("GET", {"headers": {"X": "a\n", "Y": "\rb"}}),
    ("GET / HTTP/1.1\r\nX: Y\r\n\r\nGET", {}),
    ("GET /other", {}),
    ("POST", {"content": b"abc", "headers": {"Content-Length": "2"}}),
    ("POST", {"content": b"abc", "headers": {"Content-Length": "3", "Transfer-Encoding": "chunked"}}),
    ("POST", {"content": b"abc", "headers": {"Transfer-Encoding": "gzip"}}),
    ("POST", {"content": Parts(b"abc"), "headers": {"Content-Length": "3", "Transfer-Encoding": "chunked"}}),
    ("POST", {"content": Parts(b"abc"), "headers": {"Transfer-Encoding": "gzip, chunked"}}),
    ("POST", {"content": Parts(b"abc"), "headers": {"Content-Length": "-3"}}),
    ("POST", {"content": b"abc", "headers": [("Content-Length", "3"), ("Content-Length", "3")]}),
    ("POST", {"content": b"abc", "headers": [("Content-Length", "4"), ("content-length", "3")]}),
]


@pytest.mark.parametrize(("method", "options"), REFUSED)
def test_request_that_could_be_read_otherwise_is_refused(method: str, options: dict[str, Any]) -> None:
    request = httpx2.Request(method, URL, **options)
    with pytest.raises(httpx2.LocalProtocolError):
        Outgoing.from_request(request)


@pytest.mark.parametrize("length", ["2", "4"])
async def test_streamed_body_has_to_have_its_length(length: str) -> None:
    request = httpx2.Request("POST", URL, content=Parts(b"ab", b"c"), headers={"Content-Length": length})
    with pytest.raises(httpx2.LocalProtocolError):
        await wire(Outgoing.from_request(request))


async def test_body_that_is_not_asynchronous_is_refused() -> None:
    with pytest.raises(TypeError, match="asynchronous"):
        await wire(Outgoing.from_request(httpx2.Request("POST", URL, content=iter([b"abc"]))))


def test_further_headers_of_a_request_of_ours_come_after_those_that_come_again_and_again() -> None:
    request = Request(URL, ((b"A", b"1"),), b"abc", {}, [(b"B", b"2")])
    assert Outgoing.of(request, parsed(URL)).opening() == START + b"A: 1\r\nB: 2\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("field", [(b"B", b"2\r\nC: 3"), (b"B\n", b"2"), (b"B", b"\r2"), (b"B", b"\0")])
def test_further_headers_that_could_be_read_otherwise_are_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        Outgoing.of(Request(URL, (), b"", {}, [field]), parsed(URL))
