"""Moondream: its four tasks, and how it takes pictures."""

from typing import Any

import pytest

from tests.emulator.asking import MOONDREAM, Asker, picture, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
START = "This is the emulator built into Flarelay, not a real model. I see a"
RESULTS = ("answer", "caption", "points", "objects", "reasoning")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            {"question": "What?", "stream": False},
            {"answer": f"{START} PNG of 3x2 pixels. What?", "reasoning": {"text": "I look.", "grounding": []}},
        ),
        ({"question": "What?", "stream": False, "reasoning": False}, {"answer": f"{START} PNG of 3x2 pixels. What?"}),
        ({"task": "caption", "stream": False}, {"caption": f"{START} PNG of 3x2 pixels."}),
        ({"task": "point", "target": "cat"}, {"points": [{"x": 0.5, "y": 0.5}]}),
        (
            {"task": "detect", "target": "cat"},
            {"objects": [{"x_min": 0.25, "y_min": 0.25, "x_max": 0.75, "y_max": 0.75}]},
        ),
        ({"question": '!emulate {"text":"A cat"}', "stream": False, "reasoning": False}, {"answer": "A cat"}),
    ],
)
async def test_a_task_has_its_own_result(ask: Asker, body: dict[str, Any], found: dict[str, Any]) -> None:
    result = await ask.ran(MOONDREAM, image=picture(), **body)
    assert {name: result[name] for name in RESULTS} == dict.fromkeys(RESULTS) | found
    assert result["finish_reason"] == "stop"
    assert result["metrics"]["input_tokens"] >= 256


async def test_an_answer_may_be_cut(ask: Asker) -> None:
    result = await ask.ran(MOONDREAM, image=picture(), task="caption", stream=False, max_tokens=2)
    assert (result["caption"], result["finish_reason"]) == ("This is", "length")
    assert result["metrics"]["output_tokens"] == 2


async def test_an_address_is_taken_unseen(ask: Asker) -> None:
    result = await ask.ran(MOONDREAM, image="https://example.com/a.png", task="caption", stream=False)
    assert result["caption"] == f"{START} picture at an address."


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"image": picture()}, (400, 5006, f"{BAD}required properties at '/' are 'question'")),
        ({}, (400, 5006, f"{BAD}required properties at '/' are 'image', 'question'")),
        ({"task": "caption"}, (400, 5006, f"{BAD}required properties at '/' are 'image'")),
        ({"task": "detect", "image": picture()}, (400, 5006, f"{BAD}required properties at '/' are 'target'")),
        ({"task": []}, (400, 5006, f"{BAD}Type mismatch of '/task', 'array' not in 'string'")),
        ({"task": "paint"}, (400, 5006, f"{BAD}'/task' must be one of 'query', 'caption', 'point', 'detect'")),
        ({"max_tokens": 2049}, (400, 5006, f"{BAD}'/max_tokens' must be <= 2048")),
        (
            {"task": "caption", "image": picture()},
            (400, 5006, f"{BAD}'/stream' must be false: the emulator has no stream for this model"),
        ),
        (
            {"task": "caption", "image": "http://example.com/a.png", "stream": False},
            (400, 8006, "Invalid data for image - reason not a base64 data URI of an image"),
        ),
    ],
)
async def test_what_is_refused(ask: Asker, body: dict[str, Any], expected: tuple[int, int, str]) -> None:
    assert refusal(await ask.run(MOONDREAM, **body)) == expected
