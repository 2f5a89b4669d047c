"""CharacterCount: how many characters were translated for each caller in a month, as DeepL's API tells."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from sqlite3 import Connection

from app.stores.database import Database, StoreError
from app.stores.writer import Writer

logger = logging.getLogger("flarelay")

ADD = (
    "INSERT INTO translated_characters (name, month, characters) VALUES (?, ?, ?)"
    " ON CONFLICT (name, month) DO UPDATE SET characters = characters + excluded.characters"
)
TOTAL = "SELECT characters FROM translated_characters WHERE name = ? AND month = ?"


class CharacterCount:
    """Of all processes together. Months are those of UTC."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._writer = Writer(self._write, lambda: len(self._waiting))

    def add(self, name: str, characters: int) -> None:
        """Count them for the caller of this name. What can't be written now is tried again."""
        self._waiting[name, self._month()] += characters
        self._writer.due()

    async def total(self, name: str) -> int:
        """Characters of the current month: all of this process, and what others counted up to a second ago.

        Raises StoreError.
        """
        month = self._month()
        waiting = self._waiting[name, month]  # what is being written now is done before the file is read
        return waiting + await self._database.read(lambda connection: _total(connection, name, month))

    async def aclose(self) -> None:
        """Writes what waits. The database must be open still."""
        await self._writer.aclose()
        if self._waiting:
            logger.error("characters not counted", extra={"fields": {"characters": self._waiting.total()}})

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, Counter()
        try:
            await self._database.write(lambda connection: _add(connection, batch))
        except StoreError:
            self._waiting.update(batch)
            raise

    def _month(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m")


def _add(connection: Connection, counts: Counter[tuple[str, str]]) -> None:
    connection.executemany(ADD, ((name, month, characters) for (name, month), characters in counts.items()))


def _total(connection: Connection, name: str, month: str) -> int:
    row = connection.execute(TOTAL, (name, month)).fetchone()
    return int(row[0]) if row else 0
