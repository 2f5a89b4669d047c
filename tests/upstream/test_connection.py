"""Connection by itself: what it reads does not depend on how the bytes are cut, and its timer ends with it."""

import asyncio
import itertools
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.connection import Connection
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
