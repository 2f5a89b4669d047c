"""The server on real sockets, on both event loops: what only a network does."""

import asyncio
import socket
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from app.routes.streaming import ClientLeft, client_watched
from app.server.exchange import CONTINUE, KEY
from tests.server.wires import (
    CHUNKED_HEAD,
    DATE,
    answer,
    chunked,
    echo,
    head,
    listening,
    read,
    replying,
    request,
    settled,
    soon,
    until,
    whole,
)
from tests.serving import DEADLINE_SECONDS, Server, body, serving
from tests.serving import until as until_other_thread

pytestmark = pytest.mark.anyio

LARGE = 20_000_000
READ_BYTES = 256 * 1024
"""What an event loop reads at once."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


async def test_connection_serves_one_request_after_another() -> None:
    async with listening(echo) as (connect, state):
        client = await connect()
        for content in (b"one", b"x" * 300_000, b"three"):
            await client.send(request(body=content))
            assert await client.receive(len(answer(content))) == answer(content)
        assert state.total_requests == 3


async def test_connection_ends_when_it_was_to_end() -> None:
    async with listening(echo) as (connect, _):
        client = await connect()
        await client.send(request(b"connection: close", body=b"x" * 1_000_000))
        expected = b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 1000000\r\nconnection: close\r\n\r\n"
        assert await client.rest() == expected + b"x" * 1_000_000


async def test_idle_connection_ends() -> None:
    async with listening(echo, timeout_keep_alive=0.2) as (connect, _):
        client = await connect()
        await client.send(request())
        assert await client.rest() == answer(b"/")


@pytest.mark.parametrize("begun", [b"", b"\r\n", request()[:-2]])
async def test_connection_without_a_whole_head_ends(begun: bytes) -> None:
    async with listening(echo, timeout_keep_alive=0.1) as (connect, _):
        client = await connect()
        await client.send(begun)
        assert await client.rest() == b""


async def test_requests_at_once_are_answered_in_order() -> None:
    bodies = [b"%d" % number for number in range(500)]
    async with listening(echo) as (connect, _):
        client = await connect()
        expected = b"".join(map(answer, bodies))
        await client.send(b"".join(request(body=content) for content in bodies))
        assert await client.receive(len(expected)) == expected


async def test_malformed_request_is_no_harm_to_others() -> None:
    async with listening(echo) as (connect, _):
        sound, broken = await connect(), await connect()
        await broken.send(b"?")
        assert (await broken.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        for client in (sound, await connect()):
            await client.send(request())
            assert await client.receive(len(answer(b"/"))) == answer(b"/")


async def test_client_that_stops_sending_has_left() -> None:
    """As with uvicorn: half a connection counts for none."""
    begun = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        assert await read(receive) is None

    async with listening(app) as (connect, _):
        client = await connect()
        await client.send(request(b"content-length: 4"))
        await soon(begun.wait())
        client.writer.write_eof()
        assert await client.rest() == b""


# Large bodies


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_large_body_waits_for_the_application(is_chunked: bool) -> None:
    goes_on = asyncio.Event()
    exchanges: list[Any] = []
    sizes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.append(scope[KEY])
        await goes_on.wait()
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await replying(*whole(b"%d" % sum(sizes)))(scope, receive, send)

    content = b"x" * LARGE
    async with listening(app) as (connect, _):
        client = await connect()
        client.writer.write(chunked(content) if is_chunked else request(body=content))
        await until(lambda: exchanges and exchanges[0]._flow.read_paused)
        await asyncio.sleep(0.05)
        assert exchanges[0]._unread_bytes <= HIGH_WATER_LIMIT + READ_BYTES
        goes_on.set()
        assert await client.receive(len(answer(b"20000000"))) == answer(b"20000000")
        assert max(sizes) <= HIGH_WATER_LIMIT + READ_BYTES


async def test_answer_may_come_before_the_body() -> None:
    refusing = replying(head(status=403, length=2), body(b"no"))
    refused = answer(b"no", status=b"403 Forbidden")
    async with listening(refusing) as (connect, _):
        client = await connect()
        await client.send(request(b"content-length: %d" % LARGE))
        assert await client.receive(len(refused)) == refused
        await client.send(b"x" * LARGE + request())
        assert await client.receive(len(refused)) == refused


async def test_client_that_asks_whether_to_send_its_body() -> None:
    async with listening(echo) as (connect, _):
        client = await connect()
        await client.send(request(b"expect: 100-continue", b"content-length: 4"))
        assert await client.receive(len(CONTINUE)) == CONTINUE
        await client.send(b"body")
        assert await client.receive(len(answer(b"body"))) == answer(b"body")


async def test_body_that_breaks_off_in_garbage_can_still_be_read() -> None:
    heard: list[bytes | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await read(receive))

    async with listening(app) as (connect, _):
        client = await connect()
        await client.send(chunked(b"x" * 100_000).removesuffix(b"0\r\n\r\n") + b"garbage\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        await until(lambda: heard)
        assert heard == [None]


# Clients that leave


async def test_client_that_leaves_in_its_body() -> None:
    heard: list[bytes | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await read(receive))

    async with listening(app) as (connect, _):
        client = await connect()
        await client.send(request(b"content-length: 10") + b"half")
        client.leave()
        await until(lambda: heard)
        assert heard == [None]


async def test_client_that_leaves_while_we_compute() -> None:
    begun = asyncio.Event()
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        try:
            with client_watched(scope, receive):
                begun.set()
                await asyncio.Event().wait()
        except ClientLeft:
            heard.append("left")
        await replying(*whole(b"nobody"))(scope, receive, send)
        heard.append("silent")

    async with listening(app) as (connect, _):
        client = await connect()
        await client.send(request(body=b"x" * 100_000))
        await soon(begun.wait())
        client.leave()
        await until(lambda: len(heard) == 2)
        assert heard == ["left", "silent"]


async def test_client_that_leaves_a_stream_which_it_did_not_read() -> None:
    exchanges: list[Any] = []
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.append(scope[KEY])
        await send(head())
        while not scope[KEY].disconnected:
            await send(body(b"x" * 65536, more=True))
        await send(body(b""))
        ended.set()

    async with listening(app) as (connect, _):
        client = await connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio has no other way
        await client.send(request())
        await until(lambda: exchanges and exchanges[0]._flow.write_paused)
        client.leave()
        await soon(ended.wait())


async def test_client_that_leaves_after_its_answer() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[KEY].on_left = lambda: heard.append("left")
        await echo(scope, receive, send)

    async with listening(app) as (connect, state):
        client = await connect()
        await client.send(request())
        assert await client.receive(len(answer(b"/"))) == answer(b"/")
        client.leave()
        await until(lambda: not state.connections)
        assert heard == []


async def test_connections_leave_no_tasks() -> None:
    before = asyncio.all_tasks()
    async with listening(echo) as (connect, _):
        clients = [await connect() for _ in range(10)]
        for client in clients:
            await client.send(request())
            await client.receive(len(answer(b"/")))
    await settled()
    assert asyncio.all_tasks() <= before


async def test_answer_cut_by_the_application_is_cut_for_the_client() -> None:
    async with listening(replying(head(), body(b"one", more=True))) as (connect, _):
        client = await connect()
        await client.send(request())
        assert await client.rest() == CHUNKED_HEAD + b"3\r\none\r\n"


# The whole of uvicorn, as `python -m app` runs it. It has its own loop, in a thread.


def opened(server: Server, data: bytes) -> socket.socket:
    connection = socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS)
    connection.sendall(data)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def until_shutdown(begun: list[str]) -> ASGIApp:
    """Answers when the server stops; a stream begins before."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stream":
            await send(head())
            await send(body(b"one", more=True))
        begun.append(scope["path"])
        await until(lambda: not scope[KEY].keep_alive)
        if scope["path"] == "/stream":
            await send(body(b"two"))
        else:
            await replying(*whole(b"last"))(scope, receive, send)

    return app


