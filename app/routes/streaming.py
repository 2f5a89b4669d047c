"""An answer in the making -> server-sent events: heartbeats while it is silent, an end when the client leaves."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
from starlette.types import Receive, Send

from app.errors import APIStatusError

HEARTBEAT = b": keepalive\n\n"

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class ClientLeft(Exception):  # noqa: N818 - no fault of anyone
    """The client closed its connection before the answer was complete."""


@asynccontextmanager
async def client_watched(receive: Receive) -> AsyncGenerator[None]:
    """Cancels what runs inside as soon as the client leaves, and turns that into ClientLeft.

    The request's body must have been read: what `receive` brings next can only be the end.
    """
    task = asyncio.current_task()
    assert task  # noqa: S101 - what is to be cancelled runs in one
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        raise ClientLeft from None
    finally:
        watcher.cancel()


async def send_events(
    chunks: AsyncGenerator[bytes], headers: list[tuple[bytes, bytes]], send: Send, *, heartbeat_seconds: float
) -> APIStatusError | None:
    """Send status 200 and the chunks; returns the failure that ended them early.

    A failure becomes an `error` event with nothing behind it, least of all `[DONE]`: the answer must not look whole.
    """
    pulse = _Pulse(send, heartbeat_seconds)
    failure: APIStatusError | None = None
    try:
        async with aclosing(chunks):
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS + headers})
            async for chunk in chunks:
                pulse.last = time.monotonic()
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
    """Sends a comment whenever nothing else was sent for a while."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self.last = time.monotonic()
        self._task = asyncio.create_task(self._beat())

    def stop(self) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            wait = self.last + self._seconds - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self.last = time.monotonic()
            message: dict[str, Any] = {"type": "http.response.body", "body": HEARTBEAT, "more_body": True}
            await self._send(message)
