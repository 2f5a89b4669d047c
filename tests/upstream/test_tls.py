"""TLS: sessions with a host are taken up again, on both event loops and in both versions that there are."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.upstream.tls import default_context, resuming
from app.upstream.transport import Transport
from tests.upstream.scripted import Peer, Server, Step, ask, hang_up, serving

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).with_name("loopback.pem")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


def server_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    context.maximum_version = version
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


@asynccontextmanager
async def noting(*script: Step, context: ssl.SSLContext) -> AsyncIterator[tuple[Server, list[bool]]]:
    """A server that notes of each connection whether its session was taken up."""
    resumed: list[bool] = []

    async def note(peer: Peer) -> None:
        resumed.append(peer.writer.get_extra_info("ssl_object").session_reused)

    async with serving([note, *script], tls=context) as server:
        yield server, resumed


async def ask_once(transport: Transport, server: Server) -> None:
    response = await transport.handle_async_request(httpx2.Request("POST", server.url, content=b"{}"))
    assert await response.aread() == b"ok"


@VERSIONS
@pytest.mark.parametrize("script", [[ask, LAST, hang_up], [ask, LAST]], ids=["closed by the server", "by us"])
async def test_session_is_taken_up_again(version: ssl.TLSVersion, script: list[Step]) -> None:
    async with (
        noting(*script, context=server_context(version)) as (server, resumed),
        Transport(ssl_context=resuming(trusting())) as transport,
    ):
        for _ in range(4):
            await ask_once(transport, server)
        assert resumed == [False, True, True, True]


@VERSIONS
async def test_session_is_there_while_its_first_connection_is_busy(version: ssl.TLSVersion) -> None:
    context = server_context(version)
    async with (
        noting(ask, ANSWER[:-2], context=context) as (server, resumed),
        Transport(ssl_context=resuming(trusting())) as transport,
    ):
        responses = []
        for _ in range(3):
            request = httpx2.Request("GET", server.url)
            responses.append(await transport.handle_async_request(request))
        assert resumed == [False, True, True]
        for response in responses:
            await response.aclose()


@VERSIONS
async def test_server_that_has_forgotten_the_session_gets_a_new_one(version: ssl.TLSVersion) -> None:
    """As after its restart with other keys."""
    contexts = [server_context(version), server_context(version)]
    transport = Transport(ssl_context=resuming(trusting()))
    outcomes = []
    for context in contexts:
        async with noting(ask, LAST, context=context) as (server, resumed):
            for _ in range(2):
                await ask_once(transport, server)
            outcomes.append(resumed)
    await transport.aclose()
    assert outcomes == [[False, True], [False, True]]


async def test_server_without_sessions_is_asked_without() -> None:
    context = server_context()
    context.num_tickets = 0
    async with (
        noting(ask, LAST, context=context) as (server, resumed),
        Transport(ssl_context=resuming(trusting())) as transport,
    ):
        for _ in range(2):
            await ask_once(transport, server)
        assert resumed == [False, False]


async def test_session_is_not_offered_to_another_host() -> None:
    """Who is verified by it would be nobody's concern any more: the certificate is for 127.0.0.1 only."""
    context = server_context()
    async with (
        noting(ask, LAST, context=context) as (server, resumed),
        Transport(ssl_context=resuming(trusting())) as transport,
    ):
        await ask_once(transport, server)
        request = httpx2.Request("GET", f"https://localhost:{server.port}")
        with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
            await transport.handle_async_request(request)
        await ask_once(transport, server)
        assert resumed == [False, True]


async def test_context_of_the_callers_own_is_used_as_it_is() -> None:
    async with (
        noting(ask, LAST, context=server_context()) as (server, resumed),
        Transport(ssl_context=trusting()) as transport,
    ):
        for _ in range(2):
            await ask_once(transport, server)
        assert resumed == [False, False]


async def test_default_takes_sessions_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with noting(ask, LAST, context=server_context()) as (server, resumed), Transport() as transport:
        for _ in range(2):
            await ask_once(transport, server)
        assert resumed == [False, True]


def test_default_verifies() -> None:
    context = default_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_contexts_do_not_share_sessions() -> None:
    """OpenSSL would refuse one of another's."""
    context = server_context()
    async with noting(ask, LAST, context=context) as (server, resumed):
        for _ in range(2):
            async with Transport(ssl_context=resuming(trusting())) as transport:
                await ask_once(transport, server)
                await asyncio.sleep(0)
        assert resumed == [False, False]
