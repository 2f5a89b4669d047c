"""WorkersAI: runs calls on Cloudflare. The one owner of retries: before the first byte, within one deadline."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import httpx2
import orjson

from app import __version__
from app.calls import Account, Call, Failure, FailureKind, Reply
from app.upstream.events import EventDecoder
from app.upstream.failures import classify, classify_event, from_exception

T = TypeVar("T")

LARGEST_REPLY = 256 * 2**20
"""Bytes."""

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
"""A client can wait for longer times better than we can: it gets the failure with its Retry-After."""

Headers = list[tuple[bytes, bytes]]


@lru_cache(maxsize=1024)
def _url(account: str, base_url: str, path: str) -> httpx2.URL:
    return httpx2.URL(f"{base_url}/accounts/{account}/ai/{path}")


class WorkersAI:
    """The Workers AI REST API (Cloudflare's docs, Workers AI, REST API)."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        *,
        connect_timeout_seconds: float = 10,
        idle_timeout_seconds: float = 120,
        request_timeout_seconds: float = 600,
        max_tries: int = 3,
    ) -> None:
        self._transport = transport
        self._deadline_seconds = request_timeout_seconds
        self._max_tries = max_tries
        self._stream_timeout = self._timeout(connect_timeout_seconds, idle_timeout_seconds)
        self._whole_timeout = self._timeout(connect_timeout_seconds, request_timeout_seconds)

    async def run(self, call: Call, account: Account) -> Reply:
        """A call's whole reply. Raises Failure."""
        return await self._persist(lambda: self._run(call, account))

    async def stream(self, call: Call, account: Account) -> "Events | Reply":
        """A call's events, the first of them already there; or its reply, if Cloudflare answers whole.

        Raises Failure. The caller closes the events.
        """
        return await self._persist(lambda: self._stream(call, account))

    async def models(self, account: Account) -> list[dict[str, Any]]:
        """The models that the account can run, as `models/search` lists them. Raises Failure."""
        found: list[dict[str, Any]] = []
        for page in range(1, 20):
            reply = await self._persist(lambda page=page: self._get(f"models/search?per_page=100&page={page}", account))  # type: ignore[misc]
            rows = [row for row in reply.body if isinstance(row, dict)] if isinstance(reply.body, list) else []
            found += rows
            if len(rows) < 100:
                break
        return found

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, it makes no sense any more, or the time is up."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                for tries in range(1, self._max_tries):
                    try:
                        return await attempt()
                    except Failure as failure:
                        wait = _wait_seconds(failure, tries)
                        if wait is None:
                            raise
                    await asyncio.sleep(wait)
                return await attempt()
        except TimeoutError as failure:
            raise Failure(FailureKind.TIMEOUT, "Cloudflare did not answer in time.", status=504) from failure

    async def _run(self, call: Call, account: Account) -> Reply:
        response = await self._send(_post(call, account, self._whole_timeout))
        return _reply(response, await self._body(response))

    async def _get(self, path: str, account: Account) -> Reply:
        request = _request("GET", path, account, [], None, self._whole_timeout)
        response = await self._send(request)
        return _reply(response, await self._body(response))

    async def _stream(self, call: Call, account: Account) -> "Events | Reply":
        response = await self._send(_post(call, account, self._stream_timeout))
        if response.status_code != 200 or b"json" in _header(response, b"content-type"):
            return _reply(response, await self._body(response))
        events = Events(response)
        try:
            await events.start()
        except BaseException:
            await events.aclose()
            raise
        return events

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure

    async def _body(self, response: httpx2.Response) -> bytes:
        pieces, size = [], 0
        try:
            async for piece in _pieces(response):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_REPLY:
                    raise Failure(FailureKind.BROKEN, "Cloudflare's answer is too large.", status=502)
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure
        finally:
            await response.aclose()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @staticmethod
    def _timeout(connect: float, read: float) -> dict[str, Any]:
        return {"timeout": {"connect": connect, "read": read, "write": read, "pool": connect}}


