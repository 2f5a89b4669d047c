import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from app.stores.database import Database, StoreError
from app.stores.ledger import Entry, Ledger, Row
from tests.serving import DEADLINE_SECONDS
from tests.stores.keeping import Clock

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY = date(2026, 11, 22)
NEXT = date(2026, 11, 23)
MIDNIGHT = NOON + 12 * 3600
NEVER = 10.0**9
"""A wait that no test lives to see the end of."""
MODEL = "@cf/meta/llama-3.1-8b-instruct"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@asynccontextmanager
async def opened(path: Path, clock: Callable[[], float], **options: Any) -> AsyncGenerator[Ledger]:
    database = Database(path, busy_seconds=0)
    await database.open()
    ledger = Ledger(database, now=clock, **{"refresh_seconds": NEVER} | options)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()
        await database.aclose()


def entry(neurons: float, key: str = "one", account: str = "first", model: str = MODEL, **fields: Any) -> Entry:
    return Entry(key, account, model, neurons, **fields)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in a task
            await anyio.sleep(0.005)


async def test_what_is_recorded_counts_at_once(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        assert ledger.spent_today() == 0
        ledger.record(entry(10))
        ledger.record(entry(2, key="other"))
        ledger.record(entry(3, account="second"))
        ledger.record(entry(0.5, model="@cf/baai/bge-m3"))
        assert ledger.spent_today() == 15.5
        assert [ledger.spent_today(key) for key in ("one", "other", "none")] == [13.5, 2, 0]
        assert [ledger.spent_today(account=account) for account in ("first", "second", "third")] == [12.5, 3, 0]
        assert [ledger.spent_today("one", "first"), ledger.spent_today("other", "second")] == [10.5, 0]


async def test_a_report_has_a_row_for_each_day_key_account_and_model(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        ledger.record(entry(10, prompt_tokens=100, completion_tokens=20, cached_tokens=50))
        ledger.record(entry(2.5, prompt_tokens=1, completion_tokens=2, cached_tokens=3, is_estimated=True, calls=4))
        ledger.record(entry(1, account="second"))
        ledger.record(entry(7, key="other", model="@cf/openai/whisper", audio_seconds=1.5))
        clock.time = MIDNIGHT
        ledger.record(entry(4))
        rows = await ledger.report(since=DAY, until=NEXT)
        assert rows == [
            Row(DAY, "one", "first", MODEL, 5, 12.5, 2.5, 101, 22, 53, 0.0),
            Row(DAY, "one", "second", MODEL, 1, 1.0, 0.0, 0, 0, 0, 0.0),
            Row(DAY, "other", "first", "@cf/openai/whisper", 1, 7.0, 0.0, 0, 0, 0, 1.5),
            Row(NEXT, "one", "first", MODEL, 1, 4.0, 0.0, 0, 0, 0, 0.0),
        ]
        assert await ledger.report(since=DAY, until=DAY) == rows[:3]
        assert await ledger.report(since=NEXT, until=NEXT, key="one") == rows[3:]
        assert await ledger.report(since=DAY, until=NEXT, key="other") == rows[2:3]


async def test_what_was_spent_outlasts_the_process(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        ledger.record(entry(10))
    async with opened(path, clock) as ledger:
        assert [ledger.spent_today(), ledger.spent_today("one", "first")] == [10, 10]
        ledger.record(entry(1))
        assert ledger.spent_today("one") == 11
        assert [row.neurons for row in await ledger.report(since=DAY, until=DAY)] == [11]


async def test_several_processes_add_to_the_same_rows_and_learn_of_each_other(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as one, opened(path, clock) as other:
        one.record(entry(10))
        other.record(entry(3))
        other.record(entry(1, key="other"))
        assert [one.spent_today(), other.spent_today()] == [10, 4]
        await one.report(since=DAY, until=DAY)  # writes what waits
        await other.refresh()
        assert [other.spent_today(), other.spent_today("one")] == [14, 13]  # its own part is not even written
        rows = await other.report(since=DAY, until=DAY)
        await one.refresh()
        await one.refresh()  # nothing is new
        assert [one.spent_today(), one.spent_today("other")] == [14, 1]
        assert [(row.key, row.calls, row.neurons) for row in rows] == [("one", 2, 13), ("other", 1, 1)]


async def test_knowledge_of_other_processes_is_kept_current(path: Path, clock: Clock) -> None:
    async with opened(path, clock, refresh_seconds=0.01) as one, opened(path, clock) as other:
        other.record(entry(3))
        await until(lambda: one.spent_today() == 3)


async def test_what_can_not_be_read_is_read_later(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path, clock, refresh_seconds=0.01) as ledger, opened(path, clock) as other:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("ALTER TABLE neuron_ledger RENAME TO away")
            await until(lambda: bool(caplog.records))
            connection.execute("ALTER TABLE away RENAME TO neuron_ledger")
        other.record(entry(3))
        await until(lambda: ledger.spent_today() == 3)


async def test_what_is_being_written_counts_once(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger, opened(path, clock) as other:
        for number in range(1, 200):
            ledger.record(entry(1))
            if number % 10 == 0:
                ledger._writer._wake.set()
            refreshing = asyncio.create_task(ledger.refresh())
            await asyncio.sleep(0)
            assert ledger.spent_today() == number
            if number % 40 == 0:
                other.record(entry(0))  # so that there is something to read
                await other._writer.flush()
            await refreshing
            assert ledger.spent_today() == number


async def test_a_day_ends_in_utc(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        clock.time = MIDNIGHT - 0.001
        ledger.record(entry(10))
        clock.time = MIDNIGHT
        assert ledger.spent_today() == 0
        ledger.record(entry(3))
        assert [ledger.spent_today(), ledger.spent_today("one")] == [3, 3]
        await ledger.refresh()
        assert ledger.spent_today() == 3
        rows = await ledger.report(since=DAY, until=NEXT)
        assert [(row.day, row.neurons) for row in rows] == [(DAY, 10), (NEXT, 3)]
        clock.time = NOON  # a clock that is set back
        await ledger.refresh()
        assert ledger.spent_today() == 10


async def test_a_day_that_ends_while_the_file_is_read_is_read_anew(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger, opened(path, clock) as other:
        other.record(entry(10))
        await other._writer.flush()
        refreshing = asyncio.create_task(ledger.refresh())
        await asyncio.sleep(0)
        clock.time = MIDNIGHT
        await refreshing
        assert ledger.spent_today() == 0
        other.record(entry(2))
        await other._writer.flush()
        await ledger.refresh()
        assert ledger.spent_today() == 2


async def test_what_could_not_be_written_is_written_later(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ledger.record(entry(10))
            ledger.record(entry(1, key="other"))
            writing = asyncio.create_task(ledger._writer.flush())
            while ledger._waiting:  # noqa: ASYNC110 - until the batch is taken, and not a step longer
                await asyncio.sleep(0)
            ledger.record(entry(2))
            ledger.record(entry(5, key="third"))
            await writing
            assert ledger.spent_today() == 18
            await ledger.refresh()
            assert ledger.spent_today() == 18
        rows = await ledger.report(since=DAY, until=DAY)
    assert [(row.key, row.calls, row.neurons) for row in rows] == [("one", 2, 12), ("other", 1, 1), ("third", 1, 5)]


async def test_the_next_of_its_kind_has_what_failed_in_a_hurry_written(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ledger.record(entry(10))
            await ledger._writer.flush()
            assert ledger._writer.is_idle
        ledger.record(entry(2))
        await until(lambda: not ledger._waiting)
        rows = await ledger.report(since=DAY, until=DAY)
    assert [(row.calls, row.neurons) for row in rows] == [(2, 12)]


async def test_what_is_lost_is_told(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with opened(path, clock) as ledger:
            ledger.record(entry(10))
            ledger.record(entry(1.5, key="other"))
            other.execute("BEGIN IMMEDIATE")
    assert [record.message for record in caplog.records] == ["database", "neurons not recorded"]
    assert vars(caplog.records[1])["fields"] == {"neurons": 11.5}


@pytest.mark.parametrize("neurons", [float("nan"), float("inf"), -1.0, 1e300])
async def test_a_charge_that_can_not_be_counts_as_none(path: Path, clock: Clock, neurons: float) -> None:
    async with opened(path, clock) as ledger:
        ledger.record(entry(1))
        ledger.record(entry(neurons, key="half \ud800 a character", prompt_tokens=10**30, audio_seconds=float("nan")))
        assert ledger.spent_today() == 1
        rows = await ledger.report(since=DAY, until=DAY)
        assert [row.key for row in rows] == ["half ? a character", "one"]
        assert rows[0][4:] == (1, 0, 0, 0, 0, 0, 0)
        assert await ledger.report(since=DAY, until=DAY, key="half \ud800 a character") == rows[:1]


async def test_old_days_are_removed(path: Path, clock: Clock) -> None:
    async with opened(path, clock, keep_days=2) as ledger:
        for _ in range(4):
            ledger.record(entry(1))
            clock.time += 86_400
        rows = await ledger.report(since=DAY, until=date(2027, 1, 1))
        assert [row.day.day for row in rows] == [24, 25]


async def test_a_ledger_that_was_not_opened_can_be_closed(path: Path, clock: Clock) -> None:
    database = Database(path)
    with pytest.raises(StoreError, match="not open"):
        await Ledger(database, now=clock).open()
    await Ledger(database, now=clock).aclose()


async def test_reports_of_one_key_and_of_one_day_use_an_index(path: Path, clock: Clock) -> None:
    async with opened(path, clock):
        with closing(sqlite3.connect(path)) as connection:
            plans = [
                connection.execute("EXPLAIN QUERY PLAN " + query).fetchone()[3]
                for query in (
                    "SELECT * FROM neuron_ledger WHERE day = '2026-11-22'",
                    "SELECT * FROM neuron_ledger WHERE key = 'one' AND day > '2026-11-22'",
                )
            ]
    assert [plan.split()[0] for plan in plans] == ["SEARCH", "SEARCH"]
    assert "(key=? AND day>?)" in plans[1]


SPENDING = """
import asyncio, sys, time
from pathlib import Path
from app.stores.database import Database
from app.stores.ledger import Entry, Ledger

async def main():
    database = Database(Path(sys.argv[1]))
    await database.open()
    ledger = Ledger(database)
    await ledger.open()
    for number in range(1, int(sys.argv[2]) + 1):
        ledger.record(Entry(f"key-{number % 3}", "first", "model", 1.0))
        if number % 5 == 0:
            print(number, time.time(), flush=True)
            await asyncio.sleep(0.005)
    await ledger.aclose()
    await database.aclose()

asyncio.run(main())
"""


def spending(path: Path, entries: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", SPENDING, str(path), str(entries)], stdout=subprocess.PIPE)  # noqa: S603 - our own code


def written(path: Path) -> tuple[float, int]:
    with closing(sqlite3.connect(path)) as connection:
        neurons, calls = connection.execute("SELECT sum(neurons), sum(calls) FROM neuron_ledger").fetchone()
    return neurons, calls


async def test_workers_that_write_at_the_same_time_lose_nothing(path: Path) -> None:
    processes = [spending(path, 300) for _ in range(3)]
    for process in processes:
        with process:
            await asyncio.to_thread(process.communicate, timeout=DEADLINE_SECONDS)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert written(path) == (900.0, 900)


async def test_a_killed_process_loses_the_last_second_at_most(path: Path) -> None:
    with spending(path, 10**9) as process:
        assert process.stdout
        told: list[tuple[int, float]] = []
        while not told or told[-1][1] - told[0][1] < 1.5:
            number, moment = process.stdout.readline().split()
            told.append((int(number), float(moment)))
        process.kill()
    older = max(number for number, moment in told if moment < told[-1][1] - 1)
    neurons, calls = written(path)
    assert neurons == calls
    assert calls >= older > 0
