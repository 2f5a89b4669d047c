"""A request's body: read once, within its limit, validated, and its faults told in OpenAI's words."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope

from app.errors import BadRequestError, RequestTooLargeError
from app.routes.streaming import ClientLeft

Schema = TypeVar("Schema", bound=BaseModel)


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int) -> bytes:
    """Raises RequestTooLargeError, at once if the length is announced; ClientLeft if it never comes whole."""
    if announced_length(scope) > max_bytes:
        raise too_large(max_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise too_large(max_bytes)
        pieces.append(piece)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def announced_length(scope: Scope) -> int:
    """Bytes; 0 where the request does not tell."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def validated(schema: type[Schema], body: bytes) -> Schema:
    """The body as `schema`, whatever content type it came with. Raises BadRequestError with the first fault."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as failure:
        raise fault_of(failure) from failure


def fault_of(failure: ValidationError) -> BadRequestError:
    """The deepest fault: of a union's branches it is the one that the caller came nearest to."""
    errors = failure.errors(include_url=False, include_context=False, include_input=False)
    error = max(errors, key=lambda each: len(each["loc"]))
    if error["type"] == "json_invalid":
        return BadRequestError(f"The body is not valid JSON: {error['msg']}", code="invalid_json")
    param = _param(error["loc"])
    if error["type"] == "missing":
        return BadRequestError(f"'{param}' is missing.", param=param, code="missing_required_parameter")
    where = f"'{param}'" if param else "the body"
    return BadRequestError(f"Invalid value for {where}: {error['msg']}.", param=param, code="invalid_value")


def _param(loc: tuple[Any, ...]) -> str | None:
    """`messages[0].content[1].text`; without the names that pydantic gives the branches of a union."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in ("str", "int", "float", "bool", "dict", "list"):
            path += f".{step}" if path and not step[0].isupper() else step if not path else ""
    return path or None


def too_large(max_bytes: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"The request body is larger than {max_bytes} bytes.")
