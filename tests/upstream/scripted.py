"""A server on a loopback port that plays a script to each of its connections, however badly written."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

DEADLINE_SECONDS = 20
"""Only ends a test that hangs."""

Step: TypeAlias = "bytes | Callable[[Peer], Awaitable[None]]"


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def play(self, script: "list[Step]") -> None:
        for step in script:
            if self.writer.is_closing() and step is not hang_up:
                raise ConnectionResetError
            if isinstance(step, bytes):
                self.writer.write(step)
                await self.writer.drain()
            else:
                await step(self)
        await self.reader.read()  # until the client has gone


async def ask(peer: Peer) -> None:
    """Read one request."""
    head = await peer.reader.readuntil(b"\r\n\r\n")
    body = b""
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if b"content-length" in fields:
        body = await peer.reader.readexactly(int(fields[b"content-length"]))
    elif fields.get(b"transfer-encoding") == b"chunked":
        body = await peer.reader.readuntil(b"0\r\n\r\n")
    peer.server.requests.append(head + body)


async def hang_up(peer: Peer) -> None:
    """Close in order."""
    peer.writer.close()


async def reset(peer: Peer) -> None:
    """Close with an RST."""
    sock = peer.writer.get_extra_info("socket")
    if sock is not None:  # else the client was faster
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


async def pause(peer: Peer) -> None:
    """Long enough for what was sent to arrive by itself."""
    await asyncio.sleep(0.015)


async def wait(peer: Peer) -> None:
    """Until the test says so, by `server.go.set()`."""
    await peer.server.go.wait()


class Server:
    """`scripts`: one per connection, in the order in which they come; the last is for all that follow."""

    def __init__(self, *scripts: "list[Step]") -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.accepted = 0
        self.open = 0
        self.port = 0
        self.go = asyncio.Event()
        self.changed = asyncio.Condition()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def has_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: self.open == count)

    async def _count(self, change: int) -> None:
        self.open += change
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.accepted, len(self.scripts) - 1)]
        self.accepted += 1
        await self._count(1)
        try:
            with suppress(
                ConnectionError, asyncio.IncompleteReadError, ssl.SSLError
            ):  # clients may leave in the middle of a script
                await Peer(self, reader, writer).play(script)
        finally:
            writer.transport.abort()
            await self._count(-1)


@asynccontextmanager
async def serving(*scripts: "list[Step]", tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server for a block, at whose end no connection may be left."""
    server = Server(*scripts)
    server.scheme = "https" if tls else "http"
    patience = 0.5 if tls else None  # with a client that has gone and left a body nobody reads
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls, ssl_shutdown_timeout=patience)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield server
        await server.has_open(0)
    finally:
        listener.close()
