"""Servers on loopback sockets, each in a thread with an event loop of its own: what a client of ours really meets."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from app.catalog import Model
from app.emulator.app import Emulator, create_emulator
from app.emulator.options import Options
from app.main import create_app
from app.server.protocol import OPTIONS
from app.settings import Settings

ACCOUNT = "account1"
TOKEN = "cloudflare-token-of-the-test"
KEY = "key-of-a-caller"
BEARER = {"authorization": f"Bearer {KEY}"}

NATIVE = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
HYBRID = "@cf/qwen/qwen3-30b-a3b-fp8"  # thinks
CHAT = "@cf/zai-org/glm-4.7-flash"  # thinks
GPT_OSS = "@cf/openai/gpt-oss-20b"  # thinks
UNLISTED = "@cf/some/new-model"
VISION = "@cf/google/gemma-4-26b-a4b-it"
FAMILIES = (NATIVE, HYBRID, CHAT, GPT_OSS, UNLISTED)
THINKING = (HYBRID, CHAT, GPT_OSS)

NEW_MODEL = Model(
    UNLISTED,
    "text-generation",
    "current",
    capabilities=frozenset({"function-calling", "json-mode", "streaming", "vision"}),
)
"""One that Cloudflare has and the catalogue does not know yet."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that would otherwise load every certificate authority for nothing."""

DEADLINE_SECONDS = 20
"""Only ends a test that hangs."""


class Server(uvicorn.Server):
    """uvicorn, as `python -m app` runs it, on a free port."""

    def __init__(self, app: ASGIApp, *, lifespan: Any) -> None:
        config = uvicorn.Config(app, lifespan=lifespan, timeout_graceful_shutdown=1, **OPTIONS)
        super().__init__(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.own_tasks = asyncio.all_tasks()
        self.is_up.set()

    def tasks(self) -> set[str]:
        """What runs in the server beside the server itself: requests, and whatever they have left behind."""

        async def running() -> set[str]:
            others = asyncio.all_tasks() - self.own_tasks - {asyncio.current_task()}
            return {str(task.get_coro()) for task in others}

        return asyncio.run_coroutine_threadsafe(running(), self.loop).result(DEADLINE_SECONDS)


@contextmanager
def serving(app: ASGIApp, *, lifespan: Any = "on") -> Iterator[Server]:
    server = Server(app, lifespan=lifespan)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [server.socket]})
    thread.start()
    try:
        assert server.is_up.wait(DEADLINE_SECONDS)
        yield server
    finally:
        server.should_exit = True
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


class Cloudflare:
    """An emulator on a socket."""

    def __init__(self, emulator: Emulator, url: str) -> None:
        self.emulator = emulator
        self.url = f"{url}/client/v4"

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last call."""
        body = self.emulator.requests[-1].body
        assert isinstance(body, dict)
        return body


@contextmanager
def cloudflare(**options: Any) -> Iterator[Cloudflare]:
    """Accepts ACCOUNT with TOKEN only, and knows UNLISTED."""
    emulator = create_emulator(Options(**{"tokens": {ACCOUNT: TOKEN}, "models": (NEW_MODEL,)} | options))
    with serving(emulator, lifespan="off") as server:
        yield Cloudflare(emulator, server.url)


def settings(upstream: Cloudflare | None = None, **options: Any) -> Settings:
    """Of a server that pays `upstream` with its own account; without one it has the emulator built in."""
    managed: dict[str, Any] = {
        "cloudflare_account_id": ACCOUNT,
        "cloudflare_api_token": TOKEN,
        "cloudflare_api_base_url": upstream.url if upstream else "",
        "api_keys": KEY,
        "neuron_budget": 0,
    }
    return Settings(_env_file=None, **(managed if upstream else {}) | options)


@contextmanager
def flarelay(upstream: Cloudflare | None = None, **options: Any) -> Iterator[Server]:
    with serving(create_app(settings(upstream, **options))) as server:
        yield server


@contextmanager
def connected(server: Server, **headers: str) -> Iterator[httpx2.Client]:
    """A client that shows KEY unless told otherwise."""
    options: dict[str, Any] = {"timeout": DEADLINE_SECONDS, "verify": NO_TLS}
    with httpx2.Client(base_url=server.url, headers=BEARER | headers, **options) as client:
        yield client


def raw(server: Server, request: bytes) -> bytes:
    """The first bytes that come back for bytes that no client would send."""
    with socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def until(condition: Callable[[], Any], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for what another thread brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def asked(content: str, model: str = NATIVE, **options: Any) -> dict[str, Any]:
    """A chat of one turn."""
    return {"model": model, "messages": [{"role": "user", "content": content}]} | options


def scripted(model: str = NATIVE, script: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A chat that tells the emulator what to answer."""
    return asked(f"Hello\n!emulate {orjson.dumps(script or {}).decode()}", model, **options)


def payloads(stream: str) -> list[Any]:
    """The data of each event, parsed; `[DONE]` as it is. Takes only what the strictest parser of streams takes."""
    assert stream.endswith("\n\n")
    blocks = stream.split("\n\n")[:-1]
    assert all(block.startswith((": ", "data: ")) and "\n" not in block for block in blocks)
    texts = [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]
    return [text if text == "[DONE]" else orjson.loads(text) for text in texts]


def written(events: list[Any], field: str = "content", index: int = 0) -> str:
    """The text of a choice."""
    choices = [choice for event in events if event != "[DONE]" for choice in event["choices"]]
    return "".join(choice["delta"].get(field) or "" for choice in choices if choice["index"] == index)


def finish_reasons(events: list[Any]) -> list[str]:
    choices = [choice for event in events if event != "[DONE]" for choice in event.get("choices", [])]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]


@contextmanager
def answering(*sends: dict[str, Any], breaks: bool = False) -> Iterator[httpx2.Client]:
    """A client of a Flarelay whose Cloudflare sends just this."""

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            continue
        for message in sends:
            await send(message)
        if breaks:
            raise ConnectionError("The upstream breaks off.")

    with (
        serving(upstream, lifespan="off") as cloud,
        flarelay(Cloudflare(create_emulator(), cloud.url)) as server,
        connected(server) as client,
    ):
        yield client


def start(content_type: str, **headers: str) -> dict[str, Any]:
    fields = {"content-type": content_type} | headers
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return {"type": "http.response.start", "status": 200, "headers": pairs}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}
