"""JSON values as the compact text that stands for them, and what to say of a value that has none.

A few values can be read and not written: integers beyond 64 bits, and nesting of hundreds of levels.
"""

from typing import Any

import orjson

from app.calls import Failure, FailureKind
from app.errors import BadRequestError


def asked_source(value: Any, param: str) -> str:
    """A value out of a request. Raises BadRequestError."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as failure:
        raise BadRequestError(f"{param} can't be sent on: {failure}.", param=param, code="invalid_value") from failure


def said_source(value: Any) -> str:
    """A value out of an answer. Raises Failure."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as failure:
        message = "The model answered with JSON that can't be passed on."
        raise Failure(FailureKind.BROKEN, message, status=502) from failure
