"""Pieces out of a thread: in order, a few recordings at a time, and nobody leaves a thread behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from io import BytesIO
from types import NoneType
from typing import Any

import anyio
import pytest

from app.calls import Sound
from app.catalog.sounds import ListeningFacts
from app.errors import BadRequestError
from app.media.cutter import Cutter
from tests.media.recorded import decoded, tones, wav

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 30
FACTS = ListeningFacts(max_seconds=2, max_bytes=0)
TONES = wav(tones(10, [(0.0, 10.0)]))


class Held(BytesIO):
    """Can't be read further than the beginning until `go` is set."""

    def __init__(self, data: bytes, free_bytes: int = 0) -> None:
        super().__init__(data)
        self._free_bytes = free_bytes
        self._loop = asyncio.get_running_loop()
        self.is_waiting = asyncio.Event()
        self.go = threading.Event()
        self.was_closed_meanwhile = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._free_bytes:
            self._loop.call_soon_threadsafe(self.is_waiting.set)
            self.go.wait(DEADLINE_SECONDS)
            self.was_closed_meanwhile |= self.closed
        return super().read(size)


def cut(file: BytesIO, cutter: Cutter | None = None) -> AsyncGenerator[Sound]:
    return (cutter or Cutter()).cut(file, len(file.getvalue()), FACTS)


async def read_all(file: BytesIO, cutter: Cutter | None = None) -> list[Sound]:
    """As a request does it: the file is closed when all is over."""
    with file:
        async with aclosing(cut(file, cutter)) as found:
            return [sound async for sound in found]


async def test_it_cuts_as_the_model_wants_it() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        sounds = await read_all(BytesIO(TONES))
    assert len(sounds) > 4
    assert b"".join(decoded(sound.data) for sound in sounds) == TONES[44:]


async def test_the_model_gets_what_it_takes() -> None:
    facts = ListeningFacts(max_seconds=10, max_bytes=len(TONES))
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert [sound.data async for sound in Cutter().cut(BytesIO(TONES), len(TONES), facts)] == [TONES]


@pytest.mark.parametrize("data", [b"", b"Hello", b"\x89PNG\r\n\x1a\n", b"#EXTM3U\nhttp://127.0.0.1/a.mp3\n", wav(b"")])
async def test_what_is_no_recording_is_the_callers_fault(data: bytes) -> None:
    with pytest.raises(BadRequestError, match=r"^The file can't be used: .+\.$") as caught:
        await read_all(BytesIO(data))
    assert (caught.value.param, caught.value.code) == ("file", "invalid_audio")


async def by_task(task: asyncio.Task[Any], _: anyio.CancelScope) -> None:
    task.cancel()


async def by_task_twice(task: asyncio.Task[Any], _: anyio.CancelScope) -> None:
    task.cancel()
    for _turn in range(5):
        await asyncio.sleep(0)
    task.cancel()


async def by_scope(_: asyncio.Task[Any], scope: anyio.CancelScope) -> None:
    scope.cancel()


@pytest.mark.parametrize("cancel", [by_task, by_task_twice, by_scope])
@pytest.mark.parametrize("free_bytes", [0, 40_000])
@pytest.mark.parametrize("data", [TONES, b"no sound" * 10_000])
async def test_who_is_cancelled_waits_for_the_thread(cancel: Callable[..., Any], free_bytes: int, data: bytes) -> None:
    file, scope = Held(data, free_bytes), anyio.CancelScope()

    async def run() -> None:
        with scope:
            await read_all(file)
            raise AssertionError("It should have been cancelled.")

    async with asyncio.timeout(DEADLINE_SECONDS):
        task = asyncio.create_task(run())
        await file.is_waiting.wait()
        await cancel(task, scope)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        file.go.set()
        await asyncio.wait([task])
    assert task.cancelled() is (cancel is not by_scope)
    assert task.cancelled() or isinstance(task.exception(), BadRequestError | NoneType)
    assert file.closed
    assert not file.was_closed_meanwhile


async def test_nothing_is_said_of_a_thread_that_failed_after_its_caller_had_left() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    file = Held(b"no sound" * 10_000)
    async with asyncio.timeout(DEADLINE_SECONDS):
        task = asyncio.create_task(read_all(file))
        await file.is_waiting.wait()
        task.cancel()
        file.go.set()
        await asyncio.wait([task])
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert said == []


async def test_others_wait_for_a_place_and_may_leave_the_queue() -> None:
    cutter = Cutter(at_once=1)
    first, second, third = Held(TONES), Held(TONES), BytesIO(TONES)
    async with asyncio.timeout(DEADLINE_SECONDS):
        running = asyncio.create_task(read_all(first, cutter))
        await first.is_waiting.wait()
        queued = asyncio.create_task(read_all(second, cutter))
        last = asyncio.create_task(read_all(third, cutter))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not second.is_waiting.is_set()
        queued.cancel()
        await asyncio.wait([queued])
        assert queued.cancelled()
        first.go.set()
        assert await running == await last
    assert not second.is_waiting.is_set()


async def test_a_cancelled_one_gives_its_place_to_the_next() -> None:
    cutter, file = Cutter(at_once=1), Held(TONES)
    async with asyncio.timeout(DEADLINE_SECONDS):
        task = asyncio.create_task(read_all(file, cutter))
        await file.is_waiting.wait()
        task.cancel()
        file.go.set()
        await asyncio.wait([task])
        assert len(await read_all(BytesIO(TONES), cutter)) > 4


async def test_closing_half_way_is_the_end() -> None:
    file = BytesIO(TONES)
    found = cut(file)
    assert (await anext(found)).start_seconds == 0
    await found.aclose()
    assert 0 < file.tell() < len(TONES)
    with pytest.raises(StopAsyncIteration):
        await anext(found)


async def test_one_that_was_never_read_costs_nothing() -> None:
    file = Held(TONES)
    await cut(file).aclose()
    assert not file.is_waiting.is_set()
