"""What a Responses request may look like."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.responses import ResponsesRequest


def request(**fields: Any) -> ResponsesRequest:
    return ResponsesRequest.model_validate_json(json.dumps({"model": "m", "input": "Hi"} | fields))


def test_null_counts_as_absent_and_whole_floats_as_integers() -> None:
    nulls = request(**{name: None for name in ResponsesRequest.model_fields if name != "model"})
    assert nulls.is_stored
    assert request(max_output_tokens=256.0).max_output_tokens == 256


def test_unknown_fields_are_kept() -> None:
    assert request(client_metadata={"a": 1}).model_extra == {"client_metadata": {"a": 1}}
    assert request(text={"format": {"type": "text"}, "more": 1}).text.model_extra == {"more": 1}  # type: ignore[union-attr]


@pytest.mark.parametrize(("store", "is_stored"), [(None, True), (True, True), (False, False)])
def test_an_answer_is_stored_unless_told_otherwise(store: bool | None, is_stored: bool) -> None:
    assert request(store=store).is_stored is is_stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""),
        ("input", 5),
        ("input", ["Hi"]),
        ("max_output_tokens", 0),
        ("temperature", 2.1),
        ("top_p", -0.1),
        ("top_logprobs", 21),
        ("truncation", "sometimes"),
        ("tools", {"type": "function"}),
        ("text", "json"),
        ("reasoning", "high"),
        ("stream", "maybe"),
    ],
)
def test_a_value_that_would_change_the_answer_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        request(**{field: value})
    assert raised.value.errors()[0]["loc"][0] == field
