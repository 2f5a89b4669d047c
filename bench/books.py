"""What accounting costs: CPU time per request with ledger, limits and metrics, against the same without.

    python -m bench.books [starts]      half a minute for each of the 10 starts that it takes unless told otherwise

Three servers share a core, ask the same canned upstream, and are loaded in turns, a second each: one keeps no books,
one has a plain key and the day's budget, as by default, and one a key with every limit that there is. Two processes of
the same program differ by some 4 %, so all of them are started again and again. What counts is the ratio of
neighbouring seconds, of which each start gives a median; the median of those is printed, with the range in which it
lies nine times out of ten. It is taken of whole answers of a kilobyte, which are about the shortest there are, and of
streams.
"""

import random
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvicorn

from app.main import from_environment
from app.routes.edge import Edge
from app.routes.shortcut import Server
from app.server.protocol import OPTIONS
from bench.yardstick.__main__ import LOAD_ON, Run
from bench.yardstick.processes import on_cores
from bench.yardstick.scenarios import Scenario, measure
from bench.yardstick.targets import KEY, Kitchen, Recipe, flarelay

STARTS = 10
ROUNDS = 4
"""Of each start."""
SECONDS = 1.0
SCENARIOS = {
    "a whole answer": Scenario("json32", "json", 32, ()),
    "a stream of 500 events": Scenario("burst32", "burst", 32, ()),
}

ENOUGH = "1000000000000"
LIMITS = f"name={KEY};rpm=100000000;concurrent=1000;neurons={ENOUGH}"
SETTINGS = {"plain key": {"NEURON_BUDGET": ENOUGH}, "every limit": {"NEURON_BUDGET": ENOUGH, "API_KEYS": LIMITS}}
WITHOUT = "without"


def without_books() -> Server:
    """The server, but for what it would write down."""
    app = from_environment()
    assert isinstance(app, Server)  # noqa: S101 - it has a front
    assert isinstance(app.front, Edge)  # noqa: S101 - which keeps the books
    app.front.books = None
    return app


def serve(factory: str, port: int) -> None:
    uvicorn.run(factory, factory=True, port=port, **OPTIONS)


def kitchen(factory: str, settings: Mapping[str, str]) -> Kitchen:
    """All are started alike: nothing but the books may differ."""

    def recipe(upstream: int, folder: Path) -> Recipe | None:
        found = flarelay(settings)(upstream, folder)
        assert found  # noqa: S101 - Flarelay is always to be had
        command = [sys.executable, "-m", "bench.books", "serve", factory, str(found.door.port)]
        return replace(found, command=command, kinds=("json", "burst"))

    return recipe


def kitchens() -> dict[str, Kitchen]:
    with_books = {name: kitchen("app.main:from_environment", settings) for name, settings in SETTINGS.items()}
    return {WITHOUT: kitchen("bench.books:without_books", {})} | with_books


def spent() -> dict[tuple[str, str], list[float]]:
    """Microseconds of CPU time per request or event, in each scenario, of each server, in each round of a start."""
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="books-") as folder, ExitStack() as parts, on_cores(LOAD_ON):
        course = Run(Path(folder), parts)
        for name, kitchen in kitchens().items():
            course.add(name, kitchen)
        for number in range(ROUNDS + 1):
            names = list(course.targets)
            for name in names if number % 2 else reversed(names):
                target = course.targets[name]
                for what, scenario in SCENARIOS.items():
                    sample = measure(scenario, target.door, target, SECONDS, Path(folder))
                    if number:  # the first one warms up
                        found.setdefault((what, name), []).append(sample.cpu_us)
    return found


def ratios(found: Mapping[tuple[str, str], list[float]]) -> dict[tuple[str, str], float]:
    """The CPU time of a server with books to that of the one without, in each scenario: the median of the rounds."""
    return {
        (what, name): statistics.median(
            each / other for each, other in zip(found[what, name], found[what, WITHOUT], strict=True)
        )
        for what in SCENARIOS
        for name in SETTINGS
    }


def likely(ratios: list[float]) -> tuple[float, float]:
    """Between which the median lies nine times out of ten, by the bootstrap."""
    dice = random.Random(1)  # noqa: S311 - resampling
    medians = sorted(statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[100], medians[-101]


def main(starts: int) -> None:
    of_starts = [ratios(spent()) for _ in range(starts)]
    for what, name in of_starts[0]:
        found = [each[what, name] for each in of_starts]
        low, high = likely(found)
        median = statistics.median(found)
        print(f"{what}, {name}: {median:.3f} ({low:.3f} to {high:.3f}) of the CPU without books")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else STARTS)
