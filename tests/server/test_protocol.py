"""Protocol: what becomes a request, in which order requests are answered, and that uvicorn's own would say the same."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.server.exchange import KEY, Exchange
from app.server.protocol import LARGEST_HEAD, MOST_WAITING, Protocol
from tests.server.wires import (
    CHUNKED_HEAD,
    DATE,
    FAILED,
    Connection,
    answer,
    chunked,
    echo,
    head,
    read,
    replying,
    request,
    settled,
    until,
    whole,
)
from tests.serving import body

pytestmark = pytest.mark.anyio

REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\n" + DATE + b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nInvalid HTTP request received."
)


class Seen:
    """Answers with `echo`, and keeps the scope and the body of each request that reached it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = await read(receive)
        self.scopes.append({name: value for name, value in scope.items() if name != KEY})
        self.bodies.append(content)
        for message in whole(content or scope["path"].encode()):
            await send(message)


# Scopes


async def test_scope_is_as_asgi_has_it() -> None:
    seen = Seen()
    await Connection(seen).send(request(b"X-Name:  Value", b"x-name: again", method=b"POST", target=b"/a%20b?c=%20"))
    assert seen.scopes == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("192.0.2.2", 80),
            "client": ("192.0.2.1", 50000),
            "scheme": "http",
            "method": "POST",
            "root_path": "",
            "path": "/a b",
            "raw_path": b"/a%20b",
            "query_string": b"c=%20",
            "headers": [(b"host", b"example.com"), (b"x-name", b"Value"), (b"x-name", b"again")],
            "state": {"from": "lifespan"},
        }
    ]


async def test_state_of_a_request_is_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content = repr(scope["state"]).encode()
        scope["state"]["from"] = "another request"
        await replying(*whole(content))(scope, receive, send)

    assert await Connection(app).send(request(), request()) == answer(b"{'from': 'lifespan'}") * 2


async def test_root_path_stands_before_the_path() -> None:
    seen = Seen()
    await Connection(seen, root_path="/under").send(request(target=b"/%61"))
    scope = seen.scopes[0]
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/under", "/under/a", b"/under/%61")


@pytest.mark.parametrize(
    ("method", "target", "path", "query"),
    [
        (b"GET", b"/", b"/", b""),
        (b"GET", b"/a//b/../c", b"/a//b/../c", b""),
        (b"GET", b"//host/path", b"//host/path", b""),
        (b"GET", b"/a%2Fb%3Fc%23", b"/a%2Fb%3Fc%23", b""),
        (b"GET", b"/%C3%A9?%C3%A9", b"/%C3%A9", b"%C3%A9"),
        (b"GET", b"/%ff%zz%", b"/%ff%zz%", b""),
        (b"GET", b"/a?b?c/d", b"/a", b"b?c/d"),
        (b"GET", b"/a?", b"/a", b""),
        (b"GET", b"/a?b#c", b"/a", b"b"),
        (b"GET", b"/a#b?c", b"/a", b""),
        (b"GET", b"http://example.com/a?b#c", b"/a", b"b"),
        (b"GET", b"http://example.com", b"/", b""),
        (b"GET", b"http://example.com?b", b"/", b"b"),
        (b"OPTIONS", b"*", b"*", b""),
        (b"GET", b"/" + b"a" * 20_000, b"/" + b"a" * 20_000, b""),
    ],
)
async def test_target_is_a_path_and_a_query(method: bytes, target: bytes, path: bytes, query: bytes) -> None:
    seen = Seen()
    await Connection(seen).send(request(method=method, target=target))
    assert [(scope["raw_path"], scope["query_string"]) for scope in seen.scopes] == [(path, query)]


async def test_trailers_do_not_pass_for_headers() -> None:
    seen = Seen()
    trailed = chunked(b"body").removesuffix(b"\r\n") + b"X-Forwarded-For: anyone\r\n\r\n"
    connection = Connection(seen)
    assert await connection.send(trailed, request()) == answer(b"body") + answer(b"/")
    fields = [name for scope in seen.scopes for name, _ in scope["headers"]]
    assert fields == [b"host", b"transfer-encoding", b"host"]


# Order


async def test_requests_that_do_not_wait_are_answered_in_order() -> None:
    connection = Connection(echo)
    bodies = [b"%d" % number for number in range(3 * MOST_WAITING)]
    connection.protocol.data_received(b"".join(request(body=content) for content in bodies))
    await until(lambda: not connection.protocol.tasks)
    assert connection.received == b"".join(map(answer, bodies))
    assert connection.wire.reads


