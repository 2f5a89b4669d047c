"""Outgoing: a request as the bytes that go over an HTTP/1.1 connection."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import NamedTuple

import httpx2

from app.upstream.wire import Request, Target

PIECE_BYTES = 64 * 1024
"""Bodies above this size are sent piece by piece, as the server takes them."""

LAST_CHUNK = b"0\r\n\r\n"
CHANGES = "would change the request's meaning"

Fields = dict[bytes, bytes]


class Outgoing(NamedTuple):
    """A request in bytes; its body may still be to come."""

    head: bytes
    body: bytes | None
    """None: it is in the stream."""
    stream: object = None
    length: int | None = None
    """Of a body in the stream; None: it is sent in chunks."""
    is_head: bool = False
    """Its response has no body, whatever that says."""
    is_last: bool = False
    """It asks the server to close the connection afterwards."""

    @classmethod
    def of(cls, request: Request, target: Target) -> "Outgoing":
        """A request of our own making. Raises LocalProtocolError if what a server would read is not this one alone."""
        content = request.content
        opening = _opening("GET" if content is None else "POST", target, request.headers)
        if request.others:
            opening += _joined([b"%b: %b" % field for field in request.others])
        if content is None:
            return cls(opening + b"\r\n", b"")
        return cls(b"%bContent-Length: %d\r\n\r\n" % (opening, len(content)), content)

    @classmethod
    def from_request(cls, request: httpx2.Request) -> "Outgoing":
        """Raises LocalProtocolError if what a server would read is not this one request."""
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        fields: Fields = {}
        raw = request.headers.raw
        for name, value in raw:
            fields[name.lower()] = value
            lines.append(b"%b: %b" % (name, value))
        if len(fields) != len(raw):
            _check_repeated(request)
        if b"host" not in fields:
            lines.append(b"Host: %b" % request.url.netloc)
        if b"accept-encoding" not in fields:
            lines.append(b"Accept-Encoding: identity")
        body = length = None
        if isinstance(request.stream, httpx2.ByteStream):
            body = _whole_body(request, fields, lines)
        else:
            length = _streamed_length(fields, lines)
        is_last = b"connection" in fields and b"close" in fields[b"connection"].lower()
        return cls(_head(lines), body, request.stream, length, request.method == "HEAD", is_last)

    @property
    def is_small(self) -> bool:
        return self.body is not None and len(self.body) <= PIECE_BYTES

    def opening(self) -> bytes:
        """What to send first: the head, and a small body with it."""
        return self.head if self.body is None or len(self.body) > PIECE_BYTES else self.head + self.body

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The body in pieces to send. Raises LocalProtocolError if its length is not what the head says."""
        return self._streamed() if self.body is None else _slices(self.body)

    async def _streamed(self) -> AsyncGenerator[bytes | memoryview, None]:
        left = self.length
        async with _iterated(self.stream) as pieces:
            async for piece in pieces:
                if left is None:
                    if piece:  # an empty chunk would be the last
                        yield _chunk(piece)
                else:
                    left -= len(piece)
                    if left < 0:
                        raise _refusal("The body is longer than its Content-Length")
                    yield piece
        if left is None:
            yield LAST_CHUNK
        elif left:
            raise _refusal("The body is shorter than its Content-Length")


@lru_cache(maxsize=1024)
def _opening(method: str, target: Target, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The head without its end. Raises LocalProtocolError."""
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target.path), b"Host: %b" % target.host]
    return _joined([_first(lines[0]), *lines[1:], *(b"%b: %b" % field for field in headers)])


async def _slices(body: bytes) -> AsyncGenerator[bytes | memoryview, None]:
    view = memoryview(body)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


@asynccontextmanager
async def _iterated(stream: object) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """Iterate over a stream, and end it at once if the rest is not wanted."""
    if not isinstance(stream, AsyncIterable):
        raise TypeError("The body of a request has to be bytes or an asynchronous iterable")
    iterator = aiter(stream)
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


def _whole_body(request: httpx2.Request, fields: Fields, lines: list[bytes]) -> bytes:
    """The body as it is to be sent; adds the Content-Length if the request has none."""
    body = request.read()
    if b"transfer-encoding" in fields:
        _check_coding(fields)
        return (_chunk(body) if body else b"") + LAST_CHUNK
    length = b"%d" % len(body)
    if fields.get(b"content-length", length) != length:
        raise _refusal("The body has another length than its Content-Length")
    if body and b"content-length" not in fields:
        lines.append(b"Content-Length: %b" % length)
    return body


def _streamed_length(fields: Fields, lines: list[bytes]) -> int | None:
    """The length that the request gives; without one adds the Transfer-Encoding if the request has none."""
    if b"transfer-encoding" in fields:
        _check_coding(fields)
        return None
    length = fields.get(b"content-length")
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
        return None
    if not length.isdigit():
        raise _refusal("The Content-Length is not a number")
    return int(length)


def _check_repeated(request: httpx2.Request) -> None:
    names = [name.lower() for name, _ in request.headers.raw]
    if any(names.count(name) > 1 for name in (b"content-length", b"transfer-encoding", b"host")):
        raise _refusal("A header is repeated that may be there only once")


def _check_coding(fields: Fields) -> None:
    if b"content-length" in fields or fields[b"transfer-encoding"].lower() != b"chunked":
        raise _refusal("The request has to have either a Content-Length or Transfer-Encoding: chunked")


def _head(lines: list[bytes]) -> bytes:
    return _joined([_first(lines[0]), *lines[1:], b""])


def _first(line: bytes) -> bytes:
    if line.count(b" ") != 2:
        raise _refusal(f"A space stands where it {CHANGES}")
    return line


def _joined(lines: list[bytes]) -> bytes:
    """The lines with their ends, if each is still one line when they are put together."""
    text = b"\r\n".join([*lines, b""])
    ends = len(lines)
    if text.count(b"\n") != ends or text.count(b"\r") != ends or b"\0" in text:
        raise _refusal(f"A line break or a NUL stands where it {CHANGES}")
    return text


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _refusal(message: str) -> httpx2.LocalProtocolError:
    return httpx2.LocalProtocolError(message)
