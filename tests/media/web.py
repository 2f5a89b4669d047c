"""A web server on this machine that a test fills with pages, and a name service that a test fills with hosts."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

Page = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return page(b"", status, location=to)


class Web:
    """Answers `GET path` with `pages[path]`: a whole response, or a coroutine that writes one."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.port = 0
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # a client may leave at any time, and many of these do
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            answer = self.pages[request.split()[1]]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(reader, writer)
            await writer.drain()


@asynccontextmanager
async def open_web(tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """A server on a free port. At the end every connection is closed, and what went wrong in it is raised."""
    web = Web("https" if tls else "http")
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await web.answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        for outcome in await asyncio.gather(*connections, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


class Names:
    """Hosts and their addresses. Of several answers each lookup takes the next one."""

    def __init__(self, hosts: dict[str, Sequence[str]], *later: dict[str, Sequence[str]]) -> None:
        self.answers = [hosts, *later]
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if host not in answer:
            raise OSError("Name or service not known")
        return answer[host]
