"""Tokens are word pieces, and together the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.emulator.tokens import count, pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("One two", ["One", " two"]),
        (" One\n\ntwo ", [" One", "\n\ntwo", " "]),
        ("internationally", ["internat", "ionally"]),
        ("你好 world", ["你", "好", " world"]),
        ("   ", ["   "]),
    ],
)
def test_pieces(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) == count(text)
