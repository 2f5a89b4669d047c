"""What clients send to change a picture: a form, as OpenAI's clients do, or JSON, as gateways do."""

import re
from dataclasses import field
from functools import partial
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from app.catalog import Catalog
from app.catalog.pictures import editor, facts_of
from app.errors import BadRequestError
from app.media.loader import PictureLoader
from app.media.pictures import from_data_uri
from app.media.sources import to_mask, to_source
from app.routes.bodies import fault_of, read_body
from app.schemas.images import ImageEditRequest
from app.translators.edits import ImageEdit
from app.values import immutable

IMAGE_FIELD = re.compile(r"images?(?:\[[0-9]*\])?")
"""`image`, `image[]` twice, or `image[0]` from gateways."""

MOST_PICTURES = 16
"""OpenAI's limit."""

FETCHED_SIDE = 4096
"""Pixels; what a picture is fetched at, before it is fitted to the model."""


@immutable
class EditForm:
    """The fields, and the pictures as they came: bytes from a form, addresses or base64 from JSON."""

    request: ImageEditRequest
    pictures: list[bytes | str] = field(default_factory=list)
    mask: bytes | str | None = None


class EditForms:
    """Reads them, and makes of their pictures what the model takes."""

    def __init__(
        self, catalog: Catalog, loader: PictureLoader, limiter: CapacityLimiter, *, max_body_bytes: int
    ) -> None:
        self._catalog = catalog
        self._loader = loader
        self._limiter = limiter
        self._max_body_bytes = max_body_bytes

    async def read(self, schema: type[ImageEditRequest], scope: Scope, receive: Receive) -> EditForm:
        """Raises BadRequestError, RequestTooLargeError."""
        body = await read_body(scope, receive, max_bytes=self._max_body_bytes)
        if any(name == b"content-type" and value.startswith(b"multipart/") for name, value in scope["headers"]):
            fields, pictures, mask = await _form(scope, body)
        else:
            fields, pictures, mask = _json(body)
        try:
            request = schema.model_validate(fields)
        except ValidationError as failure:
            raise fault_of(failure) from failure
        if not pictures:
            raise BadRequestError("'image' is missing.", param="image", code="missing_required_parameter")
        return EditForm(request, pictures, mask)

    async def prepare(self, form: EditForm) -> tuple[str, ImageEdit]:
        """The name of the model that suits the pictures, and the edit for it. Raises APIStatusError."""
        if len(form.pictures) > MOST_PICTURES:
            raise BadRequestError(f"There can be {MOST_PICTURES} pictures.", param="image", code="invalid_value")
        name = editor(form.request.model, self._catalog, is_masked=form.mask is not None)
        side = facts_of(self._catalog.resolve(name).id).input_max_side
        sources = []
        for picture in form.pictures:
            data = await self._bytes(picture, "image")
            sources.append(await self._run(partial(to_source, data, max_side=side, param="image")))
        if form.mask is None:
            return name, ImageEdit(form.request, tuple(sources))
        mask = await self._bytes(form.mask, "mask")
        return name, ImageEdit(
            form.request, tuple(sources), await self._run(partial(to_mask, mask, sources[0], param="mask"))
        )

    async def _bytes(self, picture: bytes | str, param: str) -> bytes:
        if isinstance(picture, bytes):
            return picture
        uri = await self._loader.load(picture, max_side=FETCHED_SIDE, param=param)
        return from_data_uri(uri, param=param)

    async def _run(self, work: Any) -> bytes:
        made: bytes = await to_thread.run_sync(work, limiter=self._limiter)
        return made


Parts = tuple[dict[str, Any], list[bytes | str], bytes | str | None]


async def _form(scope: Scope, body: bytes) -> Parts:
    """A form's fields, pictures and mask."""

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    fields: dict[str, Any] = {}
    pictures: list[bytes | str] = []
    mask: bytes | str | None = None
    try:
        async with Request(scope, replay).form(max_files=MOST_PICTURES + 2, max_part_size=2**20) as form:
            for name, value in form.multi_items():
                content = await value.read() if isinstance(value, UploadFile) else value
                if name == "mask":
                    mask = content or None
                elif IMAGE_FIELD.fullmatch(name):
                    pictures.append(content)
                elif isinstance(content, str):
                    fields[name] = content
    except HTTPException as failure:  # what Starlette makes of its parser's failure inside an application
        raise BadRequestError(f"The form can't be read: {failure.detail}", code="invalid_form") from failure
    return fields, pictures, mask


def _json(body: bytes) -> Parts:
    """The same in JSON: pictures as data URIs, addresses or base64, by themselves or as `{"image_url": ...}`."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise BadRequestError("The body is neither a form nor valid JSON.", code="invalid_json") from failure
    if not isinstance(fields, dict):
        raise BadRequestError("The body must be an object.", code="invalid_value")
    given = fields.pop("images", None) or fields.pop("image", None) or []
    pictures: list[bytes | str] = [_address(each, "image") for each in (given if isinstance(given, list) else [given])]
    mask = fields.pop("mask", None)
    fields.pop("image", None)
    return fields, pictures, _address(mask, "mask") if mask else None


def _address(picture: Any, param: str) -> str:
    match picture:
        case str():
            return picture
        case {"image_url": str(url)} | {"image_url": {"url": str(url)}} | {"url": str(url)} | {"b64_json": str(url)}:
            return url
    message = f"'{param}' must be a picture's address, data URI or base64."
    raise BadRequestError(message, param=param, code="invalid_value")
