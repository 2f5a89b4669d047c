"""Where Flarelay's time goes: py-spy looks on while a scenario runs, and the functions it found most often are printed.

Needs `py-spy` on the path (`pip install py-spy`), and the right to look into a process, which a container may withhold.
"""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.yardstick.load import load
from bench.yardstick.scenarios import OURS, Scenario
from bench.yardstick.targets import Target

SAMPLES_PER_SECOND = 500
MOST_SHOWN = 15


def profile(target: Target, scenarios: Sequence[Scenario], seconds: float, output: Path, folder: Path) -> None:
    """A file of folded stacks for each scenario, for any flame graph viewer. Raises SystemExit without py-spy."""
    program = shutil.which("py-spy")
    if program is None:
        raise SystemExit("py-spy is not on the path")
    output.mkdir(parents=True, exist_ok=True)
    options = ["--nonblocking", "--format", "raw", "--rate", str(SAMPLES_PER_SECOND), "--duration", f"{seconds:.0f}"]
    for scenario in scenarios:
        if OURS not in scenario.targets:
            continue
        path = output / f"{scenario.name.replace(' ', '-')}.folded"
        command = [program, "record", "--pid", str(target.pid), "--output", str(path), *options]
        watching = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        load(target.door, scenario.kind, scenario.connections, seconds + 1, folder)
        watching.wait(seconds + 30)
        sys.stdout.write(f"\n{scenario.name}, share of the samples in a function itself:\n")
        sys.stdout.writelines(f"{share:6.1%}  {name}\n" for name, share in hottest(path.read_text()))


def hottest(folded: str) -> list[tuple[str, float]]:
    """Functions by their own share of the samples."""
    found: Counter[str] = Counter()
    for stack, _, count in (line.rpartition(" ") for line in folded.splitlines()):
        found[stack.rpartition(";")[2]] += int(count)
    return [(name, count / found.total()) for name, count in found.most_common(MOST_SHOWN)]
