"""What a call of ours says to Cloudflare: its headers, its content, and how long it waits."""

from functools import lru_cache

import orjson

from app import __version__
from app.calls import Call, Failure, FailureKind
from app.upstream.gateway import Gateway
from app.upstream.providers import is_provider_model, upstream_model
from app.upstream.wire import Timeouts

JSON = "application/json"

COMMON = [
    (b"accept", b"*/*"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"flarelay/" + __version__.encode()),
]


@lru_cache(maxsize=64)  # forms have a boundary of their own each
def common_to(content_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of all calls with content of that type."""
    return (*COMMON, (b"content-type", content_type.encode()))


def timeouts_of(connect: float, read: float) -> Timeouts:
    """Both in seconds."""
    return {"connect": connect, "read": read, "write": read, "pool": connect}


def content_of(call: Call, gateway: Gateway | None) -> bytes:
    """Raises Failure for a body that can't be written as JSON."""
    body = call.body
    if is_provider_model(call.model):
        body = body | {"model": upstream_model(call.model, gateway)}
    try:
        return orjson.dumps(body) if call.content is None else call.content
    except orjson.JSONEncodeError as failure:  # numbers of more than 64 bits, or too many levels
        raise Failure(FailureKind.BAD_REQUEST, f"The request can't be sent: {failure}.", status=400) from failure
