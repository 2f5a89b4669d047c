"""Slots: what one process counts, for the others of its server to read: a file in memory, that it alone writes.

Whoever holds the file's lock owns the slot, and the system takes the lock away from a process that is dead, however it
died. Nothing else is ever locked, so a count costs no more than a store into memory. Numbers are read while others
write them: each by itself is whole, and two that belong together may be a moment apart.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

FORMAT = 1
HEAD = Struct("@QQ")
"""The format, and the server of the process that wrote here; 0: nobody has."""
ROW = Struct("@Qddq")
"""Key, requests drawn, when (seconds), requests running. In native form, so that each is written in one go."""
ROWS = 4096
PROBES = 16
"""Rows in which a key can be."""
TABLE = 64
SIZE = TABLE + ROWS * ROW.size
"""Bytes; what is published comes behind them."""
PUBLISHED = Struct("@QQ")
"""Length and checksum."""
MINUTE_SECONDS = 60.0
"""After it a key that has nothing running is as one that never asked."""
TRIES = 3


class Count(NamedTuple):
    """What a process knows of a key."""

    drawn: float
    """Requests out of the bucket, of all processes, as of its own last one."""
    drawn_at: float
    running: int
    """In this process."""


NOTHING = Count(0.0, 0.0, 0)


class Slot:
    """One file. Raises OSError if it can't be made or opened."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._file).st_size < SIZE:
                os.ftruncate(self._file, SIZE)
            self._memory = mmap.mmap(self._file, SIZE)
        except BaseException:
            os.close(self._file)
            raise
        self._last = b""

    def take(self) -> bool:
        """Become its owner, unless somebody is."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def server(self) -> int:
        """What the last owner belonged to; 0 for none, or one that wrote in another way."""
        written, server = HEAD.unpack_from(self._memory)
        return server if written == FORMAT else 0

    @property
    def is_used(self) -> bool:
        return self._memory[: HEAD.size] != bytes(HEAD.size)

    def begin(self, server: int) -> None:
        """For its owner: all counts begin anew."""
        self.clear()
        HEAD.pack_into(self._memory, 0, FORMAT, server)

    def clear(self) -> None:
        """For its owner."""
        self.publish(b"")
        self._memory[:] = bytes(SIZE)

    def read(self, key: int) -> Count:
        for place in _places(key):
            found, drawn, drawn_at, running = ROW.unpack_from(self._memory, place)
            if found == key:
                return Count(drawn, drawn_at, running)
            if not found:
                break
        return NOTHING

    def write(self, key: int, count: Count, now: float) -> None:
        """For its owner. Where many keys meet, one may find no room, and is then counted by each process for itself."""
        free = 0
        for place in _places(key):
            found, _, drawn_at, running = ROW.unpack_from(self._memory, place)
            if found == key or not found:
                free = place if found or not free else free
                break
            if not free and not running and drawn_at < now - MINUTE_SECONDS:
                free = place
        if free:
            ROW.pack_into(self._memory, free, key, *count)

    def publish(self, content: bytes) -> None:
        """For its owner: in place of what it published before."""
        self._last = content
        os.pwrite(self._file, PUBLISHED.pack(len(content), crc32(content)) + content, SIZE)

    def published(self) -> bytes:
        """Empty if there is nothing; what was there before if it is being written at this moment."""
        for _ in range(TRIES):
            head = os.pread(self._file, PUBLISHED.size, SIZE)
            if len(head) < PUBLISHED.size:
                return b""
            length, checksum = PUBLISHED.unpack(head)
            content = os.pread(self._file, length, SIZE + PUBLISHED.size)
            if len(content) == length and crc32(content) == checksum:
                self._last = content
                break
        return self._last

    def close(self) -> None:
        """No longer its owner. What is counted later reaches nobody."""
        self.leave()
        os.close(self._file)


def _places(key: int) -> Iterator[int]:
    for step in range(key, key + PROBES):
        yield TABLE + step % ROWS * ROW.size
