"""Requests for pictures -> calls, and replies -> pictures."""

import base64
from typing import Any

import orjson
import pytest

from app.calls import Failure, FailureKind, Reply, Usage
from app.catalog import Catalog, Model
from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.images import ImageRequest
from app.translators.base import Context, Plan
from app.translators.images import from_replies, images, read_picture

CATALOG = Catalog.load()
SCHNELL = CATALOG.resolve("@cf/black-forest-labs/flux-1-schnell")
DEV = CATALOG.resolve("@cf/black-forest-labs/flux-2-dev")
KLEIN = CATALOG.resolve("@cf/black-forest-labs/flux-2-klein-4b")
LUCID = CATALOG.resolve("@cf/leonardo/lucid-origin")
PHOENIX = CATALOG.resolve("@cf/leonardo/phoenix-1.0")
SDXL = CATALOG.resolve("@cf/stabilityai/stable-diffusion-xl-base-1.0")
NEW = Model("@cf/new/painter", "text-to-image", input_shape="image-json")

PNG = b"\x89PNG\r\n\x1a\n..."
JPEG = b"\xff\xd8\xff\xe0..."
WEBP = b"RIFF\n\0\0\0WEBPVP8 "


def a_plan(model: Model, **fields: Any) -> Plan[ImageRequest]:
    request = validated(ImageRequest, orjson.dumps({"prompt": "a fox"} | fields))
    return images.to_plan(request, Context(model, "m", id="abc", created=1790000000))


def fields_of(content: bytes | None, content_type: str) -> dict[str, str]:
    """The text fields of a form."""
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    parts = (content or b"").split(boundary)[1:-1]
    heads = (part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for part in parts)
    return {head.split(b'"')[1].decode(): data.decode() for head, _, data in heads}


