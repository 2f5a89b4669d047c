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
    """Parsed if it says that it is JSON, and is; else bytes."""
    size: int
    """Bytes of the body, as far as it was kept."""

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case; empty if the request names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


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
    kept = bytes(data[: max_bytes + 1])
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return ReceivedRequest(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=_parsed(kept) if "json" in headers.get("content-type", "").lower() else kept,
        size=len(data),
    )


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
