"""The scenarios: which load each target gets, and what is read off it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.yardstick.answers import EVENTS
from bench.yardstick.load import Door, Kind, load
from bench.yardstick.targets import Target

OURS = "flarelay"
PORTKEYS = ("portkey", "portkey-native")


@dataclass(frozen=True)
class Scenario:
    """`is_long`: with windows of 10 seconds, since hundreds of cold connections need a while."""

    name: str
    kind: Kind
    connections: int
    targets: Sequence[str]
    is_long: bool = False


SCENARIOS = (
    Scenario("json1", "json", 1, ("direct", "nginx", OURS)),
    Scenario("json32", "json", 32, ("nginx", "litellm", *PORTKEYS, OURS)),
    Scenario("json32 long", "json", 32, (OURS,), is_long=True),
    Scenario("json256", "json", 256, (OURS,), is_long=True),
    Scenario("burst32", "burst", 32, (*PORTKEYS, OURS)),
    Scenario("paced32", "paced", 32, ("direct", OURS)),
    Scenario("paced256", "paced", 256, ("nginx", OURS)),
    Scenario("workers", "json", 32, ("one worker", "two workers")),
)


@dataclass(frozen=True)
class Sample:
    """One target in one round of one scenario; what it does not have is not a number."""

    rate: float
    """Answers per second."""
    failed: int
    median_ms: float
    first_event_ms: float
    cpu_us: float
    """Of the target, per answer."""
    event_cpu_us: float
    """Of the target, per event."""
    megabytes: float
    """While the load was on."""


def measure(scenario: Scenario, door: Door, target: Target | None, seconds: float, folder: Path) -> Sample:
    """Without a target it is the upstream itself, which costs nobody anything."""
    before = target.cpu_seconds() if target else 0.0
    memory = [float("nan")]
    if target:
        watch = threading.Timer(seconds * 0.6, lambda: memory.append(target.megabytes()))
        watch.start()
    found = load(door, scenario.kind, scenario.connections, seconds, folder)
    if target:
        watch.join()
    spent = target.cpu_seconds() - before if target else float("nan")
    each = spent / max(found.done, 1) * 1e6
    return Sample(
        rate=found.done / found.seconds,
        failed=found.failed,
        median_ms=found.median_ms,
        first_event_ms=found.first_event_ms,
        cpu_us=each,
        event_cpu_us=each / EVENTS[scenario.kind] if scenario.kind in EVENTS else float("nan"),
        megabytes=memory[-1],
    )
