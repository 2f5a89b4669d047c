"""What accounting costs: CPU time per request with ledger, limits and metrics, against the same without.

`python -m bench.books` runs two servers in one process, one of which keeps no books, over a stub of Cloudflare that
costs next to nothing, and asks both for short chats in turns: with a plain key and the day's budget, as by default, and
with a key that has every limit. Without sockets (which cost as much again, and more) the share of the books comes out
larger than on a network, and the noise of the machine smaller. Ends by itself.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import orjson
from starlette.applications import Starlette

from app.main import create_app
from app.settings import Settings

ROUNDS = 60
REQUESTS = 100
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
BODY = orjson.dumps(
    {
        "model": "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "messages": [{"role": "user", "content": "Say hello, please."}],
    }
)
HEADERS = [(b"authorization", b"Bearer one"), (b"content-type", b"application/json"), (b"host", b"bench")]


class Body(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield ANSWER

    async def aclose(self) -> None:
        return


class Stub(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:  # noqa: ARG002 - all alike
        return httpx2.Response(200, headers={"content-type": "application/json"}, stream=Body())


KEYS = {"plain key": "one", "every limit": "name=one;rpm=100000000;concurrent=1000;neurons=1000000000"}


def application(folder: str, key: str, *, has_books: bool) -> Starlette:
    settings = Settings(
        _env_file=None,
        data_dir=folder,
        log_level="warning",
        api_keys=key,
        neuron_budget=1e9,
        cloudflare_account_id="bench",
        cloudflare_api_token="bench",  # noqa: S106 - made up
    )
    app = create_app(settings, transport=Stub())
    if not has_books:
        for middleware in app.user_middleware:
            middleware.kwargs.pop("books", None)
    return app


async def ask(app: Starlette) -> None:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": HEADERS,
        "http_version": "1.1",
        "scheme": "http",
    }
    sent: list[dict[str, Any]] = []
    messages = iter([{"type": "http.request", "body": BODY, "more_body": False}])

    async def receive() -> Any:
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()  # the client stays
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 200, sent  # noqa: S101


async def microseconds(app: Starlette) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        await ask(app)
    return (time.process_time() - began) / REQUESTS * 1e6


async def measure(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        apps = {
            name: application(f"{folder}/{name}", KEYS[kind], has_books=name == "with") for name in ("with", "without")
        }
        async with AsyncExitStack() as running:
            for app in apps.values():
                await running.enter_async_context(app.router.lifespan_context(app))
                await microseconds(app)
            spent: dict[str, list[float]] = {name: [] for name in apps}
            for number in range(ROUNDS):
                for name in ("with", "without") if number % 2 else ("without", "with"):
                    spent[name].append(await microseconds(apps[name]))
            ratios = [each / other for each, other in zip(spent["with"], spent["without"], strict=True)]
            medians = {name: statistics.median(values) for name, values in spent.items()}
            print(f"{kind}: with {medians['with']:.0f} us, without {medians['without']:.0f} us a request")  # noqa: T201
            print(f"median of the paired ratios {statistics.median(ratios):.3f}")  # noqa: T201


if __name__ == "__main__":
    for kind in KEYS:
        asyncio.run(measure(kind))
