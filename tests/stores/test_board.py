"""Boards: workers of one server that count together. In these tests they are all in one process."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.stores.board import Board
from app.stores.slots import Count, Slot

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 10
SERVER = 4711


class Worker:
    """One of several."""

    def __init__(self, folder: Path, *, server: int = SERVER, workers: int = 2) -> None:
        self.content = b""
        self.inherited: list[bytes] = []
        self.board = Board(
            folder,
            workers,
            tell=lambda: self.content,
            take_over=self.inherited.append,
            now=lambda: 1000.0,
            server=server,
            look_seconds=0.01,
        )

    def die(self) -> None:
        """As the system does it: the lock is gone, and nothing was put in order."""
        assert self.board._looking
        assert self.board._own
        self.board._looking.cancel()
        self.board._own.leave()


@asynccontextmanager
async def working(*workers: Worker) -> AsyncGenerator[None]:
    for worker in workers:
        await worker.board.open()
    yield
    for worker in workers:
        await worker.board.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - files tell nobody that they have changed
            await asyncio.sleep(0.005)


async def test_each_sees_what_the_others_have(tmp_path: Path) -> None:
    one, two, three = workers = [Worker(tmp_path, workers=3) for _ in range(3)]
    async with working(*workers):
        one.board.write("key", 1.0, 100.0, 1)
        two.board.write("key", 2.0, 200.0, 2)
        three.board.write("other", 9.0, 900.0, 9)
        assert [each.board.running("key") for each in workers] == [2, 1, 3]
        assert [each.board.latest("key") for each in workers] == [Count(2, 200, 2), Count(1, 100, 1), Count(2, 200, 2)]
        assert one.board.latest("nobody") == Count(0, 0, 0)


async def test_a_board_that_is_not_open_has_no_others(tmp_path: Path) -> None:
    board = Worker(tmp_path).board
    board.write("key", 1.0, 1.0, 1)
    assert (board.latest("key"), board.running("key"), board.published()) == (Count(0, 0, 0), 0, [])
    await board.aclose()


async def test_more_workers_than_there_mostly_are_find_each_other(tmp_path: Path) -> None:
    workers = [Worker(tmp_path, workers=1) for _ in range(3)]
    async with working(*workers):
        workers[2].board.write("key", 1.0, 100.0, 5)
        await until(lambda: [each.board.running("key") for each in workers] == [5, 5, 0])


async def test_what_a_dead_worker_had_running_is_forgotten(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    async with working(one, two):
        two.board.write("key", 1.0, 100.0, 3)
        two.content = b"two"
        await until(lambda: one.board.published() == [b"two"])
        assert one.board.running("key") == 3
        two.die()
        await until(lambda: one.board.running("key") == 0)
        assert (one.inherited, one.board.published()) == ([b"two"], [])


async def test_its_place_is_the_next_ones(tmp_path: Path) -> None:
    first, heir = Worker(tmp_path, workers=1), Worker(tmp_path, workers=1)
    first.content = b"first"
    await first.board.open()
    first.board.write("key", 1.0, 100.0, 3)
    first.die()
    async with working(heir):
        assert heir.inherited == [b"first"]
        assert not Slot(tmp_path / "0").take()


async def test_who_ends_in_order_leaves_its_counts_to_the_others(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    async with working(one):
        await two.board.open()
        two.content = b"all"
        await two.board.aclose()
        await until(lambda: one.inherited == [b"all"])


async def test_another_server_inherits_nothing_but_counts_with_it(tmp_path: Path) -> None:
    old, new, newer = Worker(tmp_path), Worker(tmp_path, server=1), Worker(tmp_path, server=2)
    old.content = b"old"
    async with working(old, new):
        old.board.write("key", 1.0, 100.0, 3)
        assert (new.board.running("key"), new.board.published()) == (3, [])
    async with working(newer):
        assert (newer.inherited, newer.board.published()) == ([], [])


async def test_what_is_published_is_current_once_it_was_told(tmp_path: Path) -> None:
    one, two = Worker(tmp_path), Worker(tmp_path)
    async with working(one, two):
        one.content = b"new"
        assert one.board.published() == []
        assert two.board.published() == [b"new"]


async def test_where_nothing_can_be_written_each_counts_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    worker = Worker(tmp_path / "file" / "workers")
    async with working(worker):
        worker.board.write("key", 1.0, 1.0, 1)
        assert worker.board.running("key") == 0
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told.message == "workers can't share their counts"


async def test_a_folder_that_is_not_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    one, two = Worker(tmp_path, workers=1), Worker(tmp_path, workers=1)
    async with working(one, two):
        one.board.write("key", 1.0, 1.0, 1)
        assert (two.board.running("key"), two.board.published()) == (0, [])


async def test_a_place_that_can_not_be_opened_is_looked_for_again(tmp_path: Path) -> None:
    one = Worker(tmp_path, workers=1)
    async with working(one):
        (tmp_path / "1").mkdir()
        await asyncio.sleep(0.05)
        (tmp_path / "1").rmdir()
        two = Worker(tmp_path, workers=1)
        async with working(two):
            two.board.write("key", 1.0, 1.0, 1)
            await until(lambda: one.board.running("key") == 1)
