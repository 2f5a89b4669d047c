"""Anthropic's Messages: any text model for agents and clients that speak Anthropic's API, with its errors.

A failure keeps what our own errors tell, in Anthropic's shape and under its names, also where there is no such path.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller
from app.catalog import Catalog
from app.errors import APIStatusError, ContextLengthError, MethodNotAllowedError, NotFoundError
from app.relay import Relay, Stream
from app.routes.bodies import read_body, validated
from app.routes.openai import Endpoint
from app.routes.record import Record
from app.routes.replies import send_json
from app.schemas.messages import MessageBody, MessageCreation, MessagesRequest, TokenCountBody
from app.translators.messages import count_tokens, messages

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Status -> Anthropic's name for it. Others are `invalid_request_error` below 500 and `api_error` from there on."""

OVERLOADED = 529
"""Anthropic's status for what others tell by 503: its clients wait, and try again."""

TOO_LONG = re.compile(r"prompt is too long: \d+ tokens > \d+ maximum")
"""The words by which Claude Code knows that it has to compact the conversation."""
TOO_LONG_CODE = ContextLengthError.code

Answering = Callable[[Scope, Receive, Send], Awaitable[None]]


class Described(NamedTuple):
    """An endpoint, for the OpenAPI document."""

    path: str
    summary: str
    request: type[BaseModel]
    answer: type[BaseModel]
    has_stream: bool = False


ENDPOINTS = (
    Described(
        "/v1/messages", "Anthropic's Messages, streamed or whole, on any text model", MessageCreation, MessageBody, True
    ),
    Described("/v1/messages/count_tokens", "The tokens of such a request, estimated", MessagesRequest, TokenCountBody),
)


def routes(relay: Relay, auth: Auth, catalog: Catalog, *, max_body_bytes: int, heartbeat_seconds: float) -> list[Route]:
    """Also without `/v1`, as all others. They take every method, to refuse it in their own shape."""
    answering = Messages(relay, auth, catalog, max_body_bytes=max_body_bytes, heartbeat_seconds=heartbeat_seconds)
    counting = TokenCount(auth, catalog, max_body_bytes=max_body_bytes)
    endpoints = {"/messages": Refusals(posted(answering)), "/messages/count_tokens": Refusals(posted(counting))}
    return [
        *(Route(prefix + path, endpoint) for path, endpoint in endpoints.items() for prefix in ("/v1", "")),
        Route("/v1/messages/{rest:path}", Refusals(no_such_path)),
    ]


class Refusals:
    """Has all that fails told as Anthropic's clients expect it; and the request's id where they look for it."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["record"]
        request_id = (b"request-id", record.request_id.encode())

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], request_id]
            await send(message)

        async def refuse(error: APIStatusError, send: Send) -> None:
            headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
            headers += [(b"allow", b"POST")] if error.status == MethodNotAllowedError.status else []
            await send_json(envelope(error, record), send, status=status_of(error), headers=[*headers, request_id])

        record.refuse = refuse
        await self._answer(scope, receive, send_on)


def posted(answer: Answering) -> Answering:
    """The same for POST alone."""

    async def answer_post(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowedError(f"{scope['path']} takes POST, not {scope['method']}.")
        await answer(scope, receive, send)

    return answer_post


async def no_such_path(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFoundError(f"There is no {scope['method']} {scope['path']} here.")


class Messages(Endpoint[MessagesRequest]):
    """`POST /v1/messages`."""

    heartbeat = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(
        self, relay: Relay, auth: Auth, catalog: Catalog, *, max_body_bytes: int, heartbeat_seconds: float
    ) -> None:
        super().__init__(
            MessageCreation, messages, relay, auth, max_body_bytes=max_body_bytes, heartbeat_seconds=heartbeat_seconds
        )
        self._catalog = catalog

    async def _answer(self, request: MessagesRequest, caller: Caller, scope: Scope, send: Send) -> None:
        try:
            await super()._answer(request, caller, scope, send)
        except APIStatusError as error:
            lacks_numbers = error.code == TOO_LONG_CODE and not TOO_LONG.search(error.message)
            if lacks_numbers and (sized := self._sized(request)):
                raise sized from error
            raise

    def _sized(self, request: MessagesRequest) -> ContextLengthError | None:
        """The numbers that agents want, where Cloudflare tells none: what is estimated to fit was refused all the same,
        so it is taken for more than fits. None where no window is known.
        """
        model = self._catalog.resolve(request.model)
        if model.context_window is None:
            return None
        return ContextLengthError(model.context_window, max(count_tokens(request, model), model.context_window + 1))

    async def _send_stream(self, stream: Stream, scope: Scope, send: Send) -> None:
        record: Record = scope["record"]
        failures: list[APIStatusError] = []
        async with aclosing(stream.chunks):
            chunks = _with_failure(stream.chunks, failures, record)
            await super()._send_stream(replace(stream, chunks=chunks), scope, send)
        record.error = failures[0].code if failures else record.error


async def _with_failure(
    chunks: AsyncGenerator[bytes], failures: list[APIStatusError], record: Record
) -> AsyncGenerator[bytes]:
    """The same, with a failure as the last event: without `message_stop` the answer does not look whole."""
    try:
        async for chunk in chunks:
            yield chunk
    except Exception as failure:  # noqa: BLE001 - the outermost handler is too late for an event
        error = failure if isinstance(failure, APIStatusError) else record.crash(failure)
        failures.append(error)
        yield b"event: error\ndata: " + orjson.dumps(envelope(error, record)) + b"\n\n"


class TokenCount:
    """`POST /v1/messages/count_tokens`: an estimate that asks nobody, and is charged to no key."""

    def __init__(self, auth: Auth, catalog: Catalog, *, max_body_bytes: int) -> None:
        self._auth = auth
        self._catalog = catalog
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["record"]
        record.caller = self._auth.identify(scope["headers"]).name
        request = validated(MessagesRequest, await read_body(scope, receive, max_bytes=self._max_body_bytes))
        record.model = request.model
        tokens = count_tokens(request, self._catalog.resolve(request.model))
        await send_json({"input_tokens": tokens}, send)


def status_of(error: APIStatusError) -> int:
    """A 503 that waiting does not mend keeps its number."""
    return OVERLOADED if error.status == 503 and error.should_retry is not False else error.status


def envelope(error: APIStatusError, record: Record) -> dict[str, Any]:
    """The body of a failure, and of the event that tells of one in a stream."""
    status = status_of(error)
    kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": _message(error)}, "request_id": record.request_id}


def _message(error: APIStatusError) -> str:
    if error.code != TOO_LONG_CODE:
        return error.message
    words = TOO_LONG.search(error.message)
    return words[0] if words else f"prompt is too long. {error.message}"
