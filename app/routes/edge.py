"""What every request passes first and every answer last: its id, its path made plain, its line in the log, and the
catch for what nobody foresaw."""

import re
from collections.abc import Awaitable, Collection, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import APIStatusError
from app.logs import request_id
from app.routes.books import Books
from app.routes.record import Record
from app.routes.replies import Headers
from app.routes.streaming import ClientLeft

SLASHES = re.compile(r"/{2,}")
KEY_IN_PATH = re.compile(r"/(?!(?:v[123]|admin|billing)/)[^/]+(?=/(?:v[123]/)?(?:translate|usage|languages)$)")
KEYED = ("translate", "usage", "languages")
HIDDEN = "/{token}"
"""Some translation clients have no other place for a key, and paths are logged."""


DAILY_LIMIT = "daily_limit_reached"


class Edge:
    """ASGI middleware, the outermost one. Puts `record` into the scope, for the handlers to fill in."""

    def __init__(self, app: ASGIApp, books: Books | None = None, plain: Collection[str] = ()) -> None:
        """`plain`: the paths that most requests have, which are as they should be."""
        self._app = app
        self.books = books
        self._plain = frozenset(plain)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = shown = scope["path"]
        if path not in self._plain:
            path = scope["path"] = plain_path(path)
            shown = without_key(path)
        record = scope["record"] = Record(_request_id(scope["headers"]), scope["method"], shown)
        if books := self.books:
            record.books = books
            books.metrics.requests_open += 1
        id_header = (b"x-request-id", record.request_id.encode())

        def send_on(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                left = record.answer(message["status"])
                message["headers"] = [*message.get("headers", ()), id_header, *left]
            return send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            record.close()
            record.write()


class Options:
    """ASGI middleware: OPTIONS is answered on every path, also where it is no browser's preflight."""

    def __init__(self, app: ASGIApp, methods: Sequence[str]) -> None:
        self._app = app
        self._headers = [(b"allow", ", ".join(methods).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": self._headers})
        await send({"type": "http.response.body", "body": b""})


class Faults:
    """ASGI middleware, the innermost one: failures -> answers in OpenAI's shape, or in that of the API.

    Inside the CORS headers, without which a web page could not read the failure.
    """

    def __init__(self, app: ASGIApp, *, quota_ends_channel: bool = False) -> None:
        """`quota_ends_channel`: a spent allowance gets the name for which relays switch a channel off."""
        self._app = app
        self._quota_ends_channel = quota_ends_channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record: Record = scope["record"]
        try:
            await self._app(scope, receive, send)
        except ClientLeft:
            record.status = 499  # nginx's number for it; `first_byte_seconds` tells whether the answer had begun
            record.error = "client_left"
        except APIStatusError as error:
            record.fail(error)
            if record.status:
                raise  # too late for an answer: the connection has to break, so that nothing looks whole
            if self._quota_ends_channel and error.code == DAILY_LIMIT:
                error.type = error.code = "insufficient_quota"
            await record.refuse(error, send)
        except Exception as failure:
            crash = record.crash(failure)
            if record.status:
                raise
            await record.refuse(crash, send)


def _request_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"x-request-id":
            return request_id(value)
    return request_id(None)


def without_key(path: str) -> str:
    return KEY_IN_PATH.sub(HIDDEN, path) if path.rstrip().endswith(KEYED) else path


def plain_path(path: str) -> str:
    """Without doubled slashes, a slash at the end, or the `/v1` that gateways put before ours.

    OneAPI appends `/v1/...` to a base URL that users end with `/` or `/v1`.
    """
    path = SLASHES.sub("/", path) if "//" in path else path
    while path.startswith("/v1/v1/"):
        path = path[3:]
    return path.rstrip("/") or "/"
