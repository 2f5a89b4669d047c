"""A response of Cloudflare's, read whole -> a Reply, or the Failure that it tells."""

from typing import Any

import httpx2
import orjson

from app.calls import Account, Failure, FailureKind, Origin, Reply
from app.upstream.charges import neurons_of, without_charge
from app.upstream.failures import classify, classify_event, from_exception
from app.upstream.gateway import Gateway, is_hit, told
from app.upstream.transport import Whole
from app.upstream.wire import Response

LARGEST_REPLY = 256 * 2**20
"""Bytes."""

BINARY = (b"image/", b"audio/", b"application/octet-stream")
"""Types of answers that are a reply as they are."""


async def body_of(response: Response) -> bytes:
    """All of it; the response is closed. Raises Failure."""
    if isinstance(response.stream, Whole):
        return response.stream.body
    pieces, size = [], 0
    try:
        async for piece in response.stream:
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_REPLY:
                raise Failure(FailureKind.BROKEN, "Cloudflare's answer is too large.", status=502)
    except httpx2.TransportError as failure:
        raise from_exception(failure) from failure
    finally:
        await response.aclose()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def origin_of(account: Account, response: Response, gateway: Gateway | None) -> Origin:
    return Origin(account.id, told(response.headers) if gateway else ())


def reply_in(response: Response, body: bytes, origin: Origin) -> Reply:
    """The reply in a response. Raises Failure if it is one, or nothing that can be read."""
    if response.status != 200:
        raise classify(response.status, response.named, body)
    content_type = response.header(b"content-type").lower()
    if content_type.startswith(BINARY):
        return Reply(body, body, 0.0 if is_hit(origin.headers) else neurons_of(response), origin)
    if b"json" not in content_type:
        raise Failure(FailureKind.BROKEN, "Cloudflare answered in an unexpected form.", status=502)
    value = loaded(body)
    failure = classify_event(value)
    if failure:
        raise failure
    if is_hit(origin.headers):
        return Reply(without_charge(unwrapped(value)), body, 0.0, origin)
    return Reply(unwrapped(value), body, neurons_of(response), origin)


def loaded(body: bytes) -> Any:
    """Raises Failure."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise Failure(FailureKind.BROKEN, "Cloudflare answered with broken JSON.", status=502) from failure


def unwrapped(value: Any) -> Any:
    """Out of the envelopes: `result` as long as `success` or `state` stands beside it."""
    while isinstance(value, dict) and "result" in value and ("success" in value or "state" in value):
        value = value["result"]
    return value
