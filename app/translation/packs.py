"""Packer: texts that are asked for within a few milliseconds go upstream as one call."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
Send = Callable[[list[str]], Awaitable[list[T]]]
"""A pack of texts -> what became of each, in order."""


@dataclass(slots=True)
class _Pack(Generic[T]):
    send: Send[T]
    timer: asyncio.TimerHandle
    texts: list[str] = field(default_factory=list)
    waiting: list[asyncio.Future[T]] = field(default_factory=list)
    characters: int = 0
    task: asyncio.Task[None] | None = None
    """None as long as it is being filled."""


class Packer(Generic[T]):
    """A pack leaves when it is full, or `seconds` after its first text."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._packs: dict[Hashable, _Pack[T]] = {}

    async def add(self, group: Hashable, text: str, send: Send[T], *, most: int, most_characters: int) -> T:
        """What became of the text, together with others of its group. A failure of the pack is that of each text.

        A pack whose texts nobody waits for any more is cancelled; the last one to leave sees the end of it.
        """
        loop = asyncio.get_running_loop()
        pack = self._packs.get(group)
        if pack and pack.characters + len(text) > most_characters:
            self._leave(group)
            pack = None
        if pack is None:
            pack = self._packs[group] = _Pack(send, loop.call_later(self._seconds, self._leave, group))
        future: asyncio.Future[T] = loop.create_future()
        pack.texts.append(text)
        pack.waiting.append(future)
        pack.characters += len(text)
        if len(pack.texts) >= most:
            self._leave(group)
        try:
            return await future
        finally:
            if future.cancelled() and all(each.done() for each in pack.waiting):
                await self._drop(group, pack)

    def _leave(self, group: Hashable) -> None:
        pack = self._packs.pop(group)
        pack.timer.cancel()
        pack.task = asyncio.create_task(_carry(pack))

    async def _drop(self, group: Hashable, pack: _Pack[T]) -> None:
        if pack.task:
            pack.task.cancel()
            await asyncio.wait([pack.task])
        elif self._packs.get(group) is pack:
            del self._packs[group]
            pack.timer.cancel()


async def _carry(pack: _Pack[T]) -> None:
    wanted = [(text, future) for text, future in zip(pack.texts, pack.waiting, strict=True) if not future.done()]
    if not wanted:
        return
    futures = [future for _, future in wanted]
    try:
        results = await pack.send([text for text, _ in wanted])
        outcomes = list(zip(futures, results, strict=True))
    except Exception as failure:  # noqa: BLE001 - it is raised again, in each that waits
        for future in _waiting(futures):
            future.set_exception(failure)
    else:
        for future, result in outcomes:
            if not future.done():
                future.set_result(result)
    finally:
        for future in _waiting(futures):  # the task itself was cancelled
            future.cancel()


def _waiting(futures: Iterable[asyncio.Future[T]]) -> Iterator[asyncio.Future[T]]:
    return (future for future in futures if not future.done())
