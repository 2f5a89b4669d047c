"""Exchange: one request and its response, as ASGI has them.

A head waits for the body that belongs to it, so that both go out in one piece. That of a stream, and its small pieces,
go out in the loop's next turn, with those of other streams: who receives them is then awake for all.
And whoever wants to know that the client has left is called, where ASGI would need a task that waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from app.server.writes import Writes

logger = logging.getLogger("uvicorn.error")

Fields = Iterable[tuple[bytes, bytes]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = (204, 304)
PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES = {status: f"HTTP/1.1 {status} {PHRASES.get(status, '')}\r\n".encode() for status in range(200, 600)}
CONTROLS = bytes({*range(32), 127} - {ord("\t")})
"""Characters that no header may have; the head has them at the end of each line."""
SMALL_BYTES = 64 * 1024
"""Bodies up to this size are copied to stand behind their head; larger ones follow it."""

DISCONNECT: Message = {"type": "http.disconnect"}

KEY = "flarelay.exchange"
"""What the scope calls it."""


class Exchange:
    """`receive` and `send` of one request; the protocol tells it what else arrives."""

    def __init__(
        self,
        method: str,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        flow: FlowControl,
        writes: Writes,
        headers: Fields,
        on_complete: Callable[[], None],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """`headers` come first in every response. `on_complete` is called when all of it is written."""
        self._method = method
        self.loop = loop
        self._transport = transport
        self._flow = flow
        self._writes = writes
        self._headers = headers
        self._on_complete = on_complete
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self.disconnected = False
        """The client has left before the end."""
        self.on_left: Callable[[], None] | None = None
        """Called once, if it leaves."""
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._more_body = True
        self._has_news = False
        self._news: asyncio.Event | None = None
        """For who asks before there is any; several may."""
        self.response_started = False
        self.response_complete = False
        self._unsent = b""
        """What waits for more, until the loop's next turn at the longest: the head, or pieces of a stream."""
        self._is_begun = False
        """Some of the response has been sent, or is on its way."""
        self.written_at = 0.0
        """When `write` was called last, by the loop's clock."""
        self._is_chunked = False
        self._has_body = True
        self._missing_bytes = 0

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application answer. What it leaves unfinished becomes a 500, or is cut off: not to look whole."""
        scope[KEY] = self
        try:
            await app(scope, self.receive, self.send)
        except (Exception, asyncio.CancelledError) as failure:
            logger.error("Exception in ASGI application", exc_info=failure)
        finally:
            if not (self.response_complete or self.disconnected):
                self._break_off()

    async def receive(self) -> Message:
        """The next piece of the request's body, or that the client has left."""
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(CONTINUE)
        if not (self._has_news or self.disconnected or self.response_complete):
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        self._has_news = False
        if self.disconnected or self.response_complete:
            return DISCONNECT
        if self._unread_bytes > HIGH_WATER_LIMIT:
            self._flow.resume_reading()
        pieces, self._pieces, self._unread_bytes = self._pieces, [], 0
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: Message) -> None:
        """Raises RuntimeError for a message that does not fit those before it."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body":
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            self._begin(message["status"], message.get("headers", ()))

    def is_ready(self) -> bool:
        """Whether a piece of a stream can be written now. Who can't must `send` it, which waits for the client."""
        return not (self._flow.write_paused or self.disconnected)

    def write(self, piece: bytes) -> None:
        """As `send` does with a piece of the body that is not the last."""
        self.written_at = self.loop.time()
        self._send_body(piece, more=True)

    def _begin(self, status: int, headers: Fields) -> None:
        if self.response_started:
            raise RuntimeError("The response has begun already")
        fields = [*self._headers, *headers]
        named = dict(fields)
        length = named.get(b"content-length")
        if b"connection" in named and named[b"connection"].lower() == b"close":
            self.keep_alive = False
        elif not self.keep_alive:
            fields.append((b"connection", b"close"))
        self._has_body = self._method != "HEAD" and status not in BODILESS
        self._is_chunked = length is None and self._has_body
        if self._is_chunked:
            fields.append((b"transfer-encoding", b"chunked"))
        lines = [STATUS_LINES[status], *[b"%b: %b\r\n" % (name, value) for name, value in fields], b"\r\n"]
        head = b"".join(lines)
        if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(lines):
            raise RuntimeError("A header of the response holds a control character")
        self.response_started = True
        self._expects_continue = False
        self._unsent = head
        if self._is_chunked:
            self._writes.add(self._write)  # what follows may be long in coming
        else:
            self._missing_bytes = int(length) if length and self._has_body else 0

    def _send_body(self, body: bytes, more: bool) -> None:
        if self._is_chunked and more and 0 < len(body) < SMALL_BYTES - len(self._unsent) and not self.response_complete:
            if not self._unsent:
                self._writes.add(self._write)
            self._is_begun = True
            self._unsent += b"%x\r\n%b\r\n" % (len(body), body)  # maybe there is more behind it
            return
        if not self.response_started or self.response_complete:
            raise RuntimeError("A body belongs between the response's head and its end")
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += LAST_CHUNK
        elif self._has_body:
            missing = self._missing_bytes - len(body)
            if missing < 0 or (missing and not more):
                raise RuntimeError("The response has another length than its Content-Length")
            self._missing_bytes = missing
        else:
            body = b""
        self._write(body)
        if not more:
            self.response_complete = True
            self._wake()
            if not self.keep_alive:
                self._transport.close()
            self._on_complete()

    def _write(self, body: bytes = b"") -> None:
        """Behind what waits for it."""
        if self._unsent and not self.disconnected:
            unsent, self._unsent = self._unsent, b""
            self._is_begun = True
            if len(body) <= SMALL_BYTES:
                body = unsent + body
            else:
                self._transport.write(unsent)
        if body:
            self._transport.write(body)

    def _break_off(self) -> None:
        logger.error("The application left a response unfinished")
        if self._is_begun:
            self._write(b"")
            self._transport.close()
            return
        self.response_started, self._unsent = False, b""
        self.keep_alive = False
        failure = b"Internal Server Error"
        self._begin(500, [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(failure))])
        self._send_body(failure, more=False)

    # Called by the protocol

    def add(self, piece: bytes) -> None:
        """More of the request's body has arrived."""
        self._pieces.append(piece)
        self._unread_bytes += len(piece)
        if self._unread_bytes > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self._wake()

    def end(self) -> None:
        """All of the request's body has arrived."""
        self._more_body = False
        self._wake()

    def leave(self) -> None:
        """The client has left."""
        if self.response_complete or self.disconnected:
            return
        self.disconnected = True
        self._wake()
        if self.on_left:
            self.on_left()

    def _wake(self) -> None:
        self._has_news = True
        if self._news:
            self._news.set()
