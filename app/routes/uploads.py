"""A form with a file: spooled to disk while it comes in, so that its size costs no memory."""

import base64
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from typing import IO, Any

import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from app.errors import BadRequestError
from app.routes.bodies import announced_length, read_body, too_large
from app.routes.streaming import ClientLeft
from app.values import immutable

FORM_OVERHEAD = 2**20
"""Bytes that the other fields and the lines between them may take, beside the file."""
MOST_FIELDS = 100
LARGEST_FIELD = 2**20

NESTED = re.compile(r"([^\[\]]+)\[(?!\d+\])([^\[\]]+)\]")
"""`chunking_strategy[type]`: how OpenAI's clients write an object."""
LISTED = re.compile(r"\[\d*\]$")
"""`languages[]`: how they write a list; other clients count, `languages[0]`."""


@immutable
class Upload:
    fields: dict[str, Any]
    """Texts, lists of them where the name ends in `[]` or `[0]` or comes up again, objects where it is nested."""
    file: IO[bytes]
    """At its beginning; closed when the request is over."""
    size: int


@asynccontextmanager
async def uploaded(scope: Scope, receive: Receive, *, max_bytes: int, max_json_bytes: int) -> AsyncGenerator[Upload]:
    """The form's fields and its `file`; or the same in JSON, with base64 in `input_audio`, as Open WebUI sends it.

    Raises BadRequestError, RequestTooLargeError, ClientLeft.
    """
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    kind = content_type.partition(b";")[0].strip().lower()
    if not kind.startswith(b"multipart/"):
        yield _from_json(await read_body(scope, receive, max_bytes=max_json_bytes))
        return
    if kind != b"multipart/form-data":
        raise _not_a_form()
    if announced_length(scope) > max_bytes + FORM_OVERHEAD:
        raise too_large(max_bytes)
    request = Request(scope, _counted(receive, max_bytes + FORM_OVERHEAD))
    try:
        form = await _Parser(request).parse()
    except MultiPartException as failure:
        raise BadRequestError(f"The form can't be read: {failure.message}", code="invalid_form") from failure
    except ClientDisconnect as failure:
        raise ClientLeft from failure
    try:
        yield _from_form(form, max_bytes)
    finally:
        _close(form)


class _Parser(MultiPartParser):
    """Starlette's own takes a form that ends early for a whole one, and leaves the file in it open."""

    def __init__(self, request: Request) -> None:
        limits = {"max_files": 1, "max_fields": MOST_FIELDS, "max_part_size": LARGEST_FIELD}
        super().__init__(request.headers, request.stream(), **limits)
        self._is_whole = False

    def on_end(self) -> None:
        self._is_whole = True

    async def parse(self) -> FormData:
        async with aclosing(self.stream):
            form = await super().parse()
        if not self._is_whole:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("It ends early.")
        return form


def _counted(receive: Receive, most: int) -> Callable[[], Awaitable[Message]]:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise too_large(most - FORM_OVERHEAD)
        return message

    return counted


def _from_form(form: FormData, max_bytes: int) -> Upload:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _missing()
    size = file.size or 0
    if size > max_bytes:
        raise too_large(max_bytes)
    return Upload(_fields(form), file.file, size)


def _close(form: FormData) -> None:
    """At once: Starlette's own way leads through a thread, which a request that is cancelled never gets."""
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            value.file.close()


def _fields(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(form.keys()):
        values = [value for value in form.getlist(name) if isinstance(value, str)]
        if nested := NESTED.fullmatch(name):
            fields[nested[1]] = _object(fields.get(nested[1])) | {nested[2]: values[-1]}
        elif values:
            plain = LISTED.sub("", name)
            is_one = len(values) == 1 and plain == name and plain not in fields
            fields[plain] = values[0] if is_one else _list(fields.get(plain)) + values
    return fields


def _object(known: Any) -> dict[str, Any]:
    return known if isinstance(known, dict) else {}


def _list(known: Any) -> list[Any]:
    return known if isinstance(known, list) else [known] if known is not None else []


def _from_json(body: bytes) -> Upload:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise _not_a_form() from failure
    if not isinstance(fields, dict):
        raise BadRequestError("The body must be an object.", code="invalid_value")
    sound = fields.pop("input_audio", None)
    text = sound.get("data") if isinstance(sound, dict) else fields.pop("file", None)
    if not isinstance(text, str):
        raise _missing()
    try:
        data = base64.b64decode(text.rpartition(",")[2], validate=True)
    except ValueError as failure:  # binascii.Error, or another one for what isn't even ASCII
        raise BadRequestError(
            "'input_audio.data' must be base64.", param="input_audio", code="invalid_value"
        ) from failure
    return Upload(fields, BytesIO(data), len(data))


def _not_a_form() -> BadRequestError:
    message = "The body must be a form (multipart/form-data) with the recording in its part 'file'."
    return BadRequestError(message, code="invalid_form")


def _missing() -> BadRequestError:
    return BadRequestError("'file' is missing: the recording.", param="file", code="missing_required_parameter")
