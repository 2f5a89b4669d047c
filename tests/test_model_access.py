"""Which models a key may use, and how it is told of others."""

import pytest

from app.calls import Limits
from app.errors import NotFoundError
from app.model_access import check_model
from tests.test_limits import KILLING

MODEL = "@cf/author/model"


@pytest.mark.parametrize(
    ("models", "name", "model", "is_allowed"),
    [
        ((), "anything", MODEL, True),
        (("gpt-*", "whisper"), "gpt-4o", "@cf/openai/gpt-oss-20b", True),
        (("gpt-*", "whisper"), "whisper", MODEL, True),
        (("gpt-*", "whisper"), "whisper-1", MODEL, False),
        (("gpt-*",), "@cf/openai/gpt-oss-20b", "@cf/openai/gpt-oss-20b", False),
        (("@cf/meta/*",), "llama", "@cf/meta/llama-3.1-8b-instruct", True),
        (("@cf/meta/*",), "llama", "@cf/other/llama", False),
        (("*",), "two\nlines", MODEL, True),
        (("a.c",), "abc", MODEL, False),
        (("a[bc]?",), "ab?", MODEL, False),
        (("*-x-*",), "one-x-two", MODEL, True),
    ],
)
def test_a_key_may_use_the_models_it_names(models: tuple[str, ...], name: str, model: str, is_allowed: bool) -> None:
    if is_allowed:
        check_model(Limits(models=models), name, model)
        return
    with pytest.raises(NotFoundError) as raised:
        check_model(Limits(models=models), name, model)
    assert (raised.value.status, raised.value.envelope()["error"]) == (
        404,
        {
            "message": f"The model '{name}' does not exist or this key may not use it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
    )
    assert not KILLING.search(raised.value.message)


def test_a_name_without_end_is_cut_in_the_refusal() -> None:
    with pytest.raises(NotFoundError) as raised:
        check_model(Limits(models=("*a*b*c",)), "ab" * 10**6, MODEL)
    assert len(raised.value.message) < 300
