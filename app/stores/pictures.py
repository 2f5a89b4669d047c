"""PictureStore: pictures under names that nobody guesses, for a limited time and in limited space."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Protocol

from anyio import to_thread

from app.stores.disk import UNFINISHED, File
from app.values import immutable

logger = logging.getLogger("flarelay")

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
NAME = re.compile(r"[A-Za-z0-9_-]{32}(\.png|\.jpg|\.webp)")
"""24 random bytes in base64, and what the picture is."""

SWEEP_SECONDS = 60.0
"""Between two looks at the folder, which is how other processes' pictures are noticed."""
ROOM = 0.1
"""Part of the space that is free after a sweep, so that a full store does not sweep for every picture."""
ABANDONED_SECONDS = 3600.0
"""Age at which a file that was never finished is what a crash has left."""
PIECE_BYTES = 256 * 1024
"""What one download holds in memory: larger than most pictures."""


class Piecewise(Protocol):
    """A picture being read, as `disk.Reading` tells."""

    def read(self, size: int) -> bytes: ...
    def close(self) -> None: ...


class Medium(Protocol):
    """Where pictures lie: `disk.Disk`, which tells what each of these does, or `bucket.Bucket`."""

    def prepare(self) -> None: ...
    def write(self, name: str, data: bytes, mtime: float) -> None: ...
    def find(self, name: str) -> File | None: ...
    def files(self) -> list[File]: ...
    def remove(self, name: str) -> None: ...
    def reading(self, name: str, start: int) -> Piecewise: ...


@immutable
class Stored:
    """A picture that was there a moment ago."""

    name: str
    size: int
    """Bytes."""
    mtime: float
    """Unix seconds; a picture never changes, so this is when it was stored."""
    media_type: str


class PictureStore:
    """In a folder or a bucket, which any number of processes may share; what is not ours in it is left alone.

    Age is exact: an expired picture is not found. Space is kept in the background: when this process has filled it,
    at once; when others have, within SWEEP_SECONDS. The oldest pictures go first, and one that is larger than
    `max_bytes` goes as well.
    """

    def __init__(
        self,
        medium: Medium,
        *,
        max_bytes: int,
        expire_seconds: float,
        sweep_seconds: float = SWEEP_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._medium = medium
        self._max_bytes = max_bytes
        self._expire_seconds = expire_seconds
        self._sweep_seconds = sweep_seconds
        self._now = now
        self._kept_bytes = 0  # by the last sweep
        self._added_bytes = 0  # by this process since then
        self._is_closing = False
        self._wake = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the folder and begin to sweep it. Raises OSError if there can be no folder."""
        await to_thread.run_sync(self._medium.prepare)
        self._is_closing = False
        self._sweeper = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Waits for a sweep that is under way: a thread can't be cancelled."""
        self._is_closing = True
        self._wake.set()
        if self._sweeper is not None:
            await self._sweeper
            self._sweeper = None

    async def put(self, data: bytes, media_type: str) -> str:
        """The name of the new picture. Raises ValueError for a type outside SUFFIXES, OSError as of a full disk."""
        if media_type not in SUFFIXES:
            raise ValueError(f"Pictures are stored as PNG, JPEG or WebP, not as {media_type}.")
        name = secrets.token_urlsafe(24) + SUFFIXES[media_type]
        await to_thread.run_sync(self._medium.write, name, data, self._now())
        self._added_bytes += len(data)
        if self._kept_bytes + self._added_bytes > self._max_bytes:
            self._wake.set()
        return name

    async def get(self, name: str) -> Stored | None:
        """What goes by this name, which may be any text; None if nothing does, or no longer."""
        match = NAME.fullmatch(name)
        file = await to_thread.run_sync(self._medium.find, name) if match else None
        if match is None or file is None or self._is_expired(file):
            return None
        return Stored(name, file.size, file.mtime, MEDIA_TYPES[match[1]])

    async def read(self, picture: Stored, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes from `start` up to `stop`, in pieces.

        Raises FileNotFoundError before the first piece if the picture has gone; after it, the rest is sure to come.
        Raises EOFError if the file has lost bytes.
        """
        reading = self._medium.reading(picture.name, start)
        try:
            while start < stop:
                piece = await to_thread.run_sync(reading.read, min(PIECE_BYTES, stop - start))
                start += len(piece)
                yield piece
        finally:
            reading.close()

    async def sweep(self) -> None:
        """Remove what is expired or beyond `max_bytes`. Raises OSError if the folder can't be read."""
        self._added_bytes = 0  # before the look: what is stored meanwhile may count twice, but never not at all
        self._kept_bytes = await to_thread.run_sync(self._sweep)

    async def _run(self) -> None:
        while not self._is_closing:
            self._wake.clear()
            try:
                await self.sweep()
            except OSError as failure:
                _warn(failure)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._sweep_seconds):
                    await self._wake.wait()

    def _sweep(self) -> int:
        """Returns the bytes that are left."""
        pictures = [file for file in self._pictures() if not (self._is_expired(file) and self._remove(file))]
        total = sum(file.size for file in pictures)
        if total > self._max_bytes:
            for file in pictures:
                if total > self._max_bytes * (1 - ROOM) and self._remove(file):
                    total -= file.size
        return total

    def _pictures(self) -> list[File]:
        """The oldest first. What crashes have left is removed by the way."""
        files = self._medium.files()
        for file in files:
            if UNFINISHED.fullmatch(file.name) and self._now() - file.mtime > ABANDONED_SECONDS:
                self._remove(file)
        pictures = [file for file in files if NAME.fullmatch(file.name)]
        return sorted(pictures, key=lambda file: (file.mtime, file.name))

    def _remove(self, file: File) -> bool:
        try:
            self._medium.remove(file.name)
        except OSError as failure:  # one that can't be removed must not keep the others
            _warn(failure)
            return False
        return True

    def _is_expired(self, file: File) -> bool:
        return self._now() - file.mtime >= self._expire_seconds


def _warn(failure: OSError) -> None:
    # Without the file's name: it opens the picture to whoever reads the log.
    logger.warning("picture sweep", extra={"fields": {"error": type(failure).__name__, "reason": failure.strerror}})
