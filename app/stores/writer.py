"""Writer: writes in the background, in batches, what a store has collected."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.stores.database import StoreError

BATCH_SECONDS = 0.25
"""How long the first of a batch waits for others."""
BATCH_SIZE = 500
"""As many don't wait."""
RETRY_SECONDS = 5.0
"""After a failure."""


class Writer:
    """Knows when to write; what, the store knows.

    `waiting` counts what is to be written. `write` takes a batch of it and writes it. When it raises StoreError it
    has dropped the batch, or put it back to be tried again; the database has logged it.
    """

    def __init__(
        self,
        write: Callable[[], Awaitable[None]],
        waiting: Callable[[], int],
        *,
        batch_seconds: float = BATCH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._write = write
        self._waiting = waiting
        self._batch_seconds = batch_seconds
        self._retry_seconds = retry_seconds
        self._wake = asyncio.Event()
        self._is_hurried = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self.is_idle = True
        """Nothing is about to be written."""

    def due(self) -> None:
        """Something waits. Must be called in the event loop."""
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._run())
            self.is_idle = False
        if self._waiting() >= BATCH_SIZE:
            self._wake.set()

    async def flush(self) -> None:
        """Returns when nothing waits, or when something can't be written."""
        if self._task is not None:
            self._is_hurried = True
            self._wake.set()
            await asyncio.wait([self._task])

    async def aclose(self) -> None:
        """As `flush`; what is due later is not written."""
        self._is_closed = True
        await self.flush()

    async def _run(self) -> None:
        try:
            await self._write_all()
        finally:
            self._wake.clear()
            self._is_hurried = False
            self._task = None
            self.is_idle = True

    async def _write_all(self) -> None:
        pause = self._batch_seconds
        while self._waiting():
            await self._pause(pause)
            is_last_try = self._is_hurried
            try:
                await self._write()
            except StoreError:
                if is_last_try:
                    return
                pause = self._retry_seconds
            else:
                pause = self._batch_seconds

    async def _pause(self, seconds: float) -> None:
        if self._is_hurried:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
