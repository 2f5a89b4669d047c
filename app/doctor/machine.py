"""What this machine has: a clock that is right, a folder, room on the disk, a port."""

import asyncio
import errno
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx2
import orjson

from app.doctor.findings import Finding, Outcome
from app.upstream.transport import Transport

MOST_CLOCK_SECONDS = 60
LEAST_FREE_BYTES = 100 * 2**20
PORT_REMEDIES = {
    errno.EADDRINUSE: "Set PORT to another, or stop the program that has it.",
    errno.EACCES: "Set PORT to 1024 or above, or let the program have lower ones.",
}


def clock_finding(ahead: Sequence[float]) -> Finding:
    """`ahead`: by how many seconds this clock was ahead of Cloudflare's, answer by answer."""
    if not ahead:
        return Finding("clock", Outcome.UNKNOWN, "no answer of Cloudflare's told the time.")
    seconds = min(ahead, key=abs)
    if abs(seconds) <= MOST_CLOCK_SECONDS:
        return Finding("clock", Outcome.OK, "it agrees with Cloudflare's.")
    text = f"it is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} Cloudflare's."
    return Finding("clock", Outcome.FAILED, text, "Days of limits begin by it: let NTP set it.")


def storage_findings(folder: Path, wanted_bytes: int) -> list[Finding]:
    """Of the folder, or the nearest above it that there is; `wanted_bytes` is what the server may keep there."""
    try:
        standing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        with tempfile.TemporaryFile(dir=standing):
            free = shutil.disk_usage(standing).free
    except OSError as failure:
        remedy = "Let the server's user write there, or set DATA_DIR to another folder."
        text = f"{folder} can't be written: {failure.strerror}."
        return [Finding("DATA_DIR", Outcome.FAILED, text, remedy)]
    return [Finding("DATA_DIR", Outcome.OK, f"{folder} can be written."), disk_finding(free, wanted_bytes)]


def disk_finding(free: int, wanted_bytes: int) -> Finding:
    shown = f"{free / 2**30:.1f} GiB are free"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", Outcome.FAILED, f"{shown}.", "Make room, or set DATA_DIR to another disk.")
    if free < wanted_bytes:
        remedy = "Set PICTURES_MAX_BYTES and TRANSLATION_CACHE_MAX_BYTES lower."
        return Finding("disk", Outcome.WARNING, f"{shown}, {wanted_bytes / 2**30:.1f} GiB may be kept.", remedy)
    return Finding("disk", Outcome.OK, f"{shown}.")


async def port_finding(host: str, port: int) -> Finding:
    check = f"port {port}"
    failure = _bind_failure(host, port)
    if failure is None:
        return Finding(check, Outcome.OK, "it is free.")
    if failure.errno == errno.EADDRINUSE and (version := await running_version(host, port)):
        return Finding(check, Outcome.OK, f"Flarelay {version} is running there.")
    remedy = PORT_REMEDIES.get(failure.errno or 0, "Set HOST to an address of this machine.")
    return Finding(check, Outcome.FAILED, f"can't listen on {host}: {failure.strerror}.", remedy)


def _bind_failure(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            bound.bind(address)
    except OSError as failure:
        return failure
    return None


async def running_version(host: str, port: int, *, timeout_seconds: float = 3) -> str | None:
    """The version of the Flarelay that listens there; None if something else does."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    url = f"http://[{name}]:{port}/health" if ":" in name else f"http://{name}:{port}/health"
    try:
        async with httpx2.AsyncClient(transport=Transport(), trust_env=False) as client:  # by no proxy
            async with asyncio.timeout(timeout_seconds):
                health = orjson.loads((await client.get(url)).content)
    except (httpx2.RequestError, TimeoutError, orjson.JSONDecodeError):
        return None
    is_ours = isinstance(health, dict) and {"status", "mode", "version"} <= health.keys()
    return str(health["version"])[:40] if is_ours else None
