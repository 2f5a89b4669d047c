"""ResponseStore: answers of the Responses API with what was asked, each for its owner, for a limited time and space."""

import time
import zlib
from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

import orjson

from app.stores.database import Database
from app.values import immutable

A_MONTH_SECONDS = 30 * 86400
"""As long as OpenAI keeps them (OpenAI's docs, "Conversation state")."""
MAX_BYTES = 512 * 2**20
LEVEL = 1
"""zlib's: JSON becomes a quarter as long, and higher ones are slower without being much better."""

FIND = "SELECT previous, input, body FROM responses WHERE id = ? AND owner = ? AND expires > ?"
PUT = "INSERT INTO responses (id, owner, previous, input, body, expires) VALUES (?, ?, ?, ?, ?, ?)"


@immutable
class Stored:
    """An answer, and the items that it answered, without those of the answers before it."""

    id: str
    previous: str | None
    input: list[dict[str, Any]]
    body: dict[str, Any]


class ResponseStore:
    """Every owner sees his own only. `now` tells Unix seconds. All of it raises StoreError."""

    def __init__(
        self,
        database: Database,
        *,
        max_bytes: int = MAX_BYTES,
        ttl_seconds: float = A_MONTH_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._ttl_seconds = ttl_seconds
        self._now = now

    async def put(self, owner: str, stored: Stored) -> None:
        """Kept from now on, at the cost of the oldest; not at all if it is larger than all the space there is."""
        expires = int(self._now() + self._ttl_seconds)

        def work(connection: Connection) -> None:
            packed = _pack(stored.input), _pack(stored.body)
            if sum(map(len, packed)) <= self._max_bytes:
                connection.execute(PUT, (stored.id, owner, stored.previous, *packed, expires))
            self._prune(connection)

        await self._database.write(work)

    async def get(self, owner: str, response_id: str) -> Stored | None:
        return await self._database.read(lambda connection: self._find(connection, owner, response_id))

    async def chain(self, owner: str, response_id: str) -> list[Stored]:
        """The answer and all those before it, the oldest first; without those that are gone."""

        def work(connection: Connection) -> list[Stored]:
            found: list[Stored] = []
            next_id: str | None = response_id
            while next_id and (stored := self._find(connection, owner, next_id)):
                found.append(stored)
                next_id = stored.previous
            return found[::-1]

        return await self._database.read(work)

    async def delete(self, owner: str, response_id: str) -> bool:
        """Whether there was one."""

        def work(connection: Connection) -> bool:
            gone = connection.execute(
                "DELETE FROM responses WHERE id = ? AND owner = ? AND expires > ?", (response_id, owner, self._now())
            )
            return gone.rowcount > 0

        return await self._database.write(work)

    def _find(self, connection: Connection, owner: str, response_id: str) -> Stored | None:
        row = connection.execute(FIND, (response_id, owner, self._now())).fetchone()
        return Stored(response_id, row[0], _unpack(row[1]), _unpack(row[2])) if row else None

    def _prune(self, connection: Connection) -> None:
        connection.execute("DELETE FROM responses WHERE expires <= ?", (self._now(),))
        (size,) = connection.execute("SELECT bytes FROM response_space").fetchone()
        while size > self._max_bytes:
            number, freed = connection.execute("SELECT number, size FROM responses ORDER BY number LIMIT 1").fetchone()
            connection.execute("DELETE FROM responses WHERE number = ?", (number,))
            size -= freed


def _pack(value: Any) -> bytes:
    return zlib.compress(orjson.dumps(value), LEVEL)


def _unpack(packed: bytes) -> Any:
    return orjson.loads(zlib.decompress(packed))
