"""Processes: starting them on chosen cores, and what they have spent."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_SECONDS = 8

Cores = frozenset[int]

ALL_CORES: Cores = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else {0})
"""Those that this process may use."""


@contextmanager
def on_cores(cores: Cores) -> Iterator[None]:
    """What starts in here inherits these cores. Only Linux can; elsewhere nothing is pinned."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores & ALL_CORES or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def giving_way(other: int) -> Iterator[None]:
    """Neither this process, nor what it starts in here, nor the other one interrupts what runs on their cores: they
    wait for their turn, and then do all that there is to do. Only Linux can.
    """
    if not hasattr(os, "SCHED_BATCH"):
        yield
        return
    try:
        for pid in (0, other):
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
        yield
    finally:
        for pid in (0, other):
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def start(
    command: Sequence[str], *, cores: Cores, log: Path, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    """In a group of its own, so that it ends with all its children."""
    with on_cores(cores), log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - commands of the one who runs the benchmark
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children that live, in steps of 10 ms."""
    return sum(map(_ticks, tree(pid))) / TICKS


def megabytes(pid: int) -> float:
    """Memory of a process and its children, each page that several share counted once (Pss)."""
    return sum(map(_kilobytes, tree(pid))) / 1024


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def _ticks(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _kilobytes(pid: int) -> int:
    line = re.search(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    return int(line[1]) if line else 0


def _read(path: Path) -> str:
    """Empty once the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
