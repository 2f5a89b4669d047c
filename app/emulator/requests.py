"""A request as the emulator received it, for tests to look at, and the reading of one."""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Scope


class ClientGone(Exception):  # noqa: N818 - not a failure of ours
    """The client left before it had sent the whole body."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    method: str
    path: str
    """As on the wire: percent-encoded, without the query."""
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Parsed if it is JSON, else bytes."""
    size: int
    """Bytes of the body, as far as it was kept."""


async def receive_request(scope: Scope, receive: Receive, max_bytes: int) -> ReceivedRequest:
    """Reads the whole body. Of one larger than `max_bytes` only the start is kept, and `size` is some number above.

    Raises ClientGone.
    """
    data, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if len(data) <= max_bytes:
            data += message.get("body", b"")
        more = message.get("more_body", False)
    return ReceivedRequest(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=_parsed(bytes(data[: max_bytes + 1])),
        size=len(data),
    )


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
