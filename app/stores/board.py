"""Board: what the workers of one server tell each other: requests of keys, at once, and their metrics, once a second.

Each has a slot, in which it alone writes. What a dead worker had running is forgotten by the first one to notice; its
metrics are taken over, so that no sum ever goes down.

A bucket of requests is one number for all workers: the last one to let a request in says what it left. Two that do so
within the same microseconds may count as one.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from pathlib import Path

from app.stores.slots import NOTHING, Count, Slot

logger = logging.getLogger("flarelay")

LOOK_SECONDS = 1.0


class Board:
    """Of one worker. Until it is open, and if it can't be opened, there seem to be no others."""

    def __init__(
        self,
        folder: Path,
        workers: int,
        *,
        tell: Callable[[], bytes],
        take_over: Callable[[bytes], None],
        now: Callable[[], float] = time.monotonic,
        server: int | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`workers`: how many there are, mostly. `tell`: what to publish; `take_over`: what to do with what a dead one
        has published. `now` tells seconds, the same in all of them. `server`: what they have in common, which is the
        process that started them unless it is given.
        """
        self._folder = folder
        self._workers = workers
        self._tell = tell
        self._take_over = take_over
        self.now = now
        self._server = server or os.getppid()
        self._look_seconds = look_seconds
        self._own: Slot | None = None
        self._others: list[Slot] = []
        self._told = b""
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Failing that, each worker counts for itself."""
        try:
            own = self._opened()
        except OSError as failure:
            self._others = []
            fields = {"path": str(self._folder), "reason": failure.strerror}
            logger.error("workers can't share their counts", extra={"fields": fields})
        else:
            self._looking = asyncio.create_task(self._keep_looking(own))

    async def aclose(self) -> None:
        if self._looking is None or self._own is None:
            return
        self._looking.cancel()
        await asyncio.wait([self._looking])
        with suppress(OSError):
            self._publish(self._own)
        for slot in (self._own, *self._others):
            slot.close()
        self._own, self._others = None, []

    def latest(self, name: str) -> Count:
        """What the one of the others says that was the last to let in a request of the key."""
        key = key_of(name)
        found = (slot.read(key) for slot in self._others)
        return max(found, key=lambda each: (each.drawn_at, each.drawn), default=NOTHING)

    def running(self, name: str) -> int:
        """The key's requests that run in other workers."""
        key = key_of(name)
        return sum(slot.read(key).running for slot in self._others)

    def write(self, name: str, drawn: float, drawn_at: float, running: int) -> None:
        """What this worker has of the key."""
        if self._own is not None:
            self._own.write(key_of(name), Count(drawn, drawn_at, running), self.now())

    def published(self) -> list[bytes]:
        """By the other workers, up to a second ago. Publishes what this one has, so that it never tells less later."""
        if self._own is None:
            return []
        with suppress(OSError):  # what was published before still stands there
            self._publish(self._own)
        found = (slot.published() for slot in self._others if slot.server == self._server)
        return [each for each in found if each]

    def _opened(self) -> Slot:
        self._folder.mkdir(parents=True, exist_ok=True)
        slots = [Slot(self._folder / str(number)) for number in range(self._workers)]
        for number in count():  # pragma: no branch - there is no end to it
            if number == len(slots):
                slots.append(Slot(self._folder / str(number)))
            if slots[number].take():
                break
        own = slots.pop(number)
        self._inherit(own)
        own.begin(self._server)
        self._others = slots
        self._look(own)
        self._own = own
        return own

    async def _keep_looking(self, own: Slot) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            with suppress(OSError):  # a full disk, or too many open files: it may pass
                self._look(own)

    def _look(self, own: Slot) -> None:
        """For workers that are new, and for those that are dead."""
        while (path := self._folder / str(len(self._others) + 1)).exists():
            self._others.append(Slot(path))
        for slot in self._others:
            if slot.is_used and slot.take():
                self._inherit(slot)
                slot.clear()
                slot.leave()
        self._publish(own)

    def _inherit(self, slot: Slot) -> None:
        """Of a slot that nobody else owns."""
        if slot.server == self._server and (content := slot.published()):
            self._take_over(content)

    def _publish(self, own: Slot) -> None:
        if (content := self._tell()) != self._told:
            own.publish(content)
            self._told = content


@lru_cache(maxsize=4096)
def key_of(name: str) -> int:
    """What stands for a key in a slot."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1
