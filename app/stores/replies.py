"""ReplyStore: what Workers AI replied, in limited space and for a limited time."""

import struct
import time
import zlib
from collections.abc import Callable, Mapping

from anyio import to_thread

from app.stores.database import Database
from app.stores.shelf import Entry, Room, Shelf, Table

ENTRY_BYTES = 4 * 2**20
"""A hundred texts embedded are 1 to 2 MB of JSON."""
ROOM = Room(
    ENTRY_BYTES,
    recent_entries=4000,
    recent_bytes=16 * 2**20,
    waiting_entries=2000,
    waiting_bytes=16 * 2**20,
    write_rows=250,
    write_bytes=ENTRY_BYTES,
)
TABLE = Table("replies", "reply_space")

PACK_BYTES = 4096
"""Larger values are packed: zlib's first level makes vectors half as long, at 80 MB a second, and higher ones hardly
better at a quarter of that.
"""
LEVEL = 1

HEAD = struct.Struct(">d?")
"""Before each value: the Unix time in seconds when it was put, and whether it is packed."""


class ReplyStore(Shelf):
    """Bytes by key. What is older than `ttl_seconds` is missing; `now` tells Unix seconds."""

    def __init__(
        self, database: Database, *, max_bytes: int, ttl_seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(database, TABLE, ROOM, max_bytes=max_bytes, ttl_seconds=ttl_seconds, now=now)
        self._longest_seconds = ttl_seconds

    async def get(self, key: bytes) -> bytes | None:
        return self._fresh(key, (await self._find([key])).get(key))

    def peek(self, key: bytes) -> bytes | None:
        """What this process remembers, without a look at the disk."""
        return self._fresh(key, self._remembered(key))

    def put(self, key: bytes, value: bytes) -> None:
        """Known to this process at once, to others in less than a second, unless it is larger than ENTRY_BYTES."""
        self._keep(key, HEAD.pack(self._now(), False) + value)

    def _fresh(self, key: bytes, entry: Entry | None) -> bytes | None:
        if entry is None:
            return None
        put_at, _ = HEAD.unpack_from(entry.value)
        if abs(self._now() - put_at) >= self._longest_seconds:  # abs: clocks are set back, too
            return None
        self._touch({key: entry})
        return entry.value[HEAD.size :]

    async def _packed(self, entries: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        if all(len(value) <= PACK_BYTES for value in entries.values()):
            return entries
        return await to_thread.run_sync(lambda: {key: _pack(value) for key, value in entries.items()})

    def _unpacked(self, value: bytes) -> bytes | None:
        try:
            return _unpack(value)
        except (struct.error, zlib.error):
            return None


def _pack(value: bytes) -> bytes:
    if len(value) <= PACK_BYTES:
        return value
    put_at, _ = HEAD.unpack_from(value)
    packed = HEAD.pack(put_at, True) + zlib.compress(memoryview(value)[HEAD.size :], LEVEL)
    return packed if len(packed) < len(value) else value


def _unpack(value: bytes) -> bytes:
    """Raises struct.error and zlib.error for what is damaged."""
    put_at, is_packed = HEAD.unpack_from(value)
    return HEAD.pack(put_at, False) + zlib.decompress(memoryview(value)[HEAD.size :]) if is_packed else value
