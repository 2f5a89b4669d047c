"""WorkersAI: runs calls on Cloudflare. The one owner of retries: before the first byte, within one deadline."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import httpx2

from app.calls import Account, Call, Caller, Failure, FailureKind, Origin, Reply
from app.deadlines import Deadlines, now
from app.metrics import Metrics
from app.upstream.accounts import Accounts
from app.upstream.addresses import addressed
from app.upstream.charges import with_charge_of
from app.upstream.detour import Detour
from app.upstream.failures import classify, from_exception
from app.upstream.gateway import Gateway, is_down, is_misrouted
from app.upstream.gateway_options import apart
from app.upstream.incoming import Events, Raw, failure_in
from app.upstream.providers import is_provider_model
from app.upstream.replies import body_of, origin_of, reply_in
from app.upstream.requests import COMMON, JSON, common_to, content_of, timeouts_of
from app.upstream.transport import Transport
from app.upstream.wire import Request, Response, Through, Timeouts, Wire

logger = logging.getLogger("flarelay")

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
"""A client can wait for longer times better than we can: it gets the failure with its Retry-After."""

MOST_PAGES = 20
"""Of the list of models: an end, should there be none."""

Again = Callable[[Call, Reply | Failure], Call | None]
"""What to send instead after an outcome that a changed call can mend; None to leave it at that."""


def leave_it(_call: Call, _outcome: Reply | Failure) -> Call | None:
    return None


Send = Callable[[Call, Caller, Account, Gateway | None], Awaitable[T]]
"""One try."""


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
        accounts: Accounts | None = None,
        gateway: Gateway | None = None,
        goes_past_gateway: bool = False,
        detour: Detour | None = None,
        metrics: Metrics | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`goes_past_gateway`: calls go direct while the gateway is down. `sleep` waits for so many seconds between two
        tries.
        """
        self._wire: Wire = transport if isinstance(transport, Transport) else Through(transport)
        self._accounts = accounts or Accounts()
        self._gateway = gateway
        self._goes_past_gateway = goes_past_gateway
        self._detour = detour or Detour()
        self._metrics = metrics or Metrics()
        self._told: set[str] = set()
        self._deadlines = Deadlines()
        self._deadline_seconds = request_timeout_seconds
        self._max_tries = max_tries
        self._sleep = sleep
        self._stream_timeouts = timeouts_of(connect_timeout_seconds, idle_timeout_seconds)
        self._whole_timeouts = timeouts_of(connect_timeout_seconds, request_timeout_seconds)

    def run(self, call: Call, caller: Caller, again: Again = leave_it) -> Coroutine[Any, Any, tuple[Call, Reply]]:
        """The call that was answered, and its whole reply. Raises Failure.

        `again` may name another call to send instead, once, after a reply or a failure that this can mend.
        """
        return self._mend(self._run, call, caller, again)

    def open(
        self, call: Call, caller: Caller, again: Again = leave_it
    ) -> "Coroutine[Any, Any, tuple[Call, Events | Reply]]":
        """As `run`, but with the call's events, the first of them already there, unless Cloudflare answers whole.

        The caller closes the events.
        """
        return self._mend(self._open, call, caller, again)

    async def listen(self, call: Call, caller: Caller) -> "Raw":
        """As `run`, but with the answer as it comes, which the caller closes."""
        return await self._persist(self._listen, call, caller, self._deadline())

    async def models(self, account: Account) -> list[dict[str, Any]]:
        """The models that the account can run, as `models/search` lists them. Raises Failure.

        Reads pages up to one that brings nothing new: no document says how many rows a page may have.
        """
        deadline = self._deadline()
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            call = Call("", f"models/search?per_page=100&page={page}", {})
            reply = await self._persist(self._get, call, Caller("", account), deadline)
            rows = reply.body if isinstance(reply.body, list) else []
            new = [row for row in rows if isinstance(row, dict) and row not in found]
            if not new:
                break
            found += new
        return found

    async def _mend(self, send: Send[T], call: Call, caller: Caller, again: Again) -> tuple[Call, T]:
        deadline = self._deadline()
        outcome: T | None = None
        try:
            outcome = await self._persist(send, call, caller, deadline)
        except Failure as failure:
            changed = again(call, failure)
            if changed is None:
                raise
        else:
            changed = again(call, outcome) if isinstance(outcome, Reply) else None
            if changed is None:
                return call, outcome
        if caller.gateway:
            caller = replace(caller, gateway=apart(caller.gateway, "again"))
        return changed, with_charge_of(outcome, await self._persist(send, changed, caller, deadline))

    async def _persist(self, send: Send[T], call: Call, caller: Caller, deadline: float) -> T:
        """Try until it works, it makes no sense any more, or the time is up.

        What another account may answer goes there at once; only when none is left it is waited for.
        """
        accounts, tries = caller.accounts, 1
        tried: set[str] = set()
        failure: Failure | None = None
        try:
            with self._deadlines.at(deadline):
                while True:
                    account = self._accounts.choose(accounts, call.affinity, call.model, tried)
                    if failure is not None and account.id in tried:
                        wait = _wait_seconds(failure, tries)
                        if wait is None or tries == self._max_tries or now() + wait >= deadline:
                            raise failure
                        tries, failure = tries + 1, None
                        tried.clear()
                        await self._sleep(wait)
                    started = now()
                    try:
                        outcome = await self._routed(send, call, caller, account)
                    except Failure as caught:
                        self._metrics.upstream_call(now() - started)
                        self._metrics.upstream_failure(caught.kind, caught.code)
                        caught.account = account.id
                        tried.add(account.id)
                        if failure is None or caught.is_retryable or not failure.is_retryable:
                            failure = caught  # that one account is spent must not hide that another is only busy
                        if not self._accounts.judge(account, caught, call.model) and not caught.is_retryable:
                            raise
                    else:
                        self._metrics.upstream_call(now() - started)
                        self._accounts.succeeded(account, call.model)
                        return outcome
        except TimeoutError as late:
            raise Failure(FailureKind.TIMEOUT, "Cloudflare did not answer in time.", status=504) from late

    def _deadline(self) -> float:
        return now() + self._deadline_seconds

    def _routed(self, send: Send[T], call: Call, caller: Caller, account: Account) -> Awaitable[T]:
        """Through the gateway, if there is one."""
        if self._gateway is None:
            return send(call, caller, account, None)
        is_foreign = is_provider_model(call.model)
        if call.content_type != JSON and not is_foreign:  # files go past it anyway
            return send(call, caller, account, self._gateway)
        return self._through_or_past(self._gateway, send, call, caller, account, is_foreign=is_foreign)

    async def _through_or_past(
        self, gateway: Gateway, send: Send[T], call: Call, caller: Caller, account: Account, *, is_foreign: bool
    ) -> T:
        """Past the gateway while it is down, if that is wanted."""
        can_go_past = self._goes_past_gateway and not is_foreign
        if can_go_past and self._detour.is_taken(account.id):
            return await send(call, caller, account, None)
        try:
            outcome = await self._through(gateway, send, call, caller, account)
        except Failure as failure:
            if not is_down(failure):
                self._detour.end(account.id)
                raise
            if not can_go_past:
                raise
            self._detour.begin(account.id)
            logger.warning("gateway", extra={"fields": {"reason": failure.message, "code": failure.code}})
        else:
            self._detour.end(account.id)
            return outcome
        return await send(call, caller, account, None)

    async def _through(self, gateway: Gateway, send: Send[T], call: Call, caller: Caller, account: Account) -> T:
        """By the path that the gateway's host knows: the other one is tried once, and kept if it is known."""
        try:
            return await send(call, caller, account, gateway)
        except Failure as failure:
            if gateway.route != "host" or not call.path.startswith("run/") or not is_misrouted(failure):
                raise
        other = replace(gateway, has_run=not gateway.has_run)
        try:
            outcome = await send(call, caller, account, other)
        except Failure as failure:
            if not is_misrouted(failure):
                self._gateway = other
            raise
        self._gateway = other
        return outcome

    async def _run(self, call: Call, caller: Caller, account: Account, gateway: Gateway | None) -> Reply:
        with self._accounts.lease(account):
            response = await self._post(call, caller, account, gateway, self._whole_timeouts)
            return reply_in(response, await body_of(response), origin_of(account, response, gateway))

    async def _open(self, call: Call, caller: Caller, account: Account, gateway: Gateway | None) -> "Events | Reply":
        if not call.stream:
            return await self._run(call, caller, account, gateway)
        with self._accounts.lease(account) as lease:
            response = await self._post(call, caller, account, gateway, self._stream_timeouts)
            origin = origin_of(account, response, gateway)
            if response.status != 200 or b"json" in response.header(b"content-type").lower():
                return reply_in(response, await body_of(response), origin)
            events = Events(response, origin, lease.keep())
        try:
            await events.start()
        except BaseException:
            await events.aclose()
            raise
        return events

    async def _listen(self, call: Call, caller: Caller, account: Account, gateway: Gateway | None) -> "Raw":
        timeout = self._stream_timeouts if call.stream else self._whole_timeouts
        with self._accounts.lease(account) as lease:
            response = await self._post(call, caller, account, gateway, timeout)
            if response.status != 200:
                raise classify(response.status, response.named, await body_of(response))
            body = None
            if b"json" in response.header(b"content-type").lower():
                body = await body_of(response)
                if failure := failure_in(body):
                    raise failure
                lease.release()
            answer = Raw(response, origin_of(account, response, gateway), lease.keep())
        answer.body = body
        return answer

    async def _get(self, call: Call, _caller: Caller, account: Account, _gateway: Gateway | None) -> Reply:
        address = addressed(account, call.path, None, {})
        response = await self._send(Request(address.url, (*COMMON, *address.headers), None, self._whole_timeouts))
        return reply_in(response, await body_of(response), Origin(account.id))

    def _post(
        self, call: Call, caller: Caller, account: Account, gateway: Gateway | None, timeouts: Timeouts
    ) -> Awaitable[Response]:
        """Raises Failure, also when it is awaited."""
        address = addressed(
            account,
            call.path,
            gateway,
            caller.gateway,
            model=call.model,
            is_raw=call.content_type != JSON,
            tenant=caller.name,
        )
        if address.is_detour:
            self._tell_once("Files and forms go to Cloudflare past the AI Gateway, which spoils them")
        headers = (*common_to(call.content_type), *address.headers)
        others = [(b"x-session-affinity", call.affinity.encode())] if call.affinity else ()
        return self._send(Request(address.url, headers, content_of(call, gateway), timeouts, others))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.info(text)

    async def _send(self, request: Request) -> Response:
        try:
            return await self._wire.send(request)
        except httpx2.TransportError as failure:
            raise from_exception(failure) from failure


def _wait_seconds(failure: Failure, tries: int) -> float | None:
    """How long to wait before the next try; None if there is to be none."""
    if not failure.is_retryable:
        return None
    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
    wait = max(wait, failure.retry_after_seconds or 0)
    return wait if wait <= LONGEST_WAIT_SECONDS else None
