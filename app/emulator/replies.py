"""Reply: what goes back over HTTP, in pieces and at a pace."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Send

from app.emulator.faults import EdgeFault, Fault

JSON = "application/json"
EVENTS = "text/event-stream"
HTML = "<html><head><title>{status} Bad gateway</title></head><body>cloudflare: error {status}</body></html>"


@dataclass(frozen=True, slots=True)
class Reply:
    body: Iterable[bytes]
    status: int = 200
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    first_pause_seconds: float = 0
    pause_seconds: float = 0
    """Before every piece of the body."""
    is_dropped: bool = False
    """The connection closes where the body should end."""

    async def send(self, send: Send) -> None:
        await _pause(self.first_pause_seconds)
        headers = self.headers | ({"content-type": self.content_type} if self.content_type else {})
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        for piece in self.body:
            await _pause(self.pause_seconds)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not self.is_dropped:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pause(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None, **options: Any) -> Reply:
    data = orjson.dumps(body)
    length = {"content-length": str(len(data))}
    return Reply([data], status, headers=length | (headers or {}), **options)


def fault_reply(fault: Fault, request_id: str, quirks: frozenset[str]) -> Reply:
    headers = {"retry-after": str(fault.retry_after)} if fault.retry_after is not None else {}
    if "html-error" in quirks:
        status = fault.status if fault.status >= 500 else 502
        return Reply([HTML.format(status=status).encode()], status, "text/html; charset=UTF-8", headers)
    body = fault.body(request_id)
    if "string-code" in quirks:
        body["errors"] = [{key: str(value) for key, value in error.items()} for error in body["errors"]]
    if "error-200" in quirks:
        return json_reply({"error": {"message": body["errors"][0]["message"]}})
    is_edge = isinstance(fault, EdgeFault)
    return json_reply(body, 200 if "success-false-200" in quirks and not is_edge else fault.status, headers)


def sliced(body: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, wherever that cuts them."""
    rest = b""
    for piece in body:
        rest += piece
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest


def halved(body: Iterable[bytes]) -> list[bytes]:
    whole = b"".join(body)
    return [whole[: len(whole) // 2]]
