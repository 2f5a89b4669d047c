"""Connection by itself: what it reads does not depend on how the bytes are cut, and its timer ends with it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.connection import HIGH_WATER_BYTES, Connection
from app.upstream.outgoing import Outgoing

pytestmark = pytest.mark.anyio

REQUEST = Outgoing.from_request(httpx2.Request("GET", "http://test/"))


class Socket(asyncio.Transport):
    """Takes everything, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False
        self.is_paused = False
        self.takes = 1_000_000
        """How many times it writes before it breaks."""

    def is_closing(self) -> bool:
        return self.is_aborted or not self.takes

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def write(self, data: Any) -> None:
        assert not self.is_closing(), "asyncio would log a warning"
        self.written += data
        self.takes -= 1

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.is_aborted = True


def connected() -> tuple[Connection, Socket]:
    connection, sock = Connection(("http", b"test", None), 65536, lambda _: None), Socket()
    connection.connection_made(sock)
    return connection, sock


async def answered(connection: Connection) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    await connection.receive_head(1)
    body = b""
    while piece := await connection.read(1):
        body += piece
    return connection.status, connection.headers, body


def written(interim: int, fields: list[tuple[bytes, bytes]], chunks: list[bytes], framing: str) -> bytes:
    """A response with this body, in one of the ways to write it."""
    head = b"HTTP/1.1 102 Processing\r\nX-Interim: yes\r\n\r\n" * interim + b"HTTP/1.1 200 OK\r\n"
    head += b"".join(b"%b: %b\r\n" % field for field in fields)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(b"".join(chunks)) + b"".join(chunks)
    if framing == "chunks":
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nX-Trailer: yes\r\n\r\n"
    return head + b"\r\n" + b"".join(chunks)


FIELDS = st.tuples(st.from_regex(rb"\AX-[A-Za-z0-9]{1,8}\Z"), st.from_regex(rb"\A[!-~]{0,8}( [!-~]{1,8})?\Z"))


@given(
    st.integers(0, 2),
    st.lists(FIELDS, max_size=4),
    st.lists(st.binary(max_size=40), max_size=4),
    st.sampled_from(["length", "chunks", "end"]),
    st.data(),
)
def test_response_cut_anywhere_is_the_same(
    interim: int, fields: list[tuple[bytes, bytes]], chunks: list[bytes], framing: str, data: st.DataObject
) -> None:
    response = written(interim, fields, chunks, framing)
    places = data.draw(st.sets(st.integers(1, len(response) - 1), max_size=8).map(sorted))

    async def receive() -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        connection, _ = connected()
        connection.start(REQUEST)
        reader = asyncio.ensure_future(answered(connection))
        for start, end in itertools.pairwise([0, *places, len(response)]):
            connection.data_received(response[start:end])
            await asyncio.sleep(0)
        connection.eof_received()
        return await reader

    status, headers, body = asyncio.run(receive())
    assert status == 200
    assert [field for field in headers if field[0].startswith(b"X-")] == [
        (name, value.strip()) for name, value in fields
    ]
    assert body == b"".join(chunks)


@given(st.lists(st.integers(1, 64), max_size=3), st.booleans())
def test_response_cut_short_is_an_error(cuts: list[int], is_chunked: bool) -> None:
    response = written(1, [(b"X-Name", b"value")], [b"some", b"body"], "chunks" if is_chunked else "length")

    async def receive(size: int) -> None:
        connection, _ = connected()
        connection.start(REQUEST)
        connection.data_received(response[:size])
        connection.eof_received()
        await answered(connection)

    for cut in [1, *cuts]:
        with pytest.raises(httpx2.RemoteProtocolError):
            asyncio.run(receive(len(response) - cut))


BYTES = st.sampled_from([b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b";", b"0", b"1", b"-", b"x", b"\xff", b""])
DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), BYTES), max_size=3)


