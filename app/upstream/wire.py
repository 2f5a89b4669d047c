"""Wire: a request of ours as it goes out and the response as it comes in, free of what only a general client needs.

Over our own transport that is all there is: httpx's requests, responses and headers would cost as much as the rest of
the way. Any other transport of httpx's is reached through `Through`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import httpx2

Fields = list[tuple[bytes, bytes]]
Origin = tuple[str, bytes, int | None]
"""Scheme, host and port of a URL; a port of None is the scheme's own."""
Timeouts = Mapping[str, float | None]
"""Seconds for `connect`, `read`, `write` and `pool`, as httpx's extension of that name; None: for ever."""


class Target(NamedTuple):
    """A URL, taken apart."""

    origin: Origin
    host: bytes
    """As the header has it."""
    path: bytes
    """With the query."""


class Request(NamedTuple):
    """A POST with its content, or a GET without one."""

    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Those that come again and again."""
    content: bytes | None
    timeouts: Timeouts
    others: Sequence[tuple[bytes, bytes]] = ()
    """Further headers."""

    @property
    def method(self) -> str:
        return "GET" if self.content is None else "POST"


class Response:
    """A status, headers, and a body to be read once, piece by piece. Whoever gets it closes it."""

    __slots__ = ("headers", "is_closed", "status", "stream")

    def __init__(self, status: int, headers: Fields, stream: httpx2.AsyncByteStream) -> None:
        self.status = status
        self.headers = headers
        self.stream = stream
        self.is_closed = False

    def header(self, name: bytes) -> bytes:
        """The value of the first header of that name, in lower case; nothing where there is none."""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                return value
        return b""

    @property
    def named(self) -> dict[str, str]:
        """The headers by their names in lower case."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.headers}

    async def aclose(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            await self.stream.aclose()


class Wire(Protocol):
    """What carries requests."""

    def send(self, request: Request) -> Awaitable[Response]:
        """Return as soon as the response's headers are complete. Raises httpx's TransportError, at once or awaited."""


class Through:
    """A wire over any transport of httpx's: proxies, the built-in emulator, tests."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Response:
        asked = httpx2.Request(
            request.method,
            request.url,
            headers=[*request.headers, *request.others],
            content=request.content,
            extensions={"timeout": dict(request.timeouts)},
        )
        response = await self._transport.handle_async_request(asked)
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - what an async transport gives
        return Response(response.status_code, response.headers.raw, response.stream)


def parsed(url: str) -> Target:
    """Raises UnsupportedProtocol for anything but http and https."""
    known = _target if "?" not in url else _target.__wrapped__  # queries are callers' own, and without end
    return known(url)


@lru_cache(maxsize=1024)
def _target(url: str) -> Target:
    return target_of(httpx2.URL(url))


def target_of(url: httpx2.URL) -> Target:
    """Raises UnsupportedProtocol for anything but http and https."""
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise httpx2.UnsupportedProtocol("The URL of a request has to begin with http:// or https://")
    return Target((url.scheme, url.raw_host, url.port), url.netloc, url.raw_path)
