import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from starlette.types import Message

from app.errors import InternalServerError
from app.routes.streaming import HEADERS, HEARTBEAT, ClientLeft, client_watched, send_events
from app.server.exchange import KEY
from tests.routes.scripted import Client, piece

pytestmark = pytest.mark.anyio


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_client_that_leaves_ends_what_runs_for_it() -> None:
    client = Client([piece(b""), piece(b"")])  # a server may repeat the end of the body
    client.leave()
    with pytest.raises(ClientLeft), client_watched({}, client.receive):
        await forever()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # a cancellation that was left over would come here


class Gone:
    """An exchange whose client has left."""

    loop = None
    disconnected = True
    on_left = None


async def test_for_a_client_that_has_left_before_nothing_is_begun() -> None:
    with pytest.raises(ClientLeft), client_watched({KEY: Gone()}, Client().receive):
        raise AssertionError


async def test_a_server_that_stops_is_no_client_that_left() -> None:
    entered = asyncio.Event()

    async def handle() -> None:
        with client_watched({}, Client().receive):
            entered.set()
            await forever()

    task = asyncio.create_task(handle())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_quick_answer_is_not_watched() -> None:
    before = asyncio.all_tasks()
    with client_watched({}, Client().receive):
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def test_nobody_watches_any_more_when_the_answer_is_through() -> None:
    before = asyncio.all_tasks()
    watched = asyncio.Event()

    async def receive() -> Message:
        watched.set()
        await forever()
        raise AssertionError

    with client_watched({}, receive):
        await watched.wait()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def chunks(*pieces: bytes, failure: Exception | None = None) -> AsyncGenerator[bytes]:
    for each in pieces:
        yield each
    if failure:
        raise failure


def start(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]}


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_each_chunk_is_sent_by_itself() -> None:
    client = Client()
    failure = await send_events(chunks(b"a", b"b"), [(b"x-more", b"1")], client.send, heartbeat_seconds=60)
    assert failure is None
    assert client.got == [start((b"x-more", b"1")), part(b"a"), part(b"b"), part(b"", more=False)]


async def test_a_failure_becomes_the_last_event() -> None:
    client = Client()
    error = InternalServerError("It broke.", code="upstream_error", status=502)
    assert await send_events(chunks(b"a", failure=error), [], client.send, heartbeat_seconds=60) is error
    told = b'{"error":{"message":"It broke.","type":"server_error","param":null,"code":"upstream_error"}}'
    assert client.got == [start(), part(b"a"), part(b"data: " + told + b"\n\n"), part(b"", more=False)]


async def test_another_exception_leaves_the_answer_without_an_end() -> None:
    client = Client()
    with pytest.raises(ZeroDivisionError):
        await send_events(chunks(b"a", failure=ZeroDivisionError()), [], client.send, heartbeat_seconds=60)
    assert client.got == [start(), part(b"a")]


async def test_heartbeats_are_sent_in_silence_only() -> None:
    client = Client()
    beaten = asyncio.Event()

    async def send(message: Message) -> None:
        await client.send(message)
        if client.body.count(HEARTBEAT) >= 2:
            beaten.set()

    async def slow() -> AsyncGenerator[bytes]:
        yield b"a"
        await beaten.wait()
        yield b"b"
        yield b"c"

    await send_events(slow(), [], send, heartbeat_seconds=0.01)
    assert client.body.startswith(b"a" + HEARTBEAT + HEARTBEAT)
    assert client.body.endswith(HEARTBEAT + b"bc")


async def test_the_source_is_closed_when_the_client_leaves() -> None:
    client, is_closed = Client(), asyncio.Event()

    async def source() -> AsyncGenerator[bytes]:
        try:
            yield b"a"
            await forever()
        finally:
            is_closed.set()

    async def send(message: Message) -> None:
        if message.get("body"):
            client.leave()

    with pytest.raises(ClientLeft), client_watched({}, client.receive):
        await send_events(source(), [], send, heartbeat_seconds=60)
    assert is_closed.is_set()


class Ready:
    """An exchange that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.written_at = 0.0

    def is_ready(self) -> bool:
        return True

    def write(self, piece: bytes) -> None:
        self.written += piece
        self.written_at = asyncio.get_running_loop().time()


async def test_what_comes_while_a_chunk_is_waited_for_may_be_written_to_the_exchange() -> None:
    client, exchange = Client(), Ready()
    given: list[Any] = []

    def pass_on(is_ready: Callable[[], bool], write: Callable[[bytes], None]) -> None:
        assert client.got == [start()]
        given.extend((is_ready, write))

    async def source() -> AsyncGenerator[bytes]:
        yield b"a"
        is_ready, write = given
        assert is_ready()
        write(b"b")

    sending: Any = send_events  # an exchange needs a connection
    await sending(source(), [], client.send, heartbeat_seconds=60, pass_on=pass_on, exchange=exchange)
    assert exchange.written == b"b"
    assert client.body == b"a"


async def test_nothing_is_passed_on_without_an_exchange() -> None:
    client = Client()

    def pass_on(_is_ready: Callable[[], bool], _write: Callable[[bytes], None]) -> None:
        raise AssertionError

    await send_events(chunks(b"a"), [], client.send, heartbeat_seconds=60, pass_on=pass_on)
    assert client.body == b"a"


async def test_what_is_written_to_the_exchange_is_a_sign_of_life() -> None:
    client, exchange = Client(), Ready()
    writes: list[Callable[[bytes], None]] = []

    async def source() -> AsyncGenerator[bytes]:
        yield b"a"
        over = time.monotonic() + 0.35
        while time.monotonic() < over:
            writes[0](b"b")
            await asyncio.sleep(0)

    sending: Any = send_events
    pass_on = lambda _, write: writes.append(write)  # noqa: E731 - as short as it can be
    await sending(source(), [], client.send, heartbeat_seconds=0.25, pass_on=pass_on, exchange=exchange)
    assert exchange.written.startswith(b"bb")
    assert client.body == b"a"