def damaged(response: bytes, damage: list[tuple[int, int, bytes]]) -> bytes:
    """The response with some bytes replaced, left out or put in."""
    for place, length, new in damage:
        start = place % (len(response) + 1)
        response = response[:start] + new + response[start + length :]
    return response


async def result(pieces: list[bytes]) -> Any:
    """What comes of a response in these pieces: all of it, or its beginning and the class of what was raised."""
    connection, _ = connected()
    connection.start(REQUEST)
    for piece in pieces:
        if not connection.gone.done():
            connection.data_received(piece)
        if connection._has_ended and not connection.gone.done():
            connection.connection_lost(None)  # as the event loop does after an abort
    if not connection._has_ended:
        connection.eof_received()
    body = b""
    try:
        await connection.receive_head(None)
        while piece := await connection.read(None):
            body += piece
    except httpx2.TransportError as failure:
        return type(failure), connection.status, body
    finally:
        connection.close()
    return connection.status, connection.headers, body


@given(
    st.integers(0, 1),
    st.lists(FIELDS, max_size=2),
    st.lists(st.binary(max_size=12), max_size=3),
    st.sampled_from(["length", "chunks", "end"]),
    DAMAGE,
    st.data(),
)
def test_damaged_response_cut_anywhere_is_the_same(
    interim: int,
    fields: list[tuple[bytes, bytes]],
    chunks: list[bytes],
    framing: str,
    damage: list[tuple[int, int, bytes]],
    data: st.DataObject,
) -> None:
    """Whatever it then is: an error, another response, or the same. Nothing but httpx's errors is ever raised."""
    response = damaged(written(interim, fields, chunks, framing), damage) or b"H"
    places = data.draw(st.sets(st.integers(1, max(1, len(response) - 1)), max_size=len(response)).map(sorted))
    pieces = [response[start:end] for start, end in itertools.pairwise([0, *places, len(response)]) if start < end]
    assert asyncio.run(result(pieces)) == asyncio.run(result([response]))


async def test_a_burst_is_read_in_one_piece() -> None:
    connection, _ = connected()
    connection.start(REQUEST)
    connection.data_received(written(0, [], [b"event"] * 500, "chunks"))
    await connection.receive_head(None)
    assert await connection.read(None) == b"event" * 500
    assert await connection.read(None) == b""


async def test_response_before_the_request_is_the_last() -> None:
    connection, _ = connected()
    connection.data_received(written(0, [], [b"early"], "length"))
    connection.start(REQUEST)
    assert await answered(connection) == (200, [(b"Content-Length", b"5")], b"early")
    assert not connection.is_reusable


async def test_reading_pauses_while_much_is_unread() -> None:
    connection, sock = connected()
    connection.start(REQUEST)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 200_000)
    assert not sock.is_paused
    connection.data_received(b"x" * 200_000)
    assert sock.is_paused
    connection.data_received(b"x" * 100_000)  # which was on its way, as happens with TLS
    assert len(connection.take()) == 500_000
    assert not sock.is_paused


async def test_connection_that_is_complete_and_unread_does_not_rest_paused() -> None:
    connection, sock = connected()
    connection.start(REQUEST)
    connection.data_received(written(0, [], [b"x" * 300_000], "length"))
    assert sock.is_paused
    assert connection.is_reusable
    connection.rest(60)
    assert not sock.is_paused
    assert connection.take() == b""
    connection.close()


async def test_what_was_received_before_the_end_can_be_read_although_reading_had_paused() -> None:
    connection, sock = connected()
    connection.start(REQUEST)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000)
    connection.connection_lost(ConnectionResetError())
    assert len(await connection.read(None)) == 300_000
    assert sock.is_paused
    with pytest.raises(httpx2.ReadError):
        await connection.read(None)


async def test_connection_ends_once_and_then_has_no_timer() -> None:
    ended: list[Connection] = []
    connection, sock = Connection(("http", b"test", None), 65536, ended.append), Socket()
    connection.connection_made(sock)
    connection.start(REQUEST)
    with pytest.raises(httpx2.ReadTimeout):
        await connection.receive_head(0.01)
    connection._alarm.set(60)
    connection.close()
    connection.close()
    connection.connection_lost(None)
    assert ended == [connection]
    assert connection.gone.done()
    assert connection._alarm._timer is None
    assert sock.is_aborted


