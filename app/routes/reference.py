"""The OpenAPI document: FastAPI's own, and the plain ASGI endpoints, which it can't see, beside it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.routes import messages
from app.routes.openai import EVENTS_OR_JSON, FORMS, ROWS
from app.schemas.errors import ErrorBody
from app.schemas.messages import MessagesErrorBody
from app.schemas.models import Health, ModelCard, ModelCards, Voices

REFERENCE = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}

ERRORS = {
    "400": "The request can't be answered; `param` names what is wrong",
    "401": "The key is missing or wrong",
    "404": "There is no such model",
    "413": "The body is too large",
    "429": "Too many requests, or the day's neurons are spent",
    "500": "The server failed",
    "502": "Cloudflare failed",
    "503": "Cloudflare has no capacity, or refuses the server's own credentials",
    "504": "Cloudflare did not answer in time",
}
OWN_ERRORS = {
    "400": "The request can't be answered; the message names what is wrong",
    str(messages.OVERLOADED): "Cloudflare has no capacity: it is worth waiting",
}
"""The same of Anthropic's endpoints, where they differ."""


class Read(NamedTuple):
    """A GET without a body, which FastAPI does not see either."""

    path: str
    tag: str
    summary: str
    answer: type[BaseModel]


READS = (
    Read("/v1/models", "models", "Every model of the catalogue, with what the account's own list adds", ModelCards),
    Read("/v1/models/{model}", "models", "One model, by its id or by any other name that leads to it", ModelCard),
    Read("/v1/audio/voices", "models", "The speakers of the text-to-speech models", Voices),
    Read("/health", "health", "200 as soon as the server takes requests", Health),
)


def describe(app: FastAPI) -> None:
    """Make `app.openapi` tell of every endpoint."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = own()
            _add(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _add(document: dict[str, Any]) -> None:
    bodies = [
        *(body for each in messages.ENDPOINTS for body in (each.request, each.answer)),
        ErrorBody,
        MessagesErrorBody,
    ]
    shown: list[Any] = [(each, "validation") for each in (*(row.schema for row in (*ROWS, *FORMS)), *bodies)]
    shown += [(read.answer, "serialization") for read in READS]
    _, definitions = models_json_schema(shown, ref_template=REFERENCE)
    document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for row in ROWS:
        body: dict[str, Any] = {"application/json": {"schema": _schema(row.schema)}}
        document["paths"][row.paths[0]] = {"post": _operation(row.paths[0], row.summary, body, row.answers)}
    for form in FORMS:
        file: dict[str, Any] = {"type": "object", "required": [form.file], "properties": {form.file: BINARY}}
        body = {"multipart/form-data": {"schema": {"allOf": [_schema(form.schema), file]}}}
        document["paths"][form.path] = {"post": _operation(form.path, form.summary, body, form.answers)}
    for each in messages.ENDPOINTS:
        document["paths"][each.path] = {"post": _messages_operation(each)}
    for read in READS:
        document["paths"][read.path] = {"get": _read_operation(read)}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own shape of error, which is never sent
            for status, meaning in ERRORS.items():
                operation["responses"].setdefault(status, _response(meaning, ErrorBody))


def _operation(path: str, summary: str, body: dict[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    return {
        "tags": ["openai"],
        "summary": summary,
        "operationId": _identifier(path),
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "The answer; server-sent events if they were asked for",
                "content": {content_type: {} for content_type in answers},
            }
        },
    }


def _messages_operation(described: messages.Described) -> dict[str, Any]:
    """One of Anthropic's, whose failures have a shape of their own."""
    body: dict[str, Any] = {"application/json": {"schema": _schema(described.request)}}
    answers = EVENTS_OR_JSON if described.has_stream else EVENTS_OR_JSON[:1]
    operation = _operation(described.path, described.summary, body, answers)
    operation["tags"] = ["anthropic"]
    operation["responses"]["200"]["content"]["application/json"] = {"schema": _schema(described.answer)}
    for status, meaning in (ERRORS | OWN_ERRORS).items():
        operation["responses"][status] = _response(meaning, MessagesErrorBody)
    return operation


def _read_operation(read: Read) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", read.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {
        "tags": [read.tag],
        "summary": read.summary,
        "operationId": _identifier(read.path),
        "responses": {"200": _response("The answer", read.answer)},
    } | ({"parameters": parameters} if parameters else {})


def _identifier(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_")


def _schema(schema: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=schema.__name__)}


def _response(meaning: str, schema: type[BaseModel]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": _schema(schema)}}}
