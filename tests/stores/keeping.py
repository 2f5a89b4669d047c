"""What is kept: keys for it, looks at tables from outside, and a process that is killed while it writes."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from app.stores.database import Database


class Clock:
    """Stands still until it is set."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


def key(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


async def kept_in(table: str, database: Database, numbers: Iterable[int]) -> list[int]:
    """Whose keys are in the table, without that counting as a use."""
    query = f"SELECT key FROM {table}"  # noqa: S608 - one of ours
    rows = await database.read(lambda connection: connection.execute(query).fetchall())
    return [number for number in numbers if (key(number),) in rows]


async def space_of(table: str, counter: str, database: Database) -> tuple[int, int]:
    """As it is kept, and as it is."""
    query = f"SELECT bytes, (SELECT coalesce(sum(size), 0) FROM {table}) FROM {counter}"  # noqa: S608 - ours
    kept, there = await database.read(lambda connection: connection.execute(query).fetchone())
    return kept, there


def write_until_killed(code: str, path: Path) -> int:
    """How many items the process has said to be written. `code` gets the path, and prints their number now and then."""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own code
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(20)]
        process.kill()
        lines += process.stdout.readlines()
    return max(int(line) for line in lines if line.endswith(b"\n"))
