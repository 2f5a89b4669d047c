"""The whole OpenAI API on one page: each endpoint is a schema and a translator."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.relay import Answer, Relay, Stream
from app.routes.bodies import read_body, validated
from app.routes.record import Record
from app.routes.replies import Headers, send_json
from app.routes.streaming import client_watched, send_events
from app.schemas.chat import ChatCompletionRequest
from app.translators.base import Plan, Translator
from app.translators.chat import chat

Req = TypeVar("Req", bound=BaseModel)

PREFIXES = ("/v1", "")
"""Half of the clients append `/v1` to the base URL, the other half nothing."""


class Endpoint(Generic[Req]):
    """A POST with a JSON body that runs a model. Plain ASGI: it is the path that has to be fast."""

    def __init__(
        self,
        schema: type[Req],
        translator: Translator[Req, Any],
        relay: Relay,
        auth: Auth,
        *,
        max_body_bytes: int,
        heartbeat_seconds: float,
    ) -> None:
        self._schema = schema
        self._translator = translator
        self._relay = relay
        self._auth = auth
        self._max_body_bytes = max_body_bytes
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["record"]
        caller = self._auth.identify(scope["headers"])
        record.caller = caller.name
        body = await read_body(scope, receive, max_bytes=self._max_body_bytes)
        request: Any = validated(self._schema, body)
        record.model, record.stream = request.model, bool(request.stream)
        async with client_watched(receive):
            if not request.stream:
                answer = await self._relay.complete(self._translator, request.model, request, caller)
                await self._send_answer(answer, record, send)
            else:
                stream = await self._relay.stream(self._translator, request.model, request, caller)
                await self._send_stream(stream, record, send)

    async def _send_answer(self, answer: Answer[Any], record: Record, send: Send) -> None:
        record.ran, record.usage = answer.plan.context.model.id, answer.usage
        headers = _headers(answer.plan)
        if answer.usage.neurons is not None:
            headers.append((b"x-flarelay-neurons", b"%.6g" % answer.usage.neurons))
        if answer.usage.is_estimated:
            headers.append((b"x-flarelay-usage", b"estimated"))
        await send_json(answer.body, send, headers=headers)

    async def _send_stream(self, stream: Stream, record: Record, send: Send) -> None:
        record.ran = stream.plan.context.model.id
        try:
            failure = await send_events(
                stream.chunks, _headers(stream.plan), send, heartbeat_seconds=self._heartbeat_seconds
            )
            record.error = failure.code if failure else None
        finally:
            record.usage = stream.usage


def _headers(plan: Plan[Any]) -> Headers:
    headers = [(b"x-flarelay-model", plan.context.model.id.encode())]
    if plan.ignored:
        headers.append((b"x-flarelay-ignored", ", ".join(plan.ignored).encode("ascii", "backslashreplace")))
    return headers


def routes(relay: Relay, auth: Auth, *, max_body_bytes: int, heartbeat_seconds: float) -> list[Route]:
    """The endpoints that run models."""
    endpoints = {
        "/chat/completions": Endpoint(
            ChatCompletionRequest, chat, relay, auth, max_body_bytes=max_body_bytes, heartbeat_seconds=heartbeat_seconds
        )
    }
    return [
        Route(prefix + path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items() for prefix in PREFIXES
    ]
