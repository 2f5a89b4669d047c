"""Chat completions: a model that makes pictures answers with one, every other as the plain endpoint does."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller
from app.catalog import Catalog
from app.relay import Answer, Relay
from app.routes.bodies import validated
from app.routes.edit_forms import EditForm, EditForms
from app.routes.images import PictureDesk
from app.routes.openai import Endpoint, told
from app.routes.replies import send_json
from app.routes.streaming import client_watched, send_events
from app.schemas.chat import ChatCompletionRequest
from app.schemas.images import ImageOptions
from app.translators.chat import chat
from app.translators.chat_writer import ChatStream, to_completion
from app.translators.edits import edits
from app.translators.images import images
from app.translators.picture_chat import (
    sources_in,
    to_chat_plan,
    to_chat_replies,
    to_edit_request,
    to_image_request,
)

PICTURES = "text-to-image"

RawHeaders = Sequence[tuple[bytes, bytes]]

Made = tuple[Answer[list[bytes]], ImageOptions]


class Chats(Endpoint[ChatCompletionRequest]):
    """`POST /v1/chat/completions`."""

    def __init__(
        self,
        relay: Relay,
        auth: Auth,
        catalog: Catalog,
        desk: PictureDesk,
        forms: EditForms,
        *,
        max_body_bytes: int,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(
            ChatCompletionRequest,
            chat,
            relay,
            auth,
            max_body_bytes=max_body_bytes,
            heartbeat_seconds=heartbeat_seconds,
        )
        self._catalog = catalog
        self._desk = desk
        self._forms = forms

    async def answer(self, request: ChatCompletionRequest, headers: RawHeaders, scope: Scope, send: Send) -> None:
        """A request that came in another way, with the headers that hold its key."""
        caller = self._auth.identify(headers)
        scope["record"].admit(caller)
        scope["record"].model = request.model
        await self._answer(request, caller, scope, send)

    def _answer(
        self, request: ChatCompletionRequest, caller: Caller, scope: Scope, send: Send
    ) -> Coroutine[Any, Any, None]:
        if self._catalog.resolve(request.model).task != PICTURES:
            return super()._answer(request, caller, scope, send)
        return self._picture(request, caller, scope, send)

    async def _picture(self, request: ChatCompletionRequest, caller: Caller, scope: Scope, send: Send) -> None:
        if request.stream:
            await self._stream_picture(request, caller, scope, send)
        else:
            made = await self._make(request, caller)
            body = await self._written(request, made, scope)
            await send_json(body, send, headers=told(made[0], scope["record"]))

    async def _make(self, request: ChatCompletionRequest, caller: Caller) -> Made:
        if sources := sources_in(request):
            options = to_edit_request(request)
            name, edit = await self._forms.prepare(EditForm(options, list(sources)))
            return await self._relay.complete(edits, name, edit, caller), options
        wish = to_image_request(request)
        return await self._relay.complete(images, request.model, wish, caller), wish

    async def _written(self, request: ChatCompletionRequest, made: Made, scope: Scope) -> dict[str, Any]:
        plan, replies = await self._told_as_chat(request, made, scope)
        body, _ = to_completion(plan, replies)
        return body

    async def _told_as_chat(self, request: ChatCompletionRequest, made: Made, scope: Scope) -> tuple[Any, Any]:
        """Hosted, since a picture inside a line of a stream is longer than many clients can read."""
        answer, options = made
        pictures = [await self._desk.finish(data, options) for data in answer.body]
        addresses = [await self._desk.address(picture, scope) for picture in pictures]
        return to_chat_plan(request, answer.plan), to_chat_replies(addresses, answer.usage.prompt_tokens)

    async def _stream_picture(self, request: ChatCompletionRequest, caller: Caller, scope: Scope, send: Send) -> None:
        """A failure has its status if it comes soon; a model that takes longer is covered by heartbeats."""
        making = asyncio.create_task(self._make(request, caller))
        try:
            await asyncio.wait([making], timeout=self._heartbeat_seconds)
            headers = told((await making)[0], scope["record"]) if making.done() else []
            failure = await send_events(
                self._chunks(request, making, scope), headers, send, heartbeat_seconds=self._heartbeat_seconds
            )
            scope["record"].error = failure.code if failure else None
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)

    async def _chunks(
        self, request: ChatCompletionRequest, making: "asyncio.Task[Made]", scope: Scope
    ) -> AsyncGenerator[bytes]:
        made = await making
        told(made[0], scope["record"])
        plan, replies = await self._told_as_chat(request, made, scope)
        stream = ChatStream(plan)
        for choice, reply in enumerate(replies):
            yield stream.replay(choice, reply)
        yield stream.end()


class ChatLink:
    """`GET /v1/chat/completions?model=&prompt=&key=`: a link for trying a model in a browser.

    Its key stands in histories and in the logs of proxies, so it is there only if the settings say so.
    """

    def __init__(self, chats: Chats) -> None:
        self._chats = chats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        given = [(b"authorization", b"Bearer " + fields.pop("key").encode())] if fields.get("key") else scope["headers"]
        request = validated(ChatCompletionRequest, _body(fields))
        with client_watched(scope, receive):
            await self._chats.answer(request, given, scope, send)


def _body(fields: dict[str, str]) -> bytes:
    """The chat that the link stands for. Other fields, such as `size`, pass as they are."""
    message = {"role": "user", "content": fields.pop("prompt", "")}
    return orjson.dumps(fields | {"messages": [message], "stream": False})
