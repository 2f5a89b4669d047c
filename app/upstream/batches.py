"""Several calls at once: sent together, and their events as one stream of batches in the order of their arrival."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from app.calls import Call, Reply
from app.upstream.incoming import Events

T = TypeVar("T")

MOST_AT_ONCE = 32
"""Calls of one request: Cloudflare counts them by the minute, and their replies share our memory."""

Opened = tuple[Call, Reply | Events]
Batch = tuple[int, list[bytes]]
"""Which source, and what it brings: events, or none at their end."""


async def together(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order, MOST_AT_ONCE jobs at a time; the first failure ends the others. One job costs no task."""
    if len(jobs) == 1:
        return [await jobs[0]]
    places = asyncio.Semaphore(MOST_AT_ONCE)

    async def in_place(job: Coroutine[Any, Any, T]) -> T:
        async with places:
            return await job

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_place(job)) for job in jobs]
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    finally:
        for job in jobs:
            job.close()  # those that never got a place
    return [task.result() for task in tasks]


async def in_order(jobs: AsyncIterator[Coroutine[Any, Any, T]], at_once: int) -> AsyncGenerator[T]:
    """Their results in order, `at_once` jobs at a time; a job is taken when there is a place for it.

    The first failure, or whoever closes this, ends the others.
    """
    running: deque[asyncio.Task[T]] = deque()
    try:
        async for job in jobs:
            running.append(asyncio.create_task(job))
            if len(running) == at_once:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if isinstance(jobs, AsyncGenerator):
            await jobs.aclose()


async def open_together(jobs: Sequence[Coroutine[Any, Any, Opened]]) -> list[Opened]:
    """As `together`, but when one fails those that are open are closed."""
    opened: list[Reply | Events] = []

    async def open_one(job: Coroutine[Any, Any, Opened]) -> Opened:
        call, source = await job
        opened.append(source)
        return call, source

    try:
        return await together([open_one(job) for job in jobs])
    except BaseException:
        await close(opened)
        raise


async def close(sources: Iterable[Reply | Events]) -> None:
    """End what still runs, all of it, even if the one who waits for that is cancelled."""
    events = [source for source in sources if isinstance(source, Events) and not source.is_closed]
    if events:
        await asyncio.shield(asyncio.gather(*(each.aclose() for each in events)))


async def merge(sources: Mapping[int, Events], is_done: Callable[[int], bool]) -> AsyncGenerator[Batch]:
    """Raises the first Failure of any source. A source that is done is closed instead of being read further.

    Nothing is read ahead: the next batch of a source is waited for once the last one was taken.
    """

    async def next_batch(choice: int) -> list[bytes]:
        if is_done(choice):
            await sources[choice].aclose()
        return await sources[choice].next()

    running: dict[asyncio.Task[list[bytes]], int] = {}
    arrived: asyncio.Queue[asyncio.Task[list[bytes]]] = asyncio.Queue()

    def read(choice: int) -> None:
        task = asyncio.create_task(next_batch(choice))
        task.add_done_callback(arrived.put_nowait)
        running[task] = choice

    try:
        for choice in sources:
            read(choice)
        while running:
            task = await arrived.get()
            choice = running.pop(task)
            batch = task.result()
            yield choice, batch
            if batch:
                read(choice)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
