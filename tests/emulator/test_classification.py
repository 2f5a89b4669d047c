"""Text classification: a mood as two scores."""

from typing import Any

import pytest

from tests.emulator.asking import SENTIMENT, Asker, refusal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "positive"),
    [
        ("I love this great film", 0.998),
        ("A good film", 0.953),
        ("A boring film", 0.047),
        ("It is not good", 0.047),
        ("Never boring", 0.953),
        ("A film", 0.5),
        ("Good and bad", 0.5),
    ],
)
async def test_words_have_moods(ask: Asker, text: str, positive: float) -> None:
    result = await ask.ran(SENTIMENT, text=text)
    assert [item["label"] for item in result] == ["NEGATIVE", "POSITIVE"]
    assert [item["score"] for item in result] == pytest.approx([1 - positive, positive], abs=0.001)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "required properties at '/' are 'text'"),
        ({"text": ""}, "'/text' must NOT have fewer than 1 characters"),
        ({"text": ["Good"]}, "Type mismatch of '/text', 'array' not in 'string'"),
    ],
)
async def test_what_misses_the_schema_is_5006(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.run(SENTIMENT, **body)) == (400, 5006, f"Bad input: Error: {text}")
