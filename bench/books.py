"""What accounting costs: CPU time per request with ledger, limits and metrics, against the same without.

    python -m bench.books [rounds]      four minutes for the 40 rounds that it takes unless told otherwise

A server asks a canned upstream and is loaded in turns, a second each: while it keeps no books, with a plain key and the
day's budget, as by default, and with a key that has every limit there is. Two processes of the same program differ by
some 4 %, so it is one process all the time, which a signal tells to keep books or not. What counts is the ratio of
neighbouring seconds; their median is printed with the range in which it lies nine times out of ten. It is taken of
whole answers of a kilobyte, which are about the shortest there are, and of streams.
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvicorn

from app.main import from_environment
from app.routes.edge import Edge
from app.routes.shortcut import Server
from app.server.protocol import OPTIONS
from bench.yardstick.__main__ import LOAD_ON, Run
from bench.yardstick.load import Door
from bench.yardstick.processes import on_cores
from bench.yardstick.scenarios import Scenario, measure
from bench.yardstick.targets import KEY, Recipe, Target, bearer, flarelay

ROUNDS = 40
SECONDS = 1.0
SCENARIOS = {
    "a whole answer": Scenario("json32", "json", 32, ()),
    "a stream of 500 events": Scenario("burst32", "burst", 32, ()),
}

ENOUGH = "1000000000000"
LIMITED = "sk-limited"
SETTINGS = {
    "NEURON_BUDGET": ENOUGH,
    "API_KEYS": f"{KEY},name={LIMITED};rpm=100000000;concurrent=1000;neurons={ENOUGH}",
}
KEYS = {"plain key": KEY, "every limit": LIMITED}
WITHOUT = "without"

KEEP, KEEP_NONE = signal.SIGUSR1, signal.SIGUSR2


def with_a_switch() -> Server:
    """The server, which heeds signals about its books."""
    app = from_environment()
    assert isinstance(app, Server)  # noqa: S101 - it has a front
    front = app.front
    assert isinstance(front, Edge)  # noqa: S101 - which keeps the books
    books = front.books
    signal.signal(KEEP, lambda *_: setattr(front, "books", books))
    signal.signal(KEEP_NONE, lambda *_: setattr(front, "books", None))
    return app


def recipe(upstream: int, folder: Path) -> Recipe | None:
    found = flarelay(SETTINGS)(upstream, folder)
    assert found  # noqa: S101 - Flarelay is always to be had
    command = [sys.executable, "-m", "bench.books", "serve", str(found.door.port)]
    return replace(found, command=command, kinds=("json", "burst"))


def spent(target: Target, way: str, scenario: Scenario, folder: Path) -> float:
    """Microseconds of CPU time per answer."""
    os.kill(target.pid, KEEP_NONE if way == WITHOUT else KEEP)
    time.sleep(0.1)
    door = Door(target.door.port, headers=bearer(KEYS.get(way, KEY)))
    return measure(scenario, door, target, SECONDS, folder).cpu_us


def measured(rounds: int) -> dict[tuple[str, str], list[float]]:
    """What was spent in each round, by scenario and way."""
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="books-") as path, ExitStack() as parts, on_cores(LOAD_ON):
        folder = Path(path)
        course = Run(folder, parts)
        course.add("books", recipe)
        for number in range(rounds + 1):
            ways = [WITHOUT, *KEYS]
            for what, scenario in SCENARIOS.items():
                for way in ways if number % 2 else reversed(ways):
                    each = spent(course.targets["books"], way, scenario, folder)
                    if number:  # the first one warms up
                        found.setdefault((what, way), []).append(each)
    return found


def likely(ratios: list[float]) -> tuple[float, float]:
    """Between which the median lies nine times out of ten, by the bootstrap."""
    dice = random.Random(1)  # noqa: S311 - resampling
    medians = sorted(statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[100], medians[-101]


def main(rounds: int) -> None:
    found = measured(rounds)
    for what in SCENARIOS:
        for way in KEYS:
            ratios = [each / other for each, other in zip(found[what, way], found[what, WITHOUT], strict=True)]
            low, high = likely(ratios)
            median = statistics.median(ratios)
            print(f"{what}, {way}: {median:.3f} ({low:.3f} to {high:.3f}) of the CPU without books")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvicorn.run("bench.books:with_a_switch", factory=True, port=int(sys.argv[2]), **OPTIONS)
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
