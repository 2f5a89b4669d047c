"""Models that look at one picture: as bytes or as a list of them, always with the same result for the same picture."""

from typing import Any

import pytest

from tests.emulator.asking import CLASSIFIER, DETECTOR, LLAVA, Asker, picture_bytes, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
PICTURE = picture_bytes(30, 20)
OTHERS = [picture_bytes(width, 20) for width in range(31, 39)]
NO_PICTURE = (400, 8006, "Invalid data for image - reason cannot identify image file")


async def saw(ask: Asker, model: str, data: bytes = PICTURE) -> Any:
    response = await ask.run_bytes(model, data)
    assert response.status_code == 200, response.text
    return response.json()["result"]


@pytest.mark.parametrize("model", [CLASSIFIER, DETECTOR, LLAVA])
async def test_bytes_and_a_list_of_them_are_the_same(ask: Asker, model: str) -> None:
    found = await saw(ask, model)
    assert found == await ask.ran(model, image=list(PICTURE))
    assert found not in [await saw(ask, model, other) for other in OTHERS]


async def test_a_picture_has_five_labels(ask: Asker) -> None:
    found = await saw(ask, CLASSIFIER)
    assert len({item["label"] for item in found}) == 5
    assert [item["score"] for item in found] == [0.6, 0.3, 0.15, 0.075, 0.0375]


async def test_objects_lie_within_the_picture(ask: Asker) -> None:
    found = [item for data in [PICTURE, *OTHERS] for item in await saw(ask, DETECTOR, data)]
    for item in found:
        box = item["box"]
        assert item["label"].islower()
        assert 0.5 <= item["score"] < 1
        assert 0 <= box["xmin"] < box["xmax"] <= 38
        assert 0 <= box["ymin"] < box["ymax"] <= 20


async def test_a_picture_has_its_price(ask: Asker) -> None:
    assert (await ask.run_bytes(CLASSIFIER, PICTURE)).headers["cf-ai-neurons"] == "0.228055"
    assert (await ask.run_bytes(DETECTOR, PICTURE)).headers["cf-ai-neurons"] == "0.000000"


async def test_a_picture_is_described(ask: Asker) -> None:
    plain = "This is the emulator built into Flarelay, not a real model. I see a PNG of 30x20 pixels."
    assert await saw(ask, LLAVA) == {"description": plain}
    image = list(PICTURE)
    assert await ask.ran(LLAVA, image=image, prompt="What is it?") == {"description": f"{plain} What is it?"}
    assert await ask.ran(LLAVA, image=image, prompt="What?", max_tokens=2) == {"description": "This is"}
    assert await ask.ran(LLAVA, image=image, prompt='!emulate {"text":"A cat"}') == {"description": "A cat"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, 5006, f"{BAD}required properties at '/' are 'image'")),
        ({"image": "abc"}, (400, 5006, f"{BAD}Type mismatch of '/image', 'string' not in 'array'")),
        ({"image": [1, 256]}, (400, 5006, f"{BAD}'/image' must hold integers from 0 to 255")),
        ({"image": [1, "a"]}, (400, 5006, f"{BAD}'/image' must hold integers from 0 to 255")),
        ({"image": [1, 2]}, NO_PICTURE),
        ({"image": []}, NO_PICTURE),
    ],
)
@pytest.mark.parametrize("model", [CLASSIFIER, DETECTOR, LLAVA])
async def test_what_is_no_picture_is_refused(ask: Asker, model: str, body: dict[str, Any], expected: Any) -> None:
    assert refusal(await ask.run(model, **body)) == expected


async def test_bytes_that_are_no_picture_are_refused(ask: Asker) -> None:
    assert refusal(await ask.run_bytes(CLASSIFIER, b"7")) == NO_PICTURE


async def test_a_description_has_at_least_one_token(ask: Asker) -> None:
    response = await ask.run(LLAVA, image=list(PICTURE), max_tokens=0)
    assert refusal(response) == (400, 5006, f"{BAD}'/max_tokens' must be >= 1")
