"""Images: made by the relay, finished here, and handed out as base64, by address, or in events."""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller
from app.errors import InternalServerError
from app.media.output import Finished, finished
from app.relay import Answer, Relay
from app.routes.edit_forms import EditForms
from app.routes.openai import Endpoint, options_in, told
from app.routes.origin import base_url
from app.routes.record import admitted
from app.routes.replies import send_json
from app.routes.streaming import client_watched, send_events
from app.schemas.images import ImageEditRequest, ImageOptions, ImageRequest
from app.stores.pictures import PictureStore
from app.translators.base import Translator
from app.translators.edits import ImageEdit
from app.translators.images import images
from app.values import immutable

logger = logging.getLogger("flarelay")

AT_ONCE = 2
"""Pictures that are decoded and encoded at the same time: each takes a core and tens of megabytes."""


@immutable
class PictureDesk:
    """Where finished pictures are handed out."""

    store: PictureStore
    public_base_url: str | None
    trust_forwarded: bool
    heartbeat_seconds: float
    limiter: CapacityLimiter

    async def hand_out(self, answer: Answer[list[bytes]], request: ImageOptions, scope: Scope, send: Send) -> None:
        """Every picture of the answer, decoded first: a broken one must not leave here. Raises APIStatusError."""
        made = await asyncio.gather(*(self.finish(data, request) for data in answer.body))
        headers = told(answer, scope["record"])
        if request.stream:
            scope["record"].stream = True
            kind = "image_edit.completed" if isinstance(request, ImageEditRequest) else "image_generation.completed"
            events = _events(kind, made, request, answer)
            await send_events(events, headers, send, heartbeat_seconds=self.heartbeat_seconds)
            return
        data = [await self._item(picture, request.response_format, scope) for picture in made]
        body = {"created": answer.plan.context.created, "data": data} | _common(made[0], request, answer)
        await send_json(body, send, headers=headers)

    async def finish(self, data: bytes, request: ImageOptions) -> Finished:
        finish = partial(finished, data, request.picture_format, request.output_compression)
        try:
            return await to_thread.run_sync(finish, limiter=self.limiter)
        except ValueError as failure:
            logger.warning("picture", extra={"fields": {"error": str(failure)}})
            message = "Cloudflare answered with a picture that is damaged."
            raise InternalServerError(message, status=502, code="upstream_error") from failure

    async def address(self, picture: Finished, scope: Scope) -> str:
        """Where the picture can be fetched from now on. Raises InternalServerError if there is no room for it."""
        try:
            name = await self.store.put(picture.data, f"image/{picture.format}")
        except OSError as failure:
            logger.exception("A picture can't be stored")
            message = "The picture can't be stored: the server's disk refuses it."
            raise InternalServerError(message, status=503, code="storage_failed") from failure
        base = base_url(scope, public_base_url=self.public_base_url, trusted_hops=self.trust_forwarded)
        return f"{base}/images/{name}"

    async def _item(self, picture: Finished, response_format: str | None, scope: Scope) -> dict[str, str]:
        """Without a wish both forms: newer clients read the base64, older ones the address."""
        if response_format == "url":
            return {"url": await self.address(picture, scope)}
        item = {"b64_json": _base64(picture)}
        if response_format is None:
            with suppress(InternalServerError):  # the base64 is there all the same
                item["url"] = await self.address(picture, scope)
        return item


class Generations(Endpoint[ImageRequest]):
    """`POST /v1/images/generations`."""

    def __init__(self, relay: Relay, auth: Auth, desk: PictureDesk, *, max_body_bytes: int) -> None:
        super().__init__(
            ImageRequest, images, relay, auth, max_body_bytes=max_body_bytes, heartbeat_seconds=desk.heartbeat_seconds
        )
        self._desk = desk

    async def _answer(self, request: ImageRequest, caller: Caller, scope: Scope, send: Send) -> None:
        answer = await self._relay.complete(self._translator, request.model, request, caller)
        await self._desk.hand_out(answer, request, scope, send)


class Edits:
    """`POST /v1/images/edits` and `/variations`: a form with pictures, or JSON that holds them."""

    def __init__(
        self,
        schema: type[ImageEditRequest],
        translator: Translator[ImageEdit, list[bytes]],
        relay: Relay,
        auth: Auth,
        desk: PictureDesk,
        forms: EditForms,
    ) -> None:
        self._schema = schema
        self._translator = translator
        self._relay = relay
        self._auth = auth
        self._desk = desk
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record, caller = admitted(scope, self._auth)
        form = await self._forms.read(self._schema, scope, receive)
        if self._auth.has_gateway and (extra := form.request.model_extra) and "gateway" in extra:
            caller = self._auth.with_options(caller, scope["headers"], options_in(extra))
        with client_watched(scope, receive):
            name, edit = await self._forms.prepare(form)
            record.model = name
            answer = await self._relay.complete(self._translator, name, edit, caller)
            await self._desk.hand_out(answer, edit.request, scope, send)


async def _events(
    kind: str, made: Sequence[Finished], request: ImageOptions, answer: Answer[Any]
) -> AsyncGenerator[bytes]:
    """Only whole pictures: no model shows what it has so far."""
    for picture in made:
        event = {"type": kind, "b64_json": _base64(picture), "created_at": answer.plan.context.created}
        yield b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(event | _common(picture, request, answer)))


def _common(picture: Finished, request: ImageOptions, answer: Answer[Any]) -> dict[str, Any]:
    """What is told of pictures whichever way they go out. Output tokens are a count that Cloudflare does not have."""
    width, height = picture.size
    tokens = answer.usage.prompt_tokens
    return {
        "background": "opaque",
        "output_format": picture.format,
        "quality": request.quality or "auto",
        "size": f"{width}x{height}",
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
            "output_tokens": 0,
            "total_tokens": tokens,
        },
    }


def _base64(picture: Finished) -> str:
    return base64.b64encode(picture.data).decode("ascii")


def routes(**endpoints: Edits) -> list[Route]:
    """`edits` and `variations`."""
    return [
        Route(f"{prefix}/images/{name}", endpoint, methods=["POST"])
        for name, endpoint in endpoints.items()
        for prefix in ("/v1", "")
    ]
