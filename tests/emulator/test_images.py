"""Models that make pictures: what they take, and the pictures they answer with."""

import base64
import io
from typing import Any

import httpx2
import orjson
import pytest
from PIL import Image

from app.catalog import Model
from app.emulator.options import Options
from app.emulator.painting import colour_of
from tests.emulator.asking import (
    DREAMSHAPER,
    FLUX,
    FLUX_2,
    IMG2IMG,
    INPAINTING,
    KLEIN_4B,
    KLEIN_9B,
    LUCID,
    PHOENIX,
    SDXL,
    Asker,
    asking,
    picture_bytes,
    refusal,
)

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
SMALL = {"width": 256, "height": 256}
SOURCE = picture_bytes(40, 20)
WHITE = picture_bytes(40, 20, colour="white")
BASE64 = base64.b64encode(SOURCE).decode()
HALF = tuple(value // 2 for value in colour_of(7))
FORMS = [FLUX_2, KLEIN_4B, KLEIN_9B]


async def asked(ask: Asker, model: str, **body: Any) -> httpx2.Response:
    """By a form where the model wants one."""
    if model not in FORMS:
        return await ask.run(model, **body)
    return await ask.run_form(
        model, **{name: value if isinstance(value, bytes) else str(value) for name, value in body.items()}
    )


def data_of(response: httpx2.Response) -> bytes:
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("image/"):
        assert int(response.headers["content-length"]) == len(response.content)
        return response.content
    body = response.json()
    assert (body["success"], list(body["result"])) == (True, ["image"])
    return base64.b64decode(body["result"]["image"], validate=True)


def opened(response: httpx2.Response) -> Any:
    return Image.open(io.BytesIO(data_of(response)))


def script(**values: Any) -> str:
    return f"!emulate {orjson.dumps(values).decode()}"


@pytest.mark.parametrize(
    ("model", "content_type", "kind", "size", "neurons"),
    [
        (SDXL, "image/png", "PNG", (1024, 1024), "0.000000"),
        ("@cf/bytedance/stable-diffusion-xl-lightning", "image/png", "PNG", (1024, 1024), "0.000000"),
        (DREAMSHAPER, "image/png", "PNG", (512, 512), "0.000000"),
        (PHOENIX, "image/jpeg", "JPEG", (1024, 1024), "3120.000000"),
        (LUCID, "application/json", "JPEG", (1120, 1120), "7884.000000"),
        (FLUX, "application/json", "JPEG", (1024, 1024), "172.800000"),
        (FLUX_2, "application/json", "PNG", (1024, 768), "3750.000000"),
        (KLEIN_4B, "application/json", "PNG", (1024, 768), "104.200000"),
        (KLEIN_9B, "application/json", "PNG", (1024, 768), "1363.640000"),
    ],
)
async def test_every_model_answers_in_its_form(
    ask: Asker, model: str, content_type: str, kind: str, size: tuple[int, int], neurons: str
) -> None:
    response = await asked(ask, model, prompt="A cat")
    image = opened(response)
    assert (response.headers["content-type"], image.format, image.size) == (content_type, kind, size)
    assert response.headers["cf-ai-neurons"] == neurons
    assert ask.emulator.meters.neurons_today("a1") == float(neurons)


@pytest.mark.parametrize("model", [IMG2IMG, INPAINTING])
async def test_an_answer_has_the_size_of_its_source(ask: Asker, model: str) -> None:
    response = await ask.run(model, prompt="A cat", image=list(SOURCE), mask=list(WHITE))
    assert (response.headers["content-type"], opened(response).format) == ("image/png", "PNG")
    assert opened(response).size == (40, 20)
    wide = await ask.run(model, prompt="A cat", image=list(picture_bytes(3000, 30)), mask=list(WHITE))
    assert opened(wide).size == (2048, 20)
    other = await ask.run(model, prompt="A cat", image=list(SOURCE), mask=list(WHITE), **SMALL)
    assert opened(other).size == (256, 256)


@pytest.mark.parametrize(
    ("model", "body", "size"),
    [
        (SDXL, {"width": 300}, (300, 1024)),
        (PHOENIX, {"width": 0, "height": 40}, (1024, 40)),
        (LUCID, {"height": 2500, "width": 1}, (1, 2500)),
        (FLUX_2, {"width": 256, "height": 1920}, (256, 1920)),
    ],
)
async def test_a_size_may_be_asked_for(ask: Asker, model: str, body: Any, size: tuple[int, int]) -> None:
    assert opened(await asked(ask, model, prompt="A cat", **body)).size == size


@pytest.mark.parametrize(
    ("model", "body", "neurons"),
    [
        (FLUX, {"steps": 8}, 326.4),
        (PHOENIX, {"num_steps": 50, "width": 512, "height": 512}, 1030),
        (LUCID, {"num_steps": 40, "width": 512, "height": 512}, 1116),
        (LUCID, {"steps": 1, "num_steps": 40, "width": 512, "height": 512}, 648),
        (FLUX_2, {"steps": 2, "input_image_0": SOURCE, "input_image_3": SOURCE}, 375),
        (KLEIN_4B, {"steps": 4, "input_image_1": SOURCE}, 109.57),
    ],
)
async def test_steps_and_sources_are_paid(ask: Asker, model: str, body: Any, neurons: float) -> None:
    response = await asked(ask, model, prompt="A cat", **body)
    assert float(response.headers["cf-ai-neurons"]) == neurons


@pytest.mark.parametrize("model", [SDXL, FLUX_2])
async def test_the_seed_is_the_colour(ask: Asker, model: str) -> None:
    first, same, other = [await asked(ask, model, prompt="A cat", seed=seed, **SMALL) for seed in (7, 7, 8)]
    assert data_of(first) == data_of(same) != data_of(other)
    assert opened(first).getpixel((0, 0)) == colour_of(7)


async def test_without_a_seed_no_two_pictures_are_the_same(ask: Asker) -> None:
    assert data_of(await ask.run(FLUX, prompt="A cat")) != data_of(await ask.run(FLUX, prompt="A cat"))


async def test_the_prompt_is_in_the_picture_without_the_script(ask: Asker) -> None:
    async def drew(prompt: str) -> bytes:
        return data_of(await ask.run(SDXL, prompt=prompt, seed=7, **SMALL))

    assert await drew("A cat") != await drew("A dog")
    assert await drew("A cat\n" + script(delay_ms=0)) == await drew("A cat")
    assert await drew("A cat\n" + script(text="Cat")) == await drew(script(text="Cat"))


@pytest.mark.parametrize("source", [{"image": list(SOURCE)}, {"image_b64": BASE64}])
@pytest.mark.parametrize("model", [IMG2IMG, SDXL])
async def test_a_picture_is_made_from_its_source(ask: Asker, model: str, source: Any) -> None:
    text = script(text="")
    image = opened(await ask.run(model, prompt=text, seed=7, **source))
    assert image.getcolors() == [(800, HALF)]
    kept = opened(await ask.run(model, prompt="A cat", seed=7, strength=0, **source))
    assert kept.getcolors() == [(800, (0, 0, 0))]


async def test_inpainting_changes_what_the_mask_shows(ask: Asker) -> None:
    mask = Image.new("L", (40, 20))
    mask.paste(255, (20, 0, 40, 20))
    file = io.BytesIO()
    mask.save(file, "PNG")
    body = {"prompt": script(text=""), "seed": 7, "image": list(SOURCE), "mask": list(file.getvalue())}
    image = opened(await ask.run(INPAINTING, **body))
    assert image.crop((0, 0, 20, 20)).getcolors() == [(400, (0, 0, 0))]
    assert image.crop((20, 0, 40, 20)).getcolors() == [(400, HALF)]


@pytest.mark.parametrize("model", FORMS)
async def test_forms_bring_their_sources_as_files(ask: Asker, model: str) -> None:
    sources = {"input_image_0": SOURCE, "input_image_2": picture_bytes(512, 512, colour="white")}
    image = opened(await ask.run_form(model, prompt=script(text=""), seed="7", width="256", height="256", **sources))
    assert [image.getpixel((x, 100)) == HALF for x in (0, 127, 128, 255)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (PHOENIX, {"image": list(SOURCE), "strength": "much"}),
        (LUCID, {"negative_prompt": 7, "mask": [1]}),
        (SDXL, {"steps": "many", "input_image_0": [1]}),
        (FLUX_2, {"input_image_4": b"7", "num_steps": "many", "image": "7"}),
        (FLUX, {"options": {"rejectIfBusy": True}}),
    ],
)
async def test_fields_of_other_models_change_nothing(ask: Asker, model: str, body: Any) -> None:
    response = await asked(ask, model, prompt="A cat", **body)
    assert opened(response).size in {(1024, 1024), (1120, 1120), (1024, 768)}


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (SDXL, {"prompt": ""}, "'/prompt' must NOT have fewer than 1 characters"),
        (SDXL, {"prompt": ["A cat"]}, "Type mismatch of '/prompt', 'array' not in 'string'"),
        (SDXL, {"negative_prompt": None}, "Type mismatch of '/negative_prompt', 'null' not in 'string'"),
        (SDXL, {"width": 255}, "'/width' must be >= 256"),
        (SDXL, {"height": 2049}, "'/height' must be <= 2048"),
        (SDXL, {"height": 512.5}, "Type mismatch of '/height', 'number' not in 'integer'"),
        (SDXL, {"num_steps": 21}, "'/num_steps' must be <= 20"),
        (SDXL, {"guidance": "7"}, "Type mismatch of '/guidance', 'string' not in 'number'"),
        (SDXL, {"seed": "7"}, "Type mismatch of '/seed', 'string' not in 'integer'"),
        (SDXL, {"strength": 1.1}, "'/strength' must be <= 1"),
        (SDXL, {"image": BASE64}, "Type mismatch of '/image', 'string' not in 'array'"),
        (SDXL, {"image": [256]}, "'/image' must hold integers from 0 to 255"),
        (SDXL, {"image_b64": [1]}, "Type mismatch of '/image_b64', 'array' not in 'string'"),
        (IMG2IMG, {}, "required properties at '/' are 'image'"),
        (INPAINTING, {}, "required properties at '/' are 'image', 'mask'"),
        (INPAINTING, {"image_b64": BASE64}, "required properties at '/' are 'mask'"),
        (INPAINTING, {"image_b64": BASE64, "mask": ["a"]}, "'/mask' must hold integers from 0 to 255"),
        (FLUX, {"prompt": "x" * 2049}, "'/prompt' must NOT have more than 2048 characters"),
        (FLUX, {"steps": 9}, "'/steps' must be <= 8"),
        (FLUX, {"steps": 0}, "'/steps' must be >= 1"),
        (FLUX, {"width": 512, "seed": 1}, "additional properties at '/' are 'width', 'seed'"),
        (FLUX, {"num_steps": 4}, "additional properties at '/' are 'num_steps'"),
        (FLUX, {"negative_prompt": "x"}, "additional properties at '/' are 'negative_prompt'"),
        (PHOENIX, {"guidance": 1.9}, "'/guidance' must be >= 2"),
        (PHOENIX, {"width": 2049}, "'/width' must be <= 2048"),
        (PHOENIX, {"num_steps": 51}, "'/num_steps' must be <= 50"),
        (LUCID, {"guidance": 10.5}, "'/guidance' must be <= 10"),
        (LUCID, {"height": 2501}, "'/height' must be <= 2500"),
        (LUCID, {"num_steps": 41}, "'/num_steps' must be <= 40"),
        (LUCID, {"steps": 0}, "'/steps' must be >= 1"),
        (FLUX_2, {"width": 1921}, "'/width' must be <= 1920"),
        (FLUX_2, {"height": 255}, "'/height' must be >= 256"),
        (FLUX_2, {"steps": "many"}, "Type mismatch of '/steps', 'string' not in 'integer'"),
        (FLUX_2, {"guidance": "NaN"}, "Type mismatch of '/guidance', 'string' not in 'number'"),
        (FLUX_2, {"guidance": "true"}, "Type mismatch of '/guidance', 'boolean' not in 'number'"),
        (FLUX_2, {"seed": b"7"}, "Type mismatch of '/seed', 'file' not in 'integer'"),
        (FLUX_2, {"prompt": b"A cat"}, "Type mismatch of '/prompt', 'file' not in 'string'"),
        (FLUX_2, {"input_image_0": BASE64}, "Type mismatch of '/input_image_0', 'string' not in 'file'"),
        (FLUX_2, {"prompt": ""}, "'/prompt' must NOT have fewer than 1 characters"),
        (KLEIN_4B, {"steps": 25}, "'/steps' must be <= 4"),
        (KLEIN_9B, {"steps": 3}, "'/steps' must be >= 4"),
    ],
)
async def test_what_the_schema_forbids_is_5006(ask: Asker, model: str, body: dict[str, Any], text: str) -> None:
    response = await asked(ask, model, **{"prompt": "A cat"} | body)
    assert refusal(response) == (400, 5006, BAD + text)


