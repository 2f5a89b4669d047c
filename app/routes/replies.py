"""Whole answers, by the bare protocol: what a response class would add is not needed here."""

from collections.abc import Awaitable
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Send

from app.errors import APIStatusError

Headers = list[tuple[bytes, bytes]]


def cost_headers(neurons: float | None, *, is_priced: bool) -> Headers:
    """What an answer cost, as far as it is known, and whether that only follows from the price list."""
    if neurons is None:
        return []
    headers = [(b"x-flarelay-neurons", b"%.6g" % neurons)]
    return [*headers, (b"x-flarelay-neurons-estimated", b"true")] if is_priced else headers


def send_json(body: Any, send: Send, *, status: int = 200, headers: Headers | None = None) -> Awaitable[None]:
    return send_bytes(orjson.dumps(body), "application/json", send, status=status, headers=headers)


async def send_bytes(
    content: bytes, content_type: str, send: Send, *, status: int = 200, headers: Headers | None = None
) -> None:
    fixed = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": content})


def to_response(body: BaseModel) -> Response:
    """For the handlers that return one."""
    return Response(body.model_dump_json(), media_type="application/json")


async def send_error(error: APIStatusError, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
    await send_json(error.envelope(), send, status=error.status, headers=headers)
