"""A Workers AI in process that replays answers: for tests of what lies above the transport."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import httpx2
import orjson
import pytest

from app.calls import Account, Call, Caller, Reply
from app.upstream.client import WorkersAI

ACCOUNT = Account("acc0", "token-of-acc0", "https://cloudflare.test/client/v4")
CALLER = Caller("tester", ACCOUNT)
MODEL = "@cf/meta/llama-3.2-3b-instruct"
RUN = Call(MODEL, f"run/{MODEL}", {"prompt": "hi"})
STREAM = Call(MODEL, f"run/{MODEL}", {"prompt": "hi", "stream": True}, stream=True)

BASE = "https://cloudflare.test/client/v4/accounts/acc0/ai"
OK = {"result": {"response": "hello"}, "success": True, "errors": [], "messages": []}

DEADLINE_SECONDS = 20
"""Only ends a test that hangs."""

Step: TypeAlias = bytes | asyncio.Event | Exception
Outcome: TypeAlias = "httpx2.Response | Exception | Callable[[httpx2.Request], Awaitable[httpx2.Response]]"


class Body(httpx2.AsyncByteStream):
    """Bytes are brought, an event is waited for, an exception is raised. `is_waiting` is set at each wait."""

    def __init__(self, *steps: Step) -> None:
        self._steps = iter(steps)
        self.is_waiting = asyncio.Event()
        self.closed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if isinstance(step, bytes):
                return step
            if isinstance(step, Exception):
                raise step
            self.is_waiting.set()
            await step.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed.set()


def answer(
    *steps: Step, status: int = 200, content_type: str | None = "application/json", **headers: str
) -> httpx2.Response:
    """`headers` with `_` for `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        fields["content-type"] = content_type
    return httpx2.Response(status, headers=fields, stream=Body(*steps))


def whole(value: Any, *, status: int = 200, **headers: str) -> httpx2.Response:
    return answer(orjson.dumps(value), status=status, **headers)


def failed(code: int, status: int, message: str = "AiError: no", **headers: str) -> httpx2.Response:
    errors = [{"code": code, "message": message}]
    return whole({"success": False, "errors": errors, "result": None}, status=status, **headers)


def streamed(*steps: Step) -> httpx2.Response:
    return answer(*steps, content_type="text/event-stream")


def frames(*events: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events)


def body_of(response: httpx2.Response) -> Body:
    assert isinstance(response.stream, Body)
    return response.stream


class Replaying(httpx2.AsyncBaseTransport):
    """Each outcome answers one request, in order; one that is called may answer as it likes."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, httpx2.Response) else await outcome(request)

    @property
    def bodies(self) -> list[Any]:
        """What the requests asked for."""
        return [orjson.loads(request.content) for request in self.requests]


class Sleeper:
    """Stands for `asyncio.sleep`: keeps the waits and lasts no time."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def client(*outcomes: Any, **options: Any) -> tuple[WorkersAI, Replaying, Sleeper]:
    transport, sleeper = Replaying(*outcomes), Sleeper()
    return WorkersAI(transport, **({"sleep": sleeper} | options)), transport, sleeper


async def run(*outcomes: Any, call: Call = RUN, **options: Any) -> Reply:
    return (await client(*outcomes, **options)[0].run(call, CALLER))[1]


async def never(_: object) -> httpx2.Response:
    """Answers no request, and sleeps for ever."""
    await asyncio.Event().wait()
    raise AssertionError


async def cancelled(job: Coroutine[Any, Any, Any], when: asyncio.Event) -> None:
    """Cancel a job at a moment."""
    task = asyncio.create_task(job)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await when.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
