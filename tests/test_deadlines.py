"""Deadlines: each ends its own task in time, and nothing else."""

import asyncio

import pytest

from app.deadlines import Deadlines, now

pytestmark = pytest.mark.anyio


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("seconds", [-1, 0, 0.01])
async def test_what_takes_too_long_is_ended(seconds: float) -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.at(now() + seconds):
        await forever()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # a cancellation that was left over would come here


async def test_what_ends_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.at(now() + 0.01):
        pass
    await asyncio.sleep(0.03)


async def test_an_exception_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), Deadlines().at(now() + 60):
        raise ZeroDivisionError


async def test_each_ends_at_its_own_time_whatever_their_order() -> None:
    deadlines, ended = Deadlines(), list[float]()

    async def wait(seconds: float) -> None:
        try:
            with deadlines.at(now() + seconds):
                await forever()
        except TimeoutError:
            ended.append(seconds)

    await asyncio.gather(*map(wait, (0.04, 0.02, 0.06, 0.02)))
    assert ended == [0.02, 0.02, 0.04, 0.06]


async def test_all_share_a_timer() -> None:
    deadlines = Deadlines()
    with deadlines.at(now() + 60):
        timer = deadlines._timer
        with deadlines.at(now() + 3600):
            assert deadlines._timer is timer
    with deadlines.at(now() + 120):
        assert deadlines._timer is timer


async def test_cleaning_up_after_it_may_take_its_time() -> None:
    deadlines, cleaned = Deadlines(), asyncio.Event()

    async def wait() -> None:
        try:
            await forever()
        finally:
            with pytest.raises(TimeoutError), deadlines.at(now() + 0.01):  # the timer rings again meanwhile
                await forever()
            cleaned.set()

    with pytest.raises(TimeoutError), deadlines.at(now()):
        await wait()
    assert cleaned.is_set()


async def test_who_is_cancelled_by_others_stays_so() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.at(now() + 60):
            await forever()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_at_the_same_time_stays_so() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.at(now()) as _:
            try:
                await forever()
            finally:
                task.cancel()

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_goes_on_regardless_is_not_told_twice() -> None:
    deadlines = Deadlines()
    with deadlines.at(now()):
        with pytest.raises(asyncio.CancelledError):
            await forever()
        await asyncio.sleep(0.01)


async def test_an_inner_deadline_leaves_the_outer_in_force() -> None:
    deadlines, ended = Deadlines(), list[str]()

    async def wait() -> None:
        with pytest.raises(TimeoutError), deadlines.at(now() + 0.01):
            await forever()
        ended.append("inner")
        await forever()

    with pytest.raises(TimeoutError), deadlines.at(now() + 0.3):
        await wait()
    assert ended == ["inner"]
