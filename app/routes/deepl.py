"""DeepL's API, version 2, for its own clients and all that speak it: texts, languages, usage.

Where it differs from https://developers.deepl.com/api-reference:

1. There are no glossaries, style rules, translation memories, documents and DeepL Write: the lists of them are empty,
   and to name a glossary is a fault. `glossary`, an object of terms, takes its place.
2. `model` names a model of the catalogue; `model_type` has no effect.
3. A text is at most as long as a body may be, and there may be 1000 in one request.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from starlette.routing import Route

from app.auth import Auth
from app.calls import Caller
from app.errors import APIStatusError, BadRequestError, NotFoundError
from app.routes.record import Record
from app.routes.translating import (
    UNAVAILABLE,
    Answer,
    Answering,
    Desk,
    Endpoint,
    Fields,
    headers_of,
    to_wish,
    translate,
    validated,
)
from app.schemas.deepl import DeepLError, DeepLLanguage, DeepLRequest, DeepLResponse, DeepLTranslation, DeepLUsage
from app.translation.languages import deepl_code, deepl_languages
from app.translation.wishes import Translated, Wish

CHARACTER_LIMIT = 1_000_000_000_000
"""Clients stop when it is reached, and nothing here ends at a number of characters."""

QUOTA_EXCEEDED = 456

Kind = Literal["source", "target"]

EMPTY = {
    "/v2/glossaries": "glossaries",
    "/v2/glossary-language-pairs": "supported_languages",
    "/v3/glossaries": "glossaries",
    "/v3/style_rules": "style_rules",
    "/v3/translation_memories": "translation_memories",
}
"""Path -> the list that is empty."""

ABSENT = (
    "/v2/document",
    "/v2/document/{rest:path}",
    "/v2/glossaries/{rest:path}",
    "/v2/write/{rest:path}",
    "/v3/glossaries/{rest:path}",
    "/v3/style_rules/{rest:path}",
    "/v3/translation_memories/{rest:path}",
)
ANY = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


def routes(desk: Desk, auth: Auth, *, has_formality: bool, max_body_bytes: int) -> list[Route]:
    """`has_formality`: the model that translates can be asked for it."""

    def route(path: str, answer: Answering, methods: Sequence[str]) -> Route:
        return Route(path, Endpoint(answer, refusal, auth, methods=methods, max_body_bytes=max_body_bytes))

    return [
        route("/v2/translate", partial(translations, desk), ["POST"]),
        route("/v2/usage", partial(usage, desk), ["GET", "POST"]),
        route("/v2/languages", partial(languages, has_formality), ["GET", "POST"]),
        *(route(path, partial(empty, name), ["GET"]) for path, name in EMPTY.items()),
        *(route(path, absent, ANY) for path in ABSENT),
    ]


async def translations(desk: Desk, fields: Fields, caller: Caller, record: Record) -> Answer:
    request = validated(DeepLRequest, fields)
    translation = await translate(desk, _wish(request), caller, record)
    body: DeepLResponse = {"translations": [_row(request, translated) for translated in translation.texts]}
    return Answer(body, headers_of(translation, request.ignored))


def _wish(request: DeepLRequest) -> Wish:
    if request.glossary_id or request.glossary_ids:
        message = "There is no such glossary. Send its terms as an object, 'glossary'."
        raise BadRequestError(message, param="glossary_id", code="glossary_not_found")
    wish = to_wish(request, request.text)
    return replace(
        wish,
        split="none" if request.split_sentences == "0" else "sentences",
        preserve_formatting=request.preserve_formatting,
        manner=replace(wish.manner, instructions=request.custom_instructions),
        ignore_tags=request.ignore_tags,
        splitting_tags=request.splitting_tags,
        non_splitting_tags=request.non_splitting_tags,
    )


def _row(request: DeepLRequest, translated: Translated) -> DeepLTranslation:
    row: DeepLTranslation = {
        "detected_source_language": deepl_code(translated.source, is_source=True),
        "text": translated.text,
    }
    if request.show_billed_characters:
        row["billed_characters"] = translated.characters
    if request.model_type:
        row["model_type_used"] = request.model_type.removeprefix("prefer_")
    return row


async def usage(desk: Desk, _fields: Fields, caller: Caller, _record: Record) -> Answer:
    count = await desk.characters(caller)
    body: DeepLUsage = {"character_count": min(count, CHARACTER_LIMIT - 1), "character_limit": CHARACTER_LIMIT}
    return Answer(body, [])


async def languages(has_formality: bool, fields: Fields, _caller: Caller, _record: Record) -> Answer:
    kind: Any = fields.get("type") or "source"
    if kind not in get_args(Kind):
        raise BadRequestError("'type' must be 'source' or 'target'.", param="type", code="invalid_value")
    rows: list[DeepLLanguage] = [{"language": code, "name": name} for code, name in deepl_languages(kind)]
    if kind == "target":
        rows = [{**row, "supports_formality": has_formality} for row in rows]
    return Answer(rows, [])


async def empty(name: str, _fields: Fields, _caller: Caller, _record: Record) -> Answer:
    return Answer({name: []}, [])


async def absent(_fields: Fields, _caller: Caller, record: Record) -> Answer:
    raise NotFoundError(f"There is no {record.method} {record.path} here: this server translates texts only.")


def refusal(error: APIStatusError) -> tuple[int, DeepLError]:
    body: DeepLError = {"message": error.message}
    if detail := ": ".join(part for part in (error.code, error.param) if part):
        body["detail"] = detail
    return _status(error), body


def _status(error: APIStatusError) -> int:
    """DeepL's clients know a wrong key as 403 only."""
    if error.status == 401:
        return 403
    if error.code == "daily_limit_reached":
        return QUOTA_EXCEEDED
    return 503 if error.status in UNAVAILABLE else error.status
