"""Exchange: what reaches the client, in how many writes, and what the application hears of the client."""

import asyncio
import gc
import logging
import weakref
from http import HTTPStatus
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.routes.streaming import ClientLeft, client_watched
from app.server.exchange import CONTINUE, KEY, SMALL_BYTES, Exchange
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


# Answers


async def test_whole_answer_is_one_write() -> None:
    connection = Connection(replying(*whole(b"hello")))
    await connection.send(request())
    assert connection.wire.writes == [answer(b"hello")]


@pytest.mark.parametrize(("size", "writes"), [(0, 1), (SMALL_BYTES, 1), (SMALL_BYTES + 1, 2), (5_000_000, 2)])
async def test_large_body_follows_its_head_uncopied(size: int, writes: int) -> None:
    content = b"x" * size
    connection = Connection(replying(*whole(content)))
    assert await connection.send(request()) == answer(content)
    assert len(connection.wire.writes) == writes
    assert writes == 1 or connection.wire.writes[1] is content


@pytest.mark.parametrize("kind", [bytearray, memoryview])
@pytest.mark.parametrize("length", [None, 5])
async def test_body_may_be_like_bytes(kind: type[bytearray] | type[memoryview], length: int | None) -> None:
    message: Message = {"type": "http.response.body", "body": kind(b"hello")}
    expected = answer(b"hello") if length else CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n\r\n"
    assert await Connection(replying(head(length=length), message)).send(request()) == expected


async def test_sized_answer_in_pieces_begins_with_the_first() -> None:
    connection = Connection(replying(head(length=5), body(b"hel", more=True), body(b"lo")))
    await connection.send(request())
    assert connection.wire.writes == [answer(b"hello")[:-2], b"lo"]


async def test_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        await more.wait()
        await send(body(b"0123456789abcdef", more=True))
        await send(body(b"", more=True))
        await send(body(b"end", more=True))
        await send(body(b""))

    connection = Connection(app)
    assert await connection.send(request()) == CHUNKED_HEAD
    more.set()
    await settled()
    assert connection.wire.writes[1:] == [b"10\r\n0123456789abcdef\r\n", b"3\r\nend\r\n0\r\n\r\n"]


async def test_last_piece_of_a_stream_carries_its_end() -> None:
    connection = Connection(replying(head(), body(b"all")))
    await connection.send(request())
    assert connection.wire.writes == [CHUNKED_HEAD + b"3\r\nall\r\n0\r\n\r\n"]


async def test_head_of_a_stream_does_not_wait_for_what_is_not_ready() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        await asyncio.Event().wait()

    connection = Connection(app)
    assert await connection.send(request()) == CHUNKED_HEAD


async def test_what_is_written_in_one_turn_goes_out_together_in_the_next() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[KEY]
        await send(head())
        await asyncio.sleep(0.001)
        exchange.write(b"one")
        exchange.write(b"two")
        await asyncio.sleep(0.001)
        exchange.write(b"three")
        await send(body(b"four", more=True))
        exchange.write(b"five")
        await send(body(b"six"))

    connection = Connection(app)
    await connection.send(request())
    await until(lambda: connection.received.endswith(b"0\r\n\r\n"))
    assert connection.wire.writes == [
        CHUNKED_HEAD,
        b"3\r\none\r\n3\r\ntwo\r\n",
        b"5\r\nthree\r\n4\r\nfour\r\n4\r\nfive\r\n3\r\nsix\r\n0\r\n\r\n",
    ]


async def test_what_is_written_of_a_known_length_goes_out_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head(length=6))
        scope[KEY].write(b"abc")
        await send(body(b"def"))

    connection = Connection(app)
    assert await connection.send(request()) == answer(b"abcdef")
    assert [piece[-3:] for piece in connection.wire.writes] == [b"abc", b"def"]


async def test_what_was_written_before_a_fault_is_sent_and_nothing_looks_whole() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        scope[KEY].write(b"one")
        raise ValueError("ours")

    connection = Connection(app)
    assert await connection.send(request()) == CHUNKED_HEAD + b"3\r\none\r\n"
    assert connection.wire.is_closing()


async def test_head_is_not_sent_to_who_has_left_before_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        connection.wire.lose(None)

    connection = Connection(app)
    assert await connection.send(request()) == b""
    assert connection.wire.late_writes == []


