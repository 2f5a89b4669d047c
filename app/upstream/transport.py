"""Transport: httpx's interface over a pool of our own connections, made so that a relayed request costs little.

It is called directly, without `AsyncClient`. How it differs from httpx's own transport:

1. It speaks HTTP/1.1 only, has no limit on connections, and never follows, decodes, stores or logs anything.
2. It asks for bodies as they are (`accept-encoding: identity`) unless the caller asks for something else.
3. A request whose pooled connection turns out to be closed is sent once more, on a new one.
4. A response that comes before the request is fully sent is returned at once.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2

from app.upstream.connection import Connection, Tap
from app.upstream.dial import Names, dial
from app.upstream.outgoing import Outgoing
from app.upstream.tls import Resuming, default_context
from app.upstream.wire import Origin, Request, Response, Timeouts, parsed, target_of

PORTS = {"http": 80, "https": 443}


class Transport(httpx2.AsyncBaseTransport):
    """An HTTP/1.1 client for one event loop.

    Timeouts come with a request, in seconds or None: `extensions["timeout"]` with `connect` (DNS, TCP and TLS
    together), `read` (the longest silence) and `write` (the longest time without the server taking anything).
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        keepalive_seconds: float = 60,
        max_idle_connections: int = 256,
        max_header_bytes: int = 65536,
    ) -> None:
        self._ssl_context = ssl_context
        self._ssl_lock = asyncio.Lock()
        self._keepalive_seconds = keepalive_seconds
        self._max_idle_connections = max_idle_connections
        self._max_header_bytes = max_header_bytes
        self._names = Names()
        self._idle: dict[Origin, dict[Connection, None]] = {}  # dictionaries as stacks that can lose any element
        self._is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return as soon as the response's headers are complete.

        Raises UnsupportedProtocol, LocalProtocolError, ConnectTimeout, ConnectError, WriteTimeout, WriteError,
        ReadTimeout, ReadError, RemoteProtocolError, each with its request, and RuntimeError once closed.
        """
        try:
            origin, outgoing = target_of(request.url).origin, Outgoing.from_request(request)
            response = await self._send(origin, outgoing, request.extensions.get("timeout") or {}, request)
        except httpx2.RequestError as failure:
            failure.request = request
            raise
        return httpx2.Response(response.status, headers=response.headers, stream=response.stream, request=request)

    def send(self, request: Request) -> Awaitable[Response]:
        """As Wire's. Raises what `handle_async_request` does, without the request."""
        target = parsed(request.url)
        return self._send(target.origin, Outgoing.of(request, target), request.timeouts)

    async def _send(
        self, origin: Origin, outgoing: Outgoing, timeouts: Timeouts, request: httpx2.Request | None = None
    ) -> Response:
        if self._is_closed:
            raise RuntimeError("The transport is closed")
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._exchange(connection, outgoing, timeouts, request)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                if not connection.is_unanswered or outgoing.body is None:
                    raise
        connection = await self._connect(origin, timeouts)
        response = await self._exchange(connection, outgoing, timeouts, request)
        tls = connection.tls
        if isinstance(tls, Resuming):
            tls.keep()
        return response

    async def aclose(self) -> None:
        """Close the idle connections and take no more requests. Responses in progress may be read to their end."""
        self._is_closed = True
        idle = [connection for connections in self._idle.values() for connection in connections]
        for connection in idle:
            connection.close()
        for connection in idle:
            await connection.gone

    async def _exchange(
        self, connection: Connection, outgoing: Outgoing, timeouts: Timeouts, request: httpx2.Request | None
    ) -> Response:
        """`request`: what errors are to name."""
        read_timeout = timeouts.get("read")
        try:
            if outgoing.is_small:
                connection.start(outgoing)
            else:
                await connection.send(outgoing, timeouts.get("write"))
            await connection.receive_head(read_timeout)
        except BaseException:
            connection.close()
            raise
        if not connection.is_complete:
            stream = ResponseStream(connection, request, read_timeout, self._release)
            return Response(connection.status, connection.headers, stream)
        response = Response(connection.status, connection.headers, Whole(connection.take()))
        self._release(connection)
        return response

    def _take(self, origin: Origin) -> Connection | None:
        """The idle connection that was used last, which is the most likely to be still open."""
        idle = self._idle.get(origin)
        return idle.popitem()[0] if idle else None

    def _release(self, connection: Connection) -> None:
        if connection.is_reusable and not self._is_closed and self._count_idle() < self._max_idle_connections:
            connection.rest(self._keepalive_seconds)
            self._idle.setdefault(connection.origin, {})[connection] = None
        else:
            connection.close()

    def _count_idle(self) -> int:
        return sum(map(len, self._idle.values()))

    def _forget(self, connection: Connection) -> None:
        self._idle.get(connection.origin, {}).pop(connection, None)

    async def _connect(self, origin: Origin, timeouts: Timeouts) -> Connection:
        connection = Connection(origin, self._max_header_bytes, self._forget)
        try:
            async with asyncio.timeout(timeouts.get("connect")):
                await self._open(connection, timeouts.get("connect"))
        except BaseException as failure:
            connection.close()  # it may have come about all the same
            if isinstance(failure, TimeoutError):
                raise httpx2.ConnectTimeout("The server could not be reached in time") from failure
            if isinstance(failure, (OSError, UnicodeError)):  # UnicodeError: a host name that DNS can't hold
                raise httpx2.ConnectError(str(failure) or type(failure).__name__) from failure
            raise
        return connection

    async def _open(self, connection: Connection, timeout_seconds: float | None) -> None:
        scheme, raw_host, port = connection.origin
        host = raw_host.decode("ascii")
        options: dict[str, Any] = {}
        if scheme == "https":  # uvloop holds on to a handshake until its time is up, although it was cancelled
            options = {
                "ssl": await self._tls(),
                "server_hostname": host,
                "ssl_handshake_timeout": timeout_seconds or None,
            }
        sock = await dial(self._names, host, PORTS[scheme] if port is None else port)
        await connection.loop.create_connection(lambda: connection, sock=sock, **options)

    async def _tls(self) -> ssl.SSLContext:
        async with self._ssl_lock:
            context = self._ssl_context
            if context is None:  # reading the certificates takes so long that it needs a thread
                context = self._ssl_context = await asyncio.to_thread(default_context)
            return context


