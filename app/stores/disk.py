"""Disk: named files in one folder. All of it blocks, so it is called in threads."""

import os
import re
import secrets
import stat
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from app.values import immutable

UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.part")
"""Names of files that are being written, or that a crash has left."""


@immutable
class File:
    name: str
    size: int
    """Bytes."""
    mtime: float
    """Unix seconds."""


class Disk:
    """Other processes may add and remove files at any time. Names are trusted: checking them is the caller's part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        return self._folder / name

    def prepare(self) -> None:
        """Make the folder. Raises OSError if there can be none."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, data: bytes, mtime: float) -> None:
        """A whole file or none, also when the machine stops in between. Raises OSError, such as for a full disk."""
        self.prepare()  # the folder may have been removed under us
        unfinished = self.path(f".{secrets.token_hex(8)}.part")
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # a rename can reach the disk before the bytes do
            os.utime(unfinished, (mtime, mtime))
            unfinished.replace(self.path(name))
        finally:
            unfinished.unlink(missing_ok=True)

    def find(self, name: str) -> File | None:
        try:
            found = self.path(name).stat()
        except FileNotFoundError:
            return None
        return File(name, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def files(self) -> list[File]:
        """Finished ones and UNFINISHED ones, in no order."""
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        return [file for name in names if (file := self.find(name))]

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def reading(self, name: str, start: int) -> "Reading":
        return Reading(self.path(name), start)


class Reading:
    """A file being read piece by piece; what was opened stays readable after its removal.

    Whoever waits for a piece can be cancelled while its thread reads on, so closing must be safe at any moment, and
    without a wait: it is left to the thread if one is at work.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._start = start
        self._file: BinaryIO | None = None
        self._is_closed = False
        self._at_work = Lock()

    def read(self, size: int) -> bytes:
        """The next bytes, at least one of them. Raises FileNotFoundError at first, EOFError at the end of the file."""
        with self._at_work:
            if self._file is None:
                self._file = self._path.open("rb")
                self._file.seek(self._start)
            data = self._file.read(size)
        if self._is_closed:
            self.close()
        if not data:
            raise EOFError("The file is shorter than it was.")
        return data

    def close(self) -> None:
        self._is_closed = True
        if self._at_work.acquire(blocking=False):
            if self._file is not None:
                self._file.close()
            self._at_work.release()
