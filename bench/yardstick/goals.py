"""The goals: each a number that the runs lead to, what it must be and what it should be."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isnan

from bench.yardstick.scenarios import OURS, PORTKEYS, Sample


@dataclass
class Results:
    """Samples by scenario and target, a sample a round; and Flarelay's own start and idle memory."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)
    """Seconds from the start of the process to its first answer."""
    idle_megabytes: list[float] = field(default_factory=list)

    def of(self, scenario: str, target: str, figure: str) -> list[float]:
        """By round."""
        return [getattr(sample, figure) for sample in self.samples.get((scenario, target), [])]

    def ratio(self, figure: str, scenario: str, target: str, *, ours: str = OURS, our_scenario: str = "") -> float:
        """Ours to the target's: the median of the rounds' own ratios, since noise hits both sides of one alike."""
        mine, other = self.of(our_scenario or scenario, ours, figure), self.of(scenario, target, figure)
        return median(each / base for each, base in zip(mine, other, strict=False) if base)

    def added_ms(self, figure: str, scenario: str, target: str) -> list[float]:
        """What a target adds to the upstream alone, by round."""
        alone = self.of(scenario, "direct", figure)
        return [each - base for each, base in zip(self.of(scenario, target, figure), alone, strict=False)]


def median(values: Iterable[float]) -> float:
    """Not a number where there are none."""
    found = [value for value in values if not isnan(value)]
    return statistics.median(found) if found else float("nan")


@dataclass(frozen=True)
class Goal:
    """`short` heads its column in the history."""

    name: str
    short: str
    unit: str
    is_at_least: bool
    must: float
    aim: float
    measured: Callable[[Results], float]

    def verdict(self, value: float) -> str:
        if isnan(value):
            return "not measured"
        if self._reaches(value, self.aim):
            return "yes, the aim too"
        return "yes" if self._reaches(value, self.must) else "NO"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_at_least else value <= bound


def added_to_nginx(results: Results) -> float:
    """What we add at one connection to what nginx adds."""
    ours, theirs = (results.added_ms("median_ms", "json1", target) for target in (OURS, "nginx"))
    return median(each / base for each, base in zip(ours, theirs, strict=False) if base > 0)


def better_portkey_rate(results: Results) -> float:
    return min(results.ratio("rate", "json32", each) for each in PORTKEYS)


def better_portkey_events(results: Results) -> float:
    return max(results.ratio("event_cpu_us", "burst32", each) for each in PORTKEYS)


GOALS = (
    Goal(
        "json32: requests/s to LiteLLM's", "LiteLLM rate", "x", True, 50, 100,
        lambda found: found.ratio("rate", "json32", "litellm"),
    ),
    Goal("json32: requests/s to Portkey's, its better mode", "Portkey rate", "x", True, 5, 10, better_portkey_rate),
    Goal(
        "json32: CPU per request to nginx's", "nginx CPU", "x", False, 12, 8,
        lambda found: found.ratio("cpu_us", "json32", "nginx"),
    ),
    Goal(
        "json256: requests/s to json32's, 10 s windows", "256/32", "x", True, 0.8, 0.95,
        lambda found: found.ratio("rate", "json32 long", OURS, our_scenario="json256"),
    ),
    Goal(
        "paced256: CPU per event to nginx's", "paced CPU", "x", False, 2.5, 2,
        lambda found: found.ratio("event_cpu_us", "paced256", "nginx"),
    ),
    Goal(
        "burst32: CPU per event to Portkey's, its better mode", "burst CPU", "x", False, 1 / 4, 1 / 8,
        better_portkey_events,
    ),
    Goal(
        "paced32: first event, added, median", "first event", "ms", False, 1.5, 1,
        lambda found: median(found.added_ms("first_event_ms", "paced32", OURS)),
    ),
    Goal("json1: added, median, to nginx's", "added", "x", False, 4, 2.5, added_to_nginx),
    Goal("memory, idle", "idle", "MB", False, 60, 50, lambda found: median(found.idle_megabytes)),
    Goal(
        "memory with 256 streams", "256 streams", "MB", False, 80, 65,
        lambda found: median(found.of("paced256", OURS, "megabytes")),
    ),
    Goal("start to the first answer", "start", "s", False, 1, 0.6, lambda found: median(found.starts)),
    Goal(
        "requests/s of two workers to one's", "workers", "x", True, 1.6, 1.8,
        lambda found: found.ratio("rate", "workers", "one worker", ours="two workers"),
    ),
)  # fmt: skip
