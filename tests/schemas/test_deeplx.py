"""Which dialect a body of `/translate` is, and what it says in each."""

from typing import Any

import pytest

from app.schemas.deeplx import DeepLXRequest, ImmersiveRequest, KissRequest, dialect_of

CASES: list[tuple[dict[str, Any], type[DeepLXRequest], tuple[Any, ...]]] = [
    ({"text": "a", "target_lang": "DE"}, DeepLXRequest, (("a",), None, "DE", False)),
    ({"text": ["a", "b"], "source_lang": "EN", "target_lang": "DE"}, DeepLXRequest, (("a", "b"), "EN", "DE", True)),
    ({"target_lang": "DE"}, DeepLXRequest, ((), None, "DE", True)),
    ({"text": "a", "to": "fr", "target_lang": "DE"}, DeepLXRequest, (("a",), None, "DE", False)),
    ({"text_list": ["a"], "source_lang": "", "target_lang": "de"}, ImmersiveRequest, (("a",), None, "de", True)),
    ({"text_list": [], "text": "a", "target_lang": "de"}, ImmersiveRequest, ((), None, "de", True)),
    ({"texts": ["a"], "from": "en", "to": "de"}, KissRequest, (("a",), "en", "de", True)),
    ({"text": "a", "from": "auto", "to": "de"}, KissRequest, (("a",), "auto", "de", False)),
]


@pytest.mark.parametrize(("fields", "dialect", "said"), CASES)
def test_the_fields_tell_the_dialect(
    fields: dict[str, Any], dialect: type[DeepLXRequest], said: tuple[Any, ...]
) -> None:
    assert dialect_of(fields) is dialect
    request = dialect.model_validate(fields)
    assert (request.texts, request.source_lang, request.target_lang, request.is_list) == said


def test_what_is_in_no_dialect_is_ignored() -> None:
    request = DeepLXRequest.model_validate({"text": "a", "target_lang": "DE", "speed": 1, "voice": None})
    assert request.ignored == ("speed",)