@pytest.mark.parametrize(
    ("method", "start", "lines"),
    [
        (b"HEAD", head(length=7), b"200 OK\r\n" + DATE + b"content-length: 7\r\n"),
        (b"HEAD", head(), b"200 OK\r\n" + DATE),
        (b"GET", head(status=204), b"204 No Content\r\n" + DATE),
        (b"GET", head(status=304), b"304 Not Modified\r\n" + DATE),
        (b"GET", head(status=304, length=7), b"304 Not Modified\r\n" + DATE + b"content-length: 7\r\n"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"content"])
async def test_answers_without_a_body_end_with_their_head(
    method: bytes, start: Message, lines: bytes, content: bytes
) -> None:
    connection = Connection(replying(start, body(content)))
    expected = b"HTTP/1.1 " + lines + b"\r\n"
    assert await connection.send(request(method=method)) == expected
    assert await connection.send(request(method=method)) == expected * 2  # on the same connection


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"200 OK"), (404, b"404 Not Found"), (418, b"418 I'm a Teapot"), (499, b"499 "), (529, b"529 ")],
)
async def test_status_has_its_phrase_if_there_is_one(status: int, line: bytes) -> None:
    connection = Connection(replying(head(status=status, length=2), body(b"ok")))
    assert await connection.send(request()) == answer(b"ok", status=line)


# The end of a connection


@pytest.mark.parametrize(
    "asked",
    [
        request(b"connection: close"),
        request(b"Connection: Close"),
        request(version=b"1.0"),
        request(b"connection: keep-alive", version=b"1.0"),
    ],
)
async def test_connection_is_closed_for_who_asks_for_that(asked: bytes) -> None:
    connection = Connection(echo)
    expected = b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 1\r\nconnection: close\r\n\r\n/"
    assert await connection.send(asked + request()) == expected
    assert connection.wire.is_closing()


@pytest.mark.parametrize("value", [b"close", b"Close"])
async def test_application_may_close_the_connection(value: bytes) -> None:
    connection = Connection(replying(head((b"connection", value), length=2), body(b"ok")))
    assert await connection.send(request(b"connection: close")) == answer(b"ok", b"connection: " + value)
    assert connection.wire.is_closing()


async def test_other_words_about_the_connection_leave_it_open() -> None:
    connection = Connection(replying(head((b"connection", b"keep-alive"), length=2), body(b"ok")))
    assert await connection.send(request()) == answer(b"ok", b"connection: keep-alive")
    assert not connection.wire.is_closing()


# Bodies of requests


