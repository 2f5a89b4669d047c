"""Pictures made from pictures."""

import base64
from typing import Any

import orjson
import pytest

from app.calls import Reply
from app.catalog import Catalog, Model
from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.images import ImageEditRequest, ImageVariationRequest
from app.translators.base import Context, Plan
from app.translators.edits import ImageEdit, edits, variations

CATALOG = Catalog.load()
SCHNELL = CATALOG.resolve("@cf/black-forest-labs/flux-1-schnell")
KLEIN = CATALOG.resolve("@cf/black-forest-labs/flux-2-klein-4b")
IMG2IMG = CATALOG.resolve("@cf/runwayml/stable-diffusion-v1-5-img2img")
INPAINTING = CATALOG.resolve("@cf/runwayml/stable-diffusion-v1-5-inpainting")


def a_png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\r\n--"


PICTURE, OTHER, MASK = a_png(500, 250), a_png(300, 300), a_png(500, 250) + b"mask"


def a_plan(model: Model, *pictures: bytes, mask: bytes | None = None, **fields: Any) -> Plan[ImageEdit]:
    request = validated(ImageEditRequest, orjson.dumps({"prompt": "blue", "seed": 5} | fields))
    return edits.to_plan(ImageEdit(request, pictures, mask), Context(model, "m", id="abc", created=1790000000))


def test_flux_2_takes_pictures_as_parts_of_its_form_and_keeps_their_shape() -> None:
    plan = a_plan(KLEIN, PICTURE, OTHER, strength=0.5, input_fidelity="high")
    content = plan.calls[0].content or b""
    for i, picture in enumerate((PICTURE, OTHER)):
        head = f'name="input_image_{i}"; filename="input_image_{i}.png"\r\nContent-Type: image/png\r\n\r\n'
        assert head.encode() + picture + b"\r\n--" in content
    assert b'name="width"\r\n\r\n1024\r\n' in content
    assert b'name="height"\r\n\r\n512\r\n' in content
    assert plan.ignored == ("strength", "input_fidelity")
    assert edits.from_replies(plan, [Reply(PICTURE)])[1].neurons == pytest.approx(2 * 26.05 + 2 * 5.37)


def test_a_size_that_is_asked_for_is_kept() -> None:
    content = a_plan(KLEIN, PICTURE, size="512x768").calls[0].content or b""
    assert b'name="width"\r\n\r\n512\r\n' in content
    assert b'name="height"\r\n\r\n768\r\n' in content
    assert a_plan(IMG2IMG, PICTURE, size="512x768").calls[0].body["height"] == 768


@pytest.mark.parametrize(("fields", "strength"), [({}, 0.75), ({"strength": 0}, 0), ({"strength": 0.3}, 0.3)])
def test_stable_diffusion_takes_one_picture_as_base64(fields: dict[str, Any], strength: float) -> None:
    plan = a_plan(IMG2IMG, PICTURE, image="the route has read it", n=2, **fields)
    assert [call.body for call in plan.calls] == [
        {
            "prompt": "blue",
            "num_steps": 20,
            "image_b64": base64.b64encode(PICTURE).decode(),
            "strength": strength,
            "seed": seed,
        }
        for seed in (5, 6)
    ]
    assert plan.ignored == ()


def test_inpainting_takes_picture_and_mask_as_lists_of_bytes() -> None:
    (call,) = a_plan(INPAINTING, PICTURE, mask=MASK).calls
    expected = {"prompt": "blue", "num_steps": 20, "image": list(PICTURE), "mask": list(MASK), "seed": 5}
    assert call.body == expected


@pytest.mark.parametrize(
    ("model", "pictures", "mask", "param"),
    [
        (KLEIN, (), None, "image"),
        (SCHNELL, (PICTURE,), None, "model"),
        (KLEIN, (PICTURE,) * 5, None, "image"),
        (IMG2IMG, (PICTURE,) * 2, None, "image"),
        (KLEIN, (PICTURE,), MASK, "mask"),
        (INPAINTING, (PICTURE,), None, "mask"),
    ],
)
def test_what_the_model_cannot_change_is_refused(
    model: Model, pictures: tuple[bytes, ...], mask: bytes | None, param: str
) -> None:
    with pytest.raises(BadRequestError) as failure:
        a_plan(model, *pictures, mask=mask)
    assert failure.value.param == param


def test_a_variation_is_a_moderate_change() -> None:
    edit = ImageEdit(validated(ImageVariationRequest, b'{"seed":5}'), (PICTURE,))
    plan = variations.to_plan(edit, Context(IMG2IMG, "m", id="abc", created=1790000000))
    assert (plan.calls[0].body["strength"], plan.ignored) == (0.6, ())
    assert plan.calls[0].body["prompt"] == edit.request.prompt
