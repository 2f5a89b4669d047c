"""EmulatorTransport: an ASGI application as an httpx transport, in process, that hands over each piece as it is sent.

httpx's own ASGITransport collects the whole body first, so that neither a stream nor a client that leaves one can be
seen through it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import anyio
import httpx2
from starlette.types import ASGIApp, Message, Scope

QUEUED_PIECES = 16
"""How far the application may be ahead of who reads."""
_T = TypeVar("_T")
_Start = tuple[int, list[tuple[bytes, bytes]]]


class EmulatorTransport(httpx2.AsyncBaseTransport):
    """Each request runs the application in a task of its own, up to the end of its body or `aclose()`."""

    def __init__(self, app: ASGIApp, *, grace_seconds: float = 5) -> None:
        """`grace_seconds` has the application to notice that its client left, before it is cancelled."""
        self._app = app
        self._grace_seconds = grace_seconds
        self._exchanges: set[_Exchange] = set()
        self._is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises RemoteProtocolError when the application fails, ReadTimeout when it is too slow."""
        if self._is_closed:
            raise httpx2.ConnectError("The transport is closed.", request=request)
        exchange = _Exchange(self._app, request, await request.aread(), self._grace_seconds)
        self._exchanges.add(exchange)
        exchange.task.add_done_callback(lambda _: self._exchanges.discard(exchange))
        try:
            status, headers = await exchange.start()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx2.Response(status, headers=headers, stream=exchange, request=request)

    async def aclose(self) -> None:
        self._is_closed = True
        for exchange in list(self._exchanges):
            await exchange.aclose()


class _Exchange(httpx2.AsyncByteStream):
    """One request and its answer."""

    def __init__(self, app: ASGIApp, request: httpx2.Request, body: bytes, grace_seconds: float) -> None:
        self._app = app
        self._request = request
        self._timeout: float | None = request.extensions.get("timeout", {}).get("read")
        self._body: bytes | None = body
        self._started: asyncio.Future[_Start] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(QUEUED_PIECES)
        self._is_sent = False
        self._gone = asyncio.Event()
        self._grace_seconds = grace_seconds
        self.task = asyncio.create_task(self._run())

    async def start(self) -> _Start:
        return await self._in_time(self._started)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._in_time(self._pieces.get())) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        """Tells the application that the client left, and waits for its end."""
        self._gone.set()
        while not self._pieces.empty():  # makes room for a piece that waits for it
            self._pieces.get_nowait()
        with anyio.CancelScope(shield=True):  # who closes has often been cancelled itself
            await asyncio.wait({self.task}, timeout=self._grace_seconds)
            self.task.cancel()
            await asyncio.wait({self.task})

    async def _run(self) -> None:
        failure: Exception | None = None
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - whatever the application raises, its client sees a broken answer
            failure = error
        if self._is_sent:
            return
        broken = httpx2.RemoteProtocolError("The application ended before its answer did.", request=self._request)
        broken.__cause__ = failure
        if self._started.done():
            await self._put(broken)
        else:
            self._started.set_exception(broken)

    def _scope(self) -> Scope:
        url = self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
        }

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """Waits while the reader is behind. After the end, and after the client left, messages go nowhere."""
        if message["type"] == "http.response.start":
            if not self._started.done():
                self._started.set_result((message["status"], list(message.get("headers", []))))
            return
        if body := message.get("body", b""):
            await self._put(body)
        if not message.get("more_body", False):
            await self._put(None)
            self._is_sent = True
            self._gone.set()

    async def _put(self, piece: bytes | Exception | None) -> None:
        if not self._gone.is_set():
            await self._pieces.put(piece)

    async def _in_time(self, awaitable: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._timeout):
                return await awaitable
        except TimeoutError as failure:
            raise httpx2.ReadTimeout("The application is too slow.", request=self._request) from failure
