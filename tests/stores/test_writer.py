import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from app.stores.database import StoreError
from app.stores.writer import BATCH_SIZE, Writer
from tests.serving import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio

NEVER = 10.0**9
"""A wait that no test lives to see the end of."""


class Desk:
    """Collects items and writes them, as a store does."""

    def __init__(self, **options: Any) -> None:
        self.waiting: list[int] = []
        self.batches: list[list[int]] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.writer = Writer(self.write, lambda: len(self.waiting), **{"batch_seconds": NEVER} | options)

    def add(self, *items: int) -> None:
        for item in items:
            self.waiting.append(item)
            self.writer.due()

    async def write(self) -> None:
        if self.failures:
            self.failures -= 1
            await self.gate.wait()
            raise StoreError("database or disk is full")
        batch, self.waiting = self.waiting[:BATCH_SIZE], self.waiting[BATCH_SIZE:]
        await self.gate.wait()
        self.batches.append(batch)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in a task
            await anyio.sleep(0.001)


async def test_what_comes_together_is_one_batch() -> None:
    desk = Desk(batch_seconds=0.01)
    desk.add(1, 2)
    await asyncio.sleep(0)
    desk.add(3)
    await until(lambda: bool(desk.batches))
    desk.add(4)
    await until(lambda: len(desk.batches) == 2)
    assert desk.batches == [[1, 2, 3], [4]]


async def test_a_full_batch_does_not_wait() -> None:
    desk = Desk()
    desk.add(*range(BATCH_SIZE))
    await until(lambda: desk.batches == [list(range(BATCH_SIZE))])


async def test_what_is_less_waits() -> None:
    desk = Desk()
    desk.add(*range(BATCH_SIZE - 1))
    await asyncio.sleep(0.02)
    assert desk.batches == []
    await desk.writer.aclose()


async def test_flushing_writes_all_of_it_at_once() -> None:
    desk = Desk()
    desk.add(*range(BATCH_SIZE + 1))
    await desk.writer.flush()
    assert desk.batches == [list(range(BATCH_SIZE)), [BATCH_SIZE]]
    await desk.writer.flush()  # there is nothing
    desk.add(1)
    await asyncio.sleep(0.02)
    assert len(desk.batches) == 2  # the hurry is over
    await desk.writer.flush()
    assert desk.batches[2:] == [[1]]


async def test_what_comes_while_it_writes_is_written_after_it() -> None:
    desk = Desk(batch_seconds=0)
    desk.gate.clear()
    desk.add(1)
    await until(lambda: not desk.waiting)
    desk.add(2)
    closing = asyncio.create_task(desk.writer.aclose())
    await asyncio.sleep(0.01)
    assert not closing.done()
    desk.gate.set()
    await closing
    assert desk.batches == [[1], [2]]


async def test_a_failure_is_tried_again_later() -> None:
    desk = Desk(batch_seconds=0, retry_seconds=0.01)
    desk.failures = 3
    desk.add(1)
    await until(lambda: desk.batches == [[1]])


async def test_a_failure_ends_a_flush() -> None:
    desk = Desk()
    desk.failures = 1
    desk.add(1)
    await desk.writer.flush()
    assert desk.batches == []
    await desk.writer.flush()  # nothing is under way
    desk.add(2)
    await desk.writer.aclose()
    assert desk.batches == [[1, 2]]


async def test_closing_tries_again_what_fails_at_that_moment() -> None:
    desk = Desk(batch_seconds=0, retry_seconds=NEVER)
    desk.failures = 1
    desk.gate.clear()
    desk.add(1)
    await until(lambda: not desk.failures)
    closing = asyncio.create_task(desk.writer.aclose())
    await asyncio.sleep(0.01)
    desk.gate.set()
    await closing
    assert desk.batches == [[1]]


async def test_after_closing_nothing_is_begun() -> None:
    desk = Desk(batch_seconds=0)
    await desk.writer.aclose()
    desk.add(1)
    await asyncio.sleep(0.01)
    await desk.writer.aclose()
    assert desk.batches == []


async def test_whoever_stops_waiting_for_a_flush_does_not_stop_it() -> None:
    desk = Desk()
    desk.gate.clear()
    desk.add(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(desk.writer.flush(), 0.01)
    desk.gate.set()
    await desk.writer.flush()
    assert desk.batches == [[1]]
