"""Flights: who asks for what is already on its way waits for that, and it goes on as long as anybody waits."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Future[T]
    passengers: int = 0


class Flights(Generic[T]):
    """Work by key, each once at a time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def is_under_way(self, key: Hashable) -> bool:
        return key in self._flights

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` brings, or the work that somebody else began under the same key. A failure is everybody's.

        Whoever is cancelled leaves; the last one to leave ends the work.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
            flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        flight.passengers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.task.done():
                self._forget(key, flight)  # at once: nobody may get on now
                flight.task.cancel()
                await asyncio.wait([flight.task])

    def _landed(self, key: Hashable, flight: _Flight[T], task: asyncio.Future[T]) -> None:
        self._forget(key, flight)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask, and asyncio would complain of that

    def _forget(self, key: Hashable, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
