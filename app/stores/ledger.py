"""Ledger: the neurons that each key spent, by account, model and UTC day."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from sqlite3 import Connection
from typing import NamedTuple

from app.calls import Usage
from app.stores.database import Database, StoreError
from app.stores.writer import Writer

logger = logging.getLogger("flarelay")

DAY_SECONDS = 86_400
REFRESH_SECONDS = 2.0
"""How old the knowledge of other processes' entries gets."""
KEEP_DAYS = 400
LARGEST = 10**15
"""A number beyond it is somebody's mistake, and would be one in SQLite too."""

COLUMNS = (
    "day, key, account, model,"
    " calls, neurons, estimated_neurons, prompt_tokens, completion_tokens, cached_tokens, audio_seconds"
)
ADD = (
    f"INSERT INTO neuron_ledger ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - nothing but names of columns
    " ON CONFLICT (day, key, account, model) DO UPDATE SET"
    " calls = calls + excluded.calls,"
    " neurons = neurons + excluded.neurons,"
    " estimated_neurons = estimated_neurons + excluded.estimated_neurons,"
    " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
    " completion_tokens = completion_tokens + excluded.completion_tokens,"
    " cached_tokens = cached_tokens + excluded.cached_tokens,"
    " audio_seconds = audio_seconds + excluded.audio_seconds"
)
PRUNE = "DELETE FROM neuron_ledger WHERE day < ?"
SPENT = "SELECT key, account, sum(neurons) FROM neuron_ledger WHERE day = ? GROUP BY key, account"
REPORT = f"SELECT {COLUMNS} FROM neuron_ledger WHERE day BETWEEN ? AND ? ORDER BY day, key, account, model"  # noqa: S608 - nothing but names of columns
REPORT_OF_KEY = (
    f"SELECT {COLUMNS} FROM neuron_ledger"  # noqa: S608 - nothing but names of columns
    " WHERE day BETWEEN ? AND ? AND key = ? ORDER BY day, key, account, model"
)


class Entry(NamedTuple):
    """What one request spent on one account; or several, with `calls`."""

    key: str
    """The caller's name."""
    account: str
    """The id of the account that paid."""
    model: str
    neurons: float
    is_estimated: bool = False
    """The neurons are from the price list rather than Cloudflare's own charge."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    audio_seconds: float = 0.0
    calls: int = 1


class Row(NamedTuple):
    """What a key spent on a day on one account and model."""

    day: date
    key: str
    account: str
    model: str
    calls: int
    neurons: float
    estimated_neurons: float
    """The part of `neurons` that is from the price list."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    audio_seconds: float


Spot = tuple[int, str, str, str]
"""Day (since 1970), key, account, model."""


