"""Wire: what goes out and comes in over our own transport and over any other one of httpx's."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from app.upstream.outgoing import Outgoing
from app.upstream.transport import Transport
from app.upstream.wire import Request, Response, Through, Timeouts, Wire, parsed

pytestmark = pytest.mark.anyio

PATIENT: Timeouts = {"connect": 10, "read": 10, "write": 10, "pool": 10}
ANSWER = b"HTTP/1.1 201 Created\r\nX-One: 1\r\nx-one: 2\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def server(answer: bytes) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """An address that gives one answer to everything, and the requests that came."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        received.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1")
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", received


def through() -> tuple[Wire, httpx2.AsyncBaseTransport]:
    transport = httpx2.AsyncHTTPTransport()
    return Through(transport), transport


def own() -> tuple[Wire, httpx2.AsyncBaseTransport]:
    transport = Transport()
    return transport, transport


WIRES = pytest.mark.parametrize("make", [own, through])
Make = Callable[[], tuple[Wire, httpx2.AsyncBaseTransport]]


async def whole(response: Response) -> bytes:
    return b"".join([piece async for piece in response.stream])


@WIRES
async def test_a_request_with_content_is_a_post_with_its_length(make: Make) -> None:
    wire, transport = make()
    async with transport, server(ANSWER) as (url, received):
        response = await wire.send(Request(f"{url}/a?b=c", ((b"x-key", b"v"),), b"body", PATIENT))
        assert response.status == 201
        assert await whole(response) == b"hello"
        await response.aclose()
    lines = received[0].split(b"\r\n")
    assert lines[0] == b"POST /a?b=c HTTP/1.1"
    assert b"x-key: v" in lines
    assert b"content-length: 4" in [line.lower() for line in lines]
    assert lines[-1] == b"body"


@WIRES
async def test_a_request_without_content_is_a_get(make: Make) -> None:
    wire, transport = make()
    async with transport, server(ANSWER) as (url, received):
        response = await wire.send(Request(url, (), None, PATIENT))
        assert await whole(response) == b"hello"
        await response.aclose()
    assert received[0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"content-length" not in received[0].lower()


@WIRES
async def test_headers_are_found_in_any_spelling(make: Make) -> None:
    wire, transport = make()
    async with transport, server(ANSWER) as (url, _):
        response = await wire.send(Request(url, (), None, PATIENT))
        assert response.header(b"x-one") == b"1"
        assert response.header(b"x-two") == b""
        assert response.named["content-length"] == "5"
        await response.aclose()
        assert response.is_closed
        await response.aclose()


@WIRES
async def test_an_empty_body_is_sent_as_one(make: Make) -> None:
    wire, transport = make()
    async with transport, server(ANSWER) as (url, received):
        await (await wire.send(Request(url, (), b"", PATIENT))).aclose()
    assert received[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"content-length: 0" in received[0].lower()


@pytest.mark.parametrize("headers", [[(b"x", b"a\r\ny: b")], [(b"x\r\ny", b"a")], [(b"x", b"a\nb")], [(b"x", b"a\0b")]])
def test_what_a_server_would_read_as_more_than_one_header_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        Outgoing.of(Request("http://test/", tuple(headers), b"", PATIENT), parsed("http://test/"))


@pytest.mark.parametrize("url", ["ftp://test/", "test", "http://"])
def test_only_http_has_a_target(url: str) -> None:
    with pytest.raises(httpx2.UnsupportedProtocol):
        parsed(url)


@pytest.mark.parametrize(
    ("url", "origin", "host", "path"),
    [
        ("http://test", ("http", b"test", None), b"test", b"/"),
        ("https://test:8443/a b?c=ü", ("https", b"test", 8443), b"test:8443", b"/a%20b?c=%C3%BC"),
    ],
)
def test_a_target_is_a_url_in_parts(url: str, origin: object, host: bytes, path: bytes) -> None:
    assert parsed(url) == (origin, host, path)
