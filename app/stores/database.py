"""Database: one SQLite file, opened and migrated, and the one thread in which a process works on it.

A new table is a new file in `migrations/`, with the next number, and a class like `characters.CharacterCount` that
hands its SQL to `read` and `write`. Nothing outside `app.stores` sees a connection.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger("flarelay")

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""How long to wait for another process that is writing."""
OPEN_SECONDS = 30.0
"""The same while the file is opened: the other may be migrating it."""
QUIET_SECONDS = 60.0
"""Between two lines in the log about failures."""

LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # others read while one writes
    "PRAGMA synchronous = NORMAL",  # a crash of the machine may lose the last transactions, but breaks nothing
    "PRAGMA foreign_keys = ON",
)


class StoreError(Exception):
    """The file can't be read or written now: a full disk, a lock that stays, a damaged or closed file."""


def load_migrations() -> list[str]:
    """The SQL that leads from each version of the schema to the next, the first from an empty file."""
    folder = resources.files(__package__).joinpath("migrations")
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]


class Database:
    """Any number of processes may have one on the same file, and may open it at the same moment.

    Work is a function of a connection. It runs in this process's one thread for the file, in the order it was handed
    over and in a transaction of its own: all of it happens or nothing. It must return values rather than cursors.
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Sequence[str] | None = None,
        busy_seconds: float = BUSY_SECONDS,
        open_seconds: float = OPEN_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._open_seconds = open_seconds
        self._now = now
        self._quiet_until: float | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection

    async def open(self) -> None:
        """Make the file and its folder if there are none, and bring the schema up to date.

        Raises StoreError, with words for whoever runs the server, if that can't be.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="database")
        try:
            self._connection = await asyncio.get_running_loop().run_in_executor(executor, self._open)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        self._executor = executor

    async def aclose(self) -> None:
        """After all work that was handed over. What is handed over later fails; `open` would begin again.

        The last process to close it leaves a single file, without a journal beside it.
        """
        executor, self._executor = self._executor, None
        if executor is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._connection.close)
            finally:
                executor.shutdown(wait=False)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What the work returns; it sees the file as it is at one moment. Raises StoreError."""
        return await self._run("BEGIN", work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for work that changes something: no other process writes meanwhile. Raises StoreError."""
        return await self._run("BEGIN IMMEDIATE", work)

    async def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._executor is None:
            raise StoreError(f"The database {self._path} is not open.")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._transact, begin, work)

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._connection:  # commits, or rolls back
                self._connection.execute(begin)
                return work(self._connection)
        except sqlite3.Error as failure:
            self._log(failure)
            raise StoreError(str(failure)) from failure

    def _log(self, failure: sqlite3.Error) -> None:
        """Not every failure: a disk that is full stays so, and the log may be on it."""
        if self._quiet_until is None or self._now() >= self._quiet_until:
            self._quiet_until = self._now() + QUIET_SECONDS
            fields = {"path": str(self._path), "error": _name(failure), "reason": str(failure)}
            logger.error("database", extra={"fields": fields})

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Without isolation_level: transactions begin where we say so, in every version of Python.
            connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
        except (OSError, sqlite3.Error) as failure:
            raise StoreError(f"The database {self._path} can't be opened ({failure}).") from failure
        try:
            self._prepare(connection)
        except sqlite3.Error as failure:
            connection.close()
            raise StoreError(self._advice(failure)) from failure
        except StoreError:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Until it succeeds: while others change the journal mode, SQLite fails at once instead of waiting."""
        deadline = time.monotonic() + self._open_seconds
        while True:
            try:
                for pragma in PRAGMAS:
                    connection.execute(pragma)
                with connection:
                    connection.execute("BEGIN IMMEDIATE")  # fails where nothing can be written
                    self._migrate(connection)
            except sqlite3.OperationalError as failure:
                if _code(failure) not in LOCKED or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _migrate(self, connection: sqlite3.Connection) -> None:
        migrations = load_migrations() if self._migrations is None else self._migrations
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StoreError(
                f"The database {self._path} was written by a newer Flarelay (version {version} of its tables; this one "
                f"knows {len(migrations)}). Run the newer one, or give this one another DATA_DIR."
            )
        for script in migrations[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")

    def _advice(self, failure: sqlite3.Error) -> str:
        if _code(failure) in DAMAGED:
            return f"The database {self._path} is damaged ({failure}). Restore it, or move it away to begin a new one."
        return f"The database {self._path} can't be used ({failure}). The server must be able to write it."


def _statements(script: str) -> Iterator[str]:
    """One after the other, since `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _code(failure: sqlite3.Error) -> int:
    """SQLite's primary code, 0 for what was Python's own."""
    return int(getattr(failure, "sqlite_errorcode", 0)) & 0xFF


def _name(failure: sqlite3.Error) -> str:
    return str(getattr(failure, "sqlite_errorname", type(failure).__name__))
