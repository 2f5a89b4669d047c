"""dial: of several addresses the first that answers, with nothing left of the others."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from app.upstream.dial import Address, _interleaved, dial, dial_any

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[Address]:
    """An address that does not answer, since nobody accepts and its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        where = server.getsockname()
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(where)
        yield (socket.AF_INET, socket.SOCK_STREAM, 0, "", where)
        for other in others:
            other.close()


def at(port: int, host: str = "127.0.0.1") -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_address_is_dialled(port: int) -> None:
    with await dial("127.0.0.1", port) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_name_is_dialled(port: int) -> None:
    with await dial("localhost", port) as connection:  # may be ::1 first, where nobody listens
        assert connection.getpeername() == ("127.0.0.1", port)


async def test_next_address_is_tried_at_once_when_one_refuses(port: int) -> None:
    with await dial_any([at(closed_port()), at(closed_port()), at(port)]) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)


async def test_next_address_is_tried_beside_a_silent_one(port: int, silent: Address) -> None:
    with await dial_any([silent, at(port)]) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)


async def test_silent_address_is_still_waited_for_when_the_others_have_refused(silent: Address) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await dial_any([silent, at(closed_port())])


async def test_first_failure_is_told_when_no_address_answers() -> None:
    first = closed_port()
    with pytest.raises(ConnectionRefusedError):
        await dial_any([at(first), at(closed_port())])
    with pytest.raises(ConnectionRefusedError):
        await dial("127.0.0.1", first)


def test_families_take_turns() -> None:
    v4, v6 = socket.AF_INET, socket.AF_INET6
    addresses: list[Address] = [(family, 1, 0, "", name) for family, name in [(v6, 1), (v6, 2), (v6, 3), (v4, 4)]]
    assert [address[4] for address in _interleaved(addresses)] == [1, 4, 2, 3]


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_dial_leaves_nothing(turns: int, port: int, silent: Address) -> None:
    """At any moment. A socket that were left open would be a warning, which is an error here."""
    before = asyncio.all_tasks()
    for addresses in ([silent], [silent, silent], [at(port)], [at(port), at(port)], [silent, at(port)]):
        task = asyncio.ensure_future(dial_any(addresses))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().close()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before
    gc.collect()
