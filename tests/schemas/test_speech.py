"""Bodies of requests for speech: what is taken, and what is refused."""

from typing import Any

import orjson
import pytest

from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.speech import LONGEST_INPUT, SpeechRequest


def read(**fields: Any) -> SpeechRequest:
    return validated(SpeechRequest, orjson.dumps({"input": "Hello."} | fields))


@pytest.mark.parametrize(("model", "expected"), [(None, "tts-1"), ("", "tts-1"), ("melotts", "melotts")])
def test_a_model_that_nobody_names_is_the_default(model: str | None, expected: str) -> None:
    assert read().model == "tts-1"
    assert read(model=model).model == expected


def test_null_counts_as_absent() -> None:
    absent = {name: None for name in SpeechRequest.model_fields if name != "input"}
    assert read(**absent) == read()


def test_all_that_clients_send_is_taken() -> None:
    request = read(
        voice="alloy", response_format="pcm", speed=4, instructions="", stream_format="sse", stream=True, x=1
    )
    assert (request.response_format, request.speed, request.stream_format) == ("pcm", 4, "sse")
    assert request.model_extra == {"x": 1}
    assert len(read(input="x" * LONGEST_INPUT).input) == 100_000
    assert read(input=" ?! ").input == " ?! "


@pytest.mark.parametrize(
    ("voice", "name"),
    [
        (None, None),
        ("", None),
        (" alloy ", "alloy"),
        ({"id": "voice_1"}, "voice_1"),
        ({"id": None, "name": "x"}, None),
        ({}, None),
    ],
)
def test_a_voice_is_a_name_or_an_object_with_an_id(voice: Any, name: str | None) -> None:
    assert read(voice=voice).voice_name == name


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": " \n\u3000"}, "input"),
        ({"input": "x" * (LONGEST_INPUT + 1)}, "input"),
        ({"input": ["Hello."]}, "input"),
        ({"voice": 5}, "voice"),
        ({"voice": {"id": 5}}, "voice.id"),
        ({"response_format": "ogg"}, "response_format"),
        ({"speed": 0.2}, "speed"),
        ({"speed": 4.1}, "speed"),
        ({"stream_format": "json"}, "stream_format"),
        ({"model": "m" * 301}, "model"),
    ],
)
def test_a_wrong_value_is_refused_and_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        read(**fields)
    assert failure.value.param == param


def test_a_text_must_be_there() -> None:
    with pytest.raises(BadRequestError, match="'input' is missing"):
        validated(SpeechRequest, b"{}")
    with pytest.raises(BadRequestError, match="Invalid value for 'input': There is nothing in it to be spoken"):
        read(input=" ")
