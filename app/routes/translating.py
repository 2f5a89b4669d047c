"""Translating: what the APIs that translate share: keys in URLs, bodies of any kind, what is told of an answer."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from app.auth import Auth
from app.calls import Caller, Usage
from app.errors import APIStatusError, BadRequestError, MethodNotAllowedError
from app.routes.bodies import fault_of, read_body
from app.routes.openai import LONGEST_HEADER
from app.routes.record import Record
from app.routes.replies import Headers, cost_headers, send_json
from app.routes.streaming import client_watched
from app.schemas.deepl import TranslationOptions
from app.translation.charges import by_call
from app.translation.languages import parse_source, parse_target
from app.translation.wishes import Manner, Translated, Translation, Wish

KEYS = ("token", "password", "key", "auth_key")
"""Query fields in which clients that can't set a header send a key."""

MOST_FIELDS = 10_000

LISTED = re.compile(r"\[\d*\]$")
"""`text[]`, `text[0]`: how some clients write a list."""

BLANK = b"\xef\xbb\xbf \t\r\n"

UNAVAILABLE = (502, 504)
"""Clients know one status for an upstream that fails: 503."""

Schema = TypeVar("Schema", bound=BaseModel)
Fields = dict[str, Any]


class Desk(Protocol):
    """Who translates."""

    async def translate(self, wish: Wish, caller: Caller) -> Translation:
        """Raises APIStatusError."""

    async def characters(self, caller: Caller) -> int:
        """What the caller has had translated in this month."""


class Answer(NamedTuple):
    body: Any
    headers: Headers


Answering = Callable[[Fields, Caller, Record], Awaitable[Answer]]
Refusing = Callable[[APIStatusError], tuple[int, Any]]
"""A failure -> status and body in the API's own shape."""