@pytest.mark.parametrize(
    ("model", "fields", "expected", "ignored"),
    [
        (SCHNELL, {}, {"steps": 4}, ()),
        (
            SCHNELL,
            {"size": "512x512", "seed": 5, "guidance": 3, "quality": "hd", "style": "vivid", "user": "u"},
            {"steps": 8},
            ("size", "style", "user", "seed", "guidance"),
        ),
        (SCHNELL, {"num_steps": 99, "negative_prompt": "", "size": "auto", "new": 1}, {"steps": 8}, ("new",)),
        (SCHNELL, {"steps": 0, "num_steps": 3, "quality": "low"}, {"steps": 1}, ()),
        (LUCID, {"seed": 5}, {"num_steps": 20, "seed": 5}, ()),
        (
            LUCID,
            {"seed": 5, "guidance": 11, "size": "4000x3000", "quality": "low"},
            {"num_steps": 10, "seed": 5, "guidance": 10, "width": 2496, "height": 1872},
            (),
        ),
        (
            PHOENIX,
            {"seed": 5, "guidance": 1, "negative_prompt": "blur", "width": 640, "height": 480, "steps": 60},
            {"num_steps": 50, "seed": 5, "guidance": 2, "negative_prompt": "blur", "width": 640, "height": 480},
            (),
        ),
        (
            SDXL,
            {"seed": 5, "quality": "standard", "size": "100x100", "strength": 0.5, "background": "auto"},
            {"num_steps": 20, "seed": 5, "width": 256, "height": 256},
            ("strength",),
        ),
        (SDXL, {"seed": 5, "quality": "odd", "size": "big"}, {"num_steps": 20, "seed": 5}, ("size", "quality")),
        (
            SDXL,
            {"seed": 5, "output_format": "svg", "stream": True, "response_format": "url", "output_compression": 5},
            {"num_steps": 20, "seed": 5},
            ("output_format",),
        ),
        (NEW, {}, {}, ()),
        (
            NEW,
            {"seed": 5, "steps": 30, "lora": "x", "svg": True, "size": "512x512", "output_format": "jpg"},
            {"num_steps": 30, "seed": 5, "lora": "x", "width": 512, "height": 512},
            ("svg",),
        ),
    ],
)
def test_a_request_becomes_the_call_of_its_model(
    model: Model, fields: dict[str, Any], expected: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    plan = a_plan(model, **fields)
    (call,) = plan.calls
    assert (call.model, call.path, call.content) == (model.id, f"run/{model.id}", None)
    assert call.body == {"prompt": "a fox"} | expected
    assert plan.ignored == ignored


@pytest.mark.parametrize(
    ("model", "fields", "expected", "ignored"),
    [
        (DEV, {"seed": 5}, {"steps": "25", "seed": "5"}, ()),
        (DEV, {"seed": 5, "size": "1000x500"}, {"width": "992", "height": "496", "steps": "25", "seed": "5"}, ()),
        (KLEIN, {"seed": 5, "steps": 8, "quality": "high"}, {"seed": "5"}, ("quality", "steps")),
        (KLEIN, {"seed": 5, "guidance": 3.5, "prompt": "größe 🦊"}, {"guidance": "3.5", "seed": "5"}, ()),
    ],
)
def test_flux_2_takes_a_form_even_without_pictures(
    model: Model, fields: dict[str, Any], expected: dict[str, str], ignored: tuple[str, ...]
) -> None:
    plan = a_plan(model, **fields)
    (call,) = plan.calls
    assert (call.body, call.content_type.partition(";")[0]) == ({}, "multipart/form-data")
    assert fields_of(call.content, call.content_type) == {"prompt": fields.get("prompt", "a fox")} | expected
    assert plan.ignored == ignored


def test_each_picture_has_a_seed_of_its_own() -> None:
    assert [call.body["seed"] for call in a_plan(SDXL, n=3, seed=7).calls] == [7, 8, 9]
    assert [call.body["seed"] for call in a_plan(SDXL, n=2, seed=2**63 - 1).calls] == [2**63 - 1, 0]
    first, second = (call.body["seed"] for call in a_plan(SDXL, n=2, seed=-1).calls)
    assert second == first + 1
    assert 0 <= first < 2**30
    assert [call.body for call in a_plan(SDXL, n=2).calls] == [call.body for call in a_plan(SDXL, n=2, seed=-9).calls]
    assert [call.body for call in a_plan(SCHNELL, n=2, seed=7).calls] == [{"prompt": "a fox", "steps": 4}] * 2
    assert [call.body for call in a_plan(NEW, n=2).calls] == [{"prompt": "a fox"}] * 2


@pytest.mark.parametrize(
    ("fields", "param", "code", "told"),
    [
        ({"prompt": "x" * 2049}, "prompt", "string_above_max_length", "up to 2048 characters; this one has 2049."),
        ({"negative_prompt": "blur"}, "negative_prompt", "unsupported_parameter", "'m' has no 'negative_prompt'"),
        ({"image": "data:,"}, "image", "unknown_parameter", "/v1/images/edits"),
    ],
)
def test_what_would_change_the_picture_is_refused(fields: dict[str, Any], param: str, code: str, told: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        a_plan(SCHNELL, **fields)
    assert (failure.value.param, failure.value.code) == (param, code)
    assert told in failure.value.message


def test_the_longest_prompt_is_taken() -> None:
    assert a_plan(SCHNELL, prompt="x" * 2048).calls[0].body["prompt"] == "x" * 2048


@pytest.mark.parametrize("picture", [PNG, JPEG, WEBP])
def test_a_picture_is_read_whatever_form_it_comes_in(picture: bytes) -> None:
    text = base64.b64encode(picture).decode()
    bodies = [
        picture,
        {"image": text},
        {"image": f"data:image/png;base64,{text}"},
        {"image": text[:4] + "\n" + text[4:]},
    ]
    assert [read_picture(body) for body in bodies] == [picture] * 4


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "did not send a picture"),
        (b"GIF89a", "did not send a picture"),
        (b'{"image":""}', "did not send a picture"),
        ({"image": ""}, "did not send a picture"),
        ({"image": "YWJj"}, "did not send a picture"),
        ({"image": "iVBORw0KGgo*"}, "not valid base64"),
        ({"image": "iVBORw0KGg"}, "not valid base64"),
        ({"image": "é"}, "not valid base64"),
        ({"image": "https://example.com/a.png"}, "the address of a picture"),
        ({"image": None}, "without a picture"),
        ({}, "without a picture"),
        ([1], "without a picture"),
        (None, "without a picture"),
    ],
)
def test_what_is_no_picture_is_a_failure(body: Any, told: str) -> None:
    with pytest.raises(Failure, match=told) as failure:
        from_replies(a_plan(SCHNELL), [Reply(body)])
    assert failure.value.kind is FailureKind.BROKEN


def test_usage_is_the_prompt_and_the_charge_of_each_picture() -> None:
    plan = a_plan(SCHNELL, n=2)
    pictures, usage = from_replies(plan, [Reply(PNG), Reply({"image": base64.b64encode(JPEG).decode()}, neurons=100)])
    assert pictures == [PNG, JPEG]
    assert usage == Usage(2, neurons=pytest.approx(272.8), is_estimated=True, is_priced=True)  # type: ignore[arg-type]
    assert from_replies(a_plan(SDXL), [Reply(PNG)])[1].neurons is None
    assert from_replies(a_plan(NEW), [Reply(PNG)])[1].neurons is None
