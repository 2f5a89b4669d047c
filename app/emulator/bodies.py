"""The body of a run: JSON for most models, plain bytes or a form for some."""

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from app.catalog import Model
from app.emulator.checks import missing
from app.emulator.faults import Fault, bad_input
from app.emulator.forms import FORM, form_of
from app.emulator.requests import ReceivedRequest

JSON = "application/json"
BYTES = re.compile(r"application/octet-stream|(?:image|audio)/[\w.+-]+")
SOUND = re.compile(r"audio/[\w.+-]+")
BYTE_TASKS = frozenset(
    {
        "image-classification",
        "object-detection",
        "image-to-text",
        "automatic-speech-recognition",
        "voice-activity-detection",
    }
)
FORM_SHAPE = "image-multipart"
QUERY_SHAPE = "audio-query"
NO_JSON = {FORM_SHAPE: "multipart", QUERY_SHAPE: "audio"}
"""Shape of models that take no JSON -> what they miss in it."""


class Body(NamedTuple):
    fields: dict[str, Any]
    """Of the body, or of the query, where those stand there because the body is a file."""
    data: bytes = b""
    """What is no JSON."""


def body_of(request: ReceivedRequest, model: Model | None, max_bytes: int) -> Body:
    """`model` is None where only JSON will do. Raises 3003 and 3006 for a body that is absent, of a type that the
    model does not take or too large, 5006 for what is not an object, or JSON where a form or a file is wanted, and
    3030 for a form that can't be read."""
    if request.size > max_bytes:
        raise Fault(3006)
    if not request.size:
        raise Fault(3003)
    if request.content_type != JSON:
        if model is None or not _takes(model, request.content_type):
            raise Fault(3003)
        if request.content_type == FORM:
            return Body(form_of(request.headers["content-type"], request.body))
        return Body(_query_fields(request.query) if model.input_shape == QUERY_SHAPE else {}, request.body)
    if not isinstance(request.body, dict):
        raise bad_input("the body must be a JSON object")
    if model:
        check_takes_json(model)
    return Body(dict(request.body))


def check_takes_json(model: Model) -> None:
    """Raises 5006 for a model that takes only forms, or only files. Source: users who met it."""
    if absent := NO_JSON.get(model.input_shape):
        raise bad_input(missing("/", absent))


def _takes(model: Model, content_type: str) -> bool:
    if content_type == FORM:
        return model.input_shape == FORM_SHAPE
    if model.input_shape == QUERY_SHAPE:
        return SOUND.fullmatch(content_type) is not None
    return model.task in BYTE_TASKS and BYTES.fullmatch(content_type) is not None


def _query_fields(query: str) -> dict[str, Any]:
    """Texts; a name that comes several times is a list of them."""
    fields = parse_qs(query, keep_blank_values=True)
    return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}
