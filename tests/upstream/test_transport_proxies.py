"""Proxies that the environment names: a tunnel, SOCKS5 and none, on both event loops, over real sockets."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.upstream.transport import EnvironmentTransport, Transport, make_transport
from app.upstream.wire import Request, Through
from tests.upstream.scripted import Peer, Server, Step, ask, serving, wait

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CERTIFICATE = Path(__file__).with_name("loopback.pem")


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def get(server: Server) -> httpx2.Request:
    return httpx2.Request("GET", server.url)


def post(server: Server, content: bytes) -> httpx2.Request:
    return httpx2.Request("POST", server.url, content=content)


async def outcome(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> Any:
    """Status and body, or the class of what was raised."""
    try:
        response = await transport.handle_async_request(request)
        return response.status_code, await response.aread()
    except httpx2.RequestError as failure:
        return type(failure)


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One that names no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


async def test_without_proxies_the_transport_is_ours(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NO_PROXY", "localhost")
    assert type(make_transport()) is Transport


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("prefix", ["http://", ""])
async def test_proxy_of_the_environment_is_used(variable: str, prefix: str, environment: pytest.MonkeyPatch) -> None:
    async with serving([ask, OK, ask, OK]) as proxy:
        environment.setenv(variable, f"{prefix}127.0.0.1:{proxy.port}")
        async with make_transport() as transport:
            for _ in range(2):
                assert await outcome(transport, httpx2.Request("GET", "http://api.test/a")) == (200, b"ok")
        assert proxy.requests[1].startswith(b"GET http://api.test/a HTTP/1.1\r\n")
        assert b"Accept-Encoding: identity\r\n" in proxy.requests[1]


async def test_proxy_that_refuses_a_tunnel_is_an_error(environment: pytest.MonkeyPatch) -> None:
    async with serving([ask, b"HTTP/1.1 403 No\r\n\r\n"]) as proxy:
        environment.setenv("HTTPS_PROXY", proxy.url)
        async with make_transport() as transport:
            request = httpx2.Request("GET", "https://api.test/")
            with pytest.raises(httpx2.ProxyError) as raised:
                await transport.handle_async_request(request)
            assert raised.value.request is request
        assert proxy.requests[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, str, int]:
    """The head of a CONNECT, and where it wants to go."""
    head = await reader.readuntil(b"\r\n\r\n")
    host, port = head.split(b" ")[1].decode().rsplit(":", 1)
    return head, host, int(port)


async def speak_connect(peer: Peer) -> tuple[str, int]:
    """As an HTTP proxy."""
    head, host, port = await read_request(peer.reader)
    peer.server.requests.append(head)
    peer.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return host, port


async def speak_socks(peer: Peer) -> tuple[str, int]:
    """As a SOCKS5 proxy, with a name and a password if the client offers them. RFC 1928 and 1929."""
    _, count = await peer.reader.readexactly(2)
    methods = await peer.reader.readexactly(count)
    peer.writer.write(b"\x05\x02" if 2 in methods else b"\x05\x00")
    if 2 in methods:
        credentials = b""
        await peer.reader.readexactly(1)
        for _ in range(2):
            credentials += b" " + await peer.reader.readexactly((await peer.reader.readexactly(1))[0])
        peer.server.requests.append(credentials)
        peer.writer.write(b"\x01\x00")
    kind = (await peer.reader.readexactly(4))[3]
    length = 4 if kind == 1 else (await peer.reader.readexactly(1))[0]
    address = await peer.reader.readexactly(length)
    port = int.from_bytes(await peer.reader.readexactly(2), "big")
    peer.writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    return socket.inet_ntoa(address) if kind == 1 else address.decode(), port


def relaying(greet: Callable[[Peer], Awaitable[tuple[str, int]]], wanted: list[tuple[str, int]]) -> Step:
    """A proxy: it connects where it is told to, and passes the bytes on both ways."""

    async def relay(peer: Peer) -> None:
        wanted.append(await greet(peer))
        reader, writer = await asyncio.open_connection("127.0.0.1", wanted[-1][1])
        try:
            await asyncio.wait(
                [asyncio.ensure_future(pump(peer.reader, writer)), asyncio.ensure_future(pump(reader, peer.writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.transport.abort()
            peer.writer.transport.abort()

    return relay


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


PROXIES: list[tuple[str, str, Any]] = [
    ("HTTPS_PROXY", "http://", speak_connect),
    ("https_proxy", "http://", speak_connect),
    ("HTTPS_PROXY", "", speak_connect),
    ("ALL_PROXY", "http://", speak_connect),
    ("HTTPS_PROXY", "http://user:secret@", speak_connect),
    ("HTTPS_PROXY", "socks5://", speak_socks),
    ("ALL_PROXY", "socks5h://", speak_socks),
    ("ALL_PROXY", "socks5://user:secret@", speak_socks),
]


@pytest.mark.parametrize(("variable", "start", "greet"), PROXIES, ids=[f"{row[0]}={row[1]}" for row in PROXIES])
async def test_tls_goes_end_to_end_through_a_proxy(
    variable: str, start: str, greet: Any, environment: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    """The server's certificate is verified, not the proxy's, and the proxy sees nothing of what is said."""
    wanted: list[tuple[str, int]] = []
    environment.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with serving([ask, OK] * 2, tls=tls) as server, serving([relaying(greet, wanted)]) as proxy:
        environment.setenv(variable, f"{start}127.0.0.1:{proxy.port}")
        async with make_transport() as transport:
            for body in (b"{}", b"x" * 300_000):
                assert await outcome(transport, post(server, body)) == (200, b"ok")
            assert wanted == [("127.0.0.1", server.port)]
            if "@" in start:
                credentials = b"Basic dXNlcjpzZWNyZXQ=" if greet is speak_connect else b"user secret"
                assert credentials in proxy.requests[0]
        assert all(request.endswith((b"\r\n\r\n{}", b"x" * 300_000)) for request in server.requests)
        assert b"secret" not in b"".join(server.requests)


async def test_name_is_resolved_by_the_socks_proxy(environment: pytest.MonkeyPatch) -> None:
    """Where the proxy is the only way out, there may be no DNS either."""
    wanted: list[tuple[str, int]] = []
    async with serving([ask, OK]) as server, serving([relaying(speak_socks, wanted)]) as proxy:
        environment.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        async with make_transport() as transport:
            request = httpx2.Request("GET", f"http://api.test:{server.port}/")
            assert await outcome(transport, request) == (200, b"ok")
        assert wanted == [("api.test", server.port)]


@pytest.mark.parametrize("greet", [speak_connect, speak_socks])
async def test_cancelled_request_through_a_proxy_closes_its_connections(
    greet: Any, environment: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    environment.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    start = "http" if greet is speak_connect else "socks5"
    async with serving([ask, wait], tls=tls) as server, serving([relaying(greet, [])]) as proxy:
        environment.setenv("HTTPS_PROXY", f"{start}://127.0.0.1:{proxy.port}")
        async with make_transport() as transport:
            task = asyncio.ensure_future(outcome(transport, get(server)))
            await server.has_open(1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            server.go.set()
            await server.has_open(0)
            await proxy.has_open(0)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_proxy_out_of_reach_is_a_failure_to_connect(scheme: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{unused_port()}")
    async with make_transport() as transport:
        request = httpx2.Request("GET", "https://api.test/")
        with pytest.raises(httpx2.ConnectError) as raised:
            await transport.handle_async_request(request)
        assert raised.value.request is request


async def test_requests_of_ours_go_through_a_proxy(environment: pytest.MonkeyPatch) -> None:
    wanted: list[tuple[str, int]] = []
    async with serving([ask, OK]) as server, serving([relaying(speak_socks, wanted)]) as proxy:
        environment.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        async with make_transport() as transport:
            response = await Through(transport).send(Request(server.url, (), b"{}", {"read": 10}))
            assert [piece async for piece in response.stream] == [b"ok"]
            await response.aclose()
        assert wanted == [("127.0.0.1", server.port)]


@pytest.mark.parametrize("exception", ["*", "127.0.0.1", "localhost, 127.0.0.1:{port}"])
async def test_no_proxy_is_obeyed(exception: str, environment: pytest.MonkeyPatch) -> None:
    async with serving([ask, OK]) as server:
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
        environment.setenv("NO_PROXY", exception.format(port=server.port))
        async with make_transport() as transport:
            assert isinstance(transport, EnvironmentTransport)
            assert await outcome(transport, get(server)) == (200, b"ok")


async def test_scheme_without_a_proxy_is_direct(environment: pytest.MonkeyPatch) -> None:
    async with serving([ask, OK]) as server:
        environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_port()}")
        async with make_transport() as transport:
            assert await outcome(transport, get(server)) == (200, b"ok")
