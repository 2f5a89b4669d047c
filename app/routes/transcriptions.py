"""`POST /v1/audio/transcriptions` and `/translations`: a recording of any length, in any container, as text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller, Origin, Sound
from app.catalog.sounds import listening_of
from app.media.cutter import Cutter
from app.relay import Answer, Relay
from app.routes.bodies import fault_of
from app.routes.openai import accounts_of, headers_of, options_in, told
from app.routes.record import admitted
from app.routes.replies import send_bytes
from app.routes.streaming import client_watched, send_events
from app.routes.uploads import Upload, uploaded
from app.translators.base import Plan, SerialTranslator
from app.translators.transcript_events import TranscriptEvents
from app.translators.transcript_formats import written
from app.translators.transcripts import Heard, transcript
from app.values import immutable

Hearing = SerialTranslator[Any, Sound, Heard]


@immutable
class Limits:
    """Of what callers send, and of what runs at a time."""

    max_upload_bytes: int
    max_json_bytes: int
    pieces_at_once: int
    """Calls for one recording; 1 lets each know what was said before."""
    heartbeat_seconds: float


class Transcriptions:
    """Plain ASGI: the file goes to disk before anything looks at it."""

    def __init__(
        self, schema: type[BaseModel], translator: Hearing, relay: Relay, auth: Auth, cutter: Cutter, limits: Limits
    ) -> None:
        self._schema = schema
        self._translator = translator
        self._relay = relay
        self._auth = auth
        self._cutter = cutter
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record, caller = admitted(scope, self._auth)
        limits = self._limits
        form = uploaded(scope, receive, max_bytes=limits.max_upload_bytes, max_json_bytes=limits.max_json_bytes)
        async with form as upload:
            try:
                request: Any = self._schema.model_validate(upload.fields)
            except ValidationError as failure:
                raise fault_of(failure) from failure
            record.model, record.stream = request.model, bool(request.stream)
            if self._auth.has_gateway and "gateway" in request.model_extra:
                caller = self._auth.with_options(caller, scope["headers"], options_in(request.model_extra))
            with client_watched(scope, receive):
                await self._answer(request, upload, caller, scope, send)

    async def _answer(self, request: Any, upload: Upload, caller: Caller, scope: Scope, send: Send) -> None:
        plan = await self._relay.plan(self._translator, request.model, request, caller)
        record = scope["record"]
        record.ran = plan.context.model.id
        origins: list[Origin] = []
        async with aclosing(self._parts(plan, upload, caller, origins)) as parts:
            if request.stream:
                events = TranscriptEvents(plan)
                chunks = _chunks(events, parts)
                await anext(chunks)
                try:
                    failure = await send_events(
                        chunks, headers_of(plan, origins), send, heartbeat_seconds=self._limits.heartbeat_seconds
                    )
                    record.error = failure.code if failure else None
                finally:
                    record.usage, record.accounts = events.transcript.usage, accounts_of(origins)
            else:
                answer = transcript(plan, [part async for part in parts])
                data, content_type = written(plan, answer)
                headers = told(Answer(data, plan, answer.usage, tuple(origins)), record)
                await send_bytes(data, content_type, send, headers=headers)

    def _parts(self, plan: Plan[Any], upload: Upload, caller: Caller, origins: list[Origin]) -> AsyncGenerator[Heard]:
        sounds = self._cutter.cut(upload.file, upload.size, listening_of(plan.context.model.id))
        at_once = self._limits.pieces_at_once
        return self._relay.parts(self._translator, plan, sounds, caller, at_once=at_once, origins=origins)


async def _chunks(events: TranscriptEvents, parts: AsyncGenerator[Heard]) -> AsyncGenerator[bytes]:
    """The first one is empty and comes once the first piece has been heard: up to then a failure has a status."""
    first = await anext(parts)
    yield b""
    yield events.feed(first)
    async for part in parts:
        yield events.feed(part)
    yield events.end()


def routes(**endpoints: Transcriptions) -> list[Route]:
    """`transcriptions` and `translations`."""
    return [
        Route(f"{prefix}/audio/{name}", endpoint, methods=["POST"])
        for name, endpoint in endpoints.items()
        for prefix in ("/v1", "")
    ]
