"""DeepL's options, in each way that its clients write them."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.deepl import DeepLRequest


def read(**fields: Any) -> DeepLRequest:
    return DeepLRequest.model_validate({"text": "a"} | fields)


@pytest.mark.parametrize("value", ["a,b", " a , b,", ["a", "b"], ["a,b"], ["a", "", "b"]])
def test_names_come_joined_or_apart(value: Any) -> None:
    assert read(ignore_tags=value).ignore_tags == {"a", "b"}


@pytest.mark.parametrize("value", [True, 1, "1", "true", "True", False, 0, "0", "false"])
def test_a_flag_may_be_a_text_or_a_number(value: Any) -> None:
    expected = value in (True, 1, "1", "true", "True")
    assert read(preserve_formatting=value).preserve_formatting is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("default", "default"), ("MORE", "more"), ("prefer_more", "more"), ("less", "less"), ("prefer_less", "less")],
)
def test_to_prefer_a_formality_is_to_ask_for_it(value: str, expected: str) -> None:
    assert read(formality=value).formality == expected


@pytest.mark.parametrize(("value", "expected"), [("Be brief, please", ("Be brief, please",)), (["a", "b"], ("a", "b"))])
def test_an_instruction_may_have_commas(value: Any, expected: tuple[str, ...]) -> None:
    assert read(custom_instructions=value).custom_instructions == expected


def test_what_is_empty_counts_as_absent() -> None:
    absent = {name: blank for name in DeepLRequest.model_fields if name != "text" for blank in (None, "")}
    assert read(**absent) == read()
    assert read(text="").text == ("",)


@pytest.mark.parametrize("flag", [2, "-1", None])
def test_a_split_is_one_of_three(flag: Any) -> None:
    if flag is None:
        assert read(split_sentences=flag).split_sentences == "1"
        return
    with pytest.raises(ValidationError):
        read(split_sentences=flag)
