"""The path that every request takes; read this file first.

A name leads to a model, the translator makes a plan of calls (`app/planning.py`), Cloudflare runs them together, the
translator reads the replies. Which endpoint it is, only the translator knows.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from app.calls import Account, Call, Caller, Failure, FailureKind, Origin, Reply, Usage
from app.catalog import Catalog, Model
from app.errors import APIStatusError
from app.model_access import check_model
from app.planning import Planning
from app.translators.base import Incremental, Part, Piece, Plan, Planner, SerialTranslator, Translator
from app.upstream.answers import to_error
from app.upstream.batches import close, in_order, merge, open_together, together
from app.upstream.charges import bill_for
from app.upstream.client import Again
from app.upstream.gateway_options import apart
from app.upstream.incoming import Events, Raw
from app.upstream.telling import failures_told, is_models
from app.values import immutable

logger = logging.getLogger("flarelay")

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")


@immutable
class Answer(Generic[Res]):
    """A whole answer, and what to tell about it."""

    body: Res
    plan: Plan[Any]
    usage: Usage
    origins: tuple[Origin, ...] = ()
    """Of the calls that were paid for."""
    is_cached: bool = False
    """All of it was there already."""


@immutable
class Stream:
    """An answer in the making: its first events are there. Closing `chunks` ends the upstream calls."""

    chunks: AsyncGenerator[bytes]
    plan: Plan[Any]
    origins: tuple[Origin, ...]
    """Of its calls."""
    _incremental: Incremental
    _sources: Sequence[Reply | Events]

    def pass_on(self, is_ready: Callable[[], bool], write: Callable[[bytes], None]) -> None:
        """From now on, what comes while the next chunk is waited for may be written at once, when that `is_ready`."""
        if len(self._sources) != 1 or not isinstance(source := self._sources[0], Events):
            return
        incremental = self._incremental

        def give(events: list[bytes]) -> None:
            if data := incremental.feed(0, events):
                write(data)

        source.pass_on(incremental.is_plain, is_ready, give)

    @property
    def usage(self) -> Usage:
        """As far as it has come."""
        return _priced(self._incremental.usage, self.plan.context.model)


class Upstream(Protocol):
    """Workers AI, or a cache before it. All raise Failure."""

    async def run(self, call: Call, caller: Caller, again: Again = ...) -> tuple[Call, Reply]: ...

    async def open(self, call: Call, caller: Caller, again: Again = ...) -> tuple[Call, Events | Reply]: ...

    async def listen(self, call: Call, caller: Caller) -> Raw: ...


class Relay:
    """Joins catalogue, translators and Workers AI."""

    def __init__(
        self,
        catalog: Catalog,
        upstream: Upstream,
        planning: Planning,
        *,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        request_timeout_seconds: float = 600,
    ) -> None:
        """`fallbacks`: names of models -> those that answer in their place when Cloudflare can't run them, all within
        the time of one request.
        """
        self._catalog = catalog
        self._upstream = upstream
        self._planning = planning
        self._fallbacks = fallbacks or {}
        self._request_timeout_seconds = request_timeout_seconds

    def complete(
        self, translator: Translator[Req, Res], name: str, request: Req, caller: Caller
    ) -> Awaitable[Answer[Res]]:
        """The whole answer. Raises APIStatusError."""
        if name not in self._fallbacks:
            return self._complete(translator, name, name, request, caller)
        return self._first(name, lambda model: self._complete(translator, model, name, request, caller))

    def stream(self, translator: Translator[Req, Any], name: str, request: Req, caller: Caller) -> Awaitable[Stream]:
        """The answer event by event, once its first events have come. Raises APIStatusError, and so do its chunks."""
        if name not in self._fallbacks:
            return self._stream(translator, name, name, request, caller)
        return self._first(name, lambda model: self._stream(translator, model, name, request, caller))

    async def _first(self, name: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """From the model of that name, or the first of its fallbacks that Cloudflare can run."""
        *others, last = (name, *self._fallbacks[name])
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                for model in others:
                    try:
                        return await ask(model)
                    except APIStatusError as failure:
                        if not is_models(failure):
                            raise
                        logger.info("fallback", extra={"fields": {"model": model, "error": failure.code}})
                return await ask(last)
        except TimeoutError as late:
            timeout = Failure(FailureKind.TIMEOUT, "Cloudflare did not answer in time.", status=504)
            raise to_error(timeout, is_ours=True) from late

    async def _complete(
        self, translator: Translator[Req, Res], model: str, name: str, request: Req, caller: Caller
    ) -> Answer[Res]:
        plan = await self._planning.plan(translator, model, request, caller, shown=name)
        again = partial(translator.again, plan)
        with failures_told(caller.account):
            if len(plan.calls) == 1:
                replies = [await self._upstream.run(plan.calls[0], caller, again)]
            else:
                replies = await together(_each(self._upstream.run, plan.calls, caller, again))
            plan = _as_sent(plan, replies)
            try:
                body, usage = translator.from_replies(plan, [reply for _, reply in _charged(replies)])
            except Failure as failure:
                failure.bill = bill_for(plan.context.model.id, (reply for _, reply in replies))
                raise
        paid = [reply.origin for _, reply in replies if not reply.is_cached]
        usage = _priced(usage, plan.context.model, len(paid) / max(len(replies), 1))
        return Answer(body, plan, usage, tuple(paid), is_cached=bool(replies) and not paid)

    async def _stream(
        self, translator: Translator[Req, Any], model: str, name: str, request: Req, caller: Caller
    ) -> Stream:
        plan = await self._planning.plan(translator, model, request, caller, shown=name)
        incremental = translator.to_stream(plan)  # refuses, if it does, before anything is sent
        again = partial(translator.again, plan)
        with failures_told(caller.account):
            opened = await open_together(_each(self._upstream.open, plan.calls, caller, again))
        sources = [source for _, source in opened]
        try:
            if (sent := _as_sent(plan, opened)) is not plan:
                plan, incremental = sent, translator.to_stream(sent)
            chunks = _chunks(incremental, sources, caller.account)
            await anext(chunks)
        except BaseException as failure:
            if isinstance(failure.__cause__, Failure):
                failure.__cause__.bill = bill_for(plan.context.model.id, sources)
            await close(sources)
            raise
        return Stream(chunks, plan, tuple(source.origin for source in sources), incremental, sources)

    async def plan(self, translator: Planner[Req], name: str, request: Req, caller: Caller) -> Plan[Req]:
        """The plan alone, for answers that are not made in one go. Raises APIStatusError."""
        return await self._planning.plan(translator, name, request, caller)

    async def parts(
        self,
        translator: SerialTranslator[Req, Piece, Part],
        plan: Plan[Req],
        pieces: AsyncGenerator[Piece],
        caller: Caller,
        *,
        at_once: int,
        origins: list[Origin],
    ) -> AsyncGenerator[Part]:
        """What becomes of each piece, in order. Raises APIStatusError. Closing it ends the upstream calls.

        `origins`: where to note who has answered.
        """
        parts: list[Part] = []

        async def part_of(piece: Piece, call: Call | None) -> Part:
            try:
                reply = (await self._upstream.run(call, caller))[1] if call else None
                origins.extend([reply.origin] if reply else [])
            except Failure as failure:
                if (part := translator.from_failure(plan, piece, failure)) is None:
                    raise
                return part
            return translator.from_reply(plan, piece, reply)

        async with (
            aclosing(pieces),
            aclosing(
                in_order((part_of(piece, translator.to_call(plan, piece, parts)) async for piece in pieces), at_once)
            ) as answered,
        ):
            with failures_told(caller.account):
                async for part in answered:
                    parts.append(part)
                    yield part

    async def sounds(self, plan: Plan[Any], caller: Caller) -> AsyncGenerator[Raw]:
        """The plan's answers as they come, in order, the next one under way. Raises APIStatusError.

        Closing it ends them all.
        """
        opened: list[Raw] = []

        async def listen(call: Call) -> Raw:
            opened.append(raw := await self._upstream.listen(call, caller))
            return raw

        async def calls() -> AsyncGenerator[Coroutine[Any, Any, Raw]]:
            for call in plan.calls:
                yield listen(call)

        try:
            with failures_told(caller.account):
                async with aclosing(in_order(calls(), at_once=2)) as raws:
                    async for raw in raws:
                        yield raw
        finally:
            for raw in opened:
                await raw.aclose()

    async def run(self, name: str, query: str, content_type: str, content: bytes, caller: Caller) -> tuple[Model, Raw]:
        """A run in Cloudflare's own terms, body and answer untouched. Raises APIStatusError.

        A retired model is asked for all the same: a successor may take another body.
        """
        model = self._catalog.get(name) or self._catalog.resolve(name)
        check_model(caller.limits, name, model.id)
        path = f"run/{model.id}?{query}" if query else f"run/{model.id}"
        stream = b'"stream"' in content  # or so it may be: then silence is told from an answer in one piece
        call = Call(model.id, path, {}, stream, content=content, content_type=content_type)
        with failures_told(caller.account):
            return model, await self._upstream.listen(call, caller)


async def _chunks(
    incremental: Incremental, sources: Sequence[Reply | Events], account: Account
) -> AsyncGenerator[bytes]:
    """The client's events, as the upstream's come in.

    The first one is empty and comes at once: what is there by then has been understood, or a Failure can still be told
    by a status; and a generator that has begun, unlike a new one, runs its `finally` when it is closed.
    """
    events = {choice: source for choice, source in enumerate(sources) if isinstance(source, Events)}
    with failures_told(account):
        try:
            opening = b"".join(_opening(incremental, choice, source) for choice, source in enumerate(sources))
            yield b""
            yield opening
            if len(events) == 1:  # as nearly always
                ((choice, only),) = events.items()
                while not incremental.is_done(choice) and (batch := await only.next()):
                    if data := incremental.feed(choice, batch):
                        yield data
                await only.aclose()
                yield incremental.finish(choice) + incremental.end()
            else:
                async with aclosing(merge(events, incremental.is_done)) as batches:
                    async for choice, batch in batches:
                        if data := incremental.feed(choice, batch) if batch else incremental.finish(choice):
                            yield data
                yield incremental.end()
        finally:
            await close(sources)


def _opening(incremental: Incremental, choice: int, source: Reply | Events) -> bytes:
    if isinstance(source, Reply):
        return incremental.replay(choice, source)
    return incremental.feed(choice, source.first)


def _each(
    ask: Callable[[Call, Caller, Again], Coroutine[Any, Any, T]], calls: Sequence[Call], caller: Caller, again: Again
) -> list[Coroutine[Any, Any, T]]:
    return [ask(call, each, again) for call, each in zip(calls, callers(caller), strict=False)]


def callers(caller: Caller) -> Iterator[Caller]:
    """The caller for each call of a request: AI Gateway must not answer all of them alike."""
    yield caller
    for number in count(1):  # pragma: no branch - there is no end to it
        yield replace(caller, gateway=apart(caller.gateway, number)) if caller.gateway else caller


def _as_sent(plan: Plan[Req], outcomes: Iterable[tuple[Call, object]]) -> Plan[Req]:
    """The plan with the calls that were answered, some of which may have been changed on the way."""
    calls = tuple([call for call, _ in outcomes])
    return plan if calls == plan.calls else replace(plan, calls=calls)


def _charged(replies: Sequence[tuple[Call, Reply]]) -> Sequence[tuple[Call, Reply]]:
    """Where only some were there already, those have no charge of their own: nothing and unknown don't add up."""
    if len(replies) == 1 or len({reply.is_cached for _, reply in replies}) < 2:
        return replies
    return [(call, replace(reply, neurons=None) if reply.is_cached else reply) for call, reply in replies]


def _priced(usage: Usage, model: Model, paid_share: float = 1) -> Usage:
    """With the price of the list where Cloudflare told no exact charge, as far as its calls were paid for."""
    if usage.neurons is not None:
        return usage
    neurons = model.neurons(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return usage if neurons is None else replace(usage, neurons=neurons * paid_share, is_priced=True)
