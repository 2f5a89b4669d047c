"""TranslationCache: what was translated before, in limited space; what was used last stays longest."""

import time
from collections.abc import Callable, Sequence

from app.stores.database import Database
from app.stores.shelf import HOUR, Entry, Recent, Room, Shelf, Table

__all__ = ["HOUR", "Entry", "Recent", "TranslationCache"]

ENTRY_BYTES = 64 * 1024
"""Larger translations hardly ever come again."""
RECENT_ENTRIES = 4000
RECENT_BYTES = 4 * 2**20
WAITING_ENTRIES = 10_000
WAITING_BYTES = 16 * 2**20
WRITE_ROWS = 250
WRITE_BYTES = 2**20

ROOM = Room(ENTRY_BYTES, RECENT_ENTRIES, RECENT_BYTES, WAITING_ENTRIES, WAITING_BYTES, WRITE_ROWS, WRITE_BYTES)
TABLE = Table("translations", "translation_space")


class TranslationCache(Shelf):
    """Texts by key, without an end to their time."""

    def __init__(self, database: Database, *, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        super().__init__(database, TABLE, ROOM, max_bytes=max_bytes, now=now)

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The values of those keys that are known."""
        entries = await self._find(keys)
        self._touch(entries)
        return {key: _text(entry) for key, entry in entries.items()}

    def peek(self, key: bytes) -> str | None:
        """What this process remembers, without a look at the disk."""
        entry = self._remembered(key) if self._max_bytes else None
        return _text(entry) if entry else None

    def put(self, key: bytes, value: str) -> None:
        """Known to this process at once, to others in less than a second."""
        self._keep(key, value.encode("utf-8", "surrogatepass"))


def _text(entry: Entry) -> str:
    return entry.value.decode("utf-8", "surrogatepass")
