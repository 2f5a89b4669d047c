"""Connections without a network, where each write can be seen, and with one, on the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.server.protocol import OPTIONS, Protocol
from tests.serving import DEADLINE_SECONDS, body

Result = TypeVar("Result")

DATE = b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\n" + DATE + b"content-type: text/plain\r\n"
    b"content-length: 21\r\nconnection: close\r\n\r\nInternal Server Error"
)


def protocol(app: ASGIApp, kind: type[HttpToolsProtocol] = Protocol, **options: Any) -> HttpToolsProtocol:
    config = Config(app, lifespan="off", **OPTIONS | {"http": kind} | options)
    state = ServerState()
    state.default_headers = [(b"date", DATE[6:-2])]
    return kind(config, state, {"from": "lifespan"})


class Wire(asyncio.Transport):
    """Keeps each write. Like asyncio's own it drops what is written after its end, and tells of that a moment later."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        super().__init__({"peername": ("192.0.2.1", 50000), "sockname": ("192.0.2.2", 80)})
        self.protocol: HttpToolsProtocol | None = protocol
        self.writes: list[bytes] = []
        self.late_writes: list[bytes] = []
        self.reads = True
        self._is_closing = False

    def write(self, data: bytes) -> None:  # type: ignore[override] # we write bytes only
        (self.late_writes if self._is_closing else self.writes).append(data)

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.lose, None)

    def lose(self, failure: Exception | None) -> None:
        self._is_closing = True
        if self.protocol:
            self.protocol.connection_lost(failure)
        self.protocol = None

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Connection:
    """Of a client with a server."""

    def __init__(self, app: ASGIApp, kind: type[HttpToolsProtocol] = Protocol, **options: Any) -> None:
        self.protocol = protocol(app, kind, **options)
        self.wire = Wire(self.protocol)
        self.protocol.connection_made(self.wire)

    @property
    def received(self) -> bytes:
        """By the client."""
        return b"".join(self.wire.writes)

    async def send(self, *pieces: bytes) -> bytes:
        """Returns what the client has received since it connected."""
        for piece in pieces:
            if not self.wire.is_closing():
                self.protocol.data_received(piece)
        await settled()
        return self.received

    async def leave(self) -> None:
        self.wire.lose(ConnectionResetError())
        await settled()


async def settled() -> None:
    """All that runs has come to where it waits for something else than its turn."""
    for _ in range(50):
        await asyncio.sleep(0)


def request(
    *fields: bytes, method: bytes = b"GET", target: bytes = b"/", body: bytes | None = None, version: bytes = b"1.1"
) -> bytes:
    """A Content-Length is added for `body`."""
    if body is not None:
        fields = (*fields, b"content-length: %d" % len(body))
    lines = [b"%b %b HTTP/%b" % (method, target, version), b"host: example.com", *fields, b"", body or b""]
    return b"\r\n".join(lines)


def chunked(*pieces: bytes) -> bytes:
    """A request whose body comes in chunks."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return request(b"transfer-encoding: chunked", method=b"POST") + chunks


def head(*headers: tuple[bytes, bytes], status: int = 200, length: int | None = None) -> Message:
    sized = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": [*headers, *sized]}


def whole(content: bytes) -> list[Message]:
    return [head(length=len(content)), body(content)]


def answer(content: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """As a client receives a whole one."""
    lines = b"".join(field + b"\r\n" for field in (*fields, b"content-length: %d" % len(content)))
    return b"HTTP/1.1 " + status + b"\r\n" + DATE + lines + b"\r\n" + content


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\n" + DATE + b"transfer-encoding: chunked\r\n\r\n"


def replying(*messages: Message) -> ASGIApp:
    """Sends these whatever was asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


async def read(receive: Receive) -> bytes | None:
    """The request's body; None if the client leaves before its end."""
    content = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        content += message["body"]
        more = message["more_body"]
    return content


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body, or with the path when there is none."""
    content = await read(receive)
    if content is not None:
        for message in whole(content or scope["path"].encode()):
            await send(message)


@dataclass
class Client:
    """Of a server on a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await soon(self.writer.drain())

    async def receive(self, count: int) -> bytes:
        return await soon(self.reader.readexactly(count))

    async def rest(self) -> bytes:
        """Until the server closes."""
        return await soon(self.reader.read())

    def leave(self) -> None:
        self.writer.transport.abort()


Connect = Callable[[], Awaitable[Client]]


@asynccontextmanager
async def listening(app: ASGIApp, **options: Any) -> AsyncIterator[tuple[Connect, ServerState]]:
    """What connects a client, and what the server knows about all."""
    loop = asyncio.get_running_loop()
    config = Config(app, lifespan="off", **OPTIONS | options)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", DATE[6:-2])]
    server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection(*server.sockets[0].getsockname())))
        return clients[-1]

    try:
        yield connect, state
    finally:
        server.close()
        for client in clients:
            client.leave()
        await until(lambda: not state.connections and not state.tasks)


async def soon(result: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(result, DEADLINE_SECONDS)


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(DEADLINE_SECONDS * 200):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError
