"""Vectors and scores follow the words of texts, and are the same in every process."""

import math

import pytest

from app.emulator.vectors import overlap, vector
from tests.emulator.asking import cosine

NEAR = ("The cat sleeps on the warm sofa in the living room.", "The cat is sleeping on a warm sofa in the living room")
RELATED = "A kitten rests in the room, where the sofa is warm"
UNRELATED = "Quarterly revenue grew by eight percent"


@pytest.mark.parametrize(
    ("text", "near", "related", "unrelated"),
    [(*NEAR, RELATED, UNRELATED), ("今天天气很好", "今天天气很不错", "天气预报", "股票市场下跌")],
)
def test_closer_texts_have_closer_vectors(text: str, near: str, related: str, unrelated: str) -> None:
    start, *others = [vector(each, 768, "s") for each in (text, near, related, unrelated)]
    found = [cosine(start, other) for other in others]
    assert found[0] > 0.6 > found[1] > 0.2 > abs(found[2])
    assert [overlap(text, each) for each in (text, "zzz")] == [1, 0]
    assert 1 > overlap(text, near) > overlap(text, related) > overlap(text, unrelated)


@pytest.mark.parametrize("text", [NEAR[0], "", "!", "🙂 🙂", "a", "今"])
def test_every_text_has_a_vector_of_length_1(text: str) -> None:
    assert math.isclose(math.hypot(*vector(text, 384, "s")), 1)


def test_spaces_have_nothing_in_common() -> None:
    assert abs(cosine(vector(NEAR[0], 768, "a"), vector(NEAR[0], 768, "b"))) < 0.2


def test_case_does_not_matter_and_every_process_gives_the_same() -> None:
    found = vector("Hello", 8, "s")
    assert found == vector("HELLO", 8, "s")
    assert [round(value, 3) for value in found] == [-0.323, -0.323, 0.216, 0.108, 0.108, 0.323, 0.755, -0.216]
