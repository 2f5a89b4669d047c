"""WorkersAI: runs calls on Cloudflare. The one owner of retries: before the first byte, within one deadline."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

import httpx2
import orjson

from app import __version__
from app.calls import Account, Call, Failure, FailureKind, Reply
from app.upstream.failures import classify, classify_event, from_exception
from app.upstream.incoming import Events, Raw, failure_in, header_of, loaded, neurons_of, pieces_of, unwrapped

T = TypeVar("T")

LARGEST_REPLY = 256 * 2**20
"""Bytes."""

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
"""A client can wait for longer times better than we can: it gets the failure with its Retry-After."""

BINARY = (b"image/", b"audio/", b"application/octet-stream")
"""Types of answers that are a reply as they are."""

MOST_PAGES = 20
"""Of the list of models: an end, should there be none."""

Again = Callable[[Call, Reply | Failure], Call | None]
"""What to send instead after an outcome that a changed call can mend; None to leave it at that."""


def leave_it(_call: Call, _outcome: Reply | Failure) -> Call | None:
    return None


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
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`sleep` waits for so many seconds between two tries."""
        self._transport = transport
        self._deadline_seconds = request_timeout_seconds
        self._max_tries = max_tries
        self._sleep = sleep
        self._stream_timeout = _timeout(connect_timeout_seconds, idle_timeout_seconds)
        self._whole_timeout = _timeout(connect_timeout_seconds, request_timeout_seconds)

    async def run(self, call: Call, account: Account, again: Again = leave_it) -> tuple[Call, Reply]:
        """The call that was answered, and its whole reply. Raises Failure.

        `again` may name another call to send instead, once, after a reply or a failure that this can mend.
        """
        return await self._mend(self._run, call, account, again)

    async def open(self, call: Call, account: Account, again: Again = leave_it) -> "tuple[Call, Events | Reply]":
        """As `run`, but with the call's events, the first of them already there, unless Cloudflare answers whole.

        The caller closes the events.
        """
        return await self._mend(self._open, call, account, again)

    async def raw(self, path: str, content_type: str, content: bytes, account: Account) -> "Raw":
        """Any run, with a body as it is and an answer as it comes. Raises Failure. The caller closes the answer."""
        return await self._persist(partial(self._raw, path, content_type, content, account), self._deadline())

    async def listen(self, call: Call, account: Account) -> "Raw":
        """As `raw`, for a call whose answer is wanted as it comes."""
        return await self.raw(call.path, call.content_type, _content(call), account)

    async def models(self, account: Account) -> list[dict[str, Any]]:
        """The models that the account can run, as `models/search` lists them. Raises Failure.

        Reads pages up to one that brings nothing new: no document says how many rows a page may have.
        """
        deadline = self._deadline()
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            get = partial(self._get, f"models/search?per_page=100&page={page}", account)
            reply = await self._persist(get, deadline)
            rows = reply.body if isinstance(reply.body, list) else []
            new = [row for row in rows if isinstance(row, dict) and row not in found]
            if not new:
                break
            found += new
        return found

    async def _mend(
        self, send: Callable[[Call, Account], Awaitable[T]], call: Call, account: Account, again: Again
    ) -> tuple[Call, T]:
        deadline = self._deadline()
        try:
            outcome = await self._persist(partial(send, call, account), deadline)
        except Failure as failure:
            changed = again(call, failure)
            if changed is None:
                raise
        else:
            changed = again(call, outcome) if isinstance(outcome, Reply) else None
            if changed is None:
                return call, outcome
        return changed, await self._persist(partial(send, changed, account), deadline)

    async def _persist(self, attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Try until it works, it makes no sense any more, or the time is up."""
        try:
            async with asyncio.timeout_at(deadline):
                for tries in range(1, self._max_tries):
                    try:
                        return await attempt()
                    except Failure as failure:
                        wait = _wait_seconds(failure, tries)
                        if wait is None or _now() + wait >= deadline:
                            raise
                    await self._sleep(wait)
                return await attempt()
        except TimeoutError as failure:
            raise Failure(FailureKind.TIMEOUT, "Cloudflare did not answer in time.", status=504) from failure

    def _deadline(self) -> float:
        return _now() + self._deadline_seconds

    async def _run(self, call: Call, account: Account) -> Reply:
        response = await self._send(_post(call, account, self._whole_timeout))
        return _reply(response, await _body(response))

    async def _open(self, call: Call, account: Account) -> "Events | Reply":
        if not call.stream:
            return await self._run(call, account)
        response = await self._send(_post(call, account, self._stream_timeout))
        if response.status_code != 200 or b"json" in header_of(response, b"content-type").lower():
            return _reply(response, await _body(response))
        events = Events(response)
        try:
            await events.start()
        except BaseException:
            await events.aclose()
            raise
        return events

    async def _raw(self, path: str, content_type: str, content: bytes, account: Account) -> "Raw":
        headers = [(b"content-type", content_type.encode())]
        timeout = self._stream_timeout if b'"stream"' in content else self._whole_timeout
        response = await self._send(_request("POST", path, account, timeout, headers, content))
        if response.status_code != 200:
            raise classify(response.status_code, response.headers, await _body(response))
        answer = Raw(response)
        if b"json" in answer.content_type.lower():
            answer.body = await _body(response)
            if failure := failure_in(answer.body):
                raise failure
        return answer

    async def _get(self, path: str, account: Account) -> Reply:
        response = await self._send(_request("GET", path, account, self._whole_timeout))
        return _reply(response, await _body(response))

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure


def _now() -> float:
    return asyncio.get_running_loop().time()


def _timeout(connect: float, read: float) -> dict[str, Any]:
    return {"timeout": {"connect": connect, "read": read, "write": read, "pool": connect}}


def _content(call: Call) -> bytes:
    try:
        return orjson.dumps(call.body) if call.content is None else call.content
    except orjson.JSONEncodeError as failure:  # numbers of more than 64 bits, or too many levels
        raise Failure(FailureKind.BAD_REQUEST, f"The request can't be sent: {failure}.", status=400) from failure


def _post(call: Call, account: Account, extensions: dict[str, Any]) -> httpx2.Request:
    headers = [(b"content-type", call.content_type.encode())]
    if call.affinity:
        headers.append((b"x-session-affinity", call.affinity.encode()))
    return _request("POST", call.path, account, extensions, headers, _content(call))


def _request(
    method: str,
    path: str,
    account: Account,
    extensions: dict[str, Any],
    headers: Sequence[tuple[bytes, bytes]] = (),
    content: bytes | None = None,
) -> httpx2.Request:
    common = [
        (b"authorization", b"Bearer " + account.token.encode()),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"flarelay/" + __version__.encode()),
    ]
    cached_url = _url if "?" not in path else _url.__wrapped__  # queries are callers' own, and without end
    url = cached_url(account.id, account.base_url, path)
    return httpx2.Request(method, url, headers=[*headers, *common], content=content, extensions=extensions)


def _reply(response: httpx2.Response, body: bytes) -> Reply:
    """The reply in a response. Raises Failure if it is one, or nothing that can be read."""
    if response.status_code != 200:
        raise classify(response.status_code, response.headers, body)
    content_type = header_of(response, b"content-type").lower()
    if content_type.startswith(BINARY):
        return Reply(body, body, neurons_of(response))
    if b"json" not in content_type:
        raise Failure(FailureKind.BROKEN, "Cloudflare answered in an unexpected form.", status=502)
    value = loaded(body)
    failure = classify_event(value)
    if failure:
        raise failure
    return Reply(unwrapped(value), body, neurons_of(response))


def _wait_seconds(failure: Failure, tries: int) -> float | None:
    """How long to wait before the next try; None if there is to be none."""
    if not failure.is_retryable:
        return None
    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
    wait = max(wait, failure.retry_after_seconds or 0)
    return wait if wait <= LONGEST_WAIT_SECONDS else None


async def _body(response: httpx2.Response) -> bytes:
    pieces, size = [], 0
    try:
        async for piece in pieces_of(response):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_REPLY:
                raise Failure(FailureKind.BROKEN, "Cloudflare's answer is too large.", status=502)
    except httpx2.TransportError as failure:
        raise from_exception(failure) from failure
    finally:
        await response.aclose()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
