"""What accounting costs: CPU time per request with ledger, limits and metrics, against the same without.

    python -m bench.books [seconds]      under each of four loads; 20 unless told otherwise

A server asks a canned upstream, under load with a plain key, on the day's budget as by default, and with a key that has
every limit there is. Two processes of the same program differ by some 4 %, and a minute from the next by more, so it is
one process, which keeps books and keeps none by turns, for a twentieth of a second each. What counts is the ratio of
two neighbouring turns; their median is printed with the range in which it lies nine times out of ten. It is taken of
whole answers of a kilobyte, which are about the shortest there are, and of streams.
"""

import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import orjson
import uvicorn

from app.main import from_environment
from app.routes.edge import Edge
from app.routes.shortcut import Server
from app.server.protocol import OPTIONS, Protocol
from bench.yardstick.__main__ import LOAD_ON, Run
from bench.yardstick.load import Door, Kind, load
from bench.yardstick.processes import on_cores
from bench.yardstick.targets import KEY, Recipe, Target, bearer, flarelay

SECONDS = 20.0
TURN_SECONDS = 0.05
FEWEST = 5
"""Requests in a turn that counts."""
CONNECTIONS = 32
KINDS: dict[str, Kind] = {"a whole answer": "json", "a stream of 500 events": "burst"}

ENOUGH = "1000000000000"
LIMITED = "sk-limited"
SETTINGS = {
    "NEURON_BUDGET": ENOUGH,
    "API_KEYS": f"{KEY},name={LIMITED};rpm=100000000;concurrent=1000;neurons={ENOUGH}",
}
KEYS = {"plain key": KEY, "every limit": LIMITED}

TELL = signal.SIGUSR1
RATIOS = "ratios.json"


class Counting(Protocol):
    """Counts requests."""

    requests = 0

    def on_message_complete(self) -> None:
        Counting.requests += 1
        super().on_message_complete()


class Turns:
    """Of a server: in one it keeps books, in the next one it does not."""

    def __init__(self, front: Edge) -> None:
        self._front, self._books = front, front.books
        self._ratios: list[float] = []
        self._task = asyncio.create_task(self._take())
        signal.signal(TELL, lambda *_: self._tell())

    async def _take(self) -> None:
        while True:
            spent = {keeps: await self._spent(keeps) for keeps in random.sample((True, False), 2)}
            if all(spent.values()):
                self._ratios.append(spent[True] / spent[False])

    async def _spent(self, keeps: bool) -> float:
        """Seconds of CPU time per request; 0 if there were hardly any. One that has begun goes on as it began."""
        self._front.books = self._books if keeps else None
        began, before = time.process_time(), Counting.requests
        await asyncio.sleep(TURN_SECONDS)
        count = Counting.requests - before
        return (time.process_time() - began) / count if count >= FEWEST else 0.0

    def _tell(self) -> None:
        """All ratios since the last time."""
        unfinished = Path(f"{RATIOS}.new")
        unfinished.write_bytes(orjson.dumps(self._ratios))
        unfinished.rename(RATIOS)
        self._ratios.clear()


def taking_turns() -> Server:
    app = from_environment()
    assert isinstance(app, Server)  # noqa: S101 - it has a front
    front = app.front
    assert isinstance(front, Edge)  # noqa: S101 - which keeps the books
    Turns(front)
    return app


def measured(seconds: float) -> Iterator[tuple[str, list[float]]]:
    """Each load, and the ratios under it."""
    homes: list[Path] = []

    def recipe(upstream: int, home: Path) -> Recipe | None:
        homes.append(home)
        found = flarelay(SETTINGS)(upstream, home)
        assert found  # noqa: S101 - Flarelay is always to be had
        command = [sys.executable, "-m", "bench.books", "serve", str(found.door.port)]
        return replace(found, command=command, kinds=("json", "burst"))

    with tempfile.TemporaryDirectory(prefix="books-") as path, ExitStack() as parts, on_cores(LOAD_ON):
        course = Run(Path(path), parts)
        course.add("books", recipe)
        target = course.targets["books"]
        for what, kind in KINDS.items():
            for whose, key in KEYS.items():
                door = Door(target.door.port, headers=bearer(key))
                load(door, kind, CONNECTIONS, 1, Path(path))  # to warm up
                told(target, homes[0])
                load(door, kind, CONNECTIONS, seconds, Path(path))
                yield f"{what}, {whose}", told(target, homes[0])


def told(target: Target, home: Path) -> list[float]:
    """The ratios since the last time."""
    os.kill(target.pid, TELL)
    while not (home / RATIOS).exists():
        time.sleep(0.01)
    found: list[float] = orjson.loads((home / RATIOS).read_bytes())
    (home / RATIOS).unlink()
    return found


def likely(ratios: list[float]) -> tuple[float, float]:
    """Between which the median lies nine times out of ten, by the bootstrap."""
    dice = random.Random(1)  # noqa: S311 - resampling
    medians = sorted(statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[100], medians[-101]


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvicorn.run(
            "bench.books:taking_turns",
            factory=True,
            port=int(sys.argv[2]),
            **OPTIONS | {"http": "bench.books:Counting"},
        )
    else:
        for load_name, ratios in measured(float(sys.argv[1]) if sys.argv[1:] else SECONDS):
            low, high = likely(ratios)
            print(f"{load_name}: {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f}) of the CPU without books")  # noqa: T201