class Gate:
    """Answers each request when it is told to."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(0)
        self.begun = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await read(receive)
        await self.turns.acquire()
        await replying(*whole(scope["path"].encode()))(scope, receive, send)

    async def open(self) -> None:
        self.turns.release()
        await settled()


async def test_next_request_begins_when_the_last_is_answered() -> None:
    gate = Gate()
    connection = Connection(gate)
    await connection.send(request(target=b"/1") + request(target=b"/2"), request(target=b"/3"))
    for number in (1, 2, 3):
        assert gate.begun == number
        await gate.open()
    assert connection.received == answer(b"/1") + answer(b"/2") + answer(b"/3")


async def test_further_requests_stay_in_the_network() -> None:
    gate = Gate()
    connection = Connection(gate)
    await connection.send(*[request()] * MOST_WAITING)
    assert connection.wire.reads
    await connection.send(request())
    assert not connection.wire.reads
    await connection.send(request() * 2)  # were read with it
    for _ in range(2):
        await gate.open()
        assert not connection.wire.reads
    await gate.open()
    assert connection.wire.reads
    for _ in range(MOST_WAITING):
        await gate.open()
    assert connection.received == answer(b"/") * (MOST_WAITING + 3)


async def test_large_body_may_wait_for_its_turn() -> None:
    gate = Gate()
    connection = Connection(gate)
    await connection.send(request(), request(b"content-length: 140000") + b"x" * 70_000)
    assert not connection.wire.reads
    await gate.open()
    assert connection.wire.reads
    await connection.send(b"x" * 70_000)
    await gate.open()
    assert connection.received == answer(b"/") * 2


async def test_nothing_is_answered_behind_the_last_answer() -> None:
    seen = Seen()
    connection = Connection(seen)
    expected = b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 2\r\nconnection: close\r\n\r\n/1"
    await connection.send(request(b"connection: close", target=b"/1") + request(target=b"/2"))
    assert connection.received == expected
    assert len(seen.scopes) == 1
    assert not connection.protocol.tasks


async def test_who_leaves_takes_the_waiting_requests_along() -> None:
    gate = Gate()
    connection = Connection(gate)
    await connection.send(request() * 3)
    await connection.leave()
    await gate.open()
    assert gate.begun == 1
    assert connection.received == b""
    assert not connection.protocol.tasks


async def test_answers_are_counted() -> None:
    connection = Connection(echo)
    await connection.send(request() * 3)
    assert connection.protocol.server_state.total_requests == 3


async def test_failure_is_an_answer_too() -> None:
    connection = Connection(replying())
    await connection.send(request())
    assert connection.protocol.server_state.total_requests == 1


# Malformed requests

MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no method": b"get / HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nhost: example.com\n\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "non-ASCII path": request(target="/é".encode()),
    "non-ASCII query": request(target="/?é".encode()),
    "non-ASCII fragment": request(target="/#é".encode()),
    "control in the path": request(target=b"/\x01"),
    "relative path": request(target=b"path"),
    "tunnel": request(method=b"CONNECT", target=b"example.com:443"),
    "space before the colon": request(b"x : y"),
    "no colon": request(b"x"),
    "folded line": request(b"x: y", b" z"),
    "NUL in a value": request(b"x: \0"),
    "bare carriage return": request(b"x: y\rz: a"),
    "length and chunks": request(b"content-length: 3", b"transfer-encoding: chunked") + b"0\r\n\r\n",
    "chunks and length": request(b"transfer-encoding: chunked", b"content-length: 3") + b"0\r\n\r\n",
    "two lengths": request(b"content-length: 0", b"content-length: 3"),
    "the same length twice": request(b"content-length: 0", b"content-length: 0"),
    "list of lengths": request(b"content-length: 0, 0"),
    "signed length": request(b"content-length: +0"),
    "negative length": request(b"content-length: -1"),
    "hexadecimal length": request(b"content-length: 0x0"),
    "huge length": request(b"content-length: 99999999999999999999"),
    "unknown coding": request(b"transfer-encoding: xchunked") + b"0\r\n\r\n",
    "chunks not last": request(b"transfer-encoding: chunked, identity") + b"0\r\n\r\n",
    "hexadecimal prefix of a chunk": request(b"transfer-encoding: chunked") + b"0x0\r\n\r\n",
    "negative chunk": request(b"transfer-encoding: chunked") + b"-1\r\n\r\n",
    "huge chunk": request(b"transfer-encoding: chunked") + b"1" * 17 + b"\r\n",
    "chunk longer than its size": request(b"transfer-encoding: chunked") + b"1\r\nab\r\n0\r\n\r\n",
    "space behind the size of a chunk": request(b"transfer-encoding: chunked") + b"0 \r\n\r\n",
    "bare line feed in chunks": request(b"transfer-encoding: chunked") + b"0\n\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("smuggled", [b"", request(target=b"/smuggled")])
async def test_malformed_request_is_refused_with_all_behind_it(kind: str, smuggled: bytes) -> None:
    seen = Seen()
    connection = Connection(seen)
    assert await connection.send(MALFORMED[kind] + smuggled) == REFUSED
    assert connection.wire.is_closing()
    assert seen.bodies in ([], [None])  # the application may have begun before its body went wrong
    assert not connection.protocol.tasks


async def test_malformed_request_behind_others_is_refused() -> None:
    connection = Connection(echo)
    await connection.send(request())
    assert await connection.send(b"?") == answer(b"/") + REFUSED


async def test_refusal_does_not_become_a_part_of_an_answer() -> None:
    """With a Content-Length it could even complete one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await replying(head(length=len(REFUSED) + 3), body(b"one", more=True))(scope, receive, send)
        await receive()
        await receive()

    connection = Connection(app)
    await connection.send(request())
    assert await connection.send(b"?") == answer(b"." * (len(REFUSED) + 3))[: -len(REFUSED) - 3] + b"one"
    assert connection.wire.is_closing()


