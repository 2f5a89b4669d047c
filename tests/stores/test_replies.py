import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stores.database import Database
from app.stores.replies import ENTRY_BYTES, HEAD, PACK_BYTES, ROOM, ReplyStore, _pack, _unpack
from tests.stores.keeping import Clock, kept_in, key, space_of

pytestmark = pytest.mark.anyio

PLENTY = 2**30
TTL_SECONDS = 2 * 3600
HOUR = 3600

kept = partial(kept_in, "replies")
space = partial(space_of, "replies", "reply_space")


def vectors(count: int = 4) -> bytes:
    noise = random.Random(1)
    return orjson.dumps({"data": [[noise.gauss(0, 0.03) for _ in range(1024)] for _ in range(count)]})


@pytest.fixture
def make(database: Database, clock: Clock) -> Callable[..., ReplyStore]:
    """Stores as of several processes: each has a memory of its own."""

    def make(max_bytes: int = PLENTY) -> ReplyStore:
        return ReplyStore(database, max_bytes=max_bytes, ttl_seconds=TTL_SECONDS, now=clock)

    return make


async def rows(database: Database) -> list[tuple[bytes, int]]:
    """The keys in the file and the lengths of their values."""
    return await database.read(
        lambda connection: connection.execute("SELECT key, length(value) FROM replies ORDER BY id").fetchall()
    )


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"\0\n\xff", vectors(), b"x" * PACK_BYTES, random.Random(2).randbytes(10_000), b"y" * 10**6],
    ids=["empty", "json", "binary", "vectors", "short", "noise", "long"],
)
async def test_a_value_is_found_as_it_was_put(make: Callable[..., ReplyStore], value: bytes) -> None:
    store = make()
    store.put(key(1), value)
    assert store.peek(key(1)) == value
    assert await store.get(key(1)) == value
    await store.flush()
    other = make()
    assert other.peek(key(1)) is None
    assert await other.get(key(1)) == value
    assert other.peek(key(1)) == value
    assert await other.get(key(2)) is None


@given(st.binary(max_size=200).map(lambda value: HEAD.pack(1.5, False) + value * 300))
def test_packing_loses_nothing(value: bytes) -> None:
    assert _unpack(_pack(value)) == value


def test_what_packing_would_make_longer_stays_as_it_is() -> None:
    value = HEAD.pack(1.5, False) + random.Random(6).randbytes(2 * PACK_BYTES)
    assert _pack(value) is value


async def test_vectors_take_half_their_space(make: Callable[..., ReplyStore], database: Database) -> None:
    store, value = make(), vectors()
    store.put(key(1), value)
    store.put(key(2), b"x" * PACK_BYTES)
    await store.flush()
    (_, packed), (_, small) = await rows(database)
    assert packed < len(value) * 0.55
    assert small <= PACK_BYTES + HEAD.size


async def test_what_is_too_old_is_missing(make: Callable[..., ReplyStore], clock: Clock) -> None:
    store = make()
    store.put(key(1), b"one")
    await store.flush()
    clock.time += TTL_SECONDS - 1
    assert store.peek(key(1)) == await store.get(key(1)) == await make().get(key(1)) == b"one"
    clock.time += 1
    assert store.peek(key(1)) is await store.get(key(1)) is await make().get(key(1)) is None
    store.put(key(1), b"two")
    assert await store.get(key(1)) == b"two"
    await store.aclose()


async def test_a_clock_set_back_makes_nothing_last_for_ever(make: Callable[..., ReplyStore], clock: Clock) -> None:
    store = make()
    store.put(key(1), b"one")
    clock.time -= 5
    assert store.peek(key(1)) == b"one"
    clock.time -= TTL_SECONDS
    assert store.peek(key(1)) is None
    await store.aclose()


async def test_being_used_makes_nothing_younger(make: Callable[..., ReplyStore], clock: Clock) -> None:
    store = make()
    store.put(key(1), b"one")
    clock.time += HOUR
    assert store.peek(key(1)) == b"one"
    clock.time += HOUR
    assert store.peek(key(1)) is None
    await store.aclose()


async def test_what_was_used_stays_when_space_is_short(
    make: Callable[..., ReplyStore], database: Database, clock: Clock
) -> None:
    size = 32 + 100 + HEAD.size + 100
    store = make(3 * size)
    for number in range(3):
        store.put(key(number), b"x" * 100)
        await store.flush()
    clock.time += HOUR
    assert store.peek(key(0))
    assert await make().get(key(2))  # nobody closes it, so nothing notes this
    store.put(key(3), b"x" * 100)
    await store.flush()
    assert await kept(database, range(5)) == [0, 2, 3]
    assert await space(database) == (3 * size, 3 * size)


