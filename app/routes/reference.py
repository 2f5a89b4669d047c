"""The OpenAPI document: FastAPI's own, and the plain ASGI endpoints, which it can't see, beside it."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.routes.openai import FORMS, ROWS
from app.schemas.errors import ErrorBody

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
    shown: list[Any] = [(each.schema, "validation") for each in (*ROWS, *FORMS)] + [(ErrorBody, "validation")]
    _, definitions = models_json_schema(shown, ref_template=REFERENCE)
    document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for row in ROWS:
        body: dict[str, Any] = {"application/json": {"schema": _schema(row.schema)}}
        document["paths"][row.paths[0]] = {"post": _operation(row.paths[0], row.summary, body, row.answers)}
    for form in FORMS:
        file: dict[str, Any] = {"type": "object", "required": [form.file], "properties": {form.file: BINARY}}
        body = {"multipart/form-data": {"schema": {"allOf": [_schema(form.schema), file]}}}
        document["paths"][form.path] = {"post": _operation(form.path, form.summary, body, form.answers)}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own shape of error, which is never sent
            for status, meaning in ERRORS.items():
                operation["responses"].setdefault(status, _response(meaning, ErrorBody))


def _operation(path: str, summary: str, body: dict[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    return {
        "tags": ["openai"],
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_"),
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "The answer; server-sent events if they were asked for",
                "content": {content_type: {} for content_type in answers},
            }
        },
    }


def _schema(schema: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=schema.__name__)}


def _response(meaning: str, schema: type[BaseModel]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": _schema(schema)}}}