async def test_upgrade_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    upgrade = request(b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13")
    connection = Connection(echo)
    assert await connection.send(upgrade, request(target=b"/next")) == answer(b"/") + answer(b"/next")
    assert "Unsupported upgrade request." in caplog.text


ENDLESS = b"x" * 1000


@pytest.mark.parametrize("begun", [request()[:-2] + b"a: ", b"GET /", request(body=b"1") + request()[:-2] + b"a: "])
async def test_head_without_an_end_is_refused(begun: bytes) -> None:
    connection = Connection(echo)
    await connection.send(begun)
    answered = len(connection.received)
    refusal = await connection.send(*[ENDLESS] * (LARGEST_HEAD // 1000 + 1))
    assert refusal[answered:].startswith(b"HTTP/1.1 400 ")
    assert connection.wire.is_closing()


async def test_trailers_without_an_end_are_refused() -> None:
    connection = Connection(echo)
    begun = request(b"transfer-encoding: chunked", method=b"POST") + b"1\r\na\r\n0\r\na: "
    await connection.send(begun, *[ENDLESS] * (LARGEST_HEAD // 1000 + 1))
    assert connection.received.startswith(b"HTTP/1.1 400 ")
    assert connection.wire.is_closing()


async def test_many_requests_and_large_bodies_are_no_large_head() -> None:
    connection = Connection(echo)
    for _ in range(100):
        await connection.send(request(body=ENDLESS))
    await connection.send(request(body=ENDLESS * 200))
    assert connection.received == answer(ENDLESS) * 100 + answer(ENDLESS * 200)


# The time between requests


async def test_idle_connection_is_closed() -> None:
    connection = Connection(echo, timeout_keep_alive=0)
    assert await connection.send(request()) == answer(b"/")
    await until(connection.wire.is_closing)


async def test_connection_at_work_is_not_idle() -> None:
    gate = Gate()
    connection = Connection(gate, timeout_keep_alive=0.02)
    gate.turns.release()
    await connection.send(request())
    await connection.send(request())
    await asyncio.sleep(0.1)
    assert not connection.wire.is_closing()
    await gate.open()
    assert connection.received == answer(b"/") * 2
    await until(connection.wire.is_closing)


async def test_rest_of_a_body_that_nobody_wanted_does_not_keep_a_connection_open() -> None:
    connection = Connection(replying(*whole(b"no")), timeout_keep_alive=0)
    connection.protocol.timeout_keep_alive = 3600
    await connection.send(request(b"content-length: 4") + b"bo")
    connection.protocol.timeout_keep_alive = 0
    await connection.send(b"d")
    assert not connection.wire.is_closing()
    await connection.send(b"y")
    await until(connection.wire.is_closing)


async def test_lost_connection_leaves_no_timer() -> None:
    connection = Connection(echo, timeout_keep_alive=3600)
    await connection.send(request())
    timer = connection.protocol._idle._timer  # type: ignore[attr-defined] # ours
    await connection.leave()
    assert timer.cancelled()
    assert connection.protocol not in connection.protocol.connections


async def test_orderly_end_is_answered_with_one() -> None:
    connection = Connection(echo)
    connection.wire.protocol = None  # which knows already
    connection.protocol.connection_lost(None)
    assert connection.wire.is_closing()


# The end of the server


@pytest.mark.parametrize("answered", [0, 1])
async def test_server_that_stops_closes_idle_connections(answered: int) -> None:
    connection = Connection(echo)
    await connection.send(*[request()] * answered)
    connection.protocol.shutdown()
    assert connection.wire.is_closing()


async def test_server_that_stops_finishes_what_it_answers() -> None:
    gate = Gate()
    connection = Connection(gate)
    await connection.send(request(target=b"/1") + request(target=b"/2") + request(target=b"/3"))
    connection.protocol.shutdown()
    await connection.send(request(target=b"/4"))
    for _ in range(4):
        await gate.open()
    closing = b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 2\r\nconnection: close\r\n\r\n/3"
    assert connection.received == answer(b"/1") + answer(b"/2") + closing
    assert connection.wire.is_closing()
    assert gate.begun == 3


async def test_server_that_stops_finishes_a_stream() -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        await gate.turns.acquire()
        await send(body(b"end"))

    connection = Connection(app)
    await connection.send(request())
    connection.protocol.shutdown()
    await gate.open()
    assert connection.received == CHUNKED_HEAD + b"3\r\nend\r\n0\r\n\r\n"
    assert connection.wire.is_closing()


# Requests cut anywhere

CUT_ANYWHERE = (
    request(b"X-One: 1", b"expect: nothing", target=b"/a%20b?c=d", body=b"the first body", method=b"PUT")
    + chunked(b"the ", b"second", b" body")
    + request(target=b"http://example.com/third?x#y")
)


@given(some.lists(some.integers(0, len(CUT_ANYWHERE)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    async def seen(pieces: list[bytes]) -> tuple[bytes, list[Scope], list[bytes | None]]:
        app = Seen()
        received = await Connection(app).send(*pieces)
        return received, app.scopes, app.bodies

    edges = [0, *sorted(cuts), len(CUT_ANYWHERE)]
    pieces = [CUT_ANYWHERE[start:end] for start, end in pairwise(edges) if start != end]
    received, scopes, bodies = asyncio.run(seen(pieces))
    assert received == answer(b"the first body") + answer(b"the second body") + answer(b"/third")
    assert [scope["path"] for scope in scopes] == ["/a b", "/", "/third"]
    assert bodies == [b"the first body", b"the second body", b""]
    assert (received, scopes, bodies) == asyncio.run(seen([CUT_ANYWHERE]))


async def test_each_byte_may_come_alone() -> None:
    pieces = [CUT_ANYWHERE[index : index + 1] for index in range(len(CUT_ANYWHERE))]
    connection = Connection(echo)
    for piece in pieces:
        connection.protocol.data_received(piece)
    assert await connection.send() == answer(b"the first body") + answer(b"the second body") + answer(b"/third")


# As uvicorn would

APPS: dict[str, ASGIApp] = {
    "echo": echo,
    "whole": replying(*whole(b"hello")),
    "empty": replying(*whole(b"")),
    "sized pieces": replying(head(length=5), body(b"hel", more=True), body(b"lo")),
    "stream": replying(head(), body(b"one", more=True), body(b"", more=True), body(b"two", more=True), body(b"")),
    "no content": replying(head(status=204), body(b"")),
    "created": replying(head((b"x-name", b"value"), status=201, length=2), body(b"ok")),
    "unknown status": replying(head(status=529, length=2), body(b"ok")),
    "closing": replying(head((b"connection", b"close"), length=2), body(b"ok")),
    "cut stream": replying(head(), body(b"one", more=True)),
    "cut answer": replying(head(length=5), body(b"one", more=True)),
    "too long behind its first piece": replying(head(length=4), body(b"one", more=True), body(b"two")),
}
REQUESTS: dict[str, bytes] = {
    "GET": request(),
    "HEAD": request(method=b"HEAD"),
    "POST": request(body=b"content", method=b"POST"),
    "chunked": chunked(b"con", b"tent"),
    "DELETE": request(method=b"DELETE", target=b"/a?b"),
    "two": request(target=b"/1") + request(target=b"/2", body=b"content"),
    "closing": request(b"connection: close"),
    "closing list": request(b"connection: te, close"),
    "closing, then another": request(b"connection: close") + request(),
    "HTTP/1.0": request(version=b"1.0"),
    "HTTP/1.0 kept alive": request(b"connection: keep-alive", version=b"1.0"),
    "HTTP/2.0": request(version=b"2.0"),
    "expecting": request(b"expect: 100-continue", body=b"content", method=b"POST"),
    "upgrade": request(b"connection: upgrade", b"upgrade: h2c"),
    "upgrade with a body": request(b"connection: upgrade", b"upgrade: h2c", body=b"content", method=b"POST"),
    "line breaks before": b"\r\n\r\n" + request(),
    "asterisk": request(method=b"OPTIONS", target=b"*"),
    "whole URL": request(target=b"http://example.com/a?b"),
    "percent": request(target=b"/%C3%A9%2F"),
    "half": request(b"content-length: 10") + b"half",
    "half a head": b"GET / HTTP/1.1\r\nhost:",
    "HTTP/0.9": b"GET /\r\n\r\n" + request(),
    "garbage behind": request() + b"garbage\r\n\r\n",
} | MALFORMED


async def outcome(app: ASGIApp, asked: bytes, kind: type[HttpToolsProtocol]) -> tuple[bytes, bool]:
    connection = Connection(app, kind)
    await connection.send(asked)
    result = connection.received, connection.wire.is_closing()
    await connection.leave()
    return result


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("asked", REQUESTS)
async def test_same_bytes_as_from_uvicorn(app: str, asked: str) -> None:
    ours = await outcome(APPS[app], REQUESTS[asked], Protocol)
    assert ours == await outcome(APPS[app], REQUESTS[asked], HttpToolsProtocol)


@given(some.binary(max_size=12).map(lambda tail: b"/" + tail))
def test_same_targets_as_with_uvicorn(target: bytes) -> None:
    async def paths(kind: type[HttpToolsProtocol]) -> list[Any]:
        seen = Seen()
        await outcome(seen, request(target=target), kind)
        return seen.scopes

    ours, theirs = asyncio.run(paths(Protocol)), asyncio.run(paths(HttpToolsProtocol))
    assert ours == theirs


NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n" + DATE + b"content-length: 5\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n"
DIFFERENCES: dict[str, tuple[ASGIApp, bytes, bytes, bytes]] = {
    "a URL without a path is one of the root": (
        echo,
        request(target=b"http://example.com"),
        answer(b"/"),
        REFUSED,
    ),
    "a failure before anything was sent is told": (
        replying(head(length=5)),
        request(),
        FAILED,
        answer(b".....")[:-5],
    ),
    "what no client would read is left out": (
        replying(head(status=304, length=5), body(b"")),
        request() * 2,
        NOT_MODIFIED * 2,
        NOT_MODIFIED,
    ),
    "a body where there may be none is left out": (
        replying(head(status=204), body(b"hello")),
        request() * 2,
        NO_CONTENT * 2,
        NO_CONTENT,
    ),
    "an application that closes has to say so with one word": (
        replying(head((b"connection", b"te, close"), length=2), body(b"ok")),
        request() * 2,
        answer(b"ok", b"connection: te, close") * 2,
        answer(b"ok", b"connection: te, close"),
    ),
    "failures are told as plain text": (
        replying(),
        request(),
        FAILED,
        FAILED.replace(b"text/plain", b"text/plain; charset=utf-8"),
    ),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
async def test_known_differences_from_uvicorn(difference: str) -> None:
    app, asked, ours, theirs = DIFFERENCES[difference]
    assert (await outcome(app, asked, Protocol))[0] == ours
    assert (await outcome(app, asked, HttpToolsProtocol))[0] == theirs


def test_exchange_is_where_the_scope_says() -> None:
    found: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope[KEY])

    async def asked() -> None:
        await Connection(app).send(request())

    asyncio.run(asked())
    assert isinstance(found[0], Exchange)
