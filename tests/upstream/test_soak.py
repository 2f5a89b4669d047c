"""Transport among servers that misbehave and callers who leave, some thousands of times: nothing is left behind.

Every answer names its request, so that none may ever go to another one.
"""

import asyncio
import gc
import random
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.alarm import Alarm
from app.upstream.connection import Connection
from app.upstream.tls import resuming
from app.upstream.transport import Transport
from app.upstream.wire import Request, Response
from tests.upstream.scripted import Peer, Server, hang_up, reset, serving

pytestmark = pytest.mark.anyio

CERTIFICATE = Path(__file__).with_name("loopback.pem")
CALLERS = 40
REQUESTS_EACH = 60
TIMEOUTS = {"connect": 1, "read": 0.06, "write": 0.06, "pool": 1}
PATIENT = dict.fromkeys(TIMEOUTS, 10)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


# The server: what it does with a request, whose name it has read, but not yet its body


Turn = Callable[[Peer, random.Random, bytes, int], Awaitable[None]]
"""Gets the name of the request and the length of its body."""


async def gulp(peer: Peer, length: int) -> None:
    """Read the body. Those without a length come in chunks."""
    await (peer.reader.readexactly(length) if length >= 0 else peer.reader.readuntil(b"0\r\n\r\n"))


async def trickle(peer: Peer, chance: random.Random, data: bytes) -> None:
    """Send it, cut anywhere."""
    cuts = sorted(chance.randrange(len(data)) for _ in range(chance.choice([0, 0, 1, 5])))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        peer.writer.write(data[start:end])
        await peer.writer.drain()
        await asyncio.sleep(0)


