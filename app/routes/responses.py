"""`POST /v1/responses` and what belongs to it: an answer that goes on from an earlier one, and those that are kept."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller
from app.errors import APIStatusError, InternalServerError, NotFoundError
from app.relay import Relay
from app.routes.bodies import read_body, validated
from app.routes.openai import Endpoint, told
from app.routes.record import admitted
from app.routes.replies import send_json
from app.routes.streaming import client_watched
from app.schemas.responses import Item, ResponsesRequest
from app.stores.database import StoreError
from app.stores.responses import ResponseStore, Stored
from app.translators.base import Plan
from app.translators.responses import Exchange, ResponseStream, responses, to_exchange, to_param
from app.translators.responses_input import references_in, response_id_of, to_items, with_ids


@contextmanager
def faults_told() -> Iterator[None]:
    """In the words of the request, which the chat that it becomes does not share."""
    try:
        yield
    except APIStatusError as error:
        error.param = error.param and to_param(error.param)
        raise
    except StoreError as failure:
        message = "The server can't read or write its stored responses now."
        raise InternalServerError(message, status=503, code="storage_failed", retry_after_seconds=5) from failure


class Responses(Endpoint[ResponsesRequest]):
    """`POST /v1/responses`."""

    def __init__(
        self, relay: Relay, auth: Auth, store: ResponseStore, *, max_body_bytes: int, heartbeat_seconds: float
    ) -> None:
        super().__init__(
            ResponsesRequest,
            responses,  # type: ignore[arg-type]  # it is given an Exchange, which the request leads to
            relay,
            auth,
            max_body_bytes=max_body_bytes,
            heartbeat_seconds=heartbeat_seconds,
        )
        self._store = store

    async def _answer(self, request: ResponsesRequest, caller: Caller, scope: Scope, send: Send) -> None:
        with faults_told():
            exchange = await self.exchange(request, caller)
            if request.stream:
                await self._stream(exchange, caller, scope, send)
                return
            answer = await self._relay.complete(responses, request.model, exchange, caller)
        await self._keep(answer.body, exchange, caller)
        await send_json(answer.body, send, headers=told(answer, scope["record"]))

    async def exchange(self, request: ResponsesRequest, caller: Caller) -> Exchange:
        """With the conversation that the request goes on from. Raises NotFoundError, BadRequestError, StoreError."""
        history: list[Item] = []
        if request.previous_response_id:
            chain = await self._store.chain(caller.name, request.previous_response_id)
            if not chain or chain[0].previous:
                raise _previous_not_found(request.previous_response_id)
            history = said_in(chain)
        return to_exchange(request, history, await self._known(to_items(request.input), caller))

    async def _known(self, items: Sequence[Item], caller: Caller) -> dict[str, Item]:
        """The stored items that the request refers to, by id."""
        wanted = {response_id for name in references_in(items) if (response_id := response_id_of(name))}
        known: dict[str, Item] = {}
        for response_id in sorted(wanted):
            if stored := await self._store.get(caller.name, response_id):
                known |= {item["id"]: item for item in said_in([stored])}
        return known

    async def _keep(self, body: dict[str, Any], exchange: Exchange, caller: Caller) -> None:
        """The answer is good without it: that it can't be gone on from is told when somebody tries."""
        if exchange.request.is_stored:
            name = body["id"]
            items = with_ids(exchange.items, name.removeprefix("resp_"))
            with suppress(StoreError):  # the database has logged it
                await self._store.put(caller.name, Stored(name, body["previous_response_id"], items, body))

    async def _stream(self, exchange: Exchange, caller: Caller, scope: Scope, send: Send) -> None:
        watch = _Watch()
        translator = replace(responses, to_stream=watch.to_stream)
        stream = await self._relay.stream(translator, exchange.request.model, exchange, caller)
        chunks = self._chunks(stream.chunks, watch, exchange, caller)
        await self._send_stream(replace(stream, chunks=chunks), scope, send)
        scope["record"].error = watch.failure.code if watch.failure else None

    async def _chunks(
        self, chunks: AsyncGenerator[bytes], watch: "_Watch", exchange: Exchange, caller: Caller
    ) -> AsyncGenerator[bytes]:
        """The answer is kept before its end is told: the client may go on from it at once."""
        writer = watch.stream.writer
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    if writer.response:
                        await self._keep(writer.response, exchange, caller)
                    yield chunk
            except APIStatusError as failure:
                watch.failure = failure
                yield writer.fail(failure)


@dataclass(slots=True)
class _Watch:
    """What becomes of a stream."""

    stream: ResponseStream = None  # type: ignore[assignment]  # made by the relay, before there are chunks
    failure: APIStatusError | None = None

    def to_stream(self, plan: Plan[Exchange]) -> ResponseStream:
        self.stream = ResponseStream(plan)
        return self.stream


class InputTokens:
    """`POST /v1/responses/input_tokens`: how long a prompt would be, estimated."""

    def __init__(self, endpoint: Responses, relay: Relay, auth: Auth, *, max_body_bytes: int) -> None:
        self._endpoint = endpoint
        self._relay = relay
        self._auth = auth
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record, caller = admitted(scope, self._auth)
        request = validated(ResponsesRequest, await read_body(scope, receive, max_bytes=self._max_body_bytes))
        record.model = request.model
        with client_watched(scope, receive), faults_told():
            exchange = await self._endpoint.exchange(request, caller)
            plan = await self._relay.plan(responses, request.model, exchange, caller)
        await send_json({"object": "response.input_tokens", "input_tokens": plan.reading.prompt_tokens}, send)


class Compact:
    """`POST /v1/responses/compact`, whose result only OpenAI's own servers can read."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        raise NotFoundError("Conversations can't be compacted here: ask a model for a summary.")


def routes(endpoint: Responses, relay: Relay, auth: Auth, *, max_body_bytes: int) -> list[Route]:
    """What is posted beside the endpoint itself. They go before the routes of stored.py, which take any id."""
    tokens = InputTokens(endpoint, relay, auth, max_body_bytes=max_body_bytes)
    return [
        Route(f"{prefix}/responses/{name}", each, methods=["POST"])
        for name, each in (("input_tokens", tokens), ("compact", Compact()))
        for prefix in ("/v1", "")
    ]


def said_in(chain: Sequence[Stored]) -> list[Item]:
    """All that was asked and answered, in order."""
    return [item for stored in chain for item in (*stored.input, *stored.body["output"])]


def _previous_not_found(response_id: str) -> NotFoundError:
    return NotFoundError(
        f"Previous response with id '{response_id[:200]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
