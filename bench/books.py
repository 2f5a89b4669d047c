"""What accounting costs: the server's CPU time per request with ledger, limits and metrics, against the same without.

`python -m bench.books` starts a stub of Cloudflare and two servers on loopback, one of which keeps no books, and asks
both for short chats in turns. A round is paired: both servers meet the same machine. Ends by itself.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import httpx2
import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from bench.pictures import free_port
from bench.sound import cpu_seconds

ROUNDS = 9
REQUESTS = 1500
CONNECTIONS = 16
ANSWER = orjson.dumps(
    {
        "result": {
            "response": "Hello there.",
            "usage": {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24},
        },
        "success": True,
        "errors": [],
        "messages": [],
    }
)
BODY = {
    "model": "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
    "messages": [{"role": "user", "content": "Say hello, please."}],
}


async def stub(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        continue
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def server(*, has_books: bool) -> Any:
    """As `python -m app` runs it."""
    from app.main import from_environment
    from app.routes.edge import Edge

    app = from_environment()
    if not has_books:
        for middleware in app.user_middleware:
            if middleware.cls is Edge:
                middleware.kwargs.clear()
    return app


def serve(role: str, port: int) -> None:
    app = stub if role == "stub" else server(has_books=role == "books")
    lifespan: Any = "off" if role == "stub" else "on"
    uvicorn.run(app, port=port, log_config=None, access_log=False, server_header=False, lifespan=lifespan)


async def ask(url: str, count: int) -> None:
    limits = httpx2.Limits(max_connections=CONNECTIONS)
    headers = {"authorization": "Bearer one"}
    async with httpx2.AsyncClient(
        base_url=url, limits=limits, headers=headers, trust_env=False, verify=False
    ) as client:
        places = asyncio.Semaphore(CONNECTIONS)

        async def one() -> None:
            async with places:
                (await client.post("/v1/chat/completions", json=BODY)).raise_for_status()

        await asyncio.gather(*(one() for _ in range(count)))


async def ready(url: str) -> None:
    async with httpx2.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        for _ in range(600):
            try:
                await client.get("/health")
                return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)


async def measure(ports: dict[str, int], pids: dict[str, int]) -> None:
    urls = {role: f"http://127.0.0.1:{port}" for role, port in ports.items()}
    ratios = []
    for role in ("books", "plain"):
        await ready(urls[role])
        await ask(urls[role], REQUESTS)
    for number in range(ROUNDS):
        spent = {}
        for role in ("books", "plain") if number % 2 else ("plain", "books"):
            before = cpu_seconds(pids[role])
            await ask(urls[role], REQUESTS)
            spent[role] = (cpu_seconds(pids[role]) - before) / REQUESTS * 1e6
        ratios.append(spent["books"] / spent["plain"])
        print(f"with {spent['books']:6.0f} us, without {spent['plain']:6.0f} us, ratio {ratios[-1]:.3f}")  # noqa: T201
    print(f"median ratio {statistics.median(ratios):.3f}")  # noqa: T201


def main() -> None:
    if len(sys.argv) == 3:
        serve(sys.argv[1], int(sys.argv[2]))
        return
    ports = {role: free_port() for role in ("stub", "books", "plain")}
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "LOG_LEVEL": "warning",
            "API_KEYS": "name=one;rpm=10000000;concurrent=1000;neurons=1000000000",
            "NEURON_BUDGET": "1000000000",
            "CLOUDFLARE_ACCOUNT_ID": "bench",
            "CLOUDFLARE_API_TOKEN": "bench",
            "CLOUDFLARE_API_BASE_URL": f"http://127.0.0.1:{ports['stub']}/client/v4",
        }
        processes = {
            role: subprocess.Popen(  # noqa: S603 - this file
                [sys.executable, "-m", "bench.books", role, str(port)], env=env | {"DATA_DIR": f"{folder}/{role}"}
            )
            for role, port in ports.items()
        }
        try:
            asyncio.run(measure(ports, {role: process.pid for role, process in processes.items()}))
        finally:
            for process in processes.values():
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