async def test_the_old_is_removed_when_something_is_written(
    make: Callable[..., ReplyStore], database: Database, clock: Clock
) -> None:
    store = make()
    for number in range(2 * ROOM.write_rows):
        store.put(key(number), b"x")
    await store.flush()
    clock.time += HOUR
    store.put(key(1000), b"y")
    await store.flush()
    clock.time += TTL_SECONDS
    store.put(key(1001), b"z")
    await store.flush()
    assert await kept(database, range(1002)) == [1000, 1001]


async def test_large_values_go_a_few_at_a_time(
    make: Callable[..., ReplyStore], database: Database, clock: Clock
) -> None:
    store, noise = make(), random.Random(3)
    for number in range(6):
        store.put(key(number), noise.randbytes(2 * 2**20 - HEAD.size))
    assert store._waiting_bytes == 12 * 2**20
    await store.flush()
    assert await kept(database, range(6)) == list(range(6))
    clock.time += TTL_SECONDS + HOUR
    assert await database.write(store._prune)
    assert await kept(database, range(6)) == [2, 3, 4, 5]
    assert await database.write(store._prune)
    assert not await database.write(store._prune)
    assert await space(database) == (0, 0)
    assert not await database.write(store._prune)


async def test_what_waits_is_bounded(make: Callable[..., ReplyStore], database: Database) -> None:
    store, value = make(), b"x" * (ENTRY_BYTES - HEAD.size)
    for number in range(6):
        store.put(key(number), value)
    assert store._waiting_bytes == ROOM.waiting_bytes
    assert len(store._next_batch().entries) == 1
    await store.aclose()
    assert await kept(database, range(6)) == [1, 2, 3]


async def test_a_value_beyond_the_limit_is_not_kept(make: Callable[..., ReplyStore]) -> None:
    store = make()
    store.put(key(1), b"x" * (ENTRY_BYTES - HEAD.size + 1))
    assert await store.get(key(1)) is None


async def test_no_space_at_all_switches_it_off(make: Callable[..., ReplyStore]) -> None:
    store = make(0)
    store.put(key(1), b"one")
    assert store.peek(key(1)) is None
    assert await store.get(key(1)) is None


@pytest.mark.parametrize("damaged", [b"", b"\0", HEAD.pack(1_700_000_000.0, True) + b"no zlib"])
async def test_what_is_damaged_is_missing(make: Callable[..., ReplyStore], database: Database, damaged: bytes) -> None:
    store = make()
    store.put(key(1), b"one")
    await store.flush()
    await database.write(lambda connection: connection.execute("UPDATE replies SET value = ?", (damaged,)).rowcount)
    other = make()
    assert await other.get(key(1)) is None
    other.put(key(1), b"two")
    await other.flush()
    assert await make().get(key(1)) == b"two"


async def test_a_database_that_fails_is_a_miss(
    make: Callable[..., ReplyStore], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    await database.write(lambda connection: connection.execute("ALTER TABLE replies RENAME TO gone").rowcount)
    assert await store.get(key(1)) is None
    store.put(key(1), b"one")
    await store.flush()
    assert await store.get(key(1)) == b"one"  # from memory
    assert len(caplog.records) == 1


async def test_several_processes_keep_one_limit(path: Path, clock: Clock) -> None:
    databases = [Database(path), Database(path)]
    for database in databases:
        await database.open()
    stores = [ReplyStore(each, max_bytes=200_000, ttl_seconds=TTL_SECONDS, now=clock) for each in databases]
    noise = random.Random(4)
    for number in range(80):
        stores[number % 2].put(key(number), noise.randbytes(6000))
    await asyncio.gather(*(store.flush() for store in stores))
    stores[0].put(key(80), b"last")
    await stores[0].flush()
    told, there = await space(databases[1])
    assert told == there <= 200_000
    assert await stores[1].get(key(80)) == b"last"
    for store in stores:
        await store.aclose()
    for database in databases:
        await database.aclose()


@pytest.mark.parametrize(("least", "most"), [(40, 60), (4500, 5500), (60, 30_000), (50_000, 150_000)])
async def test_the_space_that_is_counted_is_what_the_file_takes(
    make: Callable[..., ReplyStore], database: Database, least: int, most: int
) -> None:
    store, noise = make(), random.Random(5)

    async def file_bytes() -> int:
        pages = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
        return int(pages[0]) * 4096

    before = await file_bytes()
    for number in range(100 if least > 1000 else 400):
        store.put(key(number), noise.randbytes(int(least * (most / least) ** noise.random())))
    await store.flush()
    counted, _ = await space(database)
    assert 0.85 < counted / (await file_bytes() - before) < 1.15
