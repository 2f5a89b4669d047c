"""The body of a run: JSON for most models, plain bytes or a form for some."""

import re
from typing import Any, NamedTuple

from app.catalog import Model
from app.emulator.checks import missing
from app.emulator.faults import Fault, bad_input
from app.emulator.forms import FORM, form_of
from app.emulator.requests import ReceivedRequest

JSON = "application/json"
BYTES = re.compile(r"application/octet-stream|(?:image|audio)/[\w.+-]+")
BYTE_TASKS = frozenset({"image-classification", "object-detection", "image-to-text"})
BYTE_SHAPES = frozenset({"audio-bytes", "audio-query"})
FORM_SHAPE = "image-multipart"


class Body(NamedTuple):
    fields: dict[str, Any]
    data: bytes = b""
    """What is no JSON."""


def body_of(request: ReceivedRequest, model: Model | None, max_bytes: int) -> Body:
    """`model` is None where only JSON will do. Raises 3003 and 3006 for a body that is absent, of a type that the
    model does not take or too large, 5006 for what is not an object, or JSON where a form is wanted, and 3030 for a
    form that can't be read."""
    if request.size > max_bytes:
        raise Fault(3006)
    if not request.size:
        raise Fault(3003)
    if request.content_type != JSON:
        if model is None or not _takes(model, request.content_type):
            raise Fault(3003)
        if request.content_type == FORM:
            return Body(form_of(request.headers["content-type"], request.body))
        return Body({}, request.body)
    if not isinstance(request.body, dict):
        raise bad_input("the body must be a JSON object")
    if model:
        check_takes_json(model)
    return Body(dict(request.body))


def check_takes_json(model: Model) -> None:
    """Raises 5006 for a model that takes forms only. Source: users who met it."""
    if model.input_shape == FORM_SHAPE:
        raise bad_input(missing("/", "multipart"))


def _takes(model: Model, content_type: str) -> bool:
    if content_type == FORM:
        return model.input_shape == FORM_SHAPE
    takes_bytes = model.task in BYTE_TASKS or model.input_shape in BYTE_SHAPES
    return takes_bytes and BYTES.fullmatch(content_type) is not None