def whole(chance: random.Random, name: bytes) -> bytes:
    """A response that is right, in one of the ways to write it."""
    body = name * chance.choice([1, 1, 100])
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * chance.choice([0, 0, 0, 2])
    if chance.random() < 0.5:
        return interim + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    pieces = [body[:3], body[3:]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def answer(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await gulp(peer, length)
    await trickle(peer, chance, whole(chance, name))


async def answer_and_close(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await answer(peer, chance, name, length)
    await hang_up(peer)


async def answer_to_the_end(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await gulp(peer, length)
    await trickle(peer, chance, b"HTTP/1.1 200 OK\r\n\r\n" + name)
    await hang_up(peer)


async def answer_early(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await trickle(peer, chance, whole(chance, name))
    await gulp(peer, length)


async def answer_too_much(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    """At once: what comes later may look like the answer to the next request, and nobody could tell."""
    await gulp(peer, length)
    peer.writer.write(whole(chance, name) + whole(chance, b"/wrong"))


async def stop_halfway(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await gulp(peer, length)
    response = whole(chance, name)
    await trickle(peer, chance, response[: chance.randrange(1, len(response))])
    await chance.choice([hang_up, reset, stall])(peer)


async def spoil(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    """One byte is another."""
    await gulp(peer, length)
    response = bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n%5b\r\n0\r\n\r\n" % b"other")
    response[chance.choice([0, 8, 10, 45, 47, 60])] = chance.choice(b"\0\r\n:x")
    await trickle(peer, chance, bytes(response))


async def end(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await chance.choice([hang_up, reset])(peer)


async def end_later(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await gulp(peer, length)
    await end(peer, chance, name, length)


async def ignore(peer: Peer, chance: random.Random, name: bytes, length: int) -> None:
    await stall(peer)


async def stall(peer: Peer) -> None:
    """Until the client leaves."""
    while await peer.reader.read(65536):
        pass
    raise ConnectionResetError


TURNS: list[Turn] = [
    *[answer] * 9, answer_and_close, answer_to_the_end, answer_early, answer_early, answer_too_much,
    stop_halfway, stop_halfway, spoil, end, end_later, ignore,
]  # fmt: skip


def misbehaving(chance: random.Random, turns: list[Turn]) -> Callable[[Peer], Awaitable[None]]:
    async def serve(peer: Peer) -> None:
        while not peer.writer.is_closing():
            head = await peer.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            size = int(length[1]) if length else -1 if b"chunked" in head else 0
            await chance.choice(turns)(peer, chance, head.split(b" ", 2)[1], size)

    return serve


# The clients: how they ask, read and leave


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"x" * 100
        await asyncio.sleep(0)


async def asked(transport: Transport, chance: random.Random, url: str, timeouts: Any) -> Response | httpx2.Response:
    content: Any = chance.choice([None, b"", b"{}", b"x" * 70_000, b"x" * 600_000])
    if chance.random() < 0.5:
        return await transport.send(Request(url, (), content, timeouts))
    if content and chance.random() < 0.3:
        content = chunks()
    method = "GET" if content is None else "POST"
    request = httpx2.Request(method, url, content=content, extensions={"timeout": timeouts})
    return await transport.handle_async_request(request)


async def read(response: Response | httpx2.Response, chance: random.Random) -> bytes | None:
    """The body; None if it was not read to its end, and perhaps not even closed."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    leaves = chance.random()
    if leaves < 0.05:
        return None
    body = b""
    try:
        async for piece in response.stream:
            body += piece
            if leaves < 0.1:
                return None
    finally:
        if leaves > 0.02:
            await response.aclose()
    return body


async def outcome(transport: Transport, chance: random.Random, url: str, timeouts: Any = TIMEOUTS) -> str:
    """What came of one request, in a word."""
    try:
        response = await asked(transport, chance, url, timeouts)
        body = await read(response, chance)
    except httpx2.TransportError as failure:
        return type(failure).__name__
    if body is None:
        return "left"
    name = httpx2.URL(url).raw_path
    assert body in (name, name * 100, b"other")
    return "answered"


async def leave_perhaps(chance: random.Random, task: "asyncio.Task[str]") -> str:
    """Cancel one in three, at any moment of its life."""
    if chance.random() < 1 / 3:
        for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 13, 21])):
            await asyncio.sleep(0)
        await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))
        task.cancel()
    await asyncio.wait([task])
    return "cancelled" if task.cancelled() else task.result()


async def soak(transport: Transport, chance: random.Random, servers: list[Server]) -> Counter[str]:
    outcomes: Counter[str] = Counter()

    async def ask_often(caller: int) -> None:
        for number in range(REQUESTS_EACH):
            server = chance.choices(servers, [9, 1])[0]
            base = server.url if server.scheme == "https" or caller % 2 else f"http://localhost:{server.port}"
            task = asyncio.ensure_future(outcome(transport, chance, f"{base}/{caller}-{number}"))
            outcomes[await leave_perhaps(chance, task)] += 1

    await asyncio.gather(*map(ask_often, range(CALLERS)))
    return outcomes


def left() -> dict[str, int]:
    """What could leak. Servers of other tests may still have connections in event loops of their own."""
    gc.collect()
    here = asyncio.get_running_loop()
    alive = gc.get_objects()
    return {
        "connections": sum(isinstance(each, Connection) and each.loop is here for each in alive),
        "timers": sum(isinstance(each, Alarm) and each._loop is here and each._timer is not None for each in alive),
        "tasks": len(asyncio.all_tasks()),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


async def settled(expected: dict[str, int]) -> dict[str, int]:
    """What is left when the event loop has had the time to end what was to end."""
    for _ in range(100):
        counts = left()
        if counts == expected:
            break
        await asyncio.sleep(0.05)
    return counts


async def test_nothing_is_left_behind() -> None:
    chance = random.Random(1)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    trusting = resuming(ssl.create_default_context(cafile=CERTIFICATE))
    turns = list(TURNS)
    script: list[Any] = [misbehaving(chance, turns)]
    async with serving(script) as plain, serving(script, tls=tls) as secure:
        async with Transport(ssl_context=trusting) as first:  # what the loop itself keeps open is there from now on
            for server in (plain, secure):
                await outcome(first, chance, server.url + "/first")
            await outcome(first, chance, f"http://localhost:{plain.port}/first")
        await plain.has_open(0)
        await secure.has_open(0)
        await asyncio.sleep(0.1)
        before = left() | {"connections": 0, "timers": 0}

        transport = Transport(ssl_context=trusting, max_idle_connections=10)
        outcomes = await soak(transport, chance, [plain, secure])
        assert outcomes.total() == CALLERS * REQUESTS_EACH
        assert set(outcomes) <= {
            "answered", "left", "cancelled", "ConnectTimeout", "ReadTimeout", "ReadError", "WriteTimeout", "WriteError",
            "RemoteProtocolError",
        }  # fmt: skip
        assert outcomes["answered"] > 200
        assert outcomes["cancelled"] > 100
        assert outcomes["RemoteProtocolError"] > 20
        assert outcomes["ReadTimeout"] > 5

        assert transport._count_idle() <= 10
        turns[:] = [answer]
        for server in (plain, secure):
            response = await transport.send(Request(f"{server.url}/last", (), b"{}", PATIENT))
            assert b"".join([piece async for piece in response.stream]) in (b"/last", b"/last" * 100)
        await transport.aclose()
        del transport, response
        gc.collect()  # some of what was left unclosed hangs in a cycle
        await plain.has_open(0)
        await secure.has_open(0)
        assert await settled(before) == before
