import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from app.upstream.flights import Flights

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 20
"""Only ends a test that hangs."""


def tasks_left() -> list[Any]:
    """What still runs beside the test itself."""
    left = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return [job for job in left if not str(job).startswith("<coroutine object TestRunner.")]


async def steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    assert tasks_left() == []
    assert complaints == []


class Work:
    """Runs until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.failure:
                raise self.failure from None
            raise
        if self.failure:
            raise self.failure
        return f"brought by {self.begun}"


def aboard(
    flights: Flights[str], work: Callable[[], Coroutine[Any, Any, str]], count: int, key: str = "key"
) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(flights.join(key, work)) for _ in range(count)]


async def test_who_asks_for_the_same_gets_the_same() -> None:
    flights, work = Flights[str](), Work()
    passengers = aboard(flights, work, 3)
    await steps()
    assert flights.is_under_way("key")
    work.end.set()
    assert await asyncio.gather(*passengers) == ["brought by 1"] * 3
    await steps(1)
    assert not flights.is_under_way("key")


async def test_other_keys_fly_by_themselves() -> None:
    flights, work = Flights[str](), Work()
    passengers = [*aboard(flights, work, 2, "a"), *aboard(flights, work, 2, "b")]
    await steps()
    work.end.set()
    await asyncio.gather(*passengers)
    assert work.begun == 2


async def test_what_has_landed_is_not_asked_again() -> None:
    flights, work = Flights[str](), Work()
    work.end.set()
    assert await flights.join("key", work) == "brought by 1"
    assert await flights.join("key", work) == "brought by 2"


async def test_a_failure_is_everybodys() -> None:
    flights, work = Flights[str](), Work()
    passengers = aboard(flights, work, 3)
    work.failure = KeyError("gone")
    work.end.set()
    outcomes = await asyncio.gather(*passengers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeyError] * 3
    assert not flights.is_under_way("key")


@pytest.mark.parametrize("leaving", [0, 1])
async def test_one_who_leaves_takes_nothing_from_the_others(leaving: int) -> None:
    flights, work = Flights[str](), Work()
    passengers = aboard(flights, work, 3)
    await steps()
    passengers.pop(leaving).cancel()
    await steps()
    work.end.set()
    assert await asyncio.gather(*passengers) == ["brought by 1"] * 2
    assert work.cancelled == 0


async def test_the_last_one_to_leave_ends_the_work() -> None:
    flights, work = Flights[str](), Work()
    passengers = aboard(flights, work, 3)
    await steps()
    for passenger in passengers:
        passenger.cancel()
    await asyncio.gather(*passengers, return_exceptions=True)
    assert tasks_left() == []
    assert (work.begun, work.cancelled) == (1, 1)


async def test_nobody_gets_on_what_is_being_ended() -> None:
    flights, work = Flights[str](), Work()
    (last,) = aboard(flights, work, 1)
    await steps()
    last.cancel()
    await steps(1)
    assert not last.done()
    newcomer = Work()
    newcomer.end.set()
    assert await flights.join("key", newcomer) == "brought by 1"
    assert not flights.is_under_way("key")
    with pytest.raises(asyncio.CancelledError):
        await last
    assert work.cancelled == 1


async def test_who_comes_while_the_last_one_is_about_to_leave_keeps_the_work_going() -> None:
    flights, work = Flights[str](), Work()
    (last,) = aboard(flights, work, 1)
    await steps()
    (newcomer,) = aboard(flights, work, 1)
    await asyncio.sleep(0)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    work.end.set()
    assert await newcomer == "brought by 1"
    assert (work.begun, work.cancelled) == (1, 0)


async def test_the_end_of_the_old_work_leaves_a_new_one_alone() -> None:
    flights, work, new = Flights[str](), Work(), Work()
    stays = asyncio.Event()

    async def stubborn() -> str:
        try:
            return await work()
        except asyncio.CancelledError:
            await stays.wait()
            raise

    (last,) = aboard(flights, stubborn, 1)
    await steps()
    last.cancel()
    await steps()
    (newcomer,) = aboard(flights, new, 1)
    await steps()
    stays.set()
    await asyncio.gather(last, return_exceptions=True)
    assert flights.is_under_way("key")
    new.end.set()
    assert await newcomer == "brought by 1"


async def test_a_failure_that_nobody_waits_for_is_no_complaint() -> None:
    flights, work = Flights[str](), Work()
    work.failure = KeyError("while it was ended")
    (last,) = aboard(flights, work, 1)
    await steps()
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last
    assert not flights.is_under_way("key")
