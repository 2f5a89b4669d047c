import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app.stores.database import Database
from app.stores.translations import (
    ENTRY_BYTES,
    HOUR,
    RECENT_ENTRIES,
    WAITING_BYTES,
    WAITING_ENTRIES,
    WRITE_ROWS,
    Entry,
    Recent,
    TranslationCache,
)
from tests.serving import DEADLINE_SECONDS
from tests.stores.keeping import Clock, kept_in, key, space_of, write_until_killed

pytestmark = pytest.mark.anyio

PLENTY = 2**30
ROW_BYTES = 32 + 100 + 100
"""What an entry with a value of 100 bytes takes."""

kept = partial(kept_in, "translations")
space = partial(space_of, "translations", "translation_space")


@pytest.fixture
def make(database: Database, clock: Clock) -> Callable[..., TranslationCache]:
    """Caches as of several processes: each has a memory of its own."""

    def make(max_bytes: int = PLENTY) -> TranslationCache:
        return TranslationCache(database, max_bytes=max_bytes, now=clock)

    return make


@pytest.mark.parametrize(
    "value", ["Guten Tag", "", "你好,世界 👋", "a\0b", "\ud83d alone", "\r\n\u2028 ", "x" * ENTRY_BYTES]
)
async def test_a_value_is_found_as_it_was_put(make: Callable[..., TranslationCache], value: str) -> None:
    cache = make()
    cache.put(key(1), value)
    assert await cache.get_many([key(1)]) == {key(1): value}
    await cache.flush()
    assert await make().get_many([key(1)]) == {key(1): value}


async def test_only_what_is_known_is_found(make: Callable[..., TranslationCache]) -> None:
    cache = make()
    assert await cache.get_many([]) == {}
    cache.put(key(1), "one")
    await cache.flush()
    other = make()
    other.put(key(2), "two")
    asked = [key(3), key(2), key(1), key(2), key(3), b""]
    assert await other.get_many(asked) == {key(1): "one", key(2): "two"}
    await other.aclose()


