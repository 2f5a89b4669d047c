"""`POST /v1/run/{model}`: any Workers AI model in its own terms, from the day it appears.

Body, query and answer are Cloudflare's own; the key, the log, the limits and the shape of failures are ours. What a run
asks of AI Gateway therefore stands in headers only, never in the body.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Account, Failure, FailureKind, Usage
from app.catalog import Model
from app.errors import BadRequestError
from app.relay import Relay
from app.routes.bodies import read_body
from app.routes.record import Record, admitted
from app.routes.replies import Headers, cost_headers
from app.routes.streaming import client_watched, send_events
from app.translators.native_usage import usage_in
from app.upstream.events import EventDecoder
from app.upstream.incoming import Raw
from app.upstream.telling import failures_told

KEYS = ("key", "token", "password")
"""Query fields in which callers send us their keys: those don't go on to Cloudflare."""


class Run:
    """Plain ASGI: bodies may be anything, and answers too."""

    def __init__(self, relay: Relay, auth: Auth, *, max_body_bytes: int, heartbeat_seconds: float) -> None:
        self._relay = relay
        self._auth = auth
        self._max_body_bytes = max_body_bytes
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record, caller = admitted(scope, self._auth)
        record.model = scope["path_params"]["model"]
        content = await read_body(scope, receive, max_bytes=self._max_body_bytes)
        if not content:
            raise BadRequestError("The body is empty: it has to be the model's own input.", code="missing_body")
        query = _query(scope["query_string"])
        with client_watched(scope, receive):
            model, raw = await self._relay.run(record.model, query, _content_type(scope, content), content, caller)
            record.ran = model.id
            try:
                record.accounts = (raw.origin.account,)
                headers = [(b"x-flarelay-model", model.id.encode()), *raw.origin.headers]
                await self._send(raw, model, headers, caller.account, record, send)
            finally:
                if record.usage:
                    record.usage = charged(record.usage, raw, model)
                await raw.aclose()

    async def _send(
        self, raw: Raw, model: Model, headers: Headers, account: Account, record: Record, send: Send
    ) -> None:
        usage = usage_in(raw.body) if raw.body is not None else None
        if usage or raw.neurons is not None:
            record.usage = usage = charged(usage or Usage(), raw, model)
            headers += cost_headers(usage.neurons, is_priced=usage.is_priced)
        if b"event-stream" in raw.content_type.lower():
            record.stream = True
            failure = await send_events(
                _events(raw, account, record), headers, send, heartbeat_seconds=self._heartbeat_seconds
            )
            record.error = failure.code if failure else None
            return
        headers.append((b"content-type", raw.content_type or b"application/octet-stream"))
        if raw.body is not None:
            headers.append((b"content-length", b"%d" % len(raw.body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if raw.body is None:
            with failures_told(account):
                async for piece in raw:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": raw.body or b""})


def charged(usage: Usage, raw: Raw, model: Model) -> Usage:
    """With Cloudflare's own charge, or else that of the price list as far as it goes by tokens."""
    if raw.is_free or usage.neurons is None:
        usage = replace(usage, neurons=raw.neurons)
    if usage.neurons is not None:
        return usage
    neurons = model.neurons(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return usage if neurons is None else replace(usage, neurons=neurons, is_priced=True)


async def _events(raw: Raw, account: Account, record: Record) -> AsyncGenerator[bytes]:
    """The events as they come. Raises APIStatusError if they end without `[DONE]`."""
    decoder = EventDecoder()
    events: list[bytes] = []
    with failures_told(account):
        async for piece in raw:
            try:
                events = decoder.feed(piece) or events
            except ValueError as failure:
                raise Failure(FailureKind.BROKEN, "Cloudflare sent an event without an end.", status=502) from failure
            for event in events:
                record.usage = usage_in(event) or record.usage
            yield piece
        if b"[DONE]" not in events + decoder.close():
            raise Failure(FailureKind.BROKEN, "Cloudflare's answer broke off before its end.", status=502)


def _content_type(scope: Scope, content: bytes) -> str:
    """As given; but a body that begins like a JSON object is taken for one, as curl sends those as a form."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
    is_vague = not given or given.startswith(("text/plain", "application/x-www-form-urlencoded"))
    return "application/json" if is_vague and content.lstrip()[:1] == b"{" else given or "application/octet-stream"


def _query(query: bytes) -> str:
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, value) for name, value in fields if name not in KEYS])


def routes(relay: Relay, auth: Auth, *, max_body_bytes: int, heartbeat_seconds: float) -> list[Route]:
    endpoint = Run(relay, auth, max_body_bytes=max_body_bytes, heartbeat_seconds=heartbeat_seconds)
    return [Route(prefix + "/run/{model:path}", endpoint, methods=["POST"]) for prefix in ("/v1", "")]
