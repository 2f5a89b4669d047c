"""The whole OpenAI API on one page: each endpoint is a schema and a translator."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller, Origin
from app.errors import BadRequestError
from app.relay import Answer, Relay, Stream
from app.routes.bodies import read_body, validated
from app.routes.record import Record, admitted
from app.routes.replies import Headers, cost_headers, send_json
from app.routes.streaming import HEARTBEAT, client_watched, send_events
from app.schemas.chat import ChatCompletionRequest
from app.schemas.completions import CompletionRequest
from app.schemas.embeddings import EmbeddingRequest
from app.schemas.images import ImageEditRequest, ImageRequest, ImageVariationRequest
from app.schemas.moderations import ModerationRequest
from app.schemas.rerank import RerankRequest, RerankV2Request
from app.schemas.responses import ResponsesRequest
from app.schemas.speech import SpeechRequest
from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest
from app.server.exchange import KEY
from app.translators.base import Plan, Translator
from app.translators.chat import chat
from app.translators.completions import completions
from app.translators.embeddings import embeddings
from app.translators.images import images
from app.translators.moderations import moderations
from app.translators.rerank import rerank
from app.translators.responses import responses
from app.translators.sound_formats import CONTENT_TYPES
from app.translators.speech import speech

Req = TypeVar("Req", bound=BaseModel)

LONGEST_HEADER = 1000
"""Characters. Proxies refuse answers whose headers don't fit into a few kilobytes."""


EVENTS_OR_JSON = ("application/json", "text/event-stream")


class Row(NamedTuple):
    """An endpoint."""

    paths: tuple[str, ...]
    """The first is the documented one."""
    summary: str
    schema: type[BaseModel]
    translator: Translator[Any, Any]
    answers: tuple[str, ...] = EVENTS_OR_JSON
    """Content types."""


class Form(NamedTuple):
    """An endpoint that takes a form with a file. Which class answers it stands in `main`."""

    path: str
    summary: str
    schema: type[BaseModel]
    file: str
    """The field that holds it."""
    answers: tuple[str, ...]
    """Content types."""


SOUNDS = (*dict.fromkeys(CONTENT_TYPES.values()), "text/event-stream")
TRANSCRIPTS = ("application/json", "text/plain", "text/vtt", "text/event-stream")

ROWS = (
    Row(
        ("/v1/chat/completions",), "Chat completions, streamed or whole, on any text model", ChatCompletionRequest, chat
    ),
    Row(("/v1/completions",), "Completions of prompts, streamed or whole", CompletionRequest, completions),
    Row(("/v1/responses",), "Responses, streamed or whole, kept for what follows", ResponsesRequest, responses),
    Row(("/v1/images/generations",), "Pictures, as base64, by address or in events", ImageRequest, images),
    Row(("/v1/audio/speech",), "Texts as speech, in any format, as it comes", SpeechRequest, speech, SOUNDS),
    Row(("/v1/embeddings",), "Embeddings, as floats or base64", EmbeddingRequest, embeddings),
    Row(("/v1/moderations",), "Moderation of texts", ModerationRequest, moderations),
    Row(
        ("/v1/rerank", "/v1/reranking"),
        "Documents by relevance; Jina's, Cohere's and TEI's shapes",
        RerankRequest,
        rerank,
    ),
    Row(("/v2/rerank",), "The same as Cohere's second version", RerankV2Request, rerank),
)
FORMS = (
    Form("/v1/images/edits", "Pictures changed", ImageEditRequest, "image", EVENTS_OR_JSON),
    Form("/v1/images/variations", "Pictures varied", ImageVariationRequest, "image", EVENTS_OR_JSON),
    Form("/v1/audio/transcriptions", "Recordings as text", TranscriptionRequest, "file", TRANSCRIPTS),
    Form("/v1/audio/translations", "Recordings as English text", TranslationRequest, "file", TRANSCRIPTS),
)