class Whole(httpx2.AsyncByteStream):
    """The body of a response that arrived with its head, to be read once."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._is_cut = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises StreamClosed where the body would be missing."""
        if self._is_cut:
            raise httpx2.StreamClosed
        body, self.body = self.body, b""
        if body:
            yield body

    async def aclose(self) -> None:
        self._is_cut = bool(self.body)


class ResponseStream(httpx2.AsyncByteStream):
    """The body of one response, to be read once: each piece is everything that has arrived since the one before."""

    def __init__(
        self,
        connection: Connection,
        request: httpx2.Request | None,
        timeout_seconds: float | None,
        release: Callable[[Connection], None],
    ) -> None:
        self._connection: Connection | None = connection
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._release = release
        self._is_cut = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def tap(self, tap: Tap) -> None:
        """Pieces that come while the next one is waited for may be taken in the callback that brings them."""
        if self._connection is not None:
            self._connection.tap = tap

    async def __anext__(self) -> bytes:
        """Raises ReadTimeout, ReadError, RemoteProtocolError; StreamClosed where part of the body would be missing."""
        connection = self._connection
        if connection is None:
            raise httpx2.StreamClosed if self._is_cut else StopAsyncIteration
        try:
            piece = await connection.read(self._timeout_seconds)
        except BaseException as failure:
            connection.close()
            await self.aclose()
            if isinstance(failure, httpx2.RequestError) and self._request:
                failure.request = self._request
            raise
        if connection.is_complete:
            self._give_back(connection)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give the connection back: to the pool if it has brought the whole response, otherwise to be closed."""
        if self._connection is not None:
            self._is_cut = True
            self._give_back(self._connection)

    def __del__(self) -> None:
        """Nobody closed it, as when a task is cancelled at the moment it gets the response."""
        if self._connection is not None and not self._connection.loop.is_closed():
            self._connection.loop.call_soon_threadsafe(self._connection.close)

    def _give_back(self, connection: Connection) -> None:
        self._connection = None
        connection.tap = None  # it would hold on to the client's side, up to the next collection of garbage
        self._release(connection)


class EnvironmentTransport(httpx2.AsyncBaseTransport):
    """Sends a request by the proxy that the environment names for its host, otherwise directly.

    `proxies`: HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as `http`, `https` and `all`; they may be http, https or socks5
    URLs. NO_PROXY is read as Python's urllib does.
    """

    def __init__(self, proxies: Mapping[str, str]) -> None:
        self._direct = Transport()
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._proxies = {
            scheme: httpx2.AsyncHTTPTransport(proxy=url if "://" in url else f"http://{url}", limits=limits)
            for scheme, url in proxies.items()
        }
        self._transports: dict[Origin, httpx2.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As Transport's."""
        origin = target_of(request.url).origin
        transport = self._transports.get(origin)
        if transport is None:
            transport = self._transports[origin] = self._choose(request.url)
        if transport is not self._direct:
            request.headers.setdefault("Accept-Encoding", "identity")
        try:
            return await transport.handle_async_request(request)
        except httpx2.RequestError as failure:
            failure.request = request
            raise

    async def aclose(self) -> None:
        for transport in (self._direct, *self._proxies.values()):
            await transport.aclose()

    def _choose(self, url: httpx2.URL) -> httpx2.AsyncBaseTransport:
        if proxy_bypass(url.netloc.decode("ascii")):
            return self._direct
        return self._proxies.get(url.scheme) or self._proxies.get("all") or self._direct


def make_transport() -> httpx2.AsyncBaseTransport:
    """Our transport; where the environment names a proxy, one that uses httpx's own for that."""
    proxies = {scheme: url for scheme, url in getproxies().items() if scheme in ("http", "https", "all")}
    return EnvironmentTransport(proxies) if proxies else Transport()