def keeping(messages: list[Message]) -> ASGIApp:
    """Keeps what it receives until all of the body has arrived."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not messages or messages[-1].get("more_body"):
            messages.append(await receive())
        await replying(*whole(b"read"))(scope, receive, send)

    return app


async def test_body_that_came_at_once_is_one_message() -> None:
    messages: list[Message] = []
    connection = Connection(keeping(messages))
    assert await connection.send(request(body=b"0123456789")) == answer(b"read")
    assert messages == [{"type": "http.request", "body": b"0123456789", "more_body": False}]


async def test_pieces_that_came_between_two_questions_are_one_message() -> None:
    messages: list[Message] = []
    connection = Connection(keeping(messages))
    opening = request(b"content-length: 10")
    await connection.send(opening + b"01", b"23")
    await connection.send(b"45", b"67")
    await connection.send(b"89")
    assert [(message["body"], message["more_body"]) for message in messages] == [
        (b"0123", True),
        (b"4567", True),
        (b"89", False),
    ]
    assert connection.received == answer(b"read")


async def test_request_without_a_body_has_an_empty_one() -> None:
    messages: list[Message] = []
    await Connection(keeping(messages)).send(request())
    assert messages == [{"type": "http.request", "body": b"", "more_body": False}]


async def test_chunks_of_a_request_are_joined() -> None:
    assert await Connection(echo).send(chunked(b"one ", b"two ", b"three")) == answer(b"one two three")


async def test_reading_stops_while_the_application_has_much_to_read() -> None:
    goes_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await goes_on.wait()
        await echo(scope, receive, send)

    connection = Connection(app)
    opening = request(b"content-length: 90000")
    await connection.send(opening + b"x" * 60_000)
    assert connection.wire.reads
    await connection.send(b"x" * 10_000)
    assert not connection.wire.reads
    goes_on.set()
    await settled()
    assert connection.wire.reads
    assert await connection.send(b"x" * 20_000) == answer(b"x" * 90_000)


async def test_whole_large_body_does_not_keep_the_leaving_of_its_client_from_us() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await asyncio.Event().wait()

    connection = Connection(app)
    await connection.send(request(body=b"x" * 100_000))
    assert connection.wire.reads
    await connection.leave()
    await cancelled(connection)


@pytest.mark.parametrize("pieces", [[b"01234", b"56789"], [b"0123456789"]])
async def test_body_that_was_not_read_does_not_stand_in_for_the_next_request(pieces: list[bytes]) -> None:
    connection = Connection(replying(head(status=413, length=2), body(b"no")))
    refused = answer(b"no", status=b"413 " + HTTPStatus(413).phrase.encode())  # Python 3.13 has a newer one
    assert await connection.send(request(b"content-length: 10")) == refused
    await connection.send(*pieces)
    assert await connection.send(request()) == refused * 2


EXPECTING = request(b"Expect: 100-Continue", b"content-length: 4", method=b"POST")


async def test_client_that_waits_is_told_to_go_on_when_its_body_is_wanted() -> None:
    wanted = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wanted.wait()
        await echo(scope, receive, send)

    connection = Connection(app)
    assert await connection.send(EXPECTING) == b""
    wanted.set()
    await settled()
    assert connection.received == CONTINUE
    assert await connection.send(b"bo") == CONTINUE
    assert await connection.send(b"dy") == CONTINUE + answer(b"body")
    assert await connection.send(request()) == CONTINUE + answer(b"body") + answer(b"/")


async def test_client_that_waits_is_not_told_to_go_on_behind_its_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head())
        assert (await read(receive)) == b"late"
        await send(body(b"end"))

    connection = Connection(app)
    assert await connection.send(EXPECTING) == CHUNKED_HEAD
    assert await connection.send(b"late") == CHUNKED_HEAD + b"3\r\nend\r\n0\r\n\r\n"


async def test_nobody_is_told_to_go_on_where_the_connection_ends() -> None:
    connection = Connection(echo)
    connection.protocol.data_received(EXPECTING)
    connection.wire.close()
    await settled()
    assert connection.wire.writes == connection.wire.late_writes == []


async def test_several_may_wait_for_the_body() -> None:
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend(await asyncio.gather(receive(), receive()))
        heard.append(await receive())

    connection = Connection(app)
    await connection.send(request(b"content-length: 4"))
    await connection.send(b"body")
    assert heard == [
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.request", "body": b"", "more_body": False},
    ]
    await connection.leave()
    assert heard[2:] == [{"type": "http.disconnect"}]


async def test_who_waits_for_the_client_to_leave_hears_of_the_end_of_the_answer() -> None:
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await replying(*whole(b"all"))(scope, receive, send)
        heard.append(await waiting)

    assert await Connection(app).send(request()) == answer(b"all")
    assert heard == [{"type": "http.disconnect"}]


async def test_who_stops_waiting_for_the_body_misses_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await echo(scope, receive, send)

    connection = Connection(app)
    await connection.send(request(b"content-length: 4"))
    assert await connection.send(b"body") == answer(b"body")


# Clients that leave


async def cancelled(connection: Connection) -> None:
    """End what waits for ever."""
    for task in connection.protocol.tasks:
        task.cancel()
    await settled()


def hearing(heard: list[Any], *messages: Message) -> ASGIApp:
    """Reads all of the body, is told of the client's leaving, then says its messages to nobody."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[KEY].on_left = lambda: heard.append("left")
        heard.append(await read(receive))
        heard.append(await receive())
        for message in messages:
            await send(message)
        heard.append("sent")

    return app


DISCONNECTED = {"type": "http.disconnect"}


async def test_application_that_reads_hears_that_the_client_left() -> None:
    heard: list[Any] = []
    connection = Connection(hearing(heard, *whole(b"nobody")))
    await connection.send(request(b"content-length: 10") + b"half")
    await connection.leave()
    assert heard == ["left", None, DISCONNECTED, "sent"]
    assert connection.wire.writes == connection.wire.late_writes == []