async def test_what_is_put_again_is_replaced(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    cache.put(key(1), "first")
    await cache.flush()
    cache.put(key(1), "second")
    cache.put(key(1), "third, and longer")
    assert await cache.get_many([key(1)]) == {key(1): "third, and longer"}
    await cache.flush()
    assert await make().get_many([key(1)]) == {key(1): "third, and longer"}
    assert await space(database) == (32 + 17 + 100, 32 + 17 + 100)


async def test_many_keys_are_asked_for_at_once(make: Callable[..., TranslationCache]) -> None:
    cache = make()
    for number in range(1100):
        cache.put(key(number), str(number))
    await cache.flush()
    found = await make().get_many([key(number) for number in range(1200)])
    assert found == {key(number): str(number) for number in range(1100)}


async def test_what_is_in_memory_needs_no_database(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    cache.put(key(1), "put")
    await cache.flush()
    other = make()
    await other.get_many([key(1)])
    await database.aclose()
    with pytest.raises(StopIteration) as end:
        other.get_many([key(1)]).send(None)  # it is done without once waiting
    assert end.value.value == {key(1): "put"}


async def test_what_waits_is_found_although_memory_is_full(make: Callable[..., TranslationCache]) -> None:
    cache = make()
    for number in range(RECENT_ENTRIES + 10):
        cache.put(key(number), str(number))
    assert cache._recent.get(key(0)) is None
    assert await cache.get_many([key(0)]) == {key(0): "0"}
    await cache.aclose()


async def test_it_writes_in_the_background(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    cache.put(key(1), "one")
    while not await kept(database, range(2)):  # noqa: ASYNC110 - what it waits for happens in a thread
        await asyncio.sleep(0.01)
    assert await make().get_many([key(1)]) == {key(1): "one"}


async def test_nothing_is_lost_when_it_closes(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    for number in range(3 * WRITE_ROWS + 1):
        cache.put(key(number), str(number))
    await cache.aclose()
    assert len(await kept(database, range(3000))) == 3 * WRITE_ROWS + 1


async def test_large_values_are_written_a_few_at_a_time(
    make: Callable[..., TranslationCache], database: Database
) -> None:
    cache = make()
    for number in range(40):
        cache.put(key(number), "x" * ENTRY_BYTES)
    assert len(cache._next_batch().entries) == 16
    await cache.aclose()
    assert await kept(database, range(40)) == list(range(16, 40))


async def test_a_value_beyond_the_limit_is_not_kept(make: Callable[..., TranslationCache]) -> None:
    cache = make()
    cache.put(key(1), "x" * (ENTRY_BYTES + 1))
    assert await cache.get_many([key(1)]) == {}


@pytest.mark.parametrize(("size", "most"), [(1, WAITING_ENTRIES), (ENTRY_BYTES, WAITING_BYTES // ENTRY_BYTES)])
async def test_what_waits_is_bounded(
    make: Callable[..., TranslationCache], database: Database, size: int, most: int
) -> None:
    cache = make()
    for number in range(most + 10):
        cache.put(key(number), "x" * size)
    assert len(cache._waiting) == most
    await cache.aclose()
    assert cache._waiting_bytes == 0
    rows = await database.read(lambda connection: connection.execute("SELECT count(*) FROM translations").fetchone())
    assert rows == (most,)


async def test_no_space_at_all_switches_it_off(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    cache.put(key(1), "one")
    await cache.flush()
    await database.aclose()
    off = make(max_bytes=0)
    off.put(key(2), "two")
    assert await off.get_many([key(1), key(2)]) == {}
    await off.aclose()


async def test_space_is_kept_and_the_oldest_go(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make(max_bytes=10 * ROW_BYTES)
    for number in range(10):
        cache.put(key(number), "x" * 100)
    await cache.flush()
    assert await kept(database, range(12)) == list(range(10))  # exactly full
    cache.put(key(10), "x" * 100)
    cache.put(key(11), "")
    await cache.flush()
    assert await kept(database, range(12)) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert await space(database) == (9 * ROW_BYTES + 132, 9 * ROW_BYTES + 132)


async def test_what_was_used_stays(make: Callable[..., TranslationCache], database: Database, clock: Clock) -> None:
    cache = make(max_bytes=10 * ROW_BYTES)
    for number in range(10):
        cache.put(key(number), "x" * 100)
    await cache.flush()
    clock.time += HOUR
    await cache.get_many([key(0), key(3)])  # out of memory
    await make().get_many([key(5)])  # nobody closes it, so nothing notes this
    other = make()
    await other.get_many([key(4), key(99)])  # out of the file
    await other.aclose()
    for number in range(10, 17):
        cache.put(key(number), "x" * 100)
    await cache.flush()
    assert await kept(database, range(17)) == [0, 3, 4, *range(10, 17)]


async def test_a_use_is_written_once_an_hour(make: Callable[..., TranslationCache], clock: Clock) -> None:
    cache = make()
    cache.put(key(1), "one")
    await cache.get_many([key(1)])
    await cache.flush()
    assert not cache._touched
    for _ in range(2):
        clock.time += HOUR
        await cache.get_many([key(1)])
        assert list(cache._touched) == [key(1)]
        await cache.flush()
        await cache.get_many([key(1)])
        assert not cache._touched
    other = make()
    await other.get_many([key(1)])
    assert not other._touched


async def test_uses_that_wait_are_bounded(
    make: Callable[..., TranslationCache], database: Database, clock: Clock
) -> None:
    cache = make()
    for number in range(WRITE_ROWS + 1):
        cache.put(key(number), "")
    cache._touched = dict.fromkeys(range(WAITING_ENTRIES))  # type: ignore[arg-type]  # as if that many were waiting
    clock.time += HOUR
    assert len(await cache.get_many([key(1)])) == 1
    assert len(cache._touched) == WAITING_ENTRIES
    await cache.aclose()
    assert not cache._touched


async def test_a_limit_that_was_lowered_is_reached_step_by_step(
    make: Callable[..., TranslationCache], database: Database
) -> None:
    cache = make()
    count = 4 * WRITE_ROWS
    for number in range(count):
        cache.put(key(number), "x" * 100)
    await cache.aclose()
    smaller = make(max_bytes=10 * ROW_BYTES)
    smaller.put(key(count), "x" * 100)
    await smaller.flush()
    assert await kept(database, range(count + 1)) == list(range(count - 9, count + 1))


async def test_closing_does_not_wait_for_room(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make()
    for number in range(10):
        cache.put(key(number), "x" * 100)
    await cache.aclose()
    smaller = make(max_bytes=1)
    smaller.put(key(10), "x" * 100)
    await smaller.aclose()
    assert len(await kept(database, range(11))) == 11


async def test_an_entry_beyond_all_space_is_not_kept(make: Callable[..., TranslationCache], database: Database) -> None:
    cache = make(max_bytes=1)
    cache.put(key(1), "one")
    await cache.flush()
    assert await kept(database, range(2)) == []


async def test_a_wrong_sum_ends_with_an_empty_table(make: Callable[..., TranslationCache], database: Database) -> None:
    await database.write(lambda connection: connection.execute("UPDATE translation_space SET bytes = 5000").rowcount)
    cache = make(max_bytes=1000)
    cache.put(key(1), "one")
    await cache.flush()
    assert await kept(database, range(2)) == []


async def test_several_processes_keep_one_limit(path: Path, clock: Clock) -> None:
    databases = [Database(path), Database(path)]
    for database in databases:
        await database.open()
    caches = [TranslationCache(database, max_bytes=50 * ROW_BYTES, now=clock) for database in databases]
    for number in range(200):
        caches[number % 2].put(key(number), "x" * 100)
    await asyncio.gather(*(cache.aclose() for cache in caches))
    last = TranslationCache(databases[0], max_bytes=50 * ROW_BYTES, now=clock)
    last.put(key(200), "x" * 100)
    await last.flush()
    assert await space(databases[1]) == (50 * ROW_BYTES, 50 * ROW_BYTES)
    for database in databases:
        await database.aclose()


async def test_a_database_that_fails_is_a_miss(
    make: Callable[..., TranslationCache], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    cache.put(key(1), "one")
    await cache.flush()
    await database.write(lambda connection: connection.execute("ALTER TABLE translations RENAME TO gone").rowcount)
    other = make()
    for number in range(2, 5):
        assert await other.get_many([key(1)]) == {}
        other.put(key(number), "two")
        await other.flush()
        assert await other.get_many([key(number)]) == {key(number): "two"}  # from memory
    await other.aclose()
    assert len(caplog.records) == 1
    assert vars(caplog.records[0])["fields"]["reason"] == "no such table: translations"


async def test_a_lock_makes_nobody_wait(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(path, busy_seconds=DEADLINE_SECONDS)
    await database.open()
    cache = TranslationCache(database, max_bytes=PLENTY)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache.put(key(1), "one")
        flushing = asyncio.create_task(cache.flush())
        await asyncio.sleep(0.05)  # the one thread waits for the lock now
        assert await cache.get_many([key(1), key(2)]) == {key(1): "one"}
        assert not flushing.done()
    await flushing
    assert await TranslationCache(database, max_bytes=PLENTY).get_many([key(1)]) == {key(1): "one"}
    await cache.aclose()
    await database.aclose()
    assert not caplog.records


async def test_a_full_disk_loses_only_what_is_new(
    make: Callable[..., TranslationCache], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    cache.put(key(1), "one")
    await cache.flush()
    await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    for number in range(100, 200):
        cache.put(key(number), "x" * 1000)
    await cache.flush()
    assert await make().get_many([key(1), key(100)]) == {key(1): "one"}
    await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
    cache.put(key(2), "two")
    await cache.aclose()
    assert await make().get_many([key(2)]) == {key(2): "two"}
    assert [vars(record)["fields"]["error"] for record in caplog.records] == ["SQLITE_FULL"]


WRITING = """
import asyncio, hashlib, sys
from pathlib import Path
from app.stores.database import Database
from app.stores.translations import TranslationCache

async def main():
    database = Database(Path(sys.argv[1]))
    await database.open()
    cache = TranslationCache(database, max_bytes=2**30)
    for number in range(10**9):
        cache.put(hashlib.sha256(b"%d" % number).digest(), str(number))
        if number % 10 == 9:
            await cache.flush()
            print(number + 1, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_all_but_its_last_batch(path: Path) -> None:
    told = write_until_killed(WRITING, path)
    database = Database(path)
    await database.open()
    found = await kept(database, range(told + 100))
    assert found in (list(range(told)), list(range(told + 10)))
    kept_bytes, bytes_there = await space(database)
    assert kept_bytes == bytes_there
    await database.aclose()


def entry(size: int, hour: int = 0) -> Entry:
    return Entry(bytes(size), hour)


@pytest.mark.parametrize(
    ("max_entries", "max_bytes", "left"),
    [
        (3, 10**6, [1, 3, 4]),
        (9, 3 * 400, [1, 3, 4]),
        (9, 3 * 400 - 1, [3, 4]),
        (9, 4 * 400, [1, 2, 3, 4]),
        (9, 399, []),
    ],
)
def test_memory_has_what_was_used_last(max_entries: int, max_bytes: int, left: list[int]) -> None:
    recent = Recent(max_entries, max_bytes)
    for number in (1, 2, 3):
        recent.put(key(number), entry(100))
    recent.get(key(1))
    recent.put(key(4), entry(100))
    assert [number for number in range(6) if recent.get(key(number))] == left


def test_memory_counts_an_entry_that_is_put_again_once() -> None:
    recent = Recent(9, 1000)
    for size in (700, 10, 100, 100):
        recent.put(key(1), entry(size))
    recent.put(key(2), entry(300))
    assert [recent.get(key(1)), recent.get(key(2))] == [entry(100), entry(300)]


async def test_what_this_process_remembers_needs_no_look_at_the_disk(database: Database) -> None:
    translations = TranslationCache(database, max_bytes=1_000_000)
    assert translations.peek(key(1)) is None
    translations.put(key(1), "value")
    assert translations.peek(key(1)) == "value"
    assert TranslationCache(database, max_bytes=0).peek(key(1)) is None
    await translations.aclose()
