"""TranslationCache: what was translated before, in limited space; what was used last stays longest."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from sqlite3 import Connection
from typing import NamedTuple

from app.stores.database import Database, StoreError
from app.stores.writer import Writer

ENTRY_BYTES = 64 * 1024
"""Larger translations are not kept: they hardly ever come again."""
RECENT_ENTRIES = 4000
RECENT_BYTES = 4 * 2**20
"""What each process has in memory."""
WAITING_ENTRIES = 10_000
WAITING_BYTES = 16 * 2**20
"""What may wait to be written; beyond it, new translations are not kept."""
WRITE_ROWS = 250
WRITE_BYTES = 2**20
"""How much is written, or removed, in one go: others want to write as well, and this process to read."""
PRUNE_PAUSE_SECONDS = 0.02
LOOKUP_SECONDS = 0.5
"""After which something not found counts as missing: it takes this long only while another process locks the file."""
QUESTION_KEYS = 500
"""In one statement; SQLite has a limit."""
HOUR = 3600

PUT = (
    "INSERT INTO translations (key, value, used) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, used = excluded.used"
)
TOUCH = "UPDATE translations SET used = ? WHERE key = ?"
OLDEST = "SELECT id, size FROM translations ORDER BY used, id LIMIT ?"
REMOVE = "DELETE FROM translations WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Entry:
    value: bytes
    """UTF-8."""
    hour: int
    """Of its last use, since 1970, as far as it is written."""


class Batch(NamedTuple):
    entries: dict[bytes, bytes]
    touched: list[bytes]
    """Keys of entries that were used again."""


class TranslationCache:
    """Keys are digests of everything that a translation depends on; making them is up to the caller.

    Nothing here ever fails: what can't be read is missing, what can't be written is not kept, and the database logs
    why. `max_bytes` bounds the space on disk, of all processes together; with 0 nothing is kept or looked up.
    """

    def __init__(self, database: Database, *, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._now = now
        self._recent = Recent(RECENT_ENTRIES, RECENT_BYTES)
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_bytes = 0
        self._touched: dict[bytes, None] = {}
        self._is_closing = False
        self._writer = Writer(self._write, lambda: len(self._waiting) + len(self._touched))

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The values of those keys that are known."""
        if not self._max_bytes:
            return {}
        entries = {key: entry for key in keys if (entry := self._remembered(key))}
        if missing := [key for key in dict.fromkeys(keys) if key not in entries]:
            entries |= await self._look_up(missing)
        self._touch(entries)
        return {key: entry.value.decode("utf-8", "surrogatepass") for key, entry in entries.items()}

    def peek(self, key: bytes) -> str | None:
        """What this process remembers, without a look at the disk."""
        entry = self._remembered(key) if self._max_bytes else None
        return entry.value.decode("utf-8", "surrogatepass") if entry else None

    def put(self, key: bytes, value: str) -> None:
        """Known to this process at once, to others in less than a second."""
        data = value.encode("utf-8", "surrogatepass")
        if not self._max_bytes or len(data) > ENTRY_BYTES:
            return
        self._recent.put(key, Entry(data, self._hour()))
        self._take_back(key)
        if len(self._waiting) < WAITING_ENTRIES and self._waiting_bytes + len(data) <= WAITING_BYTES:
            self._waiting[key] = data
            self._waiting_bytes += len(data)
            self._writer.due()

    async def flush(self) -> None:
        """When this returns, everything is written that can be, and the space is kept."""
        await self._writer.flush()

    async def aclose(self) -> None:
        """Writes what waits. The database must be open still."""
        self._is_closing = True
        await self._writer.aclose()

    def _remembered(self, key: bytes) -> Entry | None:
        if entry := self._recent.get(key):
            return entry
        value = self._waiting.get(key)
        return None if value is None else Entry(value, self._hour())

    async def _look_up(self, keys: list[bytes]) -> dict[bytes, Entry]:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._database.read(lambda connection: _select(connection, keys))
        except (StoreError, TimeoutError):
            return {}
        for key, entry in found.items():
            self._recent.put(key, entry)
        return found

    def _touch(self, entries: dict[bytes, Entry]) -> None:
        """Note the use of what was not used in this hour."""
        hour = self._hour()
        for key, entry in entries.items():
            if entry.hour < hour and len(self._touched) < WAITING_ENTRIES:
                self._recent.put(key, Entry(entry.value, hour))
                self._touched[key] = None
                self._writer.due()

    async def _write(self) -> None:
        batch, hour = self._next_batch(), self._hour()
        is_full = await self._database.write(lambda connection: _store(connection, batch, hour) > self._max_bytes)
        while is_full and not self._is_closing:
            is_full = await self._database.write(lambda connection: _prune(connection, self._max_bytes))
            if is_full:
                await asyncio.sleep(PRUNE_PAUSE_SECONDS)

    def _next_batch(self) -> Batch:
        entries: dict[bytes, bytes] = {}
        size = 0
        for key in list(islice(self._waiting, WRITE_ROWS)):
            size += len(self._waiting[key])
            if size > WRITE_BYTES:
                break
            entries[key] = self._take_back(key)
        touched = list(islice(self._touched, WRITE_ROWS))
        for key in touched:
            del self._touched[key]
        return Batch(entries, touched)

    def _take_back(self, key: bytes) -> bytes:
        value = self._waiting.pop(key, b"")
        self._waiting_bytes -= len(value)
        return value

    def _hour(self) -> int:
        return int(self._now() // HOUR)


class Recent:
    """What was used last, in memory."""

    OVERHEAD_BYTES = 300
    """Of the objects that hold a key and its value."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def get(self, key: bytes) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        former = self._entries.pop(key, None)
        if former is not None:
            self._bytes -= self._size(former)
        self._entries[key] = entry
        self._bytes += self._size(entry)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= self._size(oldest)

    def _size(self, entry: Entry) -> int:
        return len(entry.value) + self.OVERHEAD_BYTES


def _select(connection: Connection, keys: list[bytes]) -> dict[bytes, Entry]:
    found: dict[bytes, Entry] = {}
    for start in range(0, len(keys), QUESTION_KEYS):
        some = keys[start : start + QUESTION_KEYS]
        # Few steps for many keys: each step of SQLite hands the interpreter to the event loop and back.
        places = ",".join("?" * len(some))
        rows = connection.execute(f"SELECT key, value, used FROM translations WHERE key IN ({places})", some)  # noqa: S608 - nothing but question marks
        found |= {key: Entry(value, used) for key, value, used in rows}
    return found


def _store(connection: Connection, batch: Batch, hour: int) -> int:
    """Returns the bytes of all entries."""
    connection.executemany(PUT, ((key, value, hour) for key, value in batch.entries.items()))
    connection.executemany(TOUCH, ((hour, key) for key in batch.touched))
    return _space(connection)


def _prune(connection: Connection, max_bytes: int) -> bool:
    """Remove some of what was not used for the longest time; whether there is still too much."""
    excess = min(_space(connection) - max_bytes, WRITE_BYTES)
    removed: list[tuple[int]] = []
    for number, size in connection.execute(OLDEST, (WRITE_ROWS,)).fetchall():
        if excess <= 0:
            break
        removed.append((number,))
        excess -= size
    connection.executemany(REMOVE, removed)
    return bool(removed) and _space(connection) > max_bytes


def _space(connection: Connection) -> int:
    (size,) = connection.execute("SELECT bytes FROM translation_space").fetchone()
    return int(size)