async def test_request_on_a_connection_that_has_just_ended_is_not_written() -> None:
    connection, sock = connected()
    connection.connection_lost(ConnectionResetError())
    connection.start(REQUEST)
    assert sock.written == b""
    with pytest.raises(httpx2.ReadError, match="ConnectionResetError") as raised:
        await connection.receive_head(None)
    assert isinstance(raised.value.__cause__, ConnectionResetError)


async def test_body_is_not_written_to_a_socket_that_has_broken() -> None:
    """Which is seen at once, but told a little later."""
    connection, sock = connected()
    sock.takes = 3
    request = Outgoing.from_request(httpx2.Request("POST", "http://test/", content=b"x" * 1_000_000))
    sending = asyncio.ensure_future(connection.send(request, None))
    await asyncio.sleep(0.01)
    assert not sending.done()
    connection.connection_lost(BrokenPipeError())
    with pytest.raises(httpx2.NetworkError, match="BrokenPipeError"):
        await sending
    assert len(sock.written) < 200_000


async def test_no_second_task_may_wait() -> None:
    connection, _ = connected()
    connection.start(REQUEST)
    first = asyncio.ensure_future(connection.receive_head(None))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Another task"):
        await connection.receive_head(None)
    connection.data_received(written(0, [], [], "length"))
    await first


