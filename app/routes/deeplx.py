"""The DeepLX API: `/translate` for browser extensions and dictionaries, which put their key into the URL.

Where it differs from https://github.com/OwO-Network/DeepLX:

1. `/v1/translate` needs no session of a DeepL account; it is the same with `"method": "Pro"`.
2. White space alone is answered with itself.
3. GET does the same as POST, with the fields in the query.
4. The custom APIs of Immersive Translate and KISS Translator are answered at the same addresses.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from starlette.routing import Match, Route
from starlette.types import Scope

from app.auth import Auth
from app.calls import Caller
from app.errors import APIStatusError, NotFoundError
from app.routes.record import Record
from app.routes.translating import (
    UNAVAILABLE,
    Answer,
    Desk,
    Endpoint,
    Fields,
    headers_of,
    to_wish,
    translate,
    validated,
)
from app.schemas.deeplx import (
    DeepLXError,
    DeepLXRequest,
    DeepLXResponse,
    ImmersiveRequest,
    ImmersiveResponse,
    KissRequest,
    KissTranslation,
    dialect_of,
)
from app.translation.languages import deepl_code, immersive_code
from app.translation.wishes import Translation

Method = Literal["Free", "Pro"]

METHODS = ("GET", "POST")
RESERVED = ("v1", "v2", "v3")
"""No tokens: other APIs live there."""

FIRST_ID = 8_000_000_000
IDS = 1_000_000_000


class TokenRoute(Route):
    """`/{token}/translate`, as hosts of DeepLX have it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is not Match.NONE and child["path_params"]["token"] in RESERVED:
            return Match.NONE, {}
        return match, child


def routes(desk: Desk, auth: Auth, *, max_body_bytes: int) -> list[Route]:
    """The last one takes any first segment, so it has to stand behind all other routes."""

    def endpoint(method: Method) -> Endpoint:
        answering = partial(answer, desk, method)
        return Endpoint(answering, refusal, auth, methods=METHODS, max_body_bytes=max_body_bytes)

    free, pro = endpoint("Free"), endpoint("Pro")
    return [
        Route("/translate", free),
        Route("/v1/translate", pro),
        Route("/t/{token}/translate", free),
        TokenRoute("/{token}/translate", free),
    ]


async def answer(desk: Desk, method: Method, fields: Fields, caller: Caller, record: Record) -> Answer:
    request = validated(dialect_of(fields), fields)
    if type(request) is DeepLXRequest and not any(request.texts):
        raise NotFoundError("No text to translate", param="text")
    wish = replace(to_wish(request, request.texts), alternatives=0 if request.is_list else request.alternatives)
    translation = await translate(desk, wish, caller, record)
    return Answer(WRITERS[type(request)](request, translation, method), headers_of(translation, request.ignored))


def _deeplx(request: DeepLXRequest, translation: Translation, method: Method) -> DeepLXResponse:
    first = translation.texts[0]
    return {
        "code": 200,
        "id": FIRST_ID + secrets.randbelow(IDS),
        "data": [translated.text for translated in translation.texts] if request.is_list else first.text,
        "alternatives": list(first.alternatives),
        "source_lang": deepl_code(first.source, is_source=True),
        "target_lang": str(request.target_lang).strip().upper(),
        "method": method,
    }


def _immersive(_: DeepLXRequest, translation: Translation, __: Method) -> ImmersiveResponse:
    return {
        "translations": [
            {"detected_source_lang": immersive_code(translated.source), "text": translated.text}
            for translated in translation.texts
        ]
    }


def _kiss(request: DeepLXRequest, translation: Translation, _: Method) -> KissTranslation | list[KissTranslation]:
    rows: list[KissTranslation] = [
        {"text": translated.text, "src": immersive_code(translated.source)} for translated in translation.texts
    ]
    return rows if request.is_list else rows[0]


WRITERS: dict[type[DeepLXRequest], Callable[[DeepLXRequest, Translation, Method], Any]] = {
    DeepLXRequest: _deeplx,
    ImmersiveRequest: _immersive,
    KissRequest: _kiss,
}


def refusal(error: APIStatusError) -> tuple[int, DeepLXError]:
    status = 503 if error.status in UNAVAILABLE else error.status
    message = f"Invalid access token. {error.message}" if status == 401 else error.message
    return status, {"code": status, "message": message}