async def test_application_that_computes_is_called_once_when_the_client_leaves() -> None:
    heard: list[Any] = []
    connection = Connection(hearing(heard, head(), body(b"nobody", more=True), body(b"")))
    await connection.send(request(body=b"all"))
    assert heard == [b"all"]
    await connection.leave()
    assert heard == [b"all", "left", DISCONNECTED, "sent"]
    assert connection.wire.writes == connection.wire.late_writes == []


async def test_leaving_twice_is_leaving_once() -> None:
    heard: list[Any] = []
    connection = Connection(hearing(heard))
    await connection.send(request())
    exchange = connection.protocol.cycle
    assert isinstance(exchange, Exchange)
    exchange.leave()
    exchange.leave()
    assert heard == [b"", "left"]
    await connection.leave()
    assert heard.count("left") == 1


async def test_leaving_after_the_answer_calls_nobody() -> None:
    heard: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[KEY].on_left = lambda: heard.append("left")
        await replying(*whole(b"all"))(scope, receive, send)
        heard.append(await receive())

    connection = Connection(app)
    assert await connection.send(request()) == answer(b"all")
    exchange = connection.protocol.cycle
    assert isinstance(exchange, Exchange)
    await connection.leave()
    exchange.leave()
    assert heard == [DISCONNECTED]
    assert not exchange.disconnected


async def test_client_watched_cancels_what_runs_for_nobody() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with client_watched(scope, receive):
                await asyncio.Event().wait()
        except ClientLeft:
            heard.append("left")

    connection = Connection(app)
    await connection.send(request())
    await connection.leave()
    assert heard == ["left"]
    assert not connection.protocol.tasks


async def test_full_network_holds_the_application_until_there_is_room() -> None:
    connection = Connection(replying(head(), body(b"one", more=True), body(b"two")))
    connection.protocol.pause_writing()
    assert await connection.send(request()) == b""
    connection.protocol.resume_writing()
    await settled()
    assert connection.received == CHUNKED_HEAD + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_full_network_does_not_hold_the_application_when_the_client_left() -> None:
    ended: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await replying(head(), body(b"one", more=True), body(b"two"))(scope, receive, send)
        ended.append(scope[KEY].disconnected)

    connection = Connection(app)
    connection.protocol.pause_writing()
    await connection.send(request())
    await connection.leave()
    assert ended == [True]


async def test_pieces_may_be_written_at_once_while_there_is_room_and_a_client() -> None:
    exchanges: list[Exchange] = []
    is_over = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.append(scope[KEY])
        await send(head())
        scope[KEY].write(b"one")
        await is_over.wait()
        await send(body(b"end"))

    connection = Connection(app)
    assert await connection.send(request()) == CHUNKED_HEAD + b"3\r\none\r\n"
    (exchange,) = exchanges
    assert exchange.is_ready()
    connection.protocol.pause_writing()
    assert not exchange.is_ready()
    connection.protocol.resume_writing()
    assert exchange.is_ready()
    exchange.write(b"two")
    is_over.set()
    await settled()
    assert connection.received == CHUNKED_HEAD + b"3\r\none\r\n3\r\ntwo\r\n3\r\nend\r\n0\r\n\r\n"
    with pytest.raises(RuntimeError):
        exchange.write(b"late")


async def test_nothing_can_be_written_to_who_has_left() -> None:
    exchanges: list[Exchange] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.append(scope[KEY])
        await send(head())
        await receive()
        await receive()

    connection = Connection(app)
    await connection.send(request())
    await connection.leave()
    assert not exchanges[0].is_ready()


# Faults of the application