class Ledger:
    """Of all processes together; one for each Database.

    An entry counts at once in the process that made it, is in the file in less than a second, and counts in the other
    processes `refresh_seconds` later. Days are those of UTC. Must be used in the event loop.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], float] = time.time,
        keep_days: int = KEEP_DAYS,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`now` tells Unix seconds. Days before the last `keep_days` are removed."""
        self._database = database
        self._now = now
        self._keep_days = keep_days
        self._refresh_seconds = refresh_seconds
        self._waiting: dict[Spot, list[float]] = {}
        self._writer = Writer(self._write, lambda: len(self._waiting))
        self._lock = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._day = 0
        self._begins_at = self._ends_at = 0.0
        """Unix seconds of its first moment, and of the next day's."""
        self._sums = Sums()
        self._version: int | None = None

    async def open(self) -> None:
        """Learn what was spent today, and keep it current. Raises StoreError."""
        await self.refresh()
        self._refreshing = asyncio.create_task(self._keep_current())

    async def aclose(self) -> None:
        """Writes what waits. The database must be open still."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        self._due_again()
        await self._writer.aclose()
        if self._waiting:
            neurons = sum(totals[1] for totals in self._waiting.values())
            logger.error("neurons not recorded", extra={"fields": {"neurons": neurons}})

    def record(self, entry: Entry) -> None:
        """Count it for today. What can't be written now is tried again."""
        key, account, model, neurons, is_priced, prompt, completion, cached, seconds, calls = entry
        usage = Usage(prompt, completion, cached, neurons=neurons, is_priced=is_priced, audio_seconds=seconds)
        self.add(key, account, model, usage, calls)

    def add(self, key: str, account: str, model: str, usage: Usage, calls: int = 1) -> None:
        """As `record`, for what one account has paid for."""
        sums, neurons = self.sums(), usage.neurons
        spot = (self._day, key, account, model)
        totals = self._waiting.get(spot)
        if totals is None:
            totals = self._waiting[spot] = [0] * 7
            self._writer.due()
        elif self._writer.is_idle:  # it has given up
            self._writer.due()
        totals[0] += calls
        totals[3] += usage.prompt_tokens
        totals[4] += usage.completion_tokens
        if usage.cached_tokens:
            totals[5] += usage.cached_tokens
        if usage.audio_seconds:
            totals[6] += usage.audio_seconds
        if neurons and 0 < neurons <= LARGEST:  # nor NaN, after which no sum could be compared any more
            totals[1] += neurons
            if usage.is_priced:
                totals[2] += neurons
            sums.add(key, account, neurons)

    def sums(self) -> "Sums":
        """What was spent since 00:00 UTC. They grow until then: ask anew for the next day's."""
        now = self._now()
        if not self._begins_at <= now < self._ends_at:
            self._day = int(now // DAY_SECONDS)
            self._begins_at = self._day * DAY_SECONDS
            self._ends_at = self._begins_at + DAY_SECONDS
            self._version = None  # the sums of this day are to be read
            self._sums = self._summed(())
        return self._sums

    def spent_today(self, key: str | None = None, account: str | None = None) -> float:
        """Neurons since 00:00 UTC: all, or only those of this key, this account, or this key on this account."""
        sums = self.sums()
        if account is None:
            return sums.total if key is None else sums.keys.get(key, 0.0)
        return sums.accounts.get(account, 0.0) if key is None else sums.pairs.get((key, account), 0.0)

    async def report(self, *, since: date, until: date, key: str | None = None) -> list[Row]:
        """By day, key, account and model, both days included. Raises StoreError.

        With all entries of this process, and those that others made up to a second ago.
        """
        self._due_again()
        await self._writer.flush()
        return await self._database.read(lambda connection: _report(connection, since, until, key))

    async def refresh(self) -> None:
        """Learn what other processes have written. Raises StoreError."""
        async with self._lock:  # or else what is being written might count neither as waiting nor as written
            day, known = self._today(), self._version
            version, spent = await self._database.read(lambda connection: _spent(connection, day, known))
        if version != known and day == self._today():
            self._version = version
            self._sums = self._summed(spent)

    def _due_again(self) -> None:
        """What failed in a hurry waits without anybody being about to write it."""
        if self._waiting:
            self._writer.due()

    async def _keep_current(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds)
            with suppress(StoreError):  # the database has logged it
                await self.refresh()

    async def _write(self) -> None:
        async with self._lock:
            batch, self._waiting = self._waiting, {}
            oldest = _iso(self._today() - self._keep_days)
            try:
                await self._database.write(lambda connection: _store(connection, batch, oldest))
            except StoreError:
                self._put_back(batch)
                raise

    def _put_back(self, batch: dict[Spot, list[float]]) -> None:
        for spot, totals in self._waiting.items():
            former = batch.get(spot)
            batch[spot] = totals if former is None else [a + b for a, b in zip(former, totals, strict=True)]
        self._waiting = batch

    def _today(self) -> int:
        self.sums()
        return self._day

    def _summed(self, spent: Iterable[tuple[str, str, float]]) -> "Sums":
        """What is in the file, and what waits to be."""
        sums = Sums()
        for key, account, neurons in spent:
            sums.add(key, account, neurons)
        for (day, key, account, _), totals in self._waiting.items():
            if day == self._day:
                sums.add(key, account, totals[1])
        return sums


class Sums:
    """Neurons of one day."""

    __slots__ = ("accounts", "keys", "pairs", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.keys: defaultdict[str, float] = defaultdict(float)
        self.accounts: defaultdict[str, float] = defaultdict(float)
        self.pairs: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, key: str, account: str, neurons: float) -> None:
        self.total += neurons
        self.keys[key] += neurons
        self.accounts[account] += neurons
        self.pairs[key, account] += neurons


def _store(connection: Connection, batch: dict[Spot, list[float]], oldest: str) -> None:
    rows = ((_iso(day), *map(_text, names), *map(_number, totals)) for (day, *names), totals in batch.items())
    connection.executemany(ADD, rows)
    connection.execute(PRUNE, (oldest,))


def _spent(connection: Connection, day: int, known: int | None) -> tuple[int, list[tuple[str, str, float]]]:
    """The file's version, and what was spent if that is not the known one.

    Only the commits of other connections change the version (SQLite's docs, PRAGMA data_version), so a process that is
    alone sums up once.
    """
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return version, [] if version == known else connection.execute(SPENT, (_iso(day),)).fetchall()


def _report(connection: Connection, since: date, until: date, key: str | None) -> list[Row]:
    days = (since.isoformat(), until.isoformat())
    rows = connection.execute(REPORT, days) if key is None else connection.execute(REPORT_OF_KEY, (*days, _text(key)))
    return [Row(date.fromisoformat(day), *rest) for day, *rest in rows]


def _iso(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # half a surrogate pair is no text for SQLite


def _number(number: float) -> float:
    return number if 0 <= number <= LARGEST else 0