class Endpoint:
    """Plain ASGI, for every method: also a refusal has the shape of its API, and tells no key that is in the path."""

    def __init__(
        self, answer: Answering, refuse: Refusing, auth: Auth, *, methods: Sequence[str], max_body_bytes: int
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._auth = auth
        self._methods = methods
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["record"]
        try:
            body, headers = await self._answered(scope, receive, record)
            status = 200
        except APIStatusError as error:
            record.error = error.code
            status, body = self._refuse(error)
            headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
        await send_json(body, send, status=status, headers=headers)

    async def _answered(self, scope: Scope, receive: Receive, record: Record) -> Answer:
        if scope["method"] not in self._methods:
            raise MethodNotAllowedError(f"{record.path} takes {' and '.join(self._methods)}, not {scope['method']}.")
        caller = self._auth.identify_translator(scope["headers"], _tokens(scope))
        record.admit(caller)
        content = await read_body(scope, receive, max_bytes=self._max_body_bytes)
        fields = await read_fields(scope, content)
        with client_watched(scope, receive):
            return await self._answer(fields, caller, record)


def _tokens(scope: Scope) -> list[str]:
    """Every key in the URL. A `+` that nobody has encoded is more likely part of a key than a space."""
    query = _query(scope)
    pairs = [pair for each in dict.fromkeys((query.replace("+", "%2B"), query)) for pair in _pairs(each)]
    return [scope["path_params"].get("token", ""), *(value for name, value in pairs if name in KEYS)]


async def read_fields(scope: Scope, content: bytes) -> Fields:
    """The fields of a body, and of the query those that the body does not have. Lists where they are repeated.

    A body is JSON if it looks like it, whatever content type it has. Raises BadRequestError.
    """
    query = {name: value for name, value in _grouped(_pairs(_query(scope))).items() if name not in KEYS}
    content_type = next((value.lower() for name, value in scope["headers"] if name == b"content-type"), b"")
    if content_type.startswith(b"multipart/form-data"):
        return query | await _multipart(scope, content)
    content = content.strip(BLANK)
    if content[:1] != b"{" and (b"=" in content or not content) and b"json" not in content_type:
        return query | _grouped(_pairs(content.decode("utf-8", "replace")))
    return query | (_object(content) if content else {})


def _query(scope: Scope) -> str:
    text: str = scope["query_string"].decode("utf-8", "replace")
    return text


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as failure:
        raise BadRequestError(f"There are more than {MOST_FIELDS} fields.", code="invalid_form") from failure


def _grouped(pairs: Iterable[tuple[str, str]]) -> Fields:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(LISTED.sub("", name), []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in groups.items()}


async def _multipart(scope: Scope, content: bytes) -> Fields:
    async def replay() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    try:
        async with Request(scope, replay).form(max_fields=MOST_FIELDS, max_part_size=len(content)) as form:
            return _grouped((name, value) for name, value in form.multi_items() if isinstance(value, str))
    except HTTPException as failure:  # what Starlette makes of its parser's failure inside an application
        raise BadRequestError(f"The form can't be read: {failure.detail}", code="invalid_form") from failure


def _object(content: bytes) -> Fields:
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError as failure:
        raise BadRequestError(f"The body is not valid JSON: {failure}", code="invalid_json") from failure
    if not isinstance(fields, dict):
        raise BadRequestError("The body must be an object.", code="invalid_value")
    return fields


def validated(schema: type[Schema], fields: Fields) -> Schema:
    """Raises BadRequestError with the first fault."""
    try:
        return schema.model_validate(fields)
    except ValidationError as failure:
        raise fault_of(failure) from failure


def to_wish(options: TranslationOptions, texts: tuple[str, ...]) -> Wish:
    """What all the APIs can ask for. Raises BadRequestError for a language that is unknown, or no target."""
    target = _language(parse_target, options.target_lang, "target_lang")
    if target is None:
        message = "'target_lang' is missing: the language to translate into, such as EN or ZH-HANS."
        raise BadRequestError(message, param="target_lang", code="missing_required_parameter")
    return Wish(
        texts,
        target,
        source=_language(parse_source, options.source_lang, "source_lang"),
        model=options.model,
        markup=options.tag_handling,
        manner=Manner(options.formality, options.context, glossary=options.glossary),
    )


def _language(parse: Callable[[str | None], str | None], code: str | None, param: str) -> str | None:
    try:
        return parse(code)
    except ValueError as failure:
        message = (
            f"The language '{str(code)[:50]}' in '{param}' is not supported. GET /v2/languages lists those that are."
        )
        raise BadRequestError(message, param=param, code="unsupported_language") from failure


async def translate(desk: Desk, wish: Wish, caller: Caller, record: Record) -> Translation:
    """What the desk makes of a wish, noted down. White space comes back as it is, and where there is nothing else
    nobody is asked: then `model` is empty. Raises APIStatusError.
    """
    record.model = wish.model
    texts = tuple(text for text in wish.texts if text.strip())
    if not texts:
        return Translation(tuple(_unchanged(text, wish) for text in wish.texts), "")
    translation = await desk.translate(replace(wish, texts=texts), caller)
    record.ran = translation.model
    record.usage = Usage(neurons=translation.neurons, is_priced=_is_priced(translation))
    paid = tuple(by_call(translation.charges))
    record.accounts, record.shares = tuple(account for account, _ in paid), tuple(neurons for _, neurons in paid)
    translated = iter(translation.texts)
    return replace(
        translation,
        texts=tuple(next(translated) if text.strip() else _unchanged(text, wish) for text in wish.texts),
    )


def _unchanged(text: str, wish: Wish) -> Translated:
    """Clients want a language for everything."""
    return Translated(text, wish.source or "en", characters=len(text))


def headers_of(translation: Translation, ignored: Sequence[str]) -> Headers:
    """What there is to tell beside the texts."""
    headers: Headers = []
    if translation.model:
        headers.append((b"x-flarelay-model", translation.model.encode()))
    headers += cost_headers(translation.neurons, is_priced=_is_priced(translation))
    if translation.units:
        headers.append((b"x-flarelay-cache", _cache(translation)))
    if translation.remedies:
        headers.append((b"x-flarelay-remedy", ", ".join(translation.remedies).encode()))
    if names := ", ".join([*ignored, *translation.ignored])[:LONGEST_HEADER]:
        headers.append((b"x-flarelay-ignored", names.encode("unicode_escape")))  # they are the caller's: any text
    return headers


def _is_priced(translation: Translation) -> bool:
    return any(charge.is_priced for charge in translation.charges)


def _cache(translation: Translation) -> bytes:
    if not translation.cached:
        return b"miss"
    return b"hit" if translation.cached >= translation.units else b"partial"