class Events:
    """The events of one answer, in the batches that they arrive in. Raises Failure, also for one told in an event."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._decoder = EventDecoder()
        self._batches = self._read()
        self._first: list[bytes] | None = None
        self._is_abandoned = False

    async def start(self) -> None:
        """Wait for the first event, so that a failure before it can still be told by a status."""
        self._first = await anext(self._batches, [])
        if not self._first:
            raise Failure(FailureKind.BROKEN, "Cloudflare sent an empty stream.", status=502, is_retryable=True)

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self

    async def __anext__(self) -> list[bytes]:
        if self._is_abandoned:
            raise StopAsyncIteration
        if self._first:
            first, self._first = self._first, None
            return first
        return await anext(self._batches)

    def abandon(self) -> None:
        """Let this batch be the last one."""
        self._is_abandoned = True

    async def aclose(self) -> None:
        """End the answer at once, wherever it is: tokens that nobody reads are billed all the same."""
        await self._batches.aclose()
        await self._response.aclose()

    async def _read(self) -> AsyncGenerator[list[bytes]]:
        try:
            async for piece in _pieces(self._response):
                for events in _checked(self._decoder.feed(piece)):
                    yield events
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure
        except ValueError as failure:
            raise Failure(FailureKind.BROKEN, "Cloudflare sent an event without an end.", status=502) from failure
        for events in _checked(self._decoder.close()):
            yield events


def _checked(events: list[bytes]) -> Iterator[list[bytes]]:
    """The events as one batch, up to one that tells of a failure, which is raised."""
    for i, event in enumerate(events):
        if b'"error' in event or b'"success"' in event or b'"Failed"' in event:
            failure = classify_event(_loaded(event))
            if failure:
                if i:
                    yield events[:i]
                raise failure
    if events:
        yield events


def _post(call: Call, account: Account, extensions: dict[str, Any]) -> httpx2.Request:
    headers = [(b"content-type", b"application/json")]
    if call.affinity:
        headers.append((b"x-session-affinity", call.affinity.encode()))
    return _request("POST", call.path, account, headers, orjson.dumps(call.body), extensions)


def _request(
    method: str, path: str, account: Account, headers: Headers, content: bytes | None, extensions: dict[str, Any]
) -> httpx2.Request:
    headers += [
        (b"authorization", b"Bearer " + account.token.encode()),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"flarelay/" + __version__.encode()),
    ]
    url = _url(account.id, account.base_url, path)
    return httpx2.Request(method, url, headers=headers, content=content, extensions=extensions)


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    """The reply in a response. Raises Failure if it is one, or nothing that can be read."""
    if response.status_code != 200:
        raise classify(response.status_code, response.headers, body)
    if b"json" not in _header(response, b"content-type"):
        raise Failure(FailureKind.BROKEN, "Cloudflare answered in an unexpected form.", status=502)
    value = _loaded(body)
    failure = classify_event(value)
    if failure:
        raise failure
    return Reply(_unwrapped(value), body, _neurons(response))


def _unwrapped(value: Any) -> Any:
    """Out of the envelopes: `result` as long as `success` or `state` stands beside it."""
    while isinstance(value, Mapping) and "result" in value and ("success" in value or "state" in value):
        value = value["result"]
    return value


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise Failure(FailureKind.BROKEN, "Cloudflare answered with broken JSON.", status=502) from failure


def _wait_seconds(failure: Failure, tries: int) -> float | None:
    """How long to wait before the next try; None if there is to be none."""
    if not failure.is_retryable:
        return None
    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
    wait = max(wait, failure.retry_after_seconds or 0)
    return wait if wait <= LONGEST_WAIT_SECONDS else None


async def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - what an async transport gives
    async for piece in response.stream:
        yield piece


def _header(response: httpx2.Response, name: bytes) -> bytes:
    return next((value.lower() for key, value in response.headers.raw if key.lower() == name), b"")


def _neurons(response: httpx2.Response) -> float | None:
    try:
        return float(_header(response, b"cf-ai-neurons"))
    except ValueError:
        return None
