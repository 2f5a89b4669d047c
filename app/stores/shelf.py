"""Shelf: values by key in a table of limited space; what was used last stays longest. Stores build on it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection
from typing import NamedTuple

from app.stores.database import Database, StoreError
from app.stores.writer import Writer
from app.values import immutable

PRUNE_PAUSE_SECONDS = 0.02
LOOKUP_SECONDS = 0.5
"""After which something not found counts as missing: it takes this long only while another process locks the file."""
QUESTION_KEYS = 500
"""In one statement; SQLite has a limit."""
HOUR = 3600


@immutable
class Room:
    """How much there may be of what, beside the space on disk."""

    entry_bytes: int
    """Larger values are not kept."""
    recent_entries: int
    recent_bytes: int
    """What each process has in memory."""
    waiting_entries: int
    waiting_bytes: int
    """What may wait to be written; beyond it, new values are not kept."""
    write_rows: int
    write_bytes: int
    """How much is written, or removed, in one go: others want to write as well, and this process to read. At least
    `entry_bytes`.
    """


@immutable
class Entry:
    value: bytes
    hour: int
    """Of its last use, since 1970, as far as it is written."""


class Batch(NamedTuple):
    entries: Mapping[bytes, bytes]
    touched: list[bytes]
    """Keys of entries that were used again."""


class Table:
    """The SQL of a table with the columns `id`, `key`, `value`, `used` and `size`.

    `space` is the table, of one row, in which triggers keep how much space all rows take. See `migrations/`.
    """

    def __init__(self, name: str, space: str) -> None:
        self.put = (
            f"INSERT INTO {name} (key, value, used) VALUES (?, ?, ?)"  # noqa: S608 - names out of our own code, here and below
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, used = excluded.used"
        )
        self.touch = f"UPDATE {name} SET used = ? WHERE key = ?"  # noqa: S608
        self.oldest = f"SELECT id, size, used FROM {name} ORDER BY used, id LIMIT ?"  # noqa: S608
        self.remove = f"DELETE FROM {name} WHERE id = ?"  # noqa: S608
        self.state = f"SELECT bytes, (SELECT min(used) FROM {name}) FROM {space}"  # noqa: S608
        self.find = f"SELECT key, value, used FROM {name} WHERE key IN "  # noqa: S608


class Shelf:
    """Keys are digests of everything that a value depends on; making them is up to the caller.

    Nothing here ever fails: what can't be read is missing, what can't be written is not kept, and the database logs
    why. `max_bytes` bounds the space on disk, of all processes together; with 0 nothing is kept or looked up. What was
    not used for `ttl_seconds` is removed as soon as something is written.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        room: Room,
        *,
        max_bytes: int,
        ttl_seconds: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._table = table
        self._room = room
        self._max_bytes = max_bytes
        self._ttl_seconds = ttl_seconds
        self._now = now
        self._recent = Recent(room.recent_entries, room.recent_bytes)
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_bytes = 0
        self._touched: dict[bytes, None] = {}
        self._is_closing = False
        self._writer = Writer(self._write, lambda: len(self._waiting) + len(self._touched))

    async def flush(self) -> None:
        """When this returns, everything is written that can be, and the space is kept."""
        await self._writer.flush()

    async def aclose(self) -> None:
        """Writes what waits. The database must be open still."""
        self._is_closing = True
        await self._writer.aclose()

    async def _find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The entries of those keys that are known, in memory or on disk."""
        if not self._max_bytes:
            return {}
        entries = {key: entry for key in keys if (entry := self._remembered(key))}
        if missing := [key for key in dict.fromkeys(keys) if key not in entries]:
            entries |= await self._look_up(missing)
        return entries

    def _remembered(self, key: bytes) -> Entry | None:
        """What this process has in memory."""
        if entry := self._recent.get(key):
            return entry
        value = self._waiting.get(key)
        return None if value is None else Entry(value, self._hour())

    def _keep(self, key: bytes, value: bytes) -> None:
        """Known to this process at once, to others in less than a second."""
        if not self._max_bytes or len(value) > self._room.entry_bytes:
            return
        self._recent.put(key, Entry(value, self._hour()))
        self._take_back(key)
        is_room = self._waiting_bytes + len(value) <= self._room.waiting_bytes
        if is_room and len(self._waiting) < self._room.waiting_entries:
            self._waiting[key] = value
            self._waiting_bytes += len(value)
            self._writer.due()

    def _touch(self, entries: Mapping[bytes, Entry]) -> None:
        """Note the use of what was not used in this hour."""
        hour = self._hour()
        for key, entry in entries.items():
            if entry.hour < hour and len(self._touched) < self._room.waiting_entries:
                self._recent.put(key, Entry(entry.value, hour))
                self._touched[key] = None
                self._writer.due()

    async def _packed(self, entries: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        """The values as they are written."""
        return entries

    def _unpacked(self, value: bytes) -> bytes | None:
        """A value as it was before; None if it is damaged. Called in the database's thread."""
        return value

    async def _look_up(self, keys: list[bytes]) -> dict[bytes, Entry]:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._database.read(lambda connection: self._select(connection, keys))
        except (StoreError, TimeoutError):
            return {}
        for key, entry in found.items():
            self._recent.put(key, entry)
        return found

    async def _write(self) -> None:
        batch, hour = self._next_batch(), self._hour()
        batch = batch._replace(entries=await self._packed(batch.entries))
        is_full = await self._database.write(lambda connection: self._store(connection, batch, hour))
        while is_full and not self._is_closing:
            is_full = await self._database.write(self._prune)
            if is_full:
                await asyncio.sleep(PRUNE_PAUSE_SECONDS)

    def _next_batch(self) -> Batch:
        entries: dict[bytes, bytes] = {}
        size = 0
        for key in list(islice(self._waiting, self._room.write_rows)):
            size += len(self._waiting[key])
            if size > self._room.write_bytes:
                break
            entries[key] = self._take_back(key)
        touched = list(islice(self._touched, self._room.write_rows))
        for key in touched:
            del self._touched[key]
        return Batch(entries, touched)

    def _take_back(self, key: bytes) -> bytes:
        value = self._waiting.pop(key, b"")
        self._waiting_bytes -= len(value)
        return value

    def _hour(self) -> int:
        return int(self._now() // HOUR)

    def _expired_hour(self) -> int:
        """What was used before it is too old."""
        return 0 if self._ttl_seconds is None else int((self._now() - self._ttl_seconds) // HOUR)

    def _select(self, connection: Connection, keys: list[bytes]) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), QUESTION_KEYS):
            some = keys[start : start + QUESTION_KEYS]
            # Few steps for many keys: each step of SQLite hands the interpreter to the event loop and back.
            rows = connection.execute(f"{self._table.find} ({','.join('?' * len(some))})", some)
            for key, packed, used in rows:
                if (value := self._unpacked(packed)) is not None:
                    found[key] = Entry(value, used)
        return found

    def _store(self, connection: Connection, batch: Batch, hour: int) -> bool:
        """Returns whether something has to go."""
        connection.executemany(self._table.put, ((key, value, hour) for key, value in batch.entries.items()))
        connection.executemany(self._table.touch, ((hour, key) for key in batch.touched))
        return self._is_full(connection)

    def _is_full(self, connection: Connection) -> bool:
        size, oldest = connection.execute(self._table.state).fetchone()
        return bool(size > self._max_bytes or (oldest is not None and oldest < self._expired_hour()))

    def _prune(self, connection: Connection) -> bool:
        """Remove some of what was not used for the longest time; whether there is still too much."""
        (size, _), expired = connection.execute(self._table.state).fetchone(), self._expired_hour()
        excess, freed = size - self._max_bytes, 0
        removed: list[tuple[int]] = []
        for number, row_bytes, used in connection.execute(self._table.oldest, (self._room.write_rows,)).fetchall():
            if freed >= self._room.write_bytes or (freed >= excess and used >= expired):
                break
            removed.append((number,))
            freed += row_bytes
        connection.executemany(self._table.remove, removed)
        return bool(removed) and self._is_full(connection)


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