@pytest.mark.parametrize("model", [SDXL, FLUX, PHOENIX, LUCID, FLUX_2])
async def test_nothing_is_drawn_without_a_prompt(ask: Asker, model: str) -> None:
    assert refusal(await asked(ask, model, seed=1)) == (400, 5006, f"{BAD}required properties at '/' are 'prompt'")


@pytest.mark.parametrize("model", FORMS)
async def test_json_is_no_form(ask: Asker, model: str) -> None:
    expected = (400, 5006, f"{BAD}required properties at '/' are 'multipart'")
    assert refusal(await ask.run(model, prompt="A cat")) == expected
    inner = await ask.client.post("/accounts/a1/ai/run", json={"model": model, "input": {"prompt": "A cat"}})
    assert refusal(inner) == expected


async def test_a_form_needs_its_boundary(ask: Asker) -> None:
    response = await ask.run_bytes(FLUX_2, b"--x--", "multipart/form-data")
    assert refusal(response) == (400, 3030, "Missing boundary in multipart.")


@pytest.mark.parametrize(("width", "height"), [(513, 20), (20, 513)])
async def test_sources_of_forms_are_small(ask: Asker, width: int, height: int) -> None:
    response = await ask.run_form(FLUX_2, prompt="A cat", input_image_1=picture_bytes(width, height))
    text = f"Input image of {width}x{height} is too large: at most 512x512"
    assert refusal(response) == (400, 3030, text)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (SDXL, {"image": [1, 2]}),
        (SDXL, {"image": list(SOURCE[:45])}),
        (SDXL, {"image_b64": "?"}),
        (SDXL, {"image_b64": "é"}),
        (SDXL, {"image_b64": f"data:image/png;base64,{BASE64}"}),
        (INPAINTING, {"image_b64": BASE64, "mask": [1, 2]}),
        (FLUX_2, {"input_image_0": b"7"}),
        (FLUX_2, {"input_image_0": b""}),
    ],
)
async def test_a_source_that_is_no_picture_is_8006(ask: Asker, model: str, body: dict[str, Any]) -> None:
    assert refusal(await asked(ask, model, prompt="A cat", **body))[:2] == (400, 8006)
    assert ask.emulator.meters.neurons_today("a1") == 0


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (SDXL, "Input prompt contains NSFW content."),
        (FLUX, "Input prompt contains NSFW content."),
        (FLUX_2, "Your output has been flagged. Choose another prompt or input image combination."),
        (KLEIN_4B, "Your output has been flagged. Choose another prompt or input image combination."),
    ],
)
async def test_some_prompts_are_refused(ask: Asker, model: str, text: str) -> None:
    assert refusal(await asked(ask, model, prompt="Something NSFW")) == (400, 3030, text)


