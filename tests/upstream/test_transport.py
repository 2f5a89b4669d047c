"""Transport against real servers on loopback, on both event loops."""

import asyncio
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.upstream.transport import ResponseStream, Transport, Whole
from tests.upstream.scripted import Peer, Server, Step, ask, hang_up, pause, reset, serving, wait

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx makes one for each transport otherwise
SOON = {"timeout": {"connect": 0.05, "read": 0.05, "write": 0.05, "pool": None}}
CERTIFICATE = Path(__file__).with_name("loopback.pem")
LARGE = bytes(range(256)) * 4096 * 8  # 8 MiB, more than loopback holds


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


def get(server: Server, path: str = "/", **options: Any) -> httpx2.Request:
    return httpx2.Request("GET", server.url + path, **options)


def post(server: Server, content: Any = b"{}", **options: Any) -> httpx2.Request:
    return httpx2.Request("POST", server.url + "/run", content=content, **options)


async def body(response: httpx2.Response) -> bytes:
    return b"".join(await pieces(response))


async def pieces(response: httpx2.Response) -> list[bytes]:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    return [piece async for piece in response.stream]


async def outcome(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> Any:
    """Status and body, or the class of what was raised."""
    try:
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        try:
            return response.status_code, await body(response)
        finally:
            await response.stream.aclose()
    except httpx2.RequestError as failure:
        return type(failure)


# The plain case


async def test_request_and_response_pass_unchanged() -> None:
    answer = (
        b"HTTP/1.1 201 Whatever\r\nX-Name: One\r\nx-name: two \r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    )
    async with serving([ask, answer + b"\x1f\x8b\x08"]) as server, Transport() as transport:
        request = httpx2.Request("POST", server.url + "/a%20b?c=d", headers=[(b"X-Key", "é".encode())], content=b"body")
        response = await transport.handle_async_request(request)
        assert response.status_code == 201
        assert response.request is request
        assert response.headers.multi_items() == [
            ("x-name", "One"), ("x-name", "two"), ("content-encoding", "gzip"), ("content-length", "3"),
        ]  # fmt: skip
        assert await pieces(response) == [b"\x1f\x8b\x08"]
        host = f"127.0.0.1:{server.port}".encode()
        assert server.requests == [
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: " + host + b"\r\nX-Key: \xc3\xa9\r\nContent-Length: 4\r\n"
            b"Accept-Encoding: identity\r\n\r\nbody"
        ]


async def test_accept_encoding_of_the_caller_is_kept() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server, headers={"Accept-Encoding": "br"}))
        assert server.requests[0].count(b"ccept-") == 1
        assert b"Accept-Encoding: br\r\n" in server.requests[0]


async def test_body_that_came_with_the_headers_is_read_without_waiting() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, Whole)
        stream = aiter(response.stream)
        with pytest.raises(StopIteration) as stopped:
            anext(stream).__await__().__next__()
        assert stopped.value.value == b"ok"
        with pytest.raises(StopAsyncIteration):
            anext(stream).__await__().__next__()
        await response.aclose()
        assert [piece async for piece in response.stream] == []


async def test_what_arrives_together_is_one_piece() -> None:
    async with (
        serving([ask, CHUNKED + b"1\r\na\r\n1\r\nb\r\n", wait, b"1\r\nc\r\n1\r\nd\r\n1\r\ne\r\n0\r\n\r\n"]) as server,
        Transport() as transport,
    ):
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"ab"
        server.go.set()
        assert await pieces(response) == [b"cde"]


