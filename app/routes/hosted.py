"""`GET /images/{name}`: stored pictures, for anyone who knows the name.

Starlette's FileResponse is not used. It answers 400 to a Range that RFC 9110 has us ignore, obeys a Range on HEAD,
knows no 304, and sends its headers before it opens the file, which may be gone by then.
"""

import re
from contextlib import aclosing

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.errors import BadRequestError, NotFoundError
from app.routes.replies import send_json
from app.routes.streaming import client_watched
from app.stores.pictures import PictureStore, Stored

HEADERS = [
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"accept-ranges", b"bytes"),
    (b"content-disposition", b"inline"),
    # What is in a picture is up to whoever wrote the prompt: a browser must not take it for anything else.
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]

ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class Hosted:
    """Plain ASGI, so that an answer begins when its first bytes are there."""

    def __init__(self, store: PictureStore) -> None:
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["record"].path = "/images/{name}"  # whoever reads the log could see the picture otherwise
        picture = await self._store.get(scope["path_params"]["name"])
        if picture is None:
            raise _gone()
        etag = f'"{picture.name}"'  # strong: the bytes behind a name never change
        headers = Headers(scope=scope)
        if is_known(", ".join(headers.getlist("if-none-match")), etag):
            await send(_start(304, etag))
            await send({"type": "http.response.body", "body": b""})
            return
        is_head = scope["method"] == "HEAD"
        is_whole = is_head or headers.get("if-range", etag) != etag  # a Range counts on GET only: RFC 9110, 14.2
        part = None if is_whole else byte_range(", ".join(headers.getlist("range")), picture.size)
        if part is not None and not part:
            await _refuse(picture, scope, send)
        elif is_head:
            await send(_start(200, etag, picture))
            await send({"type": "http.response.body", "body": b""})
        else:
            with client_watched(scope, receive):
                await self._send(picture, part, etag, send)

    async def _send(self, picture: Stored, part: range | None, etag: str, send: Send) -> None:
        wanted = range(picture.size) if part is None else part
        async with aclosing(self._store.read(picture, wanted.start, wanted.stop)) as pieces:
            try:
                first = await anext(pieces, b"")
            except FileNotFoundError as failure:
                raise _gone() from failure
            await send(_start(200 if part is None else 206, etag, picture, part))
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def is_known(if_none_match: str, etag: str) -> bool:
    """Whether the client has the picture already, by the weak comparison of RFC 9110, 13.1.2."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def byte_range(text: str, size: int) -> range | None:
    """The bytes that a Range header asks for; empty if there are none, None if all of them are to be sent.

    Those are RFC 9110's rules (14.1.1 to 14.2): what is malformed or of another unit is ignored. So is a list of
    ranges, which a server need not obey.
    """
    match = ONE_RANGE.fullmatch(text)
    first, last = match.groups() if match else ("", "")
    if not first and not last:
        return None
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(min(int(first), size), min(int(last) + 1, size) if last else size)


def _start(status: int, etag: str, picture: Stored | None = None, part: range | None = None) -> Message:
    headers = [(b"etag", etag.encode()), *HEADERS]
    if picture:
        length = picture.size if part is None else len(part)
        headers += [(b"content-type", picture.media_type.encode()), (b"content-length", b"%d" % length)]
    if picture and part:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, picture.size)))
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _refuse(picture: Stored, scope: Scope, send: Send) -> None:
    error = BadRequestError(
        f"The picture has {picture.size} bytes, and none in this range.", status=416, code="range_not_satisfiable"
    )
    scope["record"].error = error.code
    headers = [(b"content-range", b"bytes */%d" % picture.size), (b"accept-ranges", b"bytes")]
    await send_json(error.envelope(), send, status=error.status, headers=headers)


def _gone() -> NotFoundError:
    return NotFoundError("There is no picture of this name. Pictures are kept for a limited time.")


def routes(store: PictureStore) -> list[Route]:
    return [Route("/images/{name}", Hosted(store), methods=["GET", "HEAD"])]
