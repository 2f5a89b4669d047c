"""What a run prints, and the row that it leaves in the history."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from math import isnan
from pathlib import Path

from bench.yardstick.goals import GOALS, Goal, Results, median
from bench.yardstick.scenarios import SCENARIOS, Sample

FIGURES = {
    "rate": "per s",
    "cpu_us": "us each",
    "event_cpu_us": "us/event",
    "median_ms": "p50 ms",
    "first_event_ms": "first ms",
    "megabytes": "MB",
}
MARK = "<!-- The rows below are written by `python -m bench.yardstick --save`. -->"


def figures(results: Results) -> Iterator[str]:
    """Medians of every scenario and target: good for comparing inside one run only."""
    yield f"{'':30}" + "".join(f"{title:>10}" for title in FIGURES.values())
    for scenario in SCENARIOS:
        for target in scenario.targets:
            if samples := results.samples.get((scenario.name, target)):
                cells = (number(median(getattr(each, name) for each in samples)) for name in FIGURES)
                yield f"{scenario.name:12} {target:17}" + "".join(f"{cell:>10}" for cell in cells) + failures(samples)


def failures(samples: list[Sample]) -> str:
    failed = sum(sample.failed for sample in samples)
    return f"  {failed} FAILED" if failed else ""


def table(results: Results) -> Iterator[str]:
    """The goals, what was measured, and whether it is enough."""
    yield f"{'':54}{'measured':>10} {'must':>10} {'aim':>10}"
    for goal in GOALS:
        value = goal.measured(results)
        sign = ">=" if goal.is_at_least else "<="
        bounds = f"{sign + number(goal.must):>10} {sign + number(goal.aim):>10}"
        yield f"{goal.name:54}{with_unit(goal, value):>10} {bounds}  {goal.verdict(value)}"


def with_unit(goal: Goal, value: float) -> str:
    return f"{number(value)} {goal.unit}" if not isnan(value) else "-"


def number(value: float) -> str:
    """Three digits that count."""
    if isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def history_head() -> str:
    names = ["date", "commit", "rounds", *(goal.short for goal in GOALS)]
    units = ["must", "", "", *(f"{'≥' if goal.is_at_least else '≤'} {number(goal.must)} {goal.unit}" for goal in GOALS)]
    return "\n".join([line(names), line(["---"] * len(names)), line(units)])


def history_row(results: Results, commit: str, rounds: str) -> str:
    values = (number(goal.measured(results)) for goal in GOALS)
    return line([datetime.now(UTC).date().isoformat(), f"`{commit}`", rounds, *values])


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def save(path: Path, row: str) -> None:
    """Appends the row to the history's table. Raises ValueError if the page has none with these columns."""
    head = f"{MARK}\n\n{history_head()}\n"
    before, found, after = path.read_text().partition(head)
    if not found:
        raise ValueError(f"{path} has no history with today's columns")
    lines = after.splitlines(keepends=True)
    rows = list(takewhile(lambda each: each.startswith("|"), lines))
    path.write_text("".join([before, head, *rows, f"{row}\n", *lines[len(rows) :]]))
