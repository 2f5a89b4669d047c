"""Which bodies reach which models: JSON, bytes, forms."""

from typing import Any

import pytest

from app.catalog import Model
from app.emulator.bodies import Body, body_of
from app.emulator.faults import Fault
from app.emulator.requests import ReceivedRequest

TEXT = Model("@cf/a/text", "text-generation")
LOOKS = Model("@cf/a/looks", "object-detection")
HEARS = Model("@cf/a/hears", "automatic-speech-recognition", input_shape="audio-bytes")
ASKS = Model("@cf/a/asks", "automatic-speech-recognition", input_shape="audio-query")
TURNS = Model("@cf/a/turns", "voice-activity-detection", input_shape="audio-base64")
FORM = Model("@cf/a/form", "text-to-image", input_shape="image-multipart")


def received(content_type: str, body: Any = b"abc", size: int = 3) -> ReceivedRequest:
    return ReceivedRequest("POST", "/", "", {"content-type": content_type}, body, size)


@pytest.mark.parametrize(
    ("model", "content_type", "is_taken"),
    [
        (LOOKS, "application/octet-stream", True),
        (LOOKS, "Image/SVG+XML; charset=utf-8", True),
        (LOOKS, "audio/wav", True),
        (LOOKS, "multipart/form-data; boundary=x", False),
        (LOOKS, "application/x-www-form-urlencoded", False),
        (LOOKS, "text/plain", False),
        (LOOKS, "", False),
        (HEARS, "audio/mpeg", True),
        (HEARS, "application/octet-stream", True),
        (ASKS, "audio/x-wav; rate=8000", True),
        (ASKS, "application/octet-stream", False),
        (ASKS, "image/png", False),
        (TURNS, "audio/mpeg", True),
        (FORM, "application/octet-stream", False),
        (TEXT, "application/octet-stream", False),
        (TEXT, "multipart/form-data; boundary=x", False),
        (None, "application/octet-stream", False),
    ],
)
def test_bytes_reach_the_models_that_take_them(model: Model | None, content_type: str, is_taken: bool) -> None:
    if is_taken:
        assert body_of(received(content_type), model, 3) == Body({}, b"abc")
        return
    with pytest.raises(Fault) as failure:
        body_of(received(content_type), model, 3)
    assert (failure.value.code, failure.value.status) == (3003, 400)


def test_a_form_reaches_the_models_that_take_one() -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nHi\r\n--x--\r\n'
    request = received("Multipart/Form-Data; boundary=x", form, len(form))
    assert body_of(request, FORM, 1000) == Body({"prompt": "Hi"})


def test_the_options_of_a_file_may_stand_in_the_query() -> None:
    headers = {"content-type": "audio/wav"}
    request = ReceivedRequest("POST", "/", "language=en&keyterm=a&keyterm=b+c&mode=", headers, b"abc", 3)
    assert body_of(request, ASKS, 3) == Body({"language": "en", "keyterm": ["a", "b c"], "mode": ""}, b"abc")
    assert body_of(request, HEARS, 3) == Body({}, b"abc")


@pytest.mark.parametrize("model", [None, TEXT, LOOKS, HEARS])
def test_json_reaches_every_model(model: Model | None) -> None:
    assert body_of(received("application/json", {"a": 1}), model, 3) == Body({"a": 1})


@pytest.mark.parametrize(
    ("model", "request_", "code", "text"),
    [
        (FORM, received("application/json", {"prompt": "Hi"}), 5006, "required properties at '/' are 'multipart'"),
        (ASKS, received("application/json", {"audio": [1]}), 5006, "required properties at '/' are 'audio'"),
        (FORM, received("multipart/form-data"), 3030, "Missing boundary in multipart."),
        (LOOKS, received("application/json", [1]), 5006, "the body must be a JSON object"),
        (LOOKS, received("image/png", b"", 0), 3003, "headers or body missing"),
        (LOOKS, received("image/png", b"abcd", 4), 3006, "Request is too large"),
    ],
)
def test_what_is_refused(model: Model, request_: ReceivedRequest, code: int, text: str) -> None:
    with pytest.raises(Fault, match=text) as failure:
        body_of(request_, model, 3)
    assert failure.value.code == code
