"""What Flarelay costs, beside nginx and other gateways in the same run, and whether the goals are met.

    python -m bench.yardstick                 all scenarios, three rounds: about five minutes
    python -m bench.yardstick --quick         one round of short windows: half a minute, to see that it works
    python -m bench.yardstick --only json32,paced256
    python -m bench.yardstick --save          appends a row to the history in docs/performance.md

An upstream with canned answers, load and targets all run here, on loopback. The targets share one core, the upstream
and the load another one; in each round all targets take their turns, and what counts are the ratios inside a round.
nginx is measured if it is installed. Other gateways are measured if they are told of: docs/performance.md says how.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from bench.yardstick.goals import Results
from bench.yardstick.load import Door, answers
from bench.yardstick.processes import ALL_CORES, Cores, free_port, giving_way, on_cores, start, stop
from bench.yardstick.profile import profile
from bench.yardstick.report import figures, history_row, save, table
from bench.yardstick.scenarios import OURS, SCENARIOS, Scenario, measure
from bench.yardstick.targets import ROOT, Kitchen, Target, commit, flarelay, litellm, nginx, portkey
from bench.yardstick.upstream import upstream_command

HISTORY = ROOT / "docs" / "performance.md"
SPREAD = ("one worker", "two workers")
"""Targets that share all cores with the load."""

TARGETS_ON: Cores = frozenset(sorted(ALL_CORES)[:1])
LOAD_ON: Cores = frozenset(sorted(ALL_CORES)[1:2]) or ALL_CORES


class Run:
    """The upstream and the targets, as long as they are needed."""

    def __init__(self, folder: Path, parts: ExitStack) -> None:
        self._folder = folder
        self._parts = parts
        self.upstream = free_port()
        command = upstream_command(self.upstream, folder)
        self._process = start(command, cores=LOAD_ON, log=folder / "upstream.log", env=_environment(), folder=ROOT)
        parts.callback(stop, self._process)
        self.targets: dict[str, Target] = {}
        self.direct = Door(self.upstream)
        deadline = time.monotonic() + 20
        while not answers(self.direct, "json"):
            if time.monotonic() > deadline:
                raise SystemExit(f"The upstream does not answer:\n{(folder / 'upstream.log').read_text()}")
            time.sleep(0.02)

    def add(self, name: str, kitchen: Kitchen) -> None:
        if target := self.started(name, kitchen):
            self._parts.callback(target.stop)
            self.targets[name] = target

    def started(self, name: str, kitchen: Kitchen) -> Target | None:
        """Not kept; None where it can't be had."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=self._folder))
        recipe = kitchen(self.upstream, folder)
        return Target(name, recipe, folder, ALL_CORES if name in SPREAD else TARGETS_ON) if recipe else None

    @contextmanager
    def balanced(self, scenario: Scenario) -> Iterator[None]:
        """Load and upstream on the cores that the scenario's targets leave them, or out of their way."""
        is_shared = bool(set(scenario.targets) & set(SPREAD))
        cores = ALL_CORES if is_shared else LOAD_ON
        with on_cores(cores), giving_way(self._process.pid) if is_shared else nullcontext():
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(self._process.pid, cores)
            yield

    def round(self, scenarios: Sequence[Scenario], results: Results, seconds: float, long_seconds: float) -> None:
        for scenario in scenarios:
            for name in scenario.targets:
                target = self.targets.get(name)
                if not target and name != "direct":
                    continue
                window = long_seconds if scenario.is_long else seconds
                door = target.door if target else self.direct
                with self.balanced(scenario):
                    sample = measure(scenario, door, target, window, self._folder)
                results.samples.setdefault((scenario.name, name), []).append(sample)

    def start_once(self, settings: Mapping[str, str], results: Results) -> None:
        """A server of its own, for its start and its memory before any load."""
        target = self.started("start", flarelay(settings))
        assert target  # noqa: S101 - Flarelay is always to be had
        try:
            time.sleep(0.5)
            results.starts.append(target.start_seconds)
            results.idle_megabytes.append(target.megabytes())
        finally:
            target.stop()


def kitchens(options: argparse.Namespace, settings: Mapping[str, str]) -> dict[str, Kitchen]:
    return {
        "nginx": nginx,
        "litellm": litellm(options.litellm),
        "portkey": portkey(options.portkey, "openai", "/v1"),
        "portkey-native": portkey(options.portkey, "workers-ai", "/ai/run"),
        OURS: flarelay(settings),
        "one worker": flarelay(settings),
        "two workers": flarelay(settings, workers=2),
    }


def run(options: argparse.Namespace) -> Results:
    only = options.only.split(",") if options.only else [scenario.name for scenario in SCENARIOS]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name.split()[0] in {*only, *_paired(only)}]
    settings = dict(each.split("=", 1) for each in options.set)
    results = Results()
    with tempfile.TemporaryDirectory(prefix="yardstick-") as folder, ExitStack() as parts, on_cores(LOAD_ON):
        course = Run(Path(folder), parts)
        wanted = {name for scenario in scenarios for name in scenario.targets}
        for name, kitchen in kitchens(options, settings).items():
            if name in wanted:
                say(f"starting {name}")
                course.add(name, kitchen)
        time.sleep(1)  # the second of two workers is not there yet when the first one answers
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            course.round(scenarios, results, options.seconds, options.long_seconds)
            if not options.only or "start" in only or "memory" in only:
                course.start_once(settings, results)
        if options.profile:
            with on_cores(LOAD_ON):
                profile(course.targets[OURS], scenarios, options.seconds, Path(options.profile), Path(folder))
    return results


def _paired(names: Sequence[str]) -> list[str]:
    """Scenarios that others are compared with, or measured in."""
    others = {"json256": ["json32"], "memory": ["paced256"]}
    return [other for name in names for other in others.get(name, [])]


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench.yardstick", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 1 s windows (3 s instead of 10 s)")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, default=3, help="of a window; default 3")
    parser.add_argument("--long-seconds", type=float, default=10, help="of a long one; default 10")
    names = [*dict.fromkeys(scenario.name.split()[0] for scenario in SCENARIOS), "memory", "start"]
    parser.add_argument("--only", help=f"scenarios, comma separated, of: {', '.join(names)}")
    parser.add_argument("--save", action="store_true", help="append a row to the history in docs/performance.md")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of Flarelay's")
    parser.add_argument("--profile", metavar="FOLDER", help="then profile Flarelay in each scenario with py-spy")
    parser.add_argument("--litellm", default=os.environ.get("LITELLM") or shutil.which("litellm"), metavar="COMMAND")
    parser.add_argument("--portkey", default=os.environ.get("PORTKEY"), metavar="FOLDER")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.long_seconds = 1, 3
    options.rounds = options.rounds or (1 if options.quick else 3)
    if unknown := set((options.only or "json1").split(",")) - set(names):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parsed()
    results = run(options)
    say("\n" + "\n".join(figures(results)))
    say("\n" + "\n".join(table(results)))
    if options.save:
        save(HISTORY, history_row(results, commit(), f"{options.rounds} x {options.seconds:g} s"))
        say(f"\nadded a row to {HISTORY.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
