"""Transport beside httpx's own one: the same cases over both, and over both of our entrances.

The first tables are of what is the same. What differs has tables of its own, with the reason beside each row.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from app.upstream.transport import Transport
from app.upstream.wire import Fields, Request, Response
from tests.upstream.scripted import Peer, Step, ask, hang_up, pause, reset, serving, wait

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = bytes(8 * 2**20)
PATIENT = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}
CERTIFICATE = Path(__file__).with_name("loopback.pem")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx makes one for each transport otherwise


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Answer(NamedTuple):
    status: int
    headers: Fields
    body: bytes


Outcome = Answer | type[Exception]
"""What came of a request: an answer, or the class of what was raised."""


async def outcome(send: Callable[[], Awaitable[Response | httpx2.Response]]) -> Outcome:
    try:
        response = await send()
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        try:
            body = b"".join([piece async for piece in response.stream])
        finally:
            await response.stream.aclose()
    except httpx2.RequestError as failure:
        return type(failure)
    if isinstance(response, Response):
        return Answer(response.status, response.headers, body)
    return Answer(response.status_code, response.headers.raw, body)


def said(outcome: Outcome) -> Any:
    """Status and body, or the class of what was raised."""
    return (outcome.status, outcome.body) if isinstance(outcome, Answer) else outcome


Timeouts = dict[str, Any]


async def by_httpx_request(transport: httpx2.AsyncBaseTransport, url: str, body: Any, timeouts: Timeouts) -> Outcome:
    request = httpx2.Request(
        "GET" if body is None else "POST", url, content=body, headers=PLAIN, extensions={"timeout": timeouts}
    )
    return await outcome(partial(transport.handle_async_request, request))


async def by_send(transport: httpx2.AsyncBaseTransport, url: str, body: Any, timeouts: Timeouts) -> Outcome:
    assert isinstance(transport, Transport)
    return await outcome(lambda: transport.send(Request(url, PLAIN, body, timeouts)))


PLAIN = ((b"Accept-Encoding", b"identity"),)

Way = tuple[
    Callable[..., httpx2.AsyncBaseTransport],
    Callable[[httpx2.AsyncBaseTransport, str, Any, Timeouts], Awaitable[Outcome]],
]

OURS: dict[str, Way] = {
    "handle_async_request": (lambda context: Transport(ssl_context=context), by_httpx_request),
    "send": (lambda context: Transport(ssl_context=context), by_send),
}
THEIRS: Way = (lambda context: httpx2.AsyncHTTPTransport(verify=context), by_httpx_request)


async def once(
    way: Way,
    script: list[Step],
    body: Any = None,
    timeouts: Timeouts = PATIENT,
    *,
    tls: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext = NO_TLS,
) -> Outcome:
    """One request to a server of its own."""
    make, send = way
    async with serving(script, tls=tls) as server, make(trusted) as transport:
        result = await send(transport, server.url, body, timeouts)
        server.go.set()
        return result


def answered(*parts: bytes) -> list[Step]:
    """The script of a server that gives this answer, in one piece, and closes the connection."""
    return [ask, b"".join(parts), hang_up]


BROKEN = httpx2.RemoteProtocolError


# What servers answer

SAME: list[tuple[list[Step], Any]] = [
    # Plain
    ([ask, OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], (200, b"")),
    ([ask, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"], (200, b"")),
    ([ask, b"HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 0\r\n\r\n"], (200, b"")),
    ([ask, b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"], (999, b"")),
    ([ask, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"], (200, b"ok")),
    ([ask, b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", hang_up], (503, b"no")),
    ([ask, HEAD + b"X: \xe9\xff\r\nY:\r\nx: a  b \r\nContent-Length:2\r\n\r\nok"], (200, b"ok")),
    ([ask, HEAD + b"a: b\r\n" * 5000 + b"Content-Length: 2\r\n\r\nok"], (200, b"ok")),
    ([ask, HEAD + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok"], (200, b"ok")),
    # Bodies that end with the connection
    ([ask, b"HTTP/1.1 200 OK\r\n\r\nto the ", pause, b"end", hang_up], (200, b"to the end")),
    ([ask, b"HTTP/1.0 200 OK\r\n\r\nto the end", hang_up], (200, b"to the end")),
    ([ask, HEAD + b"Content_Length: 1\r\n\r\nto the end", hang_up], (200, b"to the end")),
    # Bodies in chunks
    ([ask, CHUNKED + b"2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"], (200, b"ok")),
    ([ask, CHUNKED + b"2\r\no", pause, b"k\r\n", pause, b"0", pause, b"\r\n\r\n"], (200, b"ok")),
    ([ask, CHUNKED + b"0A\r\n0123456789\r\n00\r\n\r\n"], (200, b"0123456789")),
    ([ask, HEAD + b"Transfer-Encoding: chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n"], (200, b"ok")),
    ([ask, CHUNKED + b"2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"], (200, b"ok")),
    # No body, whatever the headers say
    ([ask, b"HTTP/1.1 204 No\r\n\r\n"], (204, b"")),
    ([ask, b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"], (304, b"")),
    # Interim and early responses
    ([ask, b"HTTP/1.1 100 Continue\r\n\r\n" + OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n" + OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + OK], (200, b"ok")),
    ([ask, b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 H\r\nLink: a\r\n\r\n", pause, b"HTTP/1.1 102 P\r\n\r\n" + OK],
     (200, b"ok")),
    (answered(b"HTTP/1.1 150 What\r\nContent-Length: 2\r\n\r\nok", OK), BROKEN),
    ([b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", pause, hang_up], (429, b"")),
    # Nothing is followed, decoded, stored or answered
    ([ask, b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"], (302, b"")),
    ([ask, b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"], (401, b"")),
    ([ask, b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"], (407, b"")),
    ([ask, HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"], (200, b"ok")),
    # Connections that end early
    ([ask, hang_up], BROKEN),
    ([ask, reset], httpx2.ReadError),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Le", hang_up], BROKEN),
    ([ask, b"HTTP/1.1 100 Continue\r\n\r\n", hang_up], BROKEN),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", hang_up], BROKEN),
    ([ask, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", pause, reset], httpx2.ReadError),
    ([ask, b"HTTP/1.1 200 OK\r\n\r\nto the", pause, reset], httpx2.ReadError),
    ([ask, CHUNKED + b"2\r\nok\r\n", hang_up], BROKEN),
    ([ask, CHUNKED + b"2\r\nok\r\n0\r\n", hang_up], BROKEN),
    # Silence
    ([ask], httpx2.ReadTimeout),
    ([ask, b"HTTP/1.1 200 OK\r\n"], httpx2.ReadTimeout),
    ([ask, b"HTTP/1.1 100 Continue\r\n\r\n"], httpx2.ReadTimeout),
    ([ask, OK[:-1]], httpx2.ReadTimeout),
    ([ask, CHUNKED + b"2\r\nok\r\n"], httpx2.ReadTimeout),
    # Another protocol, which nobody asked for
    ([ask, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", hang_up], BROKEN),
    ([ask, b"HTTP/1.1 101 Switching\r\n\r\n", hang_up], BROKEN),
    # Bad chunks
    *[
        (answered(CHUNKED, chunks), BROKEN)
        for chunks in [
            b"x\r\nok\r\n0\r\n\r\n", b"-2\r\nok\r\n0\r\n\r\n", b"+2\r\nok\r\n0\r\n\r\n", b"0x2\r\nok\r\n0\r\n\r\n",
            b" 2\r\nok\r\n0\r\n\r\n", b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", b"\r\nok\r\n0\r\n\r\n",
            b"2\r\nokay\r\n0\r\n\r\n", b"2\nok\r\n0\r\n\r\n", b"2\rok\r\n0\r\n\r\n", b"2\r\nok\n0\r\n\r\n",
            b"2\r\nok0\r\n\r\n", b"2\r\nok\r\n-0\r\n\r\n", b"2\r\nok\r\n0\n\n", b"2\r\nok\r\n0\r\nbad\r\n\r\n",
            b"2\r\nok\r\n0\r\n bad\r\n\r\n", b"ffffffffffffffff\r\nok", b"fffffffffffffffff\r\nok\r\n0\r\n\r\n",
        ]
    ],
    # Bad headers
    *[
        (answered(HEAD, field, b"\r\n\r\nok"), BROKEN)
        for field in [
            b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2, 3", b"Content-Length: two",
            b"Content-Length: -2", b"Content-Length: +2", b"Content-Length: 0x2", b"Content-Length: 1_0",
            b"Content-Length: 2 2", b"Content-Length:", b"Content-Length: \xb2", b"Content-Length : 2",
            b"Content-Length: 99999999999999999999", b" Content-Length: 2", b"\x0bContent-Length: 2",
            b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding:",
            b"A: b\0c", b"A : b", b": a", b"no colon", b"X(Y: a", b"X\xe9: a", b"X\0Y: a", b"A: b\rc", b"A: b\r",
            b"X: " + b"x" * 200_000,
        ]
    ],
    # No HTTP
    *[
        (answered(start), BROKEN)
        for start in [
            b"<html>\r\n\r\n", b"HTTP/1.1 99 What\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 200OK\r\n\r\n", b"HTTP/1.1 -20 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n",
            b"HTTP/1.1 000 OK\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"\r\n" + OK, b"\n" + OK, b" " + OK, b"\r\n\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x01\x00\x02\x02P", b"\0" * 40,
        ]
    ],
]  # fmt: skip


def patience(expected: Any) -> Timeouts:
    return PATIENT | {"read": 0.05} if expected is httpx2.ReadTimeout else PATIENT


@pytest.mark.parametrize(("script", "expected"), SAME, ids=[str(number) for number in range(len(SAME))])
async def test_outcome_is_that_of_httpx(script: list[Step], expected: Any) -> None:
    theirs = await once(THEIRS, script, timeouts=patience(expected))
    assert said(theirs) == expected
    for ours in OURS.values():
        assert await once(ours, script, timeouts=patience(expected)) == theirs


HINTS = b"HTTP/1.1 103 Hints\r\nLink: " + b"x" * 30_000 + b"\r\n\r\n"

OTHERWISE: list[tuple[str, list[Step], Any, Any]] = [
    # Why, script, our outcome, httpx's
    ("two lengths, even equal ones, are a sign of smuggling",
     answered(HEAD, b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("so is a list of them", answered(HEAD, b"Content-Length: 2, 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("a length beside chunks lets two readers see two responses (RFC 9112, 6.3)",
     answered(HEAD, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
     BROKEN, (200, b"ok")),
    ("in the other order, too",
     answered(HEAD, b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
     BROKEN, (200, b"ok")),
    ("even in a trailer", answered(CHUNKED, b"2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n"), BROKEN, (200, b"ok")),
    ("a line ends with CR LF", answered(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), BROKEN, (200, b"ok")),
    ("in a trailer, too", answered(CHUNKED, b"2\r\nok\r\n0\r\nX: y\n\r\n"), BROKEN, (200, b"ok")),
    ("and at the end", answered(CHUNKED, b"2\r\nok\r\n0\r\n\n"), BROKEN, (200, b"ok")),
    ("no field goes on in a second line (RFC 9112, 5.2)",
     answered(HEAD, b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("a field has no control characters", answered(HEAD, b"A: b\x01\r\nContent-Length: 2\r\n\r\nok"),
     BROKEN, (200, b"ok")),
    ("nor DEL", answered(HEAD, b"A: b\x7f\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("nor has a chunk", answered(CHUNKED, b"2;\0\r\nok\r\n0\r\n\r\n"), BROKEN, (200, b"ok")),
    ("nothing stands behind the size of a chunk", answered(CHUNKED, b"2 \r\nok\r\n0\r\n\r\n"), BROKEN, (200, b"ok")),
    ("there is no such version", answered(b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("nor this", answered(b"HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("a connection that is closed has no more responses",
     answered(b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n", OK), BROKEN, (200, b"ok")),
    ("headers are at most 64 KiB, theirs 100",
     answered(HEAD, b"X: " + b"x" * 66_000 + b"\r\nContent-Length: 2\r\n\r\nok"), BROKEN, (200, b"ok")),
    ("all interim responses together",
     [ask, HINTS, pause, HINTS, pause, HINTS, pause, OK], BROKEN, (200, b"ok")),
    ("and trailers",
     [ask, CHUNKED + b"2\r\nok\r\n0\r\nX: y", pause, b"y" * 66_000, pause, b"\r\n\r\n"], BROKEN, (200, b"ok")),
    ("and what is said of chunks",
     [ask, CHUNKED, pause, b"2;", b"y" * 66_000, pause, b"\r\nok\r\n0\r\n\r\n", hang_up], BROKEN, (200, b"ok")),
    ("the size of a chunk may have as many zeros as the headers are long; theirs at most 20 digits",
     answered(CHUNKED, b"0" * 24 + b"2\r\nok\r\n0\r\n\r\n"), (200, b"ok"), BROKEN),
    ("nobody looks at the reason phrase",
     answered(b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok"), (200, b"ok"), BROKEN),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "expected", "of_httpx"), [row[1:] for row in OTHERWISE], ids=[r[0] for r in OTHERWISE]
)
async def test_outcome_is_knowingly_another_than_that_of_httpx(
    script: list[Step], expected: Any, of_httpx: Any
) -> None:
    assert said(await once(THEIRS, script)) == of_httpx
    for ours in OURS.values():
        assert said(await once(ours, script)) == expected


# Which connections are used for another request

KEPT: list[tuple[str, bytes, bool]] = [
    ("with a length", OK, True),
    ("in chunks", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", True),
    ("without a body", b"HTTP/1.1 204 No\r\n\r\n", True),
    ("not modified", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", True),
    ("after an interim response", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, True),
    ("a failure", b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", True),
    ("connection: close", HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", False),
    ("Connection: Close", HEAD + b"Connection: Close\r\nContent-Length: 2\r\n\r\nok", False),
    ("close among others", HEAD + b"Connection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok", False),
    ("close in a second field", HEAD + b"Connection: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
]

KEPT_OTHERWISE: list[tuple[str, bytes, bool, bool]] = [
    # Why, answer, whether we use the connection again, whether httpx does
    ("HTTP/1.0 may say that it keeps the connection (RFC 9112, 9.3)",
     b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True, False),
    ("what old servers call it", HEAD + b"Proxy-Connection: close\r\nContent-Length: 2\r\n\r\nok", False, True),
    ("a response of HTTP/2 that is none", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False, True),
]  # fmt: skip


async def is_kept(way: Way, answer: bytes) -> bool:
    make, send = way
    async with serving([ask, answer, ask, OK], [ask, OK]) as server, make(NO_TLS) as transport:
        assert isinstance(await send(transport, server.url, None, PATIENT), Answer)
        assert said(await send(transport, server.url, None, PATIENT)) == (200, b"ok")
        return server.accepted == 1


@pytest.mark.parametrize(("answer", "expected"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
async def test_connection_is_kept_as_httpx_does(answer: bytes, expected: bool) -> None:
    assert [await is_kept(way, answer) for way in (*OURS.values(), THEIRS)] == [expected] * 3


@pytest.mark.parametrize(
    ("answer", "expected", "of_httpx"), [row[1:] for row in KEPT_OTHERWISE], ids=[row[0] for row in KEPT_OTHERWISE]
)
async def test_connection_is_knowingly_kept_otherwise(answer: bytes, expected: bool, of_httpx: bool) -> None:
    assert await is_kept(THEIRS, answer) is of_httpx
    assert [await is_kept(ours, answer) for ours in OURS.values()] == [expected] * 2


SURPLUS: list[tuple[bytes, Any]] = [
    # Answer, and what httpx says of the next request, for which it takes the rest
    (OK + NO, (413, b"no")),
    (OK + b"surplus", BROKEN),
    (CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + b"surplus", BROKEN),
    (HEAD + b"Content-Length: 0\r\n\r\nok", BROKEN),
    (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", BROKEN),
    (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BROKEN),
    (b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", BROKEN),
]


async def second(way: Way, answer: bytes) -> Any:
    make, send = way
    async with serving([ask, answer, ask, OK], [ask, OK]) as server, make(NO_TLS) as transport:
        assert isinstance(await send(transport, server.url, None, PATIENT), Answer)
        return said(await send(transport, server.url, None, PATIENT))


@pytest.mark.parametrize(("answer", "of_httpx"), SURPLUS, ids=[str(number) for number in range(len(SURPLUS))])
async def test_what_a_server_says_too_much_is_no_answer_to_the_next_request(answer: bytes, of_httpx: Any) -> None:
    """Or whoever can make a server say more chooses what the next caller gets."""
    assert await second(THEIRS, answer) == of_httpx
    assert [await second(ours, answer) for ours in OURS.values()] == [(200, b"ok")] * 2


# What goes out


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


SENT: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
    ("GET", "/", dict),
    ("GET", "/a%20b/c d?e=f&g=ü#h", dict),
    ("HEAD", "", dict),
    ("OPTIONS", "/x", dict),
    ("DELETE", "/x", dict),
    ("POST", "/", dict),
    ("POST", "/", lambda: {"content": b"body"}),
    ("POST", "/", lambda: {"json": {"a": ["é"]}}),
    ("POST", "/", lambda: {"content": b"x" * 100_000}),
    ("POST", "/", lambda: {"content": chunks(b"one", b"two")}),
    ("POST", "/", lambda: {"content": chunks(b"one", b"", b"two"), "headers": {"Content-Length": "6"}}),
    ("POST", "/", lambda: {"files": {"a": ("b.txt", b"c" * 70_000)}, "headers": {"Content-Type": FORM}}),
    ("GET", "/", lambda: {"headers": [("X", "1"), ("x", "2"), ("Y", "a  b")]}),
    ("GET", "/", lambda: {"headers": {"Host": "other.test"}}),
    ("GET", "/", lambda: {"headers": {"Connection": "close"}}),
    ("GET", "/", lambda: {"headers": [(b"X", b"\xff\xfe")]}),
]
FORM = "multipart/form-data; boundary=xxx"


async def heard(transport: httpx2.AsyncBaseTransport, method: str, path: str, options: dict[str, Any]) -> Any:
    """Request line, headers in order and body, as a server reads them."""
    async with serving([ask, HEAD + b"Content-Length: 0\r\n\r\n"]) as server, transport:
        request = httpx2.Request(method, server.url + path, **options)
        request.headers.setdefault("Accept-Encoding", "identity")
        assert isinstance(await outcome(partial(transport.handle_async_request, request)), Answer)
        head, _, body = server.requests[0].replace(b":%d" % server.port, b"").partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        return line, [(name.lower(), value.strip()) for name, _, value in (f.partition(b":") for f in fields)], body


@pytest.mark.parametrize(("method", "path", "options"), SENT, ids=[str(number) for number in range(len(SENT))])
async def test_server_hears_the_same_as_from_httpx(
    method: str, path: str, options: Callable[[], dict[str, Any]]
) -> None:
    theirs = await heard(httpx2.AsyncHTTPTransport(verify=NO_TLS), method, path, options())
    assert await heard(Transport(), method, path, options()) == theirs


async def test_server_hears_the_same_from_send() -> None:
    async with serving([ask, OK] * 4) as server:
        for make, send in (*OURS.values(), THEIRS):
            async with make(NO_TLS) as transport:
                for body in (None, b"", b"{}", LARGE):
                    assert said(await send(transport, f"{server.url}/a?b=c", body, PATIENT)) == (200, b"ok")
        heard = [
            (head.split(b"\r\n")[0], sorted(head.lower().split(b"\r\n")[1:]), body)
            for head, _, body in (request.partition(b"\r\n\r\n") for request in server.requests)
        ]
        assert heard[:4] == heard[4:8] == heard[8:]


REFUSED: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("GET", lambda: {"headers": {"X": "a\r\nY: b"}}),
    ("GET", lambda: {"headers": {"X": "a\nb"}}),
    ("GET", lambda: {"headers": {"X": "a\rb"}}),
    ("GET", lambda: {"headers": {"X": "a\0b"}}),
    ("GET", lambda: {"headers": {"X\r\nY": "a"}}),
    ("GET / HTTP/1.1\r\nX: Y\r\n\r\nGET", dict),
    ("GET /other", dict),
    ("POST", lambda: {"content": b"abc", "headers": {"Transfer-Encoding": "gzip"}}),
    ("POST", lambda: {"content": b"abc", "headers": [("Content-Length", "3"), ("content-length", "4")]}),
]


@pytest.mark.parametrize(("method", "options"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
async def test_request_that_httpx_refuses_is_refused(method: str, options: Callable[[], dict[str, Any]]) -> None:
    for transport in (Transport(), httpx2.AsyncHTTPTransport(verify=NO_TLS)):
        async with serving([ask, OK]) as server, transport:
            request = httpx2.Request(method, server.url, **options())
            assert await outcome(partial(transport.handle_async_request, request)) is httpx2.LocalProtocolError


@pytest.mark.parametrize("length", ["2", "4"])
@pytest.mark.parametrize("content", [lambda: b"abc", lambda: chunks(b"a", b"bc")], ids=["whole", "streamed"])
async def test_body_of_another_length_than_announced(content: Callable[[], Any], length: str) -> None:
    """httpx lets an error of its parser through, which is none of httpx's."""
    async with serving([ask, OK]) as server, Transport() as transport:
        request = httpx2.Request("POST", server.url, content=content(), headers={"Content-Length": length})
        assert await outcome(partial(transport.handle_async_request, request)) is httpx2.LocalProtocolError
    async with serving([ask, OK]) as server, httpx2.AsyncHTTPTransport(verify=NO_TLS) as theirs:
        request = httpx2.Request("POST", server.url, content=content(), headers={"Content-Length": length})
        with pytest.raises(Exception, match="for declared Content-Length") as raised:
            await theirs.handle_async_request(request)
        assert not isinstance(raised.value, httpx2.RequestError)


