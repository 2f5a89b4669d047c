"""Load: requests in a closed loop, by wrk where it is there and only counts matter, else from here.

Nothing but loopback is ever loaded, and everything ends by itself.
"""

import asyncio
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import orjson
import uvloop

HOST = "127.0.0.1"
PATIENCE_SECONDS = 30

Kind = Literal["json", "burst", "paced"]

WORDS = "Summarise the following text in one sentence. " + "lorem ipsum dolor sit amet " * 36


@dataclass(frozen=True)
class Door:
    """Where a target answers, and how it wants to be asked."""

    port: int
    model: str = "@cf/bench/{kind}"
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, kind: Kind) -> bytes:
        """About 1.2 kB."""
        turns = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": WORDS}]
        model = self.model.format(kind=kind)
        options = {"stream": kind != "json", "max_tokens": 256, "temperature": 0.5}
        return orjson.dumps({"model": model, **options, "messages": turns})

    def request(self, kind: Kind) -> bytes:
        body = self.body(kind)
        headers = {"Host": HOST, "Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + body


@dataclass(frozen=True)
class Load:
    """What came of it. Times in milliseconds; `failed` counts answers that were not 200, or not whole."""

    done: int
    failed: int
    seconds: float
    median_ms: float
    first_event_ms: float = float("nan")
    """Median from the request to the first event of the answer."""


class Connection(asyncio.Protocol):
    """Keeps alive, asks one thing at a time, times the first event and the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._answer: asyncio.Future[bool] | None = None
        self._is_chunked = self._is_events = self._is_good = False
        self._tail = b""

    def ask(self, request: bytes) -> "asyncio.Future[bool]":
        """Whether the answer was 200 and whole; `first` and `last` are its times."""
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._left, self.first = b"", -1, 0.0
        self.sent = time.perf_counter()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if not self._answer or self._answer.done():
            return
        if self._left < 0:
            data = self._read_head(data)
            if self._left < 0:
                return
        if not self.first and data:
            self.first = time.perf_counter()
        self._left -= len(data)
        if self._is_chunked:
            self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n") if self._is_chunked else self._left <= 0:
            self.last = time.perf_counter()
            self._answer.set_result(self._is_good and (not self._is_events or b"[DONE]" in self._tail))

    def _read_head(self, data: bytes) -> bytes:
        """What comes after the head; until that has come whole, `_left` stays below zero."""
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        self._is_chunked, self._tail = length is None, b""
        self._is_good = head.startswith(b"HTTP/1.1 200")
        self._is_events = b"event-stream" in head
        self._left = int(length[1]) if length else 2**62
        return body

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._answer and not self._answer.done():
            self._answer.set_result(False)


async def connect(door: Door) -> Connection:
    return (await asyncio.get_running_loop().create_connection(Connection, HOST, door.port))[1]


def answers(door: Door, kind: Kind) -> bool:
    """Whether there is a good answer, now."""

    async def ask() -> bool:
        connection = await connect(door)
        try:
            return await asyncio.wait_for(connection.ask(door.request(kind)), PATIENCE_SECONDS)
        finally:
            connection.transport.close()

    try:
        return asyncio.run(ask())
    except OSError:
        return False


def loop_load(door: Door, kind: Kind, connections: int, seconds: float) -> Load:
    """Each connection asks again when it was answered. What is under way at the end is waited for."""
    return uvloop.run(asyncio.wait_for(_loop_load(door, kind, connections, seconds), seconds + PATIENCE_SECONDS))


async def _loop_load(door: Door, kind: Kind, connections: int, seconds: float) -> Load:
    request, firsts, wholes, failed = door.request(kind), list[float](), list[float](), 0
    began = time.perf_counter()

    async def ask_again_and_again(number: int) -> None:
        nonlocal failed
        connection = await connect(door)
        if kind == "paced":  # spread over a stream's half second, as callers would be
            await asyncio.sleep(0.5 * number / connections)
        while time.perf_counter() < began + seconds:
            if await connection.ask(request):
                firsts.append(connection.first - connection.sent)
                wholes.append(connection.last - connection.sent)
            else:
                failed += 1
                connection.transport.close()
                connection = await connect(door)
        connection.transport.close()

    await asyncio.gather(*map(ask_again_and_again, range(connections)))
    return Load(len(wholes), failed, time.perf_counter() - began, median_ms(wholes), median_ms(firsts))


def median_ms(seconds: Sequence[float]) -> float:
    return statistics.median(seconds) * 1000 if seconds else float("nan")


SCRIPT = """
wrk.method = "POST"
wrk.body = {body}
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("@ %d %d %f %f", summary.requests, e.status + e.connect + e.read + e.write + e.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3))
end
"""


def wrk_load(door: Door, kind: Kind, connections: int, seconds: float, folder: Path) -> Load:
    """The same by wrk, which costs a tenth; it neither reads streams nor waits for what is under way."""
    headers = {"Content-Type": "application/json", **door.headers}
    lines = "\n".join(f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items())
    script = folder / "wrk.lua"
    script.write_text(SCRIPT.format(body=_lua(door.body(kind).decode()), headers=lines))
    address = f"http://{HOST}:{door.port}{door.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", "--timeout", "20", "-s", str(script)]
    ran = subprocess.run([*command, address], capture_output=True, text=True, timeout=seconds + 60, check=True)  # noqa: S603 - ours
    done, failed, took, median = ran.stdout.rpartition("@ ")[2].split()
    return Load(int(done) - int(failed), int(failed), float(took), float(median))


def _lua(text: str) -> str:
    return orjson.dumps(text).decode()  # the text is ASCII, and there the two agree


def load(door: Door, kind: Kind, connections: int, seconds: float, folder: Path) -> Load:
    if kind != "paced" and shutil.which("wrk"):
        return wrk_load(door, kind, connections, seconds, folder)
    return loop_load(door, kind, connections, seconds)
