"""What clients send beside a recording: forms, whose values are texts."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest


def read(**fields: Any) -> dict[str, Any]:
    request = TranscriptionRequest.model_validate({"model": "m"} | fields)
    return request.model_dump(exclude_unset=True, exclude={"model"})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, {}),
        ({"temperature": "0", "stream": "true"}, {"temperature": 0.0, "stream": True}),
        ({"temperature": "", "language": "", "prompt": "", "stream": "", "response_format": ""}, {}),
        ({"languages": ["en", ""], "keywords": "Flarelay"}, {"languages": ["en"], "keywords": ["Flarelay"]}),
        ({"include": [], "keywords": [""]}, {}),
        ({"timestamp_granularities": ["word", "segment"]}, {"timestamp_granularities": ["word", "segment"]}),
        ({"timestamp_granularities": "word"}, {"timestamp_granularities": ["word"]}),
        ({"language": "auto"}, {"language": None}),
        ({"language": " English"}, {"language": " English"}),
        ({"chunking_strategy": "auto"}, {"chunking_strategy": "auto"}),
        ({"chunking_strategy": {"type": "server_vad"}}, {"chunking_strategy": {"type": "server_vad"}}),
        ({"vad_filter": "true", "odd": None}, {"vad_filter": "true"}),
    ],
)
def test_a_form_is_read(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(**sent) == expected


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"response_format": "mp3"}, ("response_format",)),
        ({"temperature": "hot"}, ("temperature",)),
        ({"temperature": "nan"}, ("temperature",)),
        ({"temperature": "1.5"}, ("temperature",)),
        ({"stream": "perhaps"}, ("stream",)),
        ({"timestamp_granularities": ["letter"]}, ("timestamp_granularities", 0)),
        ({"languages": {"a": 1}}, ("languages",)),
        ({"model": ""}, ("model",)),
    ],
)
def test_a_wrong_value_is_refused_by_name(sent: dict[str, Any], param: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as failure:
        read(**sent)
    assert failure.value.errors()[0]["loc"] == param


def test_what_is_no_form_is_refused() -> None:
    with pytest.raises(ValidationError):
        TranscriptionRequest.model_validate(["model"])


def test_a_translation_has_no_speakers() -> None:
    with pytest.raises(ValidationError):
        TranslationRequest.model_validate({"model": "m", "response_format": "diarized_json"})


def test_a_translation_may_say_what_is_spoken() -> None:
    assert TranslationRequest.model_validate({"model": "m", "language": "de"}).language == "de"