async def test_response_is_returned_before_its_body_has_come() -> None:
    async with serving([ask, OK[:-2], wait, b"ok"]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert response.headers["content-length"] == "2"
        server.go.set()
        assert await body(response) == b"ok"


async def test_it_works_under_httpx_client() -> None:
    async with serving([ask, OK, ask, OK]) as server, httpx2.AsyncClient(transport=Transport()) as client:
        for _ in range(2):
            assert (await client.post(server.url, json={})).text == "ok"
        assert server.accepted == 1


async def test_small_writes_are_not_held_back() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        (connection,) = transport._idle["http", b"127.0.0.1", server.port]
        sock = connection._socket.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# What servers answer


@pytest.mark.parametrize("size", [1000, 60_000, 65_000])
async def test_headers_may_be_as_large_as_the_limit(size: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: " + b"x" * size + b"\r\nContent-Length: 100000\r\n\r\n" + b"b" * 100_000
    async with serving([ask, answer]) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == (200, b"b" * 100_000)


async def test_everything_before_a_fault_is_delivered() -> None:
    async with serving([ask, CHUNKED + b"2\r\nok\r\nx\r\n"]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"ok"
        with pytest.raises(httpx2.RemoteProtocolError) as raised:
            await anext(response.stream)
        assert raised.value.request is response.request


# The tap


async def test_tap_takes_what_comes_while_the_next_piece_is_waited_for() -> None:
    script: list[Step] = [ask, CHUNKED + b"1\r\na\r\n", wait, b"1\r\nb\r\n", pause, b"1\r\nc\r\n", pause, b"0\r\n\r\n"]
    taken: list[bytes] = []

    def tap(take: Callable[[], bytes]) -> bool:
        taken.append(take())
        return True

    async with serving(script) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"a"
        response.stream.tap(tap)
        server.go.set()
        assert await body(response) == b""
        assert b"".join(taken) == b"bc"
        response.stream.tap(tap)  # of an answer that is over


@pytest.mark.parametrize("field", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("is_whole", [True, False])
async def test_nothing_of_the_tap_is_kept_behind_its_response(field: bytes, is_whole: bool) -> None:
    class Refusing:
        def __call__(self, _take: Callable[[], bytes]) -> bool:
            return False

    tap = Refusing()
    known = weakref.ref(tap)
    head = b"HTTP/1.1 200 OK\r\n" + field + b"Content-Length: 2\r\n\r\n"
    rest: list[Step] = [pause, b"b"] if is_whole else []
    async with serving([ask, head, wait, b"a", *rest]) as server:
        transport = Transport()
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        response.stream.tap(tap)
        del tap
        server.go.set()
        gc.disable()
        try:
            assert await anext(response.stream) == b"a"
            assert known()
            if is_whole:
                assert await body(response) == b"b"
            else:
                await response.stream.aclose()
            assert known() is None
        finally:
            gc.enable()
            await transport.aclose()


# The pool


async def test_connection_is_used_again() -> None:
    async with serving([ask, OK] * 3) as server, Transport() as transport:
        for _ in range(3):
            assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 1


async def test_the_last_used_connection_is_taken_first() -> None:
    async with serving([ask, wait, OK, ask, OK], [ask, OK, ask, NO]) as server, Transport() as transport:
        slow = asyncio.ensure_future(outcome(transport, get(server)))
        await server.has_open(1)
        assert await outcome(transport, get(server)) == (200, b"ok")
        server.go.set()
        assert await slow == (200, b"ok")
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 2


NOT_REUSED: list[tuple[str, list[Step]]] = [
    ("connection: close", [ask, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"]),
    ("HTTP/1.0", [ask, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"]),
    ("bytes after the end", [ask, OK + b"surplus"]),
    ("a second response", [ask, OK + OK]),
    ("the beginning of a second response", [ask, OK + b"HTTP/1.1 20"]),
    ("bytes after a close", [ask, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokmore"]),
    ("bytes after the last chunk", [ask, CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore"]),
    ("bytes a little after the end", [ask, OK, b"", pause, OK]),
]


@pytest.mark.parametrize("script", [script for _, script in NOT_REUSED], ids=[name for name, _ in NOT_REUSED])
async def test_connection_is_not_used_again_after(script: list[Step]) -> None:
    async with serving(script, [ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == (200, b"ok")
        await server.has_open(0)
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 2


async def test_connection_is_not_used_again_after_the_request_asked_for_that() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, get(server, headers={"Connection": "close"})) == (200, b"ok")
        await server.has_open(0)


async def test_bytes_after_the_end_are_noticed_before_the_body_is_read() -> None:
    async with (
        serving([ask, CHUNKED + b"2\r\nok\r\n", pause, b"0\r\n\r\n", pause, OK]) as server,
        Transport() as transport,
    ):
        response = await transport.handle_async_request(get(server))
        await server.has_open(0)
        assert await body(response) == b"ok"


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_idle_connection_that_the_server_closes_is_dropped(end: Step) -> None:
    async with serving([ask, OK, wait, end], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        server.go.set()
        await server.has_open(0)
        await asyncio.sleep(0.02)
        assert transport._count_idle() == 0
        assert await outcome(transport, get(server, content=None)) == (200, b"ok")


async def test_idle_connection_expires() -> None:
    async with serving([ask, OK]) as server, Transport(keepalive_seconds=0.05) as transport:
        await outcome(transport, get(server))
        assert transport._count_idle() == 1
        await server.has_open(0)
        assert transport._count_idle() == 0


async def test_idle_connection_expires_although_reads_may_take_longer() -> None:
    async with serving([ask, pause, OK]) as server, Transport(keepalive_seconds=0.05) as transport:
        await outcome(transport, get(server, extensions={"timeout": {"read": 60}}))
        await server.has_open(0)


async def test_idle_connections_above_the_limit_are_closed() -> None:
    async with serving([ask, wait, OK]) as server, Transport(max_idle_connections=2) as transport:
        requests = [asyncio.ensure_future(outcome(transport, get(server))) for _ in range(5)]
        await server.has_open(5)
        server.go.set()
        assert await asyncio.gather(*requests) == [(200, b"ok")] * 5
        await server.has_open(2)


async def test_servers_do_not_share_connections() -> None:
    async with serving([ask, OK]) as one, serving([ask, OK]) as other, Transport() as transport:
        await outcome(transport, get(one))
        await outcome(transport, get(other))
        assert (one.accepted, other.accepted) == (1, 1)


# A pooled connection that turns out to be closed


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_request_on_a_connection_closed_meanwhile_is_sent_once_more(end: Step) -> None:
    async with serving([ask, OK, ask, end], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, b"twice")) == (200, b"ok")
        assert [request[-5:] for request in server.requests[1:]] == [b"twice", b"twice"]


async def test_large_request_on_a_connection_closed_meanwhile_is_sent_once_more() -> None:
    async with serving([ask, OK, pause, hang_up], [ask, OK]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, LARGE)) == (200, b"ok")
        assert server.requests[1].endswith(LARGE)


async def test_request_is_not_sent_a_third_time() -> None:
    async with serving([ask, OK, ask, hang_up], [ask, hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server)) is httpx2.RemoteProtocolError
        assert len(server.requests) == 3


async def test_request_is_not_sent_again_after_a_byte_of_its_response() -> None:
    async with serving([ask, OK, ask, b"H", hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server)) is httpx2.RemoteProtocolError
        assert server.accepted == 1


async def test_request_that_timed_out_is_not_sent_again() -> None:
    async with serving([ask, OK, ask]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, extensions=SOON)) is httpx2.ReadTimeout
        assert server.accepted == 1


async def test_request_with_a_streamed_body_is_not_sent_again() -> None:
    async with serving([ask, OK, ask, hang_up]) as server, Transport() as transport:
        await outcome(transport, get(server))
        assert await outcome(transport, post(server, chunks(b"once"))) is httpx2.RemoteProtocolError
        assert server.accepted == 1


# Request bodies


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def test_large_body_is_sent_whole() -> None:
    async with serving([ask, OK, ask, OK]) as server, Transport() as transport:
        for _ in range(2):
            assert await outcome(transport, post(server, LARGE)) == (200, b"ok")
        assert server.requests[1].endswith(b"\r\n\r\n" + LARGE)
        assert server.accepted == 1


async def test_body_from_a_stream_is_sent_in_chunks() -> None:
    async with serving([ask, OK, ask, OK]) as server, Transport() as transport:
        for _ in range(2):
            assert await outcome(transport, post(server, chunks(b"one", b"", b"two"))) == (200, b"ok")
        assert server.requests[1].endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        assert server.accepted == 1


async def test_body_from_a_stream_of_known_length_is_sent_as_it_is() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        request = post(server, chunks(b"one", b"two"), headers={"Content-Length": "6"})
        assert await outcome(transport, request) == (200, b"ok")
        assert server.requests[0].endswith(b"\r\n\r\nonetwo")


@pytest.mark.parametrize("length", ["5", "7"])
async def test_body_of_another_length_than_announced_is_refused(length: str) -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        request = post(server, chunks(b"one", b"two"), headers={"Content-Length": length})
        assert await outcome(transport, request) is httpx2.LocalProtocolError
        await server.has_open(0)


async def test_failure_of_the_body_is_passed_on_and_closes_the_connection() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    async with serving([ask, OK]) as server, Transport() as transport:
        with pytest.raises(ZeroDivisionError):
            await outcome(transport, post(server, broken()))
        await server.has_open(0)


async def test_body_that_is_not_asynchronous_is_refused() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        with pytest.raises(TypeError, match="asynchronous"):
            await outcome(transport, post(server, iter([b"one"])))


@pytest.mark.parametrize("content", [LARGE, b"x" * 70_000], ids=["stuck", "in the socket"])
async def test_response_before_the_body_is_sent_is_returned(content: bytes) -> None:
    async with serving([NO, wait]) as server, Transport() as transport:
        assert await outcome(transport, post(server, content)) == (413, b"no")
        server.go.set()


async def test_connection_is_not_used_again_after_such_a_response() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    async with serving([NO], [ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, post(server, LARGE)) == (413, b"no")
        assert transport._count_idle() == 0
        await server.has_open(0)


async def test_stream_of_a_body_that_is_not_wanted_is_closed() -> None:
    closed = []

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async with serving([NO]) as server, Transport() as transport:
        assert await outcome(transport, post(server, endless())) == (413, b"no")
        assert closed == [True]
        await server.has_open(0)


async def test_unread_rest_of_a_body_in_our_buffer_keeps_the_connection_from_the_pool() -> None:
    """The response is there and all is written, but the server has not taken it."""
    async with serving([b"", wait, NO]) as server, Transport() as transport:
        request = asyncio.ensure_future(outcome(transport, post(server, b"x" * 60_000)))
        await server.has_open(1)
        server.go.set()
        assert await request == (413, b"no")


@pytest.mark.parametrize(("end", "failure"), [(reset, httpx2.WriteError), (hang_up, httpx2.NetworkError)])
async def test_server_that_goes_while_the_body_is_sent(end: Step, failure: type[Exception]) -> None:
    async with serving([pause, end]) as server, Transport() as transport:
        result = await outcome(transport, post(server, LARGE))
        assert issubclass(result, failure)


# Requests that must not be sent


HARMFUL: list[tuple[str, Any]] = [
    ("GET", {"headers": {"X": "a\r\nY: b"}}),
    ("GET", {"headers": {"X": "a\nb"}}),
    ("GET", {"headers": {"X": "a\rb"}}),
    ("GET", {"headers": {"X": "a\0b"}}),
    ("GET", {"headers": {"X\r\nY": "a"}}),
    ("GET / HTTP/1.1\r\nX: Y\r\n\r\nGET", {}),
    ("GET /other", {}),
    ("POST", {"content": b"abc", "headers": {"Content-Length": "2"}}),
]


@pytest.mark.parametrize(("method", "options"), HARMFUL)
async def test_request_that_would_be_read_otherwise_is_refused(method: str, options: Any) -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        request = httpx2.Request(method, server.url, **options)
        with pytest.raises(httpx2.LocalProtocolError) as raised:
            await transport.handle_async_request(request)
        assert raised.value.request is request
        assert server.accepted == 0


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/relative", "http:///path"])
async def test_other_protocols_are_refused(url: str) -> None:
    async with Transport() as transport:
        assert await outcome(transport, httpx2.Request("GET", url)) is httpx2.UnsupportedProtocol


# Responses without a body


@pytest.mark.parametrize(
    ("head", "is_reused"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
    ],
)
async def test_response_to_head_has_no_body(head: bytes, is_reused: bool) -> None:
    async with serving([ask, head, ask, OK], [ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, httpx2.Request("HEAD", server.url)) == (200, b"")
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == (1 if is_reused else 2)


@pytest.mark.parametrize("status", [b"204 No", b"304 Not"])
async def test_connection_is_used_again_after_a_status_without_body(status: bytes) -> None:
    async with serving([ask, b"HTTP/1.1 " + status + b"\r\n\r\n", ask, OK]) as server, Transport() as transport:
        assert await outcome(transport, get(server)) == (int(status[:3]), b"")
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 1


# Timeouts


SLOW: list[tuple[str, list[Step], Any]] = [
    ("no response", [ask], httpx2.ReadTimeout),
    ("half of the headers", [ask, b"HTTP/1.1 200 OK\r\n"], httpx2.ReadTimeout),
    ("only an interim response", [ask, b"HTTP/1.1 100 Continue\r\n\r\n"], httpx2.ReadTimeout),
    ("half of the body", [ask, OK[:-1]], httpx2.ReadTimeout),
    ("half of the chunks", [ask, CHUNKED + b"2\r\nok\r\n"], httpx2.ReadTimeout),
]


@pytest.mark.parametrize(("script", "expected"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW])
async def test_silence_is_a_read_timeout(script: list[Step], expected: Any) -> None:
    async with serving(script) as server, Transport() as ours, httpx2.AsyncHTTPTransport(verify=NO_TLS) as theirs:
        assert await outcome(ours, get(server, extensions=SOON)) == expected
        await server.has_open(0)
        assert await outcome(theirs, get(server, extensions=SOON)) == expected


async def test_body_that_comes_slower_than_the_timeout_in_all_is_read() -> None:
    slowly: list[Step] = []
    for byte in b"slowly":
        slowly += [b"1\r\n%c\r\n" % byte, pause, pause, pause, pause]
    async with serving([ask, CHUNKED, *slowly, b"0\r\n\r\n"]) as server, Transport() as transport:
        request = get(server, extensions={"timeout": {"read": 0.25}})
        assert await outcome(transport, request) == (200, b"slowly")


DRIPPING = [b"H", b"TTP/1.1 2", b"00 OK\r\nTransfer-Encoding: chunked\r\n", b"X: y\r\n\r\n", *[b"1\r\na\r\n"] * 5000]

PHASES: dict[str, tuple[list[Step], str]] = {
    "TLS": ([wait], "https"),
    "sending": ([wait], "http"),
    "headers": ([ask, wait], "http"),
    "a body that never ends": ([ask, *(step for data in DRIPPING for step in (data, pause))], "http"),
}


@pytest.mark.parametrize(("script", "scheme"), PHASES.values(), ids=PHASES.keys())
async def test_one_deadline_for_all_may_end_a_request_anywhere(script: list[Step], scheme: str) -> None:
    """It is the caller's own, such as asyncio.timeout: no other timeout is met here, as each begins anew."""
    async with serving(script) as server, Transport() as transport:
        url = f"{scheme}://127.0.0.1:{server.port}"
        patient = dict.fromkeys(["connect", "read", "write", "pool"], 10)
        request = httpx2.Request("POST", url, content=LARGE, extensions={"timeout": patient})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await outcome(transport, request)
        server.go.set()
        await server.has_open(0)
        assert transport._count_idle() == 0


async def test_timeout_names_its_request() -> None:
    async with serving([ask]) as server, Transport() as transport:
        request = get(server, extensions=SOON)
        with pytest.raises(httpx2.ReadTimeout) as raised:
            await transport.handle_async_request(request)
        assert raised.value.request is request


async def test_server_that_takes_nothing_is_a_write_timeout() -> None:
    async with serving([wait]) as server, Transport() as transport, httpx2.AsyncHTTPTransport(verify=NO_TLS) as theirs:
        assert await outcome(transport, post(server, LARGE, extensions=SOON)) is httpx2.WriteTimeout
        assert await outcome(theirs, post(server, LARGE, extensions=SOON)) is httpx2.WriteTimeout
        server.go.set()


async def test_tls_that_never_comes_about_is_a_connect_timeout() -> None:
    async with serving([wait]) as server, Transport() as transport:
        request = httpx2.Request("GET", f"https://127.0.0.1:{server.port}", extensions=SOON)
        with pytest.raises(httpx2.ConnectTimeout) as raised:
            await transport.handle_async_request(request)
        assert raised.value.request is request
        server.go.set()
        await server.has_open(0)


# Connecting


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_refused_connection() -> None:
    async with Transport() as transport:
        request = httpx2.Request("GET", f"http://127.0.0.1:{unused_port()}")
        with pytest.raises(httpx2.ConnectError, match=r"refused|failed") as raised:
            await transport.handle_async_request(request)
        assert raised.value.request is request


async def test_host_name_that_cannot_exist() -> None:
    async with Transport() as transport:
        assert await outcome(transport, httpx2.Request("GET", f"http://{'a' * 70}.test")) is httpx2.ConnectError


async def test_url_without_a_port() -> None:
    """The port is its scheme's; the address is one that no connection is made to."""
    async with Transport() as transport:
        assert await outcome(transport, httpx2.Request("GET", "http://255.255.255.255/")) is httpx2.ConnectError


async def test_cancelled_connect_leaves_nothing() -> None:
    async with serving([wait]) as server, Transport() as transport:
        request = httpx2.Request("GET", f"https://127.0.0.1:{server.port}")
        task = asyncio.ensure_future(transport.handle_async_request(request))
        await server.has_open(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.go.set()
        await server.has_open(0)


# TLS


@pytest.fixture
def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_requests_over_tls(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with serving([ask, OK] * 2, tls=tls) as server, Transport(ssl_context=trusting) as transport:
        for _ in range(2):
            assert await outcome(transport, post(server, b"x" * 70_000)) == (200, b"ok")
        assert server.accepted == 1


async def test_default_tls_verifies_and_offers_only_what_we_speak(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = []

    async def note(peer: Peer) -> None:
        chosen.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())

    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with serving([note, ask, wait, OK], tls=tls) as server, Transport() as transport:
        requests = [asyncio.ensure_future(outcome(transport, get(server))) for _ in range(2)]
        await server.has_open(2)
        server.go.set()
        assert await asyncio.gather(*requests) == [(200, b"ok")] * 2
        assert chosen == ["http/1.1", "http/1.1"]


async def test_untrusted_certificate_is_refused(tls: ssl.SSLContext) -> None:
    async with serving([ask, OK], tls=tls) as server, Transport() as transport:
        with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
            await transport.handle_async_request(get(server))


async def test_server_that_closes_during_the_handshake() -> None:
    async with serving([pause, hang_up]) as server, Transport() as transport:
        request = httpx2.Request("GET", f"https://127.0.0.1:{server.port}")
        assert await outcome(transport, request) is httpx2.ConnectError


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([ask, b"HTTP/1.1 200 OK\r\n\r\nto the end", hang_up], (200, b"to the end")),
        ([ask, OK[:-1], hang_up], httpx2.RemoteProtocolError),
        ([ask, hang_up], httpx2.RemoteProtocolError),
        ([ask, OK[:-1]], httpx2.ReadTimeout),
    ],
)
async def test_ends_over_tls(script: list[Step], expected: Any, tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with serving(script, tls=tls) as server, Transport(ssl_context=trusting) as transport:
        request = get(server, extensions={"timeout": {"read": 0.1}})
        assert await outcome(transport, request) == expected
        await server.has_open(0)


# Back-pressure


async def test_server_has_to_wait_while_nobody_reads() -> None:
    sent = []

    async def pour(peer: Peer) -> None:
        for _ in range(1024):
            peer.writer.write(b"x" * 65536)
            await peer.writer.drain()
            sent.append(65536)

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20)
    async with serving([ask, head, pour, ask, OK]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        seen = -1
        while seen < len(sent):  # until nothing more is taken
            seen = len(sent)
            await asyncio.sleep(0.05)
        connection = response.stream._connection
        assert connection is not None
        assert 256 * 1024 < connection._unread_bytes < 1024 * 1024
        assert len(sent) < 1024
        assert sum(map(len, await pieces(response))) == 64 * 2**20
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 1


# Ends


async def test_closed_stream_closes_its_connection() -> None:
    async with serving([ask, CHUNKED + b"2\r\nok\r\n"]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        await response.aclose()
        await server.has_open(0)
        with pytest.raises(httpx2.StreamClosed):
            await anext(response.stream)


async def test_stream_closed_after_the_whole_response_came_gives_its_connection_back() -> None:
    script: list[Step] = [ask, CHUNKED + b"2\r\nok\r\n", pause, b"2\r\nno\r\n0\r\n\r\n", ask, OK]
    async with serving(script) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, ResponseStream)
        assert await anext(response.stream) == b"ok"
        await asyncio.sleep(0.06)
        await response.stream.aclose()
        await response.stream.aclose()
        assert await outcome(transport, get(server)) == (200, b"ok")
        assert server.accepted == 1


async def test_body_that_was_there_but_not_read_is_not_taken_for_empty_after_closing() -> None:
    async with serving([ask, OK]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert isinstance(response.stream, Whole)
        await response.stream.aclose()
        with pytest.raises(httpx2.StreamClosed):
            await anext(aiter(response.stream))


async def test_stream_closed_while_another_task_reads_ends_that_task() -> None:
    async with serving([ask, CHUNKED]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        reader = asyncio.ensure_future(pieces(response))
        await asyncio.sleep(0.01)
        await response.aclose()
        with pytest.raises(httpx2.ReadError, match="closed"):
            await reader


async def test_two_tasks_cannot_read_one_stream() -> None:
    async with serving([ask, CHUNKED]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        reader = asyncio.ensure_future(pieces(response))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="Another task"):
            await pieces(response)
        with pytest.raises(httpx2.ReadError):
            await reader


async def test_cancelled_request_closes_its_connection() -> None:
    async with serving([ask]) as server, Transport() as transport:
        task = asyncio.ensure_future(transport.handle_async_request(get(server)))
        await server.has_open(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.has_open(0)


async def test_cancelled_read_closes_its_connection() -> None:
    async with serving([ask, CHUNKED]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        task = asyncio.ensure_future(pieces(response))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.has_open(0)


async def test_forgotten_response_closes_its_connection() -> None:
    async with serving([ask, CHUNKED]) as server, Transport() as transport:
        response = await transport.handle_async_request(get(server))
        assert server.open == 1
        del response
        gc.collect()
        await server.has_open(0)


async def test_closing_keeps_responses_in_progress() -> None:
    async with serving([ask, OK], [ask, OK[:-2], wait, b"ok"]) as server:
        transport = Transport()
        first = asyncio.ensure_future(transport.handle_async_request(get(server)))
        await server.has_open(1)
        response = await transport.handle_async_request(get(server))
        await first
        await transport.aclose()
        await server.has_open(1)
        with pytest.raises(RuntimeError, match="closed"):
            await transport.handle_async_request(get(server))
        server.go.set()
        assert await body(response) == b"ok"
        await server.has_open(0)


async def test_closing_twice_is_allowed() -> None:
    transport = Transport()
    await transport.aclose()
    await transport.aclose()
