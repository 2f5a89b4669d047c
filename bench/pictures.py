"""How a chat stream keeps its pace while pictures are made: the gaps between its events, alone and beside the pictures.

`python -m bench.pictures` starts a server on loopback with the emulator inside, streams a chat of 100 events at 20 ms,
first alone and then while twenty 1024x1024 pictures are made, decoded, encoded and stored, and ends by itself. What
counts is the ratio of the two: the machine's own noise is in both. The emulator draws its pictures in the same process,
so some of the difference is its own.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

import httpx2

PICTURES = 20
EVENTS = 100


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def gaps(client: httpx2.AsyncClient) -> list[float]:
    """Milliseconds between the events of one stream."""
    content = f'!emulate {{"tokens": {EVENTS}, "delay_ms": 20}}'
    model = os.environ.get("BENCH_MODEL", "gpt-4")
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": content}]}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        times = [time.perf_counter() async for _ in response.aiter_raw()]
    return [(after - before) * 1000 for before, after in pairwise(times)]


async def picture(client: httpx2.AsyncClient) -> None:
    body = {
        "model": "dall-e-3",
        "prompt": "a cat",
        "size": "1024x1024",
        "output_format": "webp",
        "response_format": "url",
    }
    (await client.post("/v1/images/generations", json=body)).raise_for_status()


def told(name: str, found: list[float]) -> str:
    ordered = sorted(found)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"{name:24} p50 {statistics.median(found):6.1f} ms   p99 {p99:6.1f} ms   longest {ordered[-1]:6.1f} ms"


async def measure(url: str) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=120, verify=False, trust_env=False) as client:
        for _ in range(600):
            try:
                await client.get("/health")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
        alone = await gaps(client)
        making = [asyncio.create_task(picture(client)) for _ in range(PICTURES)]
        beside: list[float] = []
        while not all(task.done() for task in making):
            beside += await gaps(client)
        await asyncio.gather(*making)
    print(told("alone", alone))  # noqa: T201
    print(told(f"beside {PICTURES} pictures", beside))  # noqa: T201
    print(f"median gap beside / alone: {statistics.median(beside) / statistics.median(alone):.2f}")  # noqa: T201


def main() -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"PORT": str(port), "HOST": "127.0.0.1", "DATA_DIR": folder, "LOG_LEVEL": "warning"}
        server = subprocess.Popen([sys.executable, "-m", "app"], env=env, stdout=subprocess.DEVNULL)
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}"))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
