import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import anyio
import pytest

from app.stores.database import Database, StoreError, load_migrations
from tests.serving import DEADLINE_SECONDS
from tests.stores.keeping import write_until_killed

pytestmark = pytest.mark.anyio

ITEMS = "CREATE TABLE items (number INTEGER NOT NULL UNIQUE);"
NEWEST = len(load_migrations())


@asynccontextmanager
async def opened(*databases: Database) -> AsyncGenerator[None]:
    for database in databases:
        await database.open()
    try:
        yield
    finally:
        for database in databases:
            await database.aclose()


def items(path: Path, **options: Any) -> Database:
    return Database(path, migrations=[ITEMS], **options)


def adding(*numbers: int) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.executemany("INSERT INTO items VALUES (?)", ((number,) for number in numbers))

    return work


def pragma(text: str) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(f"PRAGMA {text}").fetchone()


def numbers(connection: Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM items ORDER BY number")]


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def test_a_new_file_has_every_table_and_lies_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "flarelay.db"
    database = Database(path)
    async with opened(database):
        names = await database.read(
            lambda connection: {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
        )
    assert {"translations", "translation_space", "translated_characters"} <= names
    assert version(path) == NEWEST


async def test_the_file_is_set_up_for_several_processes(path: Path) -> None:
    database = Database(path, busy_seconds=7)
    async with opened(database):
        pragmas = [
            await database.read(pragma(name))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == [("wal",), (1,), (1,), (7000,)]


async def test_what_is_written_stays(path: Path) -> None:
    database = items(path)
    async with opened(database):
        await database.write(adding(1))
        assert await database.read(numbers) == [1]
    async with opened(database):
        assert await database.read(numbers) == [1]
    assert [file.name for file in path.parent.iterdir()] == ["flarelay.db"]  # all of it is in the one file


async def test_work_runs_in_one_thread_beside_the_loop(path: Path) -> None:
    database = items(path)
    async with opened(database):
        threads = await asyncio.gather(*(database.read(lambda _: threading.current_thread()) for _ in range(9)))
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    await asyncio.to_thread(threads[0].join, DEADLINE_SECONDS)
    assert not threads[0].is_alive()


async def test_work_that_fails_has_done_nothing(path: Path) -> None:
    def fail(connection: Connection) -> None:
        adding(1)(connection)
        raise KeyError("a bug")

    database = items(path)
    async with opened(database):
        with pytest.raises(KeyError, match="a bug"):
            await database.write(fail)
        assert await database.read(numbers) == []
        await database.write(adding(2))
        assert await database.read(numbers) == [2]


async def test_a_refusal_of_sqlite_is_a_store_error(path: Path) -> None:
    database = items(path)
    async with opened(database):
        await database.write(adding(1))
        with pytest.raises(StoreError, match="UNIQUE constraint failed"):
            await database.write(adding(1))
        with pytest.raises(StoreError, match="no such table: absent"):
            await database.read(lambda connection: connection.execute("SELECT * FROM absent"))


async def test_what_was_handed_over_is_done_before_it_closes(path: Path) -> None:
    database = items(path)
    await database.open()
    writes = [asyncio.create_task(database.write(adding(number))) for number in range(50)]
    await asyncio.sleep(0)
    await database.aclose()
    await asyncio.gather(*writes)
    async with opened(database):
        assert await database.read(numbers) == list(range(50))


async def test_a_closed_database_is_a_store_error(path: Path) -> None:
    database = items(path)
    with pytest.raises(StoreError, match="not open"):
        await database.read(numbers)
    async with opened(database):
        await database.aclose()
        with pytest.raises(StoreError, match="not open"):
            await database.write(numbers)


async def test_several_on_one_file_see_each_others_work(path: Path) -> None:
    one, other = items(path), items(path)
    async with opened(one, other):
        await asyncio.gather(*(database.write(adding(number)) for number, database in enumerate([one, other] * 50)))
        assert await one.read(numbers) == await other.read(numbers) == list(range(100))


async def test_readers_do_not_wait_for_another_writer(path: Path) -> None:
    database = items(path, busy_seconds=0)
    async with opened(database):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO items VALUES (1)")
            assert await database.read(numbers) == []
            other.execute("COMMIT")
        assert await database.read(numbers) == [1]


async def test_a_lock_that_stays_is_a_store_error(path: Path) -> None:
    database = items(path, busy_seconds=0)
    async with opened(database):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await database.write(adding(1))
        await database.write(adding(1))


async def test_failures_are_logged_once_a_minute(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    time = 0.0
    database = items(path, busy_seconds=0, now=lambda: time)

    async def fail() -> None:
        with pytest.raises(StoreError):
            await database.write(lambda connection: connection.execute("INSERT INTO items VALUES (NULL)"))

    async with opened(database):
        await fail()
        await fail()
        time = 59
        await fail()
        assert [vars(record)["fields"] for record in caplog.records] == [
            {
                "path": str(path),
                "error": "SQLITE_CONSTRAINT_NOTNULL",
                "reason": "NOT NULL constraint failed: items.number",
            }
        ]
        time = 60
        await fail()
        assert [record.message for record in caplog.records] == ["database"] * 2


async def test_a_full_disk_is_a_store_error_that_passes(path: Path) -> None:
    database = items(path)
    async with opened(database):
        await database.read(pragma("max_page_count = 10"))
        with pytest.raises(StoreError, match="full"):
            await database.write(adding(*range(100_000)))
        assert await database.read(numbers) == []
        await database.read(pragma("max_page_count = 100000"))
        await database.write(adding(*range(100_000)))
        assert len(await database.read(numbers)) == 100_000


async def test_a_file_that_became_read_only_is_read_still(path: Path) -> None:
    database = items(path)
    async with opened(database):
        await database.write(adding(1))
        await database.read(pragma("query_only = ON"))
        with pytest.raises(StoreError, match="readonly"):
            await database.write(adding(2))
        assert await database.read(numbers) == [1]


async def test_a_folder_that_can_not_be_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    database = items(tmp_path / "file" / "flarelay.db")
    with pytest.raises(StoreError, match=r"flarelay\.db can't be opened .*File exists"):
        await database.open()
    await database.aclose()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flarelay.db", r"flarelay\.db can't be opened \(unable to open"),
        ("flarelay.db-wal", r"flarelay\.db can't be used .* must be able to write it"),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_told_at_once(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match=message):
        anyio.run(items(tmp_path / "flarelay.db").open)


def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)
    with pytest.raises(StoreError, match=r"flarelay\.db is damaged .*move it away"):
        anyio.run(Database(path).open)
    assert path.read_bytes() == b"This is no database. " * 1000


def spoil(path: Path) -> None:
    """All but the first pages, which hold the schema."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xa5" * (size - 2 * 4096))


async def test_damage_that_shows_later_is_a_store_error(path: Path) -> None:
    database = items(path)
    async with opened(database):
        await database.write(adding(*range(10_000)))
    spoil(path)
    async with opened(database):
        with pytest.raises(StoreError, match="malformed"):
            await database.read(numbers)


async def test_a_newer_file_is_refused_and_kept(path: Path) -> None:
    newer = Database(path, migrations=[ITEMS, "CREATE TABLE more (x);"])
    async with opened(newer):
        await newer.write(adding(1))
    with pytest.raises(StoreError, match=r"newer Flarelay \(version 2 of its tables; this one knows 1\)"):
        await items(path).open()
    async with opened(newer):
        assert await newer.read(numbers) == [1]


async def test_an_older_file_keeps_what_it_has(path: Path) -> None:
    former = items(path)
    async with opened(former):
        await former.write(adding(1))
    steps = [
        ITEMS,
        "ALTER TABLE items ADD COLUMN note TEXT;\nUPDATE items SET note = 'a; b';",
        "CREATE TABLE more (x);",
    ]
    database = Database(path, migrations=steps)
    async with opened(database):
        assert await database.read(lambda connection: connection.execute("SELECT * FROM items").fetchall()) == [
            (1, "a; b")
        ]
    assert version(path) == 3


async def test_a_migration_that_fails_has_done_nothing(path: Path) -> None:
    with pytest.raises(StoreError, match="syntax error"):
        await Database(path, migrations=[ITEMS, "CREATE TABLE more (x);\nNO SQL;"]).open()
    assert version(path) == 0
    async with opened(items(path)):
        assert version(path) == 1


async def test_a_trigger_is_one_statement(path: Path) -> None:
    trigger = """
        -- Not more than it says; though it says a lot.
        CREATE TRIGGER double AFTER INSERT ON items WHEN new.number < 10 BEGIN
            INSERT INTO items VALUES (new.number * 10);
            INSERT INTO items VALUES (new.number * 100);
        END;
    """
    database = Database(path, migrations=[ITEMS + trigger])
    async with opened(database):
        await database.write(adding(1))
        assert await database.read(numbers) == [1, 10, 100]


async def test_many_open_a_new_file_at_the_same_moment(path: Path) -> None:
    databases = [Database(path, busy_seconds=0) for _ in range(12)]  # nothing is left to SQLite's own waiting
    await asyncio.gather(*(database.open() for database in databases))
    for database in databases:
        await database.aclose()
    assert version(path) == NEWEST


async def test_opening_waits_for_a_lock_to_go(path: Path) -> None:
    database = items(path, busy_seconds=0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        opening = asyncio.create_task(database.open())
        await asyncio.sleep(0.05)
        assert not opening.done()
        other.execute("ROLLBACK")
        await opening
    await database.aclose()


async def test_opening_does_not_wait_for_ever(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            await items(path, busy_seconds=0, open_seconds=0).open()


WRITING = """
import asyncio, sys
from pathlib import Path
from app.stores.database import Database

async def main():
    database = Database(Path(sys.argv[1]), migrations=["CREATE TABLE items (number INTEGER NOT NULL UNIQUE);"])
    await database.open()
    for start in range(0, 10**9, 10):
        await database.write(lambda connection: connection.executemany(
            "INSERT INTO items VALUES (?)", [(start + each,) for each in range(10)]))
        print(start + 10, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_all_that_it_was_told_is_written(path: Path) -> None:
    told = write_until_killed(WRITING, path)
    database = items(path)
    async with opened(database):
        found = await database.read(numbers)
    assert found == list(range(len(found)))  # no gap, and no half of a batch
    assert len(found) in {told, told + 10}


def test_migrations_are_numbered_without_a_gap() -> None:
    folder = Path(__file__).parents[2] / "app" / "stores" / "migrations"
    assert [int(file.name[:4]) for file in sorted(folder.iterdir())] == list(range(1, NEWEST + 1))
