"""The answers of several calls as one stream of batches, in the order in which they arrive."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from app.calls import Failure, Reply
from app.upstream.client import Events

Batch = tuple[int, list[bytes] | Reply | None]
"""Which source, and what it brings: events, a whole reply, or None for the end of its events."""


async def merge(sources: Sequence[Reply | Events]) -> AsyncGenerator[Batch]:
    """Raises the first Failure of any source. A single source costs neither task nor queue."""
    if len(sources) == 1:
        async for batch in _one(0, sources[0]):
            yield batch
        return
    queue: asyncio.Queue[Batch | Failure] = asyncio.Queue(maxsize=len(sources))

    async def pump(choice: int, source: Reply | Events) -> None:
        try:
            async for batch in _one(choice, source):
                await queue.put(batch)
        except Failure as failure:
            await queue.put(failure)

    pumps = [asyncio.create_task(pump(choice, source)) for choice, source in enumerate(sources)]
    try:
        running = len(sources)
        while running:
            got = await queue.get()
            if isinstance(got, Failure):
                raise got
            batch = got
            running -= batch[1] is None or isinstance(batch[1], Reply)
            yield batch
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def close(sources: Sequence[Reply | Events]) -> None:
    """End what still runs."""
    for source in sources:
        if isinstance(source, Events):
            await source.aclose()


async def _one(choice: int, source: Reply | Events) -> AsyncGenerator[Batch]:
    if isinstance(source, Reply):
        yield choice, source
        return
    async for batch in source:
        yield choice, batch
    yield choice, None
