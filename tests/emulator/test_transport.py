"""The transport hands over each piece at once, holds the application back, and ends it when the reader leaves."""

from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from app.emulator.transport import QUEUED_PIECES, EmulatorTransport

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]}


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def request(**options: Any) -> httpx2.Request:
    return httpx2.Request("POST", "http://emulator:81/a%2Fb?c=d", content=b"body", **options)


async def test_the_application_sees_the_request() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, await receive()])
        await send(START)
        await send(piece(b"", more=False))

    async with EmulatorTransport(app) as transport:
        response = await transport.handle_async_request(request(headers={"X-One": "1"}))
        assert (response.status_code, response.headers["x-a"], await response.aread()) == (201, "b", b"")
    scope, message = seen
    assert message == {"type": "http.request", "body": b"body", "more_body": False}
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/a/b", b"/a%2Fb")
    assert (scope["query_string"], scope["server"], scope["scheme"]) == (b"c=d", ("emulator", 81), "http")
    assert (b"x-one", b"1") in scope["headers"]


async def test_pieces_arrive_while_the_application_still_runs() -> None:
    read = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"one"))
        await read.wait()
        await send(piece(b"two"))
        await send(piece(b"three", more=False))

    async with EmulatorTransport(app) as transport:
        response = await transport.handle_async_request(request())
        found = []
        async for data in response.aiter_raw():
            found.append(data)
            read.set()
    assert found == [b"one", b"two", b"three"]


async def test_the_application_waits_for_a_slow_reader() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(10 * QUEUED_PIECES):
            await send(piece(b"x"))
            sent += 1
        await send(piece(b"", more=False))

    async with EmulatorTransport(app) as transport:
        response = await transport.handle_async_request(request())
        await anyio.wait_all_tasks_blocked()
        assert sent == QUEUED_PIECES
        assert len(await response.aread()) == 10 * QUEUED_PIECES


async def test_a_reader_that_leaves_is_a_disconnect() -> None:
    messages: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(piece(b"one"))
        messages.append(await receive())
        await send(piece(b"two"))  # goes nowhere

    async with EmulatorTransport(app) as transport:
        response = await transport.handle_async_request(request())
        await response.aclose()
        assert messages == [{"type": "http.disconnect"}]


async def test_an_application_that_waits_for_its_reader_notices_too() -> None:
    has_ended = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal has_ended
        await send(START)
        for _ in range(3 * QUEUED_PIECES):
            await send(piece(b"x"))
        has_ended = True

    async with EmulatorTransport(app) as transport:
        response = await transport.handle_async_request(request())
        await anyio.wait_all_tasks_blocked()
        await response.aclose()
        assert has_ended


async def test_an_application_that_does_not_care_is_cancelled() -> None:
    cancelled = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    transport = EmulatorTransport(app, grace_seconds=0.01)
    response = await transport.handle_async_request(request())
    await response.aclose()
    assert cancelled.is_set()


async def test_closing_the_transport_ends_what_runs_and_starts_nothing_more() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        ended.append((await receive())["type"])

    transport = EmulatorTransport(app)
    for _ in range(2):
        await transport.handle_async_request(request())
    await transport.aclose()
    assert ended == ["http.disconnect", "http.disconnect"]
    with pytest.raises(httpx2.ConnectError):
        await transport.handle_async_request(request())


async def test_a_cancelled_reader_ends_the_application() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        ended.append((await receive())["type"])

    async with EmulatorTransport(app) as transport:
        with anyio.move_on_after(0.01):
            await transport.handle_async_request(request())
        await anyio.wait_all_tasks_blocked()
        assert ended == ["http.disconnect"]


@pytest.mark.parametrize("has_started", [True, False])
async def test_a_failing_application_is_a_protocol_error(has_started: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if has_started:
            await send(START)
            await send(piece(b"one"))
        raise KeyError("inside")

    async with EmulatorTransport(app) as transport:
        with pytest.raises(httpx2.RemoteProtocolError) as caught:
            await (await transport.handle_async_request(request())).aread()
        assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("has_started", [True, False])
async def test_so_is_one_that_leaves_its_answer_unfinished(has_started: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if has_started:
            await send(START)

    async with EmulatorTransport(app) as transport:
        with pytest.raises(httpx2.RemoteProtocolError):
            await (await transport.handle_async_request(request())).aread()


async def test_what_an_application_does_after_its_answer_is_its_own_affair() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(piece(b"one", more=False))
        assert (await receive())["type"] == "http.disconnect"
        raise KeyError("too late")

    async with EmulatorTransport(app) as transport:
        assert await (await transport.handle_async_request(request())).aread() == b"one"


async def test_a_silent_application_is_a_read_timeout() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/started":
            await send(START)
        await receive()
        await send(START)

    timeout = {"timeout": {"read": 0.01}}
    async with EmulatorTransport(app) as transport:
        for path in ("/silent", "/started"):
            with pytest.raises(httpx2.ReadTimeout):  # noqa: PT012 - whichever comes first
                asked = httpx2.Request("GET", f"http://emulator{path}", extensions=timeout)
                response = await transport.handle_async_request(asked)
                await response.aread()
