"""The path that every request takes; read this file first.

A name leads to a model, the translator makes a plan of calls, Cloudflare runs them together, the translator reads the
replies. Which endpoint it is, only the translator knows.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Generic, TypeVar

from app.calls import Account, Call, Caller, Failure, Reply, Usage
from app.catalog import Catalog, Model
from app.errors import APIStatusError, BadRequestError
from app.media.loader import PictureLoader
from app.translators.base import Context, Incremental, Plan, Translator
from app.upstream.answers import OURS, to_error
from app.upstream.batches import close, merge
from app.upstream.client import Events, WorkersAI

logger = logging.getLogger("flarelay")

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Res]):
    """A whole answer, and what to tell about it."""

    body: Res
    plan: Plan[Any]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in the making: its first event is there. Closing `chunks` ends the upstream calls."""

    chunks: AsyncGenerator[bytes]
    plan: Plan[Any]
    _incremental: Incremental

    @property
    def usage(self) -> Usage:
        """As far as it has come."""
        return _priced(self._incremental.usage, self.plan.context.model)


class Relay:
    """Joins catalogue, translators and Workers AI."""

    def __init__(
        self, catalog: Catalog, upstream: WorkersAI, pictures: PictureLoader, *, default_max_tokens: int | None = None
    ) -> None:
        self._catalog = catalog
        self._upstream = upstream
        self._pictures = pictures
        self._default_max_tokens = default_max_tokens

    async def complete(self, translator: Translator[Req, Res], name: str, request: Req, caller: Caller) -> Answer[Res]:
        """The whole answer. Raises APIStatusError."""
        plan = translator.to_plan(request, await self._context(translator, name, request, caller))
        try:
            outcomes = await self._open(translator, plan, caller.account)
            plan = replace(plan, calls=tuple(call for call, _ in outcomes))
            body, usage = translator.from_replies(plan, [reply for _, reply in outcomes if isinstance(reply, Reply)])
        except Failure as failure:
            raise _told(failure, caller.account) from failure
        return Answer(body, plan, _priced(usage, plan.context.model))

    async def stream(self, translator: Translator[Req, Any], name: str, request: Req, caller: Caller) -> Stream:
        """The answer event by event, once its first event has come. Raises APIStatusError, and so do its chunks."""
        plan = translator.to_plan(request, await self._context(translator, name, request, caller))
        try:
            outcomes = await self._open(translator, plan, caller.account)
        except Failure as failure:
            raise _told(failure, caller.account) from failure
        plan = replace(plan, calls=tuple(call for call, _ in outcomes))
        incremental = translator.to_stream(plan)
        sources = [source for _, source in outcomes]
        return Stream(_chunks(incremental, sources, caller.account), plan, incremental)

    async def _context(self, translator: Translator[Req, Any], name: str, request: Req, caller: Caller) -> Context:
        model = self._catalog.resolve(name)
        if model.task not in translator.tasks:
            message = f"The model '{name}' is made for {model.task} and can't answer {translator.endpoint}."
            raise BadRequestError(message, param="model", code="unsupported_model")
        pictures = translator.pictures(request)
        if pictures and not model.can("vision") and model.picture_model:
            model = replace(self._catalog.resolve(model.picture_model), default_effort=model.default_effort)
        if pictures and not model.can("vision"):
            message = f"The model '{name}' can't see pictures. GET /v1/models lists those with the capability 'vision'."
            raise BadRequestError(message, param=pictures[0].param, code="unsupported_content")
        side = model.quirks.picture_max_side
        loads = [self._pictures.load(each.url, max_side=side, param=each.param) for each in pictures]
        return Context(
            model,
            name,
            id=secrets.token_hex(12),
            created=int(time.time()),
            pictures=dict(zip((each.url for each in pictures), await _together(loads), strict=True)),
            default_max_tokens=self._default_max_tokens,
            affinity=_affinity(getattr(request, "prompt_cache_key", None), caller),
        )

    async def _open(
        self, translator: Translator[Req, Any], plan: Plan[Req], account: Account
    ) -> list[tuple[Call, Reply | Events]]:
        """Each call, changed where that mended it, with what came of it."""
        opened: list[Events] = []

        async def run(call: Call) -> Reply | Events:
            outcome = await (self._upstream.stream if call.stream else self._upstream.run)(call, account)
            if isinstance(outcome, Events):
                opened.append(outcome)
            return outcome

        async def open_one(call: Call) -> tuple[Call, Reply | Events]:
            try:
                outcome: Reply | Events | Failure = await run(call)
            except Failure as failure:
                outcome = failure
            changed = None if isinstance(outcome, Events) else translator.again(plan, call, outcome)
            if changed:
                return changed, await run(changed)
            if isinstance(outcome, Failure):
                raise outcome
            return call, outcome

        try:
            return await _together([open_one(call) for call in plan.calls])
        except BaseException:
            await asyncio.shield(close(opened))
            raise


async def _chunks(
    incremental: Incremental, sources: Sequence[Reply | Events], account: Account
) -> AsyncGenerator[bytes]:
    """The client's events, as the upstream's come in."""
    try:
        async with aclosing(merge(sources)) as batches:
            async for choice, batch in batches:
                if isinstance(batch, Reply):
                    yield incremental.replay(choice, batch)
                elif batch is None:
                    yield incremental.finish(choice)
                elif data := incremental.feed(choice, batch):
                    yield data
                source = sources[choice]
                if isinstance(source, Events) and incremental.is_done(choice):
                    source.abandon()
        yield incremental.end()
    except Failure as failure:
        raise _told(failure, account) from failure
    finally:
        await asyncio.shield(close(sources))


async def _together(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first failure ends the other jobs. A single job costs no task."""
    if len(jobs) == 1:
        return [await jobs[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _told(failure: Failure, account: Account) -> APIStatusError:
    """What the client gets to know; and the operator, if it is a fault that only he can mend."""
    error = to_error(failure, is_ours=account.is_ours)
    if account.is_ours and failure.kind in OURS:
        fields = {"account": account.id, "kind": failure.kind, "code": failure.code, "reason": failure.message}
        logger.error("Cloudflare refuses the server's own account", extra={"fields": fields})
    return error


def _affinity(key: str | None, caller: Caller) -> str | None:
    """The caller's cache key, as one that no other caller shares."""
    return sha256(f"{caller.name}:{key}".encode()).hexdigest()[:32] if key else None


def _priced(usage: Usage, model: Model) -> Usage:
    """With the price of the list where Cloudflare told no exact charge."""
    if usage.neurons is not None:
        return usage
    return replace(usage, neurons=model.neurons(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