# Connecting


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


UNREACHABLE: list[tuple[Callable[[], str], Any]] = [
    (lambda: f"http://127.0.0.1:{unused_port()}", httpx2.ConnectError),
    (lambda: f"https://127.0.0.1:{unused_port()}", httpx2.ConnectError),
    (lambda: "http://255.255.255.255", httpx2.ConnectError),
    (lambda: f"http://{'a' * 70}.test", httpx2.ConnectError),
    (lambda: "ftp://127.0.0.1/", httpx2.UnsupportedProtocol),
]


@pytest.mark.parametrize(("url", "expected"), UNREACHABLE, ids=[str(number) for number in range(len(UNREACHABLE))])
async def test_failure_to_connect_is_that_of_httpx(url: Callable[[], str], expected: Any) -> None:
    for make, send in (*OURS.values(), THEIRS):
        async with make(NO_TLS) as transport:
            assert await send(transport, url(), None, PATIENT) is expected


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


OVER_TLS: list[tuple[list[Step], Any]] = [
    ([ask, OK], (200, b"ok")),
    ([ask, HEAD + b"\r\nto the end", hang_up], (200, b"to the end")),
    ([ask, OK[:-1], hang_up], BROKEN),
    ([ask, hang_up], BROKEN),
    ([ask, OK[:-1]], httpx2.ReadTimeout),
]