def lines(received: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Its status line, its headers without the value of the date, its body."""
    opening, _, content = received.partition(b"\r\n\r\n")
    status, *fields = opening.split(b"\r\n")
    return status, [b"date" if field.startswith(b"date: ") else field for field in fields], content


def test_server_that_stops_lets_answers_end() -> None:
    begun: list[str] = []
    with serving(until_shutdown(begun), lifespan="off") as server:
        stream = opened(server, request(target=b"/stream"))
        answered = opened(server, request())
        idle = opened(server, b"")
        until_other_thread(lambda: len(begun) == 2)
    assert rest(stream).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert lines(rest(answered)) == (
        b"HTTP/1.1 200 OK",
        [b"date", b"content-length: 4", b"connection: close"],
        b"last",
    )
    assert rest(idle) == b""


def test_server_that_stops_ends_what_does_not() -> None:
    """After uvicorn's timeout_graceful_shutdown."""
    begun: list[str] = []
    cancelled: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(scope["path"])
            raise

    with serving(app, lifespan="off") as server:
        hanging = opened(server, request(target=b"/hanging"))
        until_other_thread(lambda: begun)
    assert cancelled == ["/hanging"]
    assert lines(rest(hanging)) == (
        b"HTTP/1.1 500 Internal Server Error",
        [b"date", b"content-type: text/plain", b"content-length: 21", b"connection: close"],
        b"Internal Server Error",
    )


def test_date_is_there_once() -> None:
    with serving(echo, lifespan="off") as server:
        connection = opened(server, request(b"connection: close"))
        assert lines(rest(connection))[1].count(b"date") == 1