class Endpoint(Generic[Req]):
    """A POST with a JSON body that runs a model. Plain ASGI: it is the path that has to be fast."""

    heartbeat = HEARTBEAT
    """What a stream sends while it is silent."""

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
        record, caller = admitted(scope, self._auth)
        body = await read_body(scope, receive, max_bytes=self._max_body_bytes)
        request: Any = validated(self._schema, body)
        record.model, record.stream = request.model, bool(request.stream)
        if self._auth.has_gateway and (extra := request.model_extra) and "gateway" in extra:
            caller = self._auth.with_options(caller, scope["headers"], options_in(extra))
        with client_watched(scope, receive):
            await self._answer(request, caller, scope, send)

    async def _answer(self, request: Any, caller: Caller, scope: Scope, send: Send) -> None:
        if request.stream:
            stream = await self._relay.stream(self._translator, request.model, request, caller)
            await self._send_stream(stream, scope, send)
        else:
            answer = await self._relay.complete(self._translator, request.model, request, caller)
            headers = told(answer, scope["record"])
            await send_json(answer.body, send, headers=headers)

    async def _send_stream(self, stream: Stream, scope: Scope, send: Send) -> None:
        record: Record = scope["record"]
        record.ran, record.accounts = stream.plan.context.model.id, accounts_of(stream.origins)
        try:
            failure = await send_events(
                stream.chunks,
                headers_of(stream.plan, stream.origins),
                send,
                heartbeat_seconds=self._heartbeat_seconds,
                heartbeat=self.heartbeat,
                pass_on=stream.pass_on,
                exchange=scope.get(KEY),
            )
            record.error = failure.code if failure else None
        finally:
            record.usage = stream.usage


def options_in(extra: dict[str, Any]) -> dict[str, Any]:
    """What a body asks of AI Gateway, taken out of it: the model has no such field. Raises BadRequestError."""
    options = extra.pop("gateway")
    if isinstance(options, str):  # a field of a form
        with suppress(ValueError):
            options = orjson.loads(options)
    if not isinstance(options, dict | None):
        raise BadRequestError("'gateway' has to be an object.", param="gateway", code="invalid_value")
    return options or {}


def told(answer: Answer[Any], record: Record) -> Headers:
    """What there is to tell about an answer: to the log, and by these headers to the client."""
    record.ran, record.usage = answer.plan.context.model.id, answer.usage
    record.accounts = accounts_of(answer.origins)
    headers = headers_of(answer.plan, answer.origins)
    headers += cost_headers(answer.usage.neurons, is_priced=answer.usage.is_priced)
    if answer.is_cached:
        headers.append((b"x-flarelay-cache", b"hit"))
    if answer.usage.is_estimated:
        headers.append((b"x-flarelay-usage", b"estimated"))
    return headers


def headers_of(plan: Plan[Any], origins: Sequence[Origin] = ()) -> Headers:
    headers = [(b"x-flarelay-model", plan.context.model.id.encode())]
    if origins:
        headers += origins[0].headers  # AI Gateway's, of the first call if there are several
    if plan.ignored:
        names = ", ".join(plan.ignored)[:LONGEST_HEADER]
        headers.append((b"x-flarelay-ignored", names.encode("unicode_escape")))  # they are the caller's: any text
    return headers


def routes(
    relay: Relay,
    auth: Auth,
    *,
    max_body_bytes: int,
    heartbeat_seconds: float,
    own: Mapping[str, Endpoint[Any]] | None = None,
) -> list[Route]:
    """The endpoints that run models, each also without `/v1`: half of the clients don't append it to the base URL.

    `own`: path -> the endpoint that answers it in a way of its own.
    """
    found = []
    for row in ROWS:
        endpoint = (own or {}).get(row.paths[0]) or Endpoint(
            row.schema,
            row.translator,
            relay,
            auth,
            max_body_bytes=max_body_bytes,
            heartbeat_seconds=heartbeat_seconds,
        )
        paths = dict.fromkeys(path for each in row.paths for path in (each, each.removeprefix("/v1")))
        found += [Route(path, endpoint, methods=["POST"]) for path in paths]
    return found


def accounts_of(origins: Sequence[Origin]) -> tuple[str, ...]:
    return tuple([origin.account for origin in origins if origin.account])
