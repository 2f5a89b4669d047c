"""`POST /v1/audio/speech`: a text as sound, sent as it comes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from anyio import CapacityLimiter, to_thread
from starlette.types import Scope, Send

from app.auth import Auth
from app.calls import Caller, Failure, FailureKind, Origin, Usage
from app.media.narration import Narration
from app.media.speech_decoding import to_pcm
from app.media.speech_pcm import seconds_of
from app.relay import Answer, Relay
from app.routes.openai import Endpoint, told
from app.routes.replies import Headers
from app.routes.streaming import send_events
from app.schemas.speech import SpeechRequest
from app.translators.base import Plan
from app.translators.sound_formats import CONTENT_TYPES, is_in
from app.translators.speech import Delivery, audio_in, delta_event, done_event, speech, usage_of
from app.upstream.incoming import Raw
from app.upstream.replies import loaded, unwrapped
from app.upstream.telling import failures_told
from app.values import immutable

AT_ONCE = 2
"""Sounds that are decoded or encoded at the same time: each takes a core."""

HEAD = 64
"""Bytes that show what a sound is."""


class Speech(Endpoint[SpeechRequest]):
    """Untouched where the model answers in the format that was asked for; else decoded, joined and encoded anew."""

    def __init__(self, relay: Relay, auth: Auth, *, max_body_bytes: int, heartbeat_seconds: float) -> None:
        super().__init__(
            SpeechRequest, speech, relay, auth, max_body_bytes=max_body_bytes, heartbeat_seconds=heartbeat_seconds
        )
        self._limiter = CapacityLimiter(AT_ONCE)

    async def _answer(self, request: SpeechRequest, caller: Caller, scope: Scope, send: Send) -> None:
        plan = await self._relay.plan(speech, request.model, request, caller)
        record, meter = scope["record"], Meter(plan)
        async with aclosing(self._sound(plan, caller, meter)) as sound:
            first = await anext(sound)  # a failure before it has a status of its own
            headers = told(Answer(first, plan, meter.usage, meter.origins), record)
            try:
                if plan.reading.stream_format == "sse":
                    record.stream = True
                    events = _events(first, sound, meter)
                    failure = await send_events(events, headers, send, heartbeat_seconds=self._heartbeat_seconds)
                    record.error = failure.code if failure else None
                else:
                    headers.append((b"content-type", CONTENT_TYPES[plan.reading.wanted].encode()))
                    await _send(first, sound, headers, send)
            finally:
                record.usage = meter.usage

    async def _sound(self, plan: Plan[SpeechRequest], caller: Caller, meter: "Meter") -> AsyncGenerator[bytes]:
        """The file that was asked for, in pieces none of which is empty. Raises APIStatusError."""
        delivery: Delivery = plan.reading
        is_direct = len(plan.calls) == 1 and delivery.speed == 1 and delivery.asked == delivery.wanted
        with failures_told(caller.account), Narration(delivery.wanted, tempo=delivery.speed) as narration:
            async with aclosing(self._relay.sounds(plan, caller)) as raws:
                async for raw in raws:
                    source = await _opened(raw)
                    meter.count(raw)
                    if is_direct and is_in(delivery.wanted, source.head):
                        async for piece in source.pieces():
                            yield piece
                        return
                    async for pcm in self._decoded(source, delivery):
                        meter.pcm_bytes += len(pcm)
                        if data := await self._run(partial(narration.feed, pcm)):
                            yield data
                    if meter.calls < len(plan.calls) and (data := await self._run(narration.seam)):
                        yield data
            yield await self._run(narration.close)

    async def _decoded(self, source: "Source", delivery: Delivery) -> AsyncGenerator[bytes]:
        """As PCM: as it comes if it is that, else once it is whole. Raises Failure."""
        if delivery.asked == "pcm" and is_in("pcm", source.head):
            async for piece in source.pieces():
                yield piece
            return
        data = b"".join([piece async for piece in source.pieces()])
        try:
            yield await self._run(partial(to_pcm, data))
        except ValueError as failure:
            message = "Cloudflare answered with sound that is damaged."
            raise Failure(FailureKind.BROKEN, message, status=502) from failure

    async def _run(self, work: Callable[[], bytes]) -> bytes:
        return await to_thread.run_sync(work, limiter=self._limiter)


@immutable
class Source:
    """The sound of one call as it comes."""

    head: bytes
    """Enough of it to see what it is."""
    rest: AsyncGenerator[bytes]

    async def pieces(self) -> AsyncGenerator[bytes]:
        yield self.head
        async for piece in self.rest:
            yield piece


async def _opened(raw: Raw) -> Source:
    """Raises Failure if there is no sound in it."""
    if raw.body is not None:
        head, rest = audio_in(unwrapped(loaded(raw.body))), _nothing()
    else:
        head, rest = b"", aiter(raw)
        while len(head) < HEAD and (piece := await anext(rest, None)):
            head += piece
    if not head:
        raise Failure(FailureKind.BROKEN, "Cloudflare answered without sound.", status=502)
    return Source(head, rest)


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield


class Meter:
    """What the sound of one answer has cost so far."""

    def __init__(self, plan: Plan[SpeechRequest]) -> None:
        self._plan = plan
        self._neurons: float | None = None
        self.calls = 0
        self.pcm_bytes = 0
        self.origins: tuple[Origin, ...] = ()

    def count(self, raw: Raw) -> None:
        self.calls += 1
        self.origins = (*self.origins, raw.origin)
        if raw.neurons is not None:
            self._neurons = (self._neurons or 0) + raw.neurons

    @property
    def usage(self) -> Usage:
        listed = usage_of(self._plan, seconds_of(self.pcm_bytes))
        return listed if self._neurons is None else replace(listed, neurons=self._neurons, is_priced=False)


async def _send(first: bytes, sound: AsyncGenerator[bytes], headers: Headers, send: Send) -> None:
    """If the sound breaks off so does the connection: nothing else would tell."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for piece in sound:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _events(first: bytes, sound: AsyncGenerator[bytes], meter: Meter) -> AsyncGenerator[bytes]:
    yield delta_event(first)
    async for piece in sound:
        yield delta_event(piece)
    yield done_event(meter.usage)