@pytest.mark.parametrize(("script", "expected"), OVER_TLS, ids=[str(number) for number in range(len(OVER_TLS))])
async def test_outcome_over_tls_is_that_of_httpx(script: list[Step], expected: Any, tls: ssl.SSLContext) -> None:
    for way in (*OURS.values(), THEIRS):
        trusted = ssl.create_default_context(cafile=CERTIFICATE)
        timeouts = PATIENT | ({"read": 0.2} if expected is httpx2.ReadTimeout else {})
        assert said(await once(way, script, b"x" * 70_000, timeouts, tls=tls, trusted=trusted)) == expected


async def test_untrusted_certificate_is_refused_as_by_httpx(tls: ssl.SSLContext) -> None:
    for way in (*OURS.values(), THEIRS):
        assert await once(way, [ask, OK], tls=tls, trusted=ssl.create_default_context()) is httpx2.ConnectError


# Sending and waiting


async def test_tls_that_never_comes_about_is_a_connect_timeout_as_with_httpx() -> None:
    for make, send in (*OURS.values(), THEIRS):
        async with serving([wait]) as server, make(NO_TLS) as transport:
            assert (
                await send(transport, f"https://127.0.0.1:{server.port}", None, PATIENT | {"connect": 0.05})
                is httpx2.ConnectTimeout
            )
            server.go.set()


