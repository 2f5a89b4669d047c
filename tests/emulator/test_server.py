"""The emulator over a real socket, as tests and benchmarks use it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn

from app.emulator.__main__ import make_server
from app.emulator.app import Emulator
from tests.emulator.asking import NATIVE, events, scripted

pytestmark = pytest.mark.anyio

PATH = f"/accounts/a1/ai/run/{NATIVE}"


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Emulator, httpx2.AsyncClient]]:
    server = make_server(["--port", "0", *arguments])
    task = asyncio.create_task(server.serve())
    with anyio.fail_after(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    emulator: Any = server.config.app
    headers = {"authorization": "Bearer any"}
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            yield emulator, client
    finally:
        server.should_exit = True
        await task


async def test_it_answers_over_a_socket() -> None:
    async with serving() as (_, client):
        response = await client.post(PATH, json={"messages": scripted(text="One")})
        assert response.json()["result"]["response"] == "One"
        assert response.headers["content-length"] == str(len(response.content))
        response = await client.post(PATH, json={"messages": scripted(text="One"), "stream": True})
        assert events(response)[-1] == "[DONE]"


async def test_a_client_that_leaves_ends_its_stream() -> None:
    async with serving("--token-ms", "1") as (emulator, client):
        body = {"prompt": '!emulate {"tokens":20000}', "max_tokens": 20000, "stream": True}
        async with client.stream("POST", PATH, json=body) as response:
            async for _ in response.aiter_bytes():
                break
        with anyio.fail_after(10):
            while emulator.open_requests:  # noqa: ASYNC110 - what is waited for is on the other side of a socket
                await asyncio.sleep(0.01)
        assert emulator.cancelled_requests == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_dropped_connection_is_a_broken_body(stream: bool) -> None:
    async with serving("--latency-ms", "1") as (_, client):
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(PATH, json={"messages": scripted(text="One", drop=True), "stream": stream})


async def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    config: uvicorn.Config = make_server([]).config
    assert (config.host, config.port) == ("127.0.0.1", 8787)


async def test_the_command_serves() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.emulator", "--port", str(port), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        with anyio.fail_after(30):
            async for line in process.stderr:
                if b"Uvicorn running" in line:
                    break
        async with httpx2.AsyncClient(headers={"authorization": "Bearer any"}) as client:
            response = await client.post(f"http://127.0.0.1:{port}{PATH}", json={"prompt": "Hi"})
        assert response.status_code == 200
    finally:
        process.terminate()
        await process.communicate()