CUT = CHUNKED_HEAD + b"3\r\none\r\n"


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        ([], FAILED),
        ([head()], FAILED),
        ([head(), body(b"one", more=True)], CUT),
        ([head(length=5)], FAILED),
        ([head(length=5), body(b"one", more=True)], answer(b"one..")[:-2]),
        ([head(length=5), body(b"one")], FAILED),
        ([head(length=5), body(b"one", more=True), body(b"!")], answer(b"one..")[:-2]),
        ([head(length=2), body(b"one")], FAILED),
        ([head(length=4), body(b"one", more=True), body(b"two")], answer(b"one.")[:-1]),
        ([head((b"content-length", b"many"))], FAILED),
        ([body(b"one")], FAILED),
        ([head(), head()], FAILED),
        ([head(length=1), head(length=1)], FAILED),
        ([head(status=199)], FAILED),
        ([head(status=600)], FAILED),
        ([{"type": "http.response.trailers"}], FAILED),
        ([head(), body(b"one", more=True), {"type": "http.response.trailers"}], CUT),
    ],
)
async def test_what_went_wrong_does_not_look_whole(messages: list[Message], received: bytes) -> None:
    connection = Connection(replying(*messages))
    assert await connection.send(request() + request()) == received
    assert connection.wire.is_closing()


@pytest.mark.parametrize(
    "evil", [b"a\r\nb: c", b"a\rb", b"a\nb", b"a\0b", b"\r", b"\n", b"\r\n\r\n", b"\x01", b"\x1b[0m", b"\x7f"]
)
@pytest.mark.parametrize("length", [None, 3])
async def test_line_break_in_a_header_does_not_leave_us(evil: bytes, length: int | None) -> None:
    for header in ((b"x-value", evil), (evil, b"value")):
        connection = Connection(replying(head(header, length=length), body(b"one")))
        assert await connection.send(request()) == FAILED


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        ([], FAILED),
        ([head(), body(b"one", more=True)], CUT),
        ([head(length=3)], FAILED),
        (whole(b"one"), answer(b"one")),
    ],
)
async def test_exception_is_logged_and_breaks_what_is_not_whole(
    messages: list[Message], received: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await replying(*messages)(scope, receive, send)
        raise LookupError("of the application")

    connection = Connection(app)
    assert await connection.send(request()) == received
    assert connection.wire.is_closing() is (received != answer(b"one"))
    assert "LookupError: of the application" in caplog.text


async def test_answer_that_is_missing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Connection(replying()).send(request())
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "The application left a response unfinished")
    ]


@pytest.mark.parametrize("message", [body(b"more"), body(b""), head()])
async def test_nothing_follows_a_whole_answer(message: Message) -> None:
    failures: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await replying(*whole(b"one"))(scope, receive, send)
        try:
            await send(message)
        except RuntimeError as failure:
            failures.append(str(failure))

    connection = Connection(app)
    assert await connection.send(request()) == answer(b"one")
    assert len(failures) == 1
    assert not connection.wire.is_closing()


async def test_refused_piece_does_not_count() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(head(length=5))
        for refused in (body(b"too long"), body(b"hel")):
            with pytest.raises(RuntimeError, match="another length"):
                await send(refused)
        await send(body(b"hello"))

    assert await Connection(app).send(request()) == answer(b"hello")


@pytest.mark.parametrize(
    ("messages", "received"), [([], FAILED), ([head()], CHUNKED_HEAD), (whole(b"a"), answer(b"a"))]
)
async def test_task_that_is_cancelled_ends_its_answer(messages: list[Message], received: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await replying(*messages)(scope, receive, send)
        await asyncio.Event().wait()

    connection = Connection(app)
    await connection.send(request())
    await cancelled(connection)
    assert connection.received == received
    assert not connection.protocol.tasks


# What is left


async def test_nothing_is_left_for_the_collector() -> None:
    exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.add(scope[KEY])
        if scope["path"] == "/stay":
            await read(receive)
            await receive()
        await (streaming if scope["path"] == "/stream" else echo)(scope, receive, send)

    streaming = replying(head(), body(b"one", more=True), body(b""))
    connection = Connection(app)
    protocol = weakref.ref(connection.protocol)
    gc.disable()
    try:
        for _ in range(20):
            await connection.send(request(body=b"hello"))
            await connection.send(request(b"content-length: 4") + b"bo", b"dy")
            await connection.send(request(target=b"/stream"))
            assert len(exchanges) == 1  # until the next comes
        await connection.send(request(target=b"/stay") + request() * 3)
        waiting = connection.protocol._waiting  # type: ignore[attr-defined] # ours
        exchanges.update(exchange for exchange, _ in waiting)
        del waiting
        assert len(exchanges) == 1 + 3
        await connection.leave()
        del connection
        assert not exchanges
        assert protocol() is None
    finally:
        gc.enable()
