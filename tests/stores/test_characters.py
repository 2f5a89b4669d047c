import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.stores.characters import CharacterCount
from app.stores.database import Database, StoreError

pytestmark = pytest.mark.anyio


def at(*moment: int) -> Any:
    return lambda: datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]  # mypy takes tzinfo for one of them


async def test_characters_add_up_for_each_caller(database: Database) -> None:
    count = CharacterCount(database)
    assert await count.total("one") == 0
    count.add("one", 10)
    count.add("other", 1)
    count.add("one", 5)
    assert [await count.total("one"), await count.total("other")] == [15, 1]
    await count.aclose()
    assert [await count.total("one"), await count.total("other")] == [15, 1]


async def test_they_outlast_the_process_and_are_of_all_processes(database: Database) -> None:
    one, other = CharacterCount(database), CharacterCount(database)
    one.add("caller", 10)
    other.add("caller", 3)
    await one.aclose()
    assert await other.total("caller") == 13
    await other.aclose()
    assert await CharacterCount(database).total("caller") == 13


async def test_what_is_being_written_counts_once(database: Database) -> None:
    count = CharacterCount(database)
    for number in range(1, 200):
        count.add("caller", 1)
        if number % 20 == 0:
            count._writer._wake.set()
        assert await count.total("caller") == number
    await count.aclose()


async def test_a_month_ends_in_utc(database: Database) -> None:
    count = CharacterCount(database, now=at(2026, 11, 30, 23, 59, 59))
    count.add("caller", 10)
    count._now = at(2026, 12, 1)
    assert await count.total("caller") == 0
    count.add("caller", 3)
    assert await count.total("caller") == 3
    await count.aclose()
    assert await count.total("caller") == 3
    count._now = at(2026, 11, 1)
    assert await count.total("caller") == 10


async def test_what_could_not_be_written_is_written_later(database: Database, tmp_path: Path) -> None:
    count = CharacterCount(database)
    with closing(sqlite3.connect(tmp_path / "flarelay.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        count.add("caller", 10)
        await count._writer.flush()
        count.add("caller", 1)
        assert await count.total("caller") == 11
    await count.aclose()
    assert await CharacterCount(database).total("caller") == 11


async def test_what_is_lost_is_told(database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    count = CharacterCount(database)
    count.add("one", 10)
    count.add("other", 1)
    with closing(sqlite3.connect(tmp_path / "flarelay.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await count.aclose()
    assert [record.message for record in caplog.records] == ["database", "characters not counted"]
    assert vars(caplog.records[1])["fields"] == {"characters": 11}


async def test_a_total_that_can_not_be_read_is_a_store_error(database: Database) -> None:
    count = CharacterCount(database)
    await database.aclose()
    with pytest.raises(StoreError):
        await count.total("caller")
