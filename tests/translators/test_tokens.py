"""The estimate of tokens."""

import pytest

from app.translators.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        (" ", 1),
        ("word", 1),
        ("words", 2),
        ("The quick brown fox jumps over the lazy dog.", 11),
        ("Привет", 4),
        ("你好世界", 4),
        ("こんにちは", 5),
        ("안녕", 2),
        ("é", 1),
        ("🦊", 2),
        ("ab 你好", 3),
        ("\ud800", 1),
    ],
)
def test_a_text_is_estimated_by_the_width_of_its_characters(text: str, expected: int) -> None:
    assert estimate_tokens(text) == expected