async def test_wake_of_a_task_that_was_just_cancelled_does_nothing() -> None:
    connection, _ = connected()
    connection.start(REQUEST)
    task = asyncio.ensure_future(connection.receive_head(None))
    await asyncio.sleep(0)
    task.cancel()
    connection.data_received(written(0, [], [], "length"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.status == 200


# The tap


class Tap:
    """Takes what it is offered while it `is_open`, and raises `failure` once it has taken something."""

    def __init__(self) -> None:
        self.is_open = True
        self.failure: Exception | None = None
        self.asked = 0
        self.taken: list[bytes] = []

    def __call__(self, take: Callable[[], bytes]) -> bool:
        self.asked += 1
        if self.is_open:
            self.taken.append(take())
            if self.failure:
                raise self.failure
        return self.is_open


LENGTH_9 = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"


@asynccontextmanager
async def tapped(
    head: bytes = LENGTH_9, timeout_seconds: float | None = 1
) -> AsyncIterator[tuple[Connection, Socket, Tap, "asyncio.Task[bytes]"]]:
    """A connection of whose body somebody waits for the first bytes."""
    connection, sock = connected()
    connection.start(REQUEST)
    connection.data_received(head)
    await connection.receive_head(1)
    tap = connection.tap = Tap()
    reader = asyncio.create_task(connection.read(timeout_seconds))
    await asyncio.sleep(0)
    try:
        yield connection, sock, tap, reader
    finally:
        reader.cancel()
        connection.close()


async def test_tap_takes_what_is_waited_for_and_nobody_is_woken() -> None:
    async with tapped() as (connection, _, tap, reader):
        for piece in (b"one", b"two"):
            connection.data_received(piece)
        await asyncio.sleep(0)
        assert not reader.done()
        assert tap.taken == [b"one", b"two"]
        connection.data_received(b"end")  # who waits has to learn of it
        assert await reader == b"end"
        assert await connection.read(1) == b""
        assert tap.asked == 2
        assert connection.is_reusable


async def test_tap_that_does_not_take_leaves_it_to_who_waits() -> None:
    async with tapped() as (connection, _, tap, reader):
        tap.is_open = False
        connection.data_received(b"one")
        tap.is_open = True
        connection.data_received(b"two")  # before the one who waits had its turn: it must not come first
        assert await reader == b"onetwo"
        assert (tap.asked, tap.taken) == (1, [])


async def test_tap_is_not_asked_while_nobody_waits() -> None:
    async with tapped() as (connection, _, tap, reader):
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        connection.data_received(b"one")
        assert tap.asked == 0
        assert await connection.read(1) == b"one"


async def test_what_the_tap_raises_comes_out_where_it_is_waited_for() -> None:
    async with tapped() as (connection, _, tap, reader):
        tap.failure = ZeroDivisionError("theirs")
        connection.data_received(b"one")
        connection.data_received(b"two")
        with pytest.raises(ZeroDivisionError, match="theirs"):
            await reader
        assert tap.taken == [b"one"]


@pytest.mark.parametrize("end", ["eof", "lost", "broken"])
async def test_who_waits_learns_of_the_end_of_a_tapped_connection(end: str) -> None:
    async with tapped(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") as (connection, _, tap, reader):
        connection.data_received(b"3\r\none\r\n")
        if end == "eof":
            connection.eof_received()
        elif end == "lost":
            connection.connection_lost(ConnectionResetError())
        else:
            connection.data_received(b"3\r\ntwo\r\nnot a chunk")
            assert await reader == b"two"  # all that came before the fault
            reader = asyncio.create_task(connection.read(1))
        with pytest.raises(httpx2.ReadError if end == "lost" else httpx2.RemoteProtocolError):
            await reader
        assert tap.taken == [b"one"]


async def test_body_that_ends_with_its_connection_is_whole_behind_a_tap() -> None:
    async with tapped(UNTIL_CLOSED) as (connection, _, tap, reader):
        connection.data_received(b"one")
        connection.eof_received()
        assert await reader == b""
        assert tap.taken == [b"one"]


async def test_what_is_no_body_goes_past_the_tap() -> None:
    async with tapped(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") as (connection, _, tap, reader):
        connection.data_received(b"3")
        await asyncio.sleep(0)
        connection.pause_writing()
        connection.resume_writing()
        await asyncio.sleep(0)
        assert not reader.done()
        connection.data_received(b"\r\none\r\n")
        assert tap.taken == [b"one"]


async def test_reading_goes_on_once_the_tap_has_taken_a_lot() -> None:
    async with tapped(UNTIL_CLOSED) as (connection, sock, tap, reader):
        connection.data_received(b"x" * (HIGH_WATER_BYTES + 1))
        assert len(tap.taken[0]) == HIGH_WATER_BYTES + 1
        assert not sock.is_paused
        tap.is_open = False
        connection.data_received(b"y" * (HIGH_WATER_BYTES + 1))
        assert sock.is_paused
        assert len(await reader) == HIGH_WATER_BYTES + 1
        assert not sock.is_paused


async def test_tap_ends_with_the_response() -> None:
    async with tapped() as (connection, _, tap, reader):
        connection.data_received(b"123456789")
        assert await reader == b"123456789"
        connection.rest(1)
        assert connection.tap is None
        connection.start(REQUEST)
        connection.data_received(LENGTH_9)
        reader = asyncio.create_task(connection.read(1))
        await asyncio.sleep(0)
        connection.data_received(b"1234")
        assert await reader == b"1234"
        assert tap.asked == 0


class Clock(asyncio.SelectorEventLoop):
    """Whose time a test moves on."""

    ahead_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_seconds


def test_silence_counts_from_the_last_piece_that_the_tap_took() -> None:
    async def pieces(loop: Clock) -> None:
        async with tapped(UNTIL_CLOSED, 1000) as (connection, _, tap, reader):
            for _ in range(3):
                loop.ahead_seconds += 700
                connection.data_received(b"one")
                await asyncio.sleep(0.001)
                assert not reader.done()
            loop.ahead_seconds += 1000
            with pytest.raises(httpx2.ReadTimeout):
                await reader
            assert tap.taken == [b"one"] * 3

    with asyncio.Runner(loop_factory=Clock) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Clock)
        runner.run(pieces(loop))