@pytest.mark.parametrize("model", [SDXL, FLUX, FLUX_2])
async def test_a_script_may_fail_a_picture(ask: Asker, model: str) -> None:
    response = await asked(ask, model, prompt=script(error={"code": 3040, "retry_after": 7}))
    assert (refusal(response)[:2], response.headers["retry-after"]) == ((429, 3040), "7")


@pytest.mark.parametrize("model", [SDXL, FLUX])
async def test_a_script_may_leave_a_picture_empty(ask: Asker, model: str) -> None:
    assert data_of(await ask.run(model, prompt=script(empty=True))) == b""


async def test_a_script_may_cut_the_bytes_of_a_picture(ask: Asker) -> None:
    assert opened(await ask.run(SDXL, prompt=script(cut_bytes=100), **SMALL)).size == (256, 256)
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask.run(SDXL, prompt=script(drop=True), **SMALL)


@pytest.mark.parametrize(("model", "announced"), [(SDXL, "image/png"), (FLUX_2, "application/json")])
async def test_jpeg_may_come_where_png_was_announced(ask: Asker, model: str, announced: str) -> None:
    response = await asked(ask, model, prompt=script(quirks=["jpeg-for-png"]), **SMALL)
    assert (response.headers["content-type"], opened(response).format) == (announced, "JPEG")


@pytest.mark.parametrize(("shape", "is_form"), [("image-json", False), ("image-multipart", True)])
async def test_an_unknown_model_takes_what_most_take(shape: str, is_form: bool) -> None:
    model = Model("@cf/new/painter", "text-to-image", input_shape=shape, output_shape="image-binary")
    async with asking(Options(models=(model,))) as ask:
        run = ask.run_form if is_form else ask.run
        assert opened(await run(model.id, prompt="A cat")).size == ((1024, 768) if is_form else (1024, 1024))
