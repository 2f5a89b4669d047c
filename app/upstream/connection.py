"""Connection: one HTTP/1.1 connection to a server, which carries one request and its response at a time.

It never waits by itself: what arrives is parsed in the callback that brings it, and the one task that waits for it is
woken. Its errors are httpx's, without the request, which their catcher adds.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import aclosing
from typing import cast

import httptools
import httpx2

from app.alarm import Alarm
from app.upstream.outgoing import Outgoing
from app.upstream.wire import Fields, Origin

HIGH_WATER_BYTES = 256 * 1024
"""Unread bytes above which reading stops, so that TCP makes the server wait. Each read takes all there are."""

H = ord("H")
"""What a response begins with. The parser would take RTSP's and ICE's too, and empty lines before."""

Tap = Callable[[Callable[[], bytes]], bool]
"""Takes what there is, or says that it does not: then whoever waits for it is woken."""


class Connection(asyncio.Protocol):
    """Use: `start` or `send`, then `receive_head`, `read` until it returns nothing, and `rest` or `close`.

    `on_end` is called once, as soon as the connection can carry nothing more, whoever ended it.
    """

    _socket: asyncio.Transport

    def __init__(self, origin: Origin, max_header_bytes: int, on_end: Callable[["Connection"], None]) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self.loop.create_future()
        """Done when the socket is closed."""
        self._max_header_bytes = max_header_bytes
        self._on_end = on_end
        self._alarm = Alarm(self._ring)
        self._waiter: asyncio.Future[bool] | None = None
        self._patience: float | None = None
        """Seconds that whoever waits does so."""
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # not a method of ours: one read of a fast stream has hundreds of parts
        self._is_connected = False
        self._is_idle = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._has_ended = False
        self._expect_response()

    def _expect_response(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._fields: Fields = []
        self._parts.clear()
        self._unread_bytes = 0
        self._bytes_since_body = 0
        self.tap: Tap | None = None
        """Asked first, while somebody waits for more of the body. What it raises comes out where that one waits."""
        self._is_head_request = False
        self._is_last = False
        self._is_answered = False
        self._failure: httpx2.TransportError | None = None
        self.status = 0
        """0 until the headers are complete."""
        self.headers: Fields = []
        self.is_complete = False
        """The whole response has arrived; some of it may be unread."""
        self.is_unanswered = False
        """The server ended the connection before it sent a byte of this response."""

    def start(self, outgoing: Outgoing) -> None:
        """Send a request, but a large body only with `send`."""
        self._is_idle = False
        self._is_head_request = outgoing.is_head
        self._is_last = outgoing.is_last or self._is_answered  # or there would be two responses to one request
        self._write(outgoing.opening())

    async def send(self, outgoing: Outgoing, timeout_seconds: float | None) -> None:
        """Send a request with a large body, as far as the server takes it: it may answer early.

        `timeout_seconds` is the longest time in which the server takes nothing. Raises WriteTimeout, WriteError,
        ReadError, RemoteProtocolError, LocalProtocolError and what the request's stream raises.
        """
        self.start(outgoing)
        async with aclosing(outgoing.pieces()) as pieces:
            async for piece in pieces:
                if self.status:
                    self._is_last = True  # what is unsent would have to come before the next request
                    return
                self._write(piece)
                await self._drain(timeout_seconds)

    def _write(self, data: bytes | memoryview) -> None:
        if not self._has_ended:
            self._socket.write(data)

    async def _drain(self, timeout_seconds: float | None) -> None:
        """Wait until the server has taken most of what was written, or has answered."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            if not self._is_writing_paused and not self._socket.is_closing():
                return
            if not await self._news(timeout_seconds):
                raise httpx2.WriteTimeout("The server did not take the request in time")

    async def receive_head(self, timeout_seconds: float | None) -> None:
        """Wait for `status` and `headers`. Raises ReadTimeout, ReadError, RemoteProtocolError."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            if not await self._news(timeout_seconds):
                raise httpx2.ReadTimeout("The server did not answer in time")

    async def read(self, timeout_seconds: float | None) -> bytes:
        """All of the body that has arrived since the last read, at least one byte; nothing at its end.

        Raises ReadTimeout, ReadError, RemoteProtocolError, but not before all that came earlier has been read.
        """
        while not self._parts:
            if self.is_complete:
                return b""
            if self._failure is not None:
                raise self._failure
            if not await self._news(timeout_seconds):
                raise httpx2.ReadTimeout("The server stopped in the middle of its response")
        return self.take()

    def take(self) -> bytes:
        """All of the body that has arrived since the last read, perhaps nothing."""
        piece = b"".join(self._parts)
        self._parts.clear()
        self._unread_bytes = 0
        if self._is_reading_paused:
            self._resume_reading()
        return piece

    @property
    def tls(self) -> ssl.SSLObject | None:
        """None: there is no TLS, or no connection yet."""
        return self._socket.get_extra_info("ssl_object") if self._is_connected else None

    @property
    def is_reusable(self) -> bool:
        return (
            self.is_complete
            and not self._is_last
            and not self._has_ended
            and not self._socket.get_write_buffer_size()  # the response came before the server had the request
        )

    def rest(self, seconds: float) -> None:
        """Stay open for another request, for so long at most and only while the server is silent."""
        if self._is_reading_paused:
            self._resume_reading()
        self._expect_response()
        self._is_idle = True
        self._alarm.set(seconds)

    def close(self) -> None:
        """Close at once: a polite end of TLS could wait for the server."""
        self._end(httpx2.ReadError("The connection was closed"))

    def _news(self, seconds: float | None) -> asyncio.Future[bool]:
        """Whether something happens within so many seconds."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("Another task reads this response already")
        waiter = self._waiter = self.loop.create_future()
        self._patience = seconds
        self._alarm.set(seconds)
        return waiter

    def _wake(self, something_happened: bool = True) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.tap and self._parts and something_happened and not self.is_complete and self._failure is None:
            try:
                if self.tap(self.take):
                    self._alarm.set(self._patience)
                    return
            except Exception as failure:  # noqa: BLE001 - here is nobody to catch it
                waiter.set_exception(failure)
                return
        waiter.set_result(something_happened)

    def _ring(self) -> None:
        if self._is_idle:
            self.close()
        else:
            self._wake(False)

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        self._is_connected = True

    def data_received(self, data: bytes) -> None:
        if self._is_idle or self.is_complete:  # bytes that nobody asked for
            self.close()
            return
        if not self._is_answered:
            self._is_answered = True
            if data[0] != H:
                self._end(httpx2.RemoteProtocolError("The server does not speak HTTP"))
                return
        self._unread_bytes += len(data)
        self._bytes_since_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(error.__context__ or error)  # the context is what a callback of ours raised
        if self._parts and self._unread_bytes <= HIGH_WATER_BYTES and not self._is_head_request:  # nearly always
            self._bytes_since_body = 0
        else:
            self._check_amounts()
        self._wake()

    def eof_received(self) -> None:
        self._lose(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc)
        self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self._wake()

    # Called by the parser

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise httptools.HttpParserError("More than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value.rstrip(b" \t")))  # the parser takes off only the blanks before a value

    def on_headers_complete(self) -> None:
        if self._bytes_since_body > self._max_header_bytes:
            _check_size(self._fields, self._max_header_bytes)
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            raise httptools.HttpParserError(f"Unexpected status {status}")
        fields, self._fields = self._fields, []  # trailers will go to the new list, where nobody looks
        if status < 200:
            return
        _check_coding(fields)
        self._bytes_since_body = 0
        self.status = status
        self.headers = fields
        if self._is_head_request:
            self.on_message_complete()

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            self._is_last |= not self._parser.should_keep_alive()  # which is right only inside a callback
        elif self._parts:
            raise httptools.HttpParserError("An interim response with a body")

    # Faults and limits

    def _refuse(self, error: BaseException) -> None:
        if self.is_complete:  # what is wrong is after the response
            self.close()
        else:
            self._end(httpx2.RemoteProtocolError(str(error)))

    def _check_amounts(self) -> None:
        """There is no body, or too much of it."""
        if self._parts:
            self._bytes_since_body = 0
            if self._is_head_request:
                self._parts.clear()
                self.close()
            else:
                self._pause_reading()
        elif self._bytes_since_body > self._max_header_bytes and not self.is_complete:
            # Headers, trailers or chunk extensions without an end, which the parser collects.
            self._end(httpx2.RemoteProtocolError("The headers are too large"))

    def _pause_reading(self) -> None:
        if not self._is_reading_paused and not self._has_ended:
            self._is_reading_paused = True
            self._socket.pause_reading()

    def _resume_reading(self) -> None:
        if not self._has_ended:
            self._is_reading_paused = False
            self._socket.resume_reading()

    def _lose(self, error: Exception | None) -> None:
        """The server ended the connection: in order, or with an error."""
        if self._has_ended:
            return
        self.is_unanswered = not self._is_answered
        failure: httpx2.TransportError
        if error is not None:
            kind = httpx2.WriteError if self._is_writing_paused else httpx2.ReadError
            failure = kind(str(error) or type(error).__name__)
        elif self.status:
            failure = httpx2.RemoteProtocolError("The server closed the connection in the middle of its response")
            self.is_complete = self.is_complete or _ends_with_connection(self.headers)
        else:
            failure = httpx2.RemoteProtocolError("The server closed the connection without a response")
        self._end(failure, error)

    def _end(self, failure: httpx2.TransportError, cause: Exception | None = None) -> None:
        if self._has_ended:
            return
        failure.__cause__ = cause
        self._failure = failure
        self._has_ended = True
        self._alarm.cancel()
        if self._is_connected:
            self._socket.abort()
        self._on_end(self)
        self._wake()


def _check_size(fields: Fields, max_bytes: int) -> None:
    if sum(len(name) + len(value) + 4 for name, value in fields) > max_bytes:
        raise httptools.HttpParserError("The headers are too large")


def _check_coding(fields: Fields) -> None:
    """We ask for none, so the only transfer coding there may be is `chunked`, once. RFC 9112, section 7."""
    is_coded = False
    for name, value in fields:
        if len(name) == 17 and name.lower() == b"transfer-encoding":
            if is_coded or value.lower() != b"chunked":
                raise httptools.HttpParserError("Unknown transfer coding")
            is_coded = True


def _ends_with_connection(fields: Fields) -> bool:
    """Whether the end of the connection is the end of the body. RFC 9112, section 6.3."""
    return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields)
