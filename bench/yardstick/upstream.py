"""The canned upstream: compiled from `upstream.c` where there is a C compiler, else the same in Python.

`python -m bench.yardstick.upstream PORT` serves the one in Python until it is ended. It costs about ten times as much
as the one in C, so it reaches its own limit where a fast target has not reached its own yet.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import cast

import uvloop

from bench.yardstick.answers import EVENTS, PACE_SECONDS, WIRES

HOST = "127.0.0.1"
SOURCE = Path(__file__).with_name("upstream.c")


def upstream_command(port: int, folder: Path) -> list[str]:
    """What to run; `folder` takes the program and its answers."""
    compiler = shutil.which("cc")
    if compiler is None:
        return [sys.executable, "-m", "bench.yardstick.upstream", str(port)]
    for name, wire in WIRES.items():
        wire.save(folder, name)
    program = folder / "upstream"
    subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)  # noqa: S603 - our own source
    return [str(program), str(port), str(folder)]


class Canned(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if is_whole(self._received):
            request, self._received = bytes(self._received), bytearray()
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        wire = WIRES["openai" if b"/chat/completions" in request else "native"]
        if b'"stream":true' not in request and b'"stream": true' not in request:
            self._transport.write(wire.whole)
        elif b"paced" not in request:
            self._transport.write(wire.burst)
        else:
            self._transport.write(wire.head)
            events = [wire.event] * EVENTS["paced"]
            self._go_on([*events, wire.end], asyncio.get_running_loop().time())

    def _go_on(self, pieces: list[bytes], due: float) -> None:
        self._transport.write(pieces[0])
        if rest := pieces[1:]:
            self._timer = asyncio.get_running_loop().call_at(due, self._go_on, rest, due + PACE_SECONDS)


def is_whole(request: bytearray) -> bool:
    head, end, body = bytes(request).partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    fields = {name: value.strip() for name, _, value in lines}
    if b"content-length" in fields:
        return len(body) >= int(fields[b"content-length"])
    return bool(end) and (b"transfer-encoding" not in fields or body.endswith(b"0\r\n\r\n"))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
