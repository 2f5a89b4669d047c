"""dial: of several addresses the first that answers, with nothing left of the others; names are looked up once."""

import asyncio
import gc
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from app.upstream.dial import Address, Names, _interleaved, dial, dial_any

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
    with await dial(Names(), "127.0.0.1", port) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_name_is_dialled(port: int) -> None:
    with await dial(Names(), "localhost", port) as connection:  # may be ::1 first, where nobody listens
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
        await dial(Names(), "127.0.0.1", first)


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


# Names


class LookUp:
    """A DNS that is told what to answer, in turn, and when."""

    def __init__(self, *answers: Sequence[Address] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        await self.go.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


ONE, OTHER = [at(1)], [at(2)]
NOT_FOUND = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_name_is_looked_up_once_while_its_answer_is_kept() -> None:
    look_up = LookUp(ONE, OTHER, ONE)
    names = Names(look_up=look_up, keep_seconds=600)
    assert [await names.addresses("api.test", 1) for _ in range(3)] == [ONE] * 3
    assert await names.addresses("api.test", 2) == OTHER
    assert await names.addresses("other.test", 1) == ONE
    assert look_up.asked == [("api.test", 1), ("api.test", 2), ("other.test", 1)]


async def test_all_who_ask_at_once_share_one_look_up() -> None:
    look_up = LookUp(ONE)
    look_up.go.clear()
    names = Names(look_up=look_up, keep_seconds=0)
    asking = [asyncio.ensure_future(names.addresses("api.test", 1)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # which leaves the others theirs
    await asyncio.sleep(0)
    look_up.go.set()
    assert await asyncio.gather(*asking[1:]) == [ONE] * 4
    assert asking[0].cancelled()
    assert look_up.asked == [("api.test", 1)]


async def test_old_answer_is_not_used() -> None:
    look_up = LookUp(ONE, OTHER)
    names = Names(look_up=look_up, keep_seconds=0)
    assert await names.addresses("api.test", 1) == ONE
    assert await names.addresses("api.test", 1) == OTHER


async def test_failure_is_for_all_who_wait_and_is_not_kept() -> None:
    look_up = LookUp(NOT_FOUND, ONE)
    names = Names(look_up=look_up)
    failures = await asyncio.gather(*(names.addresses("api.test", 1) for _ in range(3)), return_exceptions=True)
    assert failures == [NOT_FOUND] * 3
    assert await names.addresses("api.test", 1) == ONE


async def test_failure_that_nobody_waits_for_any_more_is_no_warning() -> None:
    look_up = LookUp(NOT_FOUND, ONE)
    look_up.go.clear()
    names = Names(look_up=look_up)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    asking = asyncio.ensure_future(names.addresses("api.test", 1))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    look_up.go.set()
    await asyncio.sleep(0.01)
    gc.collect()
    assert told == []
    assert await names.addresses("api.test", 1) == ONE


async def test_cancelled_look_up_is_asked_anew() -> None:
    look_up = LookUp(ONE)
    look_up.go.clear()
    names = Names(look_up=look_up)
    asking = asyncio.ensure_future(names.addresses("api.test", 1))
    await asyncio.sleep(0)
    names._answers["api.test", 1].addresses.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    look_up.go.set()
    assert await names.addresses("api.test", 1) == ONE


async def test_address_that_can_not_be_reached_is_looked_up_anew(port: int) -> None:
    look_up = LookUp([at(closed_port())], [at(port)])
    names = Names(look_up=look_up, keep_seconds=600)
    with pytest.raises(ConnectionRefusedError):
        await dial(names, "api.test", port)
    with await dial(names, "api.test", port) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)
    with await dial(names, "api.test", port):
        assert len(look_up.asked) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_address_needs_no_look_up(host: str) -> None:
    look_up = LookUp()
    ((_, _, _, _, where),) = await Names(look_up=look_up).addresses(host, 80)
    assert where[:2] == (host, 80)
    assert look_up.asked == []


async def test_event_loop_runs_while_a_name_is_looked_up() -> None:
    """And a name that cannot be is found out without DNS."""
    names = Names()
    asking = asyncio.ensure_future(names.addresses("localhost", 80))
    await asyncio.sleep(0)
    assert not asking.done()
    assert ("127.0.0.1", 80) in [address[4] for address in await asking]
    with pytest.raises(UnicodeError):
        await names.addresses("a" * 70 + ".test", 80)
