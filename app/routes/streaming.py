"""An answer in the making -> server-sent events: heartbeats while it is silent, an end when the client leaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType

import orjson
from starlette.types import Message, Receive, Scope, Send

from app.errors import APIStatusError
from app.server.exchange import KEY, Exchange

HEARTBEAT = b": keepalive\n\n"

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


PassOn = Callable[[Callable[[], bool], Callable[[bytes], None]], None]
"""As `Stream.pass_on`: given whether something can be written, and how."""


class ClientLeft(Exception):  # noqa: N818 - no fault of anyone
    """The client closed its connection before the answer was complete."""


WATCHED_AFTER_SECONDS = 0.02
"""Most answers from a cache are there before, and need no task that waits for the client to leave."""


class client_watched:  # noqa: N801 - a context manager: an async generator would cost a quick request more than it does
    """Cancels what runs inside as soon as the client leaves, and turns that into ClientLeft.

    Our own server calls. Any other is asked, by a `receive` that must have read the request's body: what it brings next
    can only be the end.
    """

    __slots__ = ("_exchange", "_has_left", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._exchange: Exchange | None = scope.get(KEY)
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._has_left = False

    def __enter__(self) -> None:
        exchange = self._exchange
        loop = asyncio.get_running_loop() if exchange is None else exchange.loop
        task = asyncio.current_task(loop)
        assert task  # noqa: S101 - what is to be cancelled runs in one
        self._task = task
        if exchange is None:
            self._timer = loop.call_later(WATCHED_AFTER_SECONDS, self._begin)
        elif exchange.disconnected:
            raise ClientLeft
        else:
            exchange.on_left = self._leave

    def __exit__(
        self, kind: type[BaseException] | None, _failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._exchange:
            self._exchange.on_left = None
        if self._timer:
            self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        if self._has_left and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise ClientLeft from None

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._has_left = True
        self._task.cancel()


async def send_events(
    chunks: AsyncGenerator[bytes],
    headers: list[tuple[bytes, bytes]],
    send: Send,
    *,
    heartbeat_seconds: float,
    heartbeat: bytes = HEARTBEAT,
    pass_on: PassOn | None = None,
    exchange: Exchange | None = None,
) -> APIStatusError | None:
    """Send status 200 and the chunks; returns the failure that ended them early.

    `pass_on` may write to the client's `exchange` what comes while a chunk is waited for. A failure becomes an `error`
    event with nothing behind it, least of all `[DONE]`: the answer must not look whole.
    """
    pulse = _Pulse(send, heartbeat_seconds, heartbeat, exchange)
    failure: APIStatusError | None = None
    try:
        async with aclosing(chunks):
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS + headers})
            if pass_on and exchange:
                pass_on(exchange.is_ready, exchange.write)
            async for chunk in chunks:
                pulse.beaten()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except APIStatusError as error:
        failure = error
        event = b"data: " + orjson.dumps(error.envelope()) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": True})
    finally:
        pulse.stop()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return failure


class _Pulse:
    """Sends a heartbeat whenever nothing else was sent for a while."""

    def __init__(self, send: Send, seconds: float, heartbeat: bytes, exchange: Exchange | None) -> None:
        self._send, self._seconds, self._heartbeat, self._exchange = send, seconds, heartbeat, exchange
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        self._last = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._beat)

    def stop(self) -> None:
        self._timer.cancel()
        if self._sending:
            self._sending.cancel()

    def beaten(self) -> None:
        """Something was sent, other than what was written to the exchange."""
        self._last = self._loop.time()

    def _beat(self) -> None:
        last = max(self._last, self._exchange.written_at) if self._exchange else self._last
        wait = last + self._seconds - self._loop.time()
        if wait <= 0:
            wait = self._seconds
            self.beaten()
            message: Message = {"type": "http.response.body", "body": self._heartbeat, "more_body": True}
            self._sending = self._loop.create_task(self._say(message))
        self._timer = self._loop.call_later(wait, self._beat)

    async def _say(self, message: Message) -> None:
        await self._send(message)
