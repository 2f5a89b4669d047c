"""The OpenAPI document: FastAPI's own, and the plain ASGI endpoints, which it can't see, beside it."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.routes.openai import ROWS, Row
from app.schemas.errors import ErrorBody

REFERENCE = "#/components/schemas/{model}"

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
    shown: list[Any] = [(row.schema, "validation") for row in ROWS] + [(ErrorBody, "validation")]
    _, definitions = models_json_schema(shown, ref_template=REFERENCE)
    document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for row in ROWS:
        document["paths"][row.paths[0]] = {"post": _operation(row)}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own shape of error, which is never sent
            for status, meaning in ERRORS.items():
                operation["responses"].setdefault(status, _response(meaning, "ErrorBody"))


def _operation(row: Row) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=row.schema.__name__)}}}
    return {
        "tags": ["openai"],
        "summary": row.summary,
        "operationId": row.paths[0].strip("/").replace("/", "_"),
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "The answer; server-sent events if `stream` is true",
                "content": {"application/json": {}, "text/event-stream": {}},
            }
        },
    }


def _response(meaning: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=schema)}}}
    return {"description": meaning, "content": content}