async def test_server_that_takes_nothing_is_a_write_timeout_as_with_httpx() -> None:
    for way in (*OURS.values(), THEIRS):
        assert await once(way, [wait], LARGE, PATIENT | {"write": 0.05}) is httpx2.WriteTimeout


async def test_early_response_is_returned_early() -> None:
    """httpx goes on with a body that nobody wants, until nobody takes it."""
    timeouts = PATIENT | {"write": 0.1}
    assert await once(THEIRS, [NO, wait], LARGE, timeouts) is httpx2.WriteTimeout
    for ours in OURS.values():
        assert said(await once(ours, [NO, wait], LARGE, timeouts)) == (413, b"no")


async def test_server_that_resets_while_the_body_is_sent() -> None:
    """httpx ignores that, and fails when it looks for a response. Both are NetworkErrors."""
    assert await once(THEIRS, [pause, reset], LARGE) is httpx2.ReadError
    for ours in OURS.values():
        assert await once(ours, [pause, reset], LARGE) is httpx2.WriteError


# A pool


async def after_one(way: Way, *scripts: list[Step]) -> tuple[Any, int]:
    """What the second of two requests comes to, and how many requests the server saw."""
    make, send = way
    async with serving(*scripts) as server, make(NO_TLS) as transport:
        assert said(await send(transport, server.url, b"", PATIENT)) == (200, b"ok")
        await asyncio.sleep(0.05)
        return said(await send(transport, server.url, b"", PATIENT)), len(server.requests)


STALE: list[tuple[str, list[list[Step]], Any, Any]] = [
    ("closed before", [[ask, OK, hang_up], [ask, OK]], ((200, b"ok"), 2), ((200, b"ok"), 2)),
    ("bytes nobody asked for", [[ask, OK, pause, NO], [ask, OK]], ((200, b"ok"), 2), ((200, b"ok"), 2)),
    ("closed at the same moment, so that it goes once more", [[ask, OK, ask, hang_up], [ask, OK]],
     ((200, b"ok"), 3), (BROKEN, 2)),
    ("closed after the first byte", [[ask, OK, ask, b"H", hang_up], [ask, OK]], (BROKEN, 2), (BROKEN, 2)),
    ("and then closed once more", [[ask, OK, ask, hang_up], [ask, hang_up]], (BROKEN, 3), (BROKEN, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("scripts", "expected", "of_httpx"), [row[1:] for row in STALE], ids=[row[0] for row in STALE])
async def test_pooled_connection_that_is_closed(scripts: list[list[Step]], expected: Any, of_httpx: Any) -> None:
    assert await after_one(THEIRS, *scripts) == of_httpx
    for ours in OURS.values():
        assert await after_one(ours, *scripts) == expected


def crowded(context: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
    return httpx2.AsyncHTTPTransport(verify=context, limits=httpx2.Limits(max_connections=2))


async def test_no_request_waits_for_a_place_in_the_pool() -> None:
    """httpx fails who gets none in time; how many requests run at once is decided elsewhere."""
    for (make, send), most in [*((ours, 20) for ours in OURS.values()), ((crowded, by_httpx_request), 2)]:
        asked = asyncio.Semaphore(0)
        script: list[Step] = [ask, note(asked), wait, OK]
        async with serving(script) as server, make(NO_TLS) as transport:
            sending = [
                asyncio.ensure_future(send(transport, server.url, None, PATIENT | {"pool": 0.1})) for _ in range(20)
            ]
            for _ in range(most):
                await asked.acquire()
            for ended in itertools.islice(asyncio.as_completed(sending), 20 - most):
                await ended
            server.go.set()
            outcomes = [said(each) for each in await asyncio.gather(*sending)]
            assert outcomes.count((200, b"ok")) == most
            assert outcomes.count(httpx2.PoolTimeout) == 20 - most


def note(asked: asyncio.Semaphore) -> Step:
    async def release(_: Peer) -> None:
        asked.release()

    return release


@pytest.mark.parametrize("beginning", [b"", CHUNKED + b"2\r\nok\r\n"], ids=["nothing", "half a body"])
async def test_cancelled_request_closes_its_connection_as_with_httpx(beginning: bytes) -> None:
    for make, send in (*OURS.values(), THEIRS):
        asked = asyncio.Semaphore(0)
        async with serving([ask, beginning, note(asked)]) as server, make(NO_TLS) as transport:
            task = asyncio.ensure_future(send(transport, server.url, None, PATIENT))
            await asked.acquire()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await server.has_open(0)
