"""Bodies of requests for pictures: what is taken, and what is refused."""

from typing import Any

import orjson
import pytest

from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.images import ImageEditRequest, ImageRequest, ImageVariationRequest


def read(**fields: Any) -> ImageRequest:
    return validated(ImageRequest, orjson.dumps({"prompt": "a fox"} | fields))


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({}, "gpt-image-1"),
        ({"model": None}, "gpt-image-1"),
        ({"model": ""}, "gpt-image-1"),
        ({"model": "dall-e-3"}, "dall-e-3"),
    ],
)
def test_a_model_that_nobody_names_is_the_default(fields: dict[str, Any], model: str) -> None:
    assert read(**fields).model == model


def test_null_counts_as_absent_and_whole_floats_as_integers() -> None:
    absent = {name: None for name in ImageRequest.model_fields if name not in ("prompt", "model")}
    assert read(**absent) == read(**absent | {"model": None})
    request = read(n=2.0, seed=1.0, steps=4.0, partial_images=0.0, output_compression=80.0)
    assert (request.n, request.seed, request.steps) == (2, 1, 4)
    assert (request.partial_images, request.output_compression) == (0, 80)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": 1.5}, "n"),
        ({"output_compression": 101}, "output_compression"),
        ({"partial_images": 4}, "partial_images"),
        ({"response_format": "file"}, "response_format"),
        ({"strength": 1.1}, "strength"),
        ({"width": 0}, "width"),
        ({"model": "m" * 301}, "model"),
    ],
)
def test_a_wrong_value_is_refused_and_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        read(**fields)
    assert failure.value.param == param


@pytest.mark.parametrize(
    ("fields", "pixels"),
    [
        ({}, None),
        ({"size": "auto"}, None),
        ({"size": "huge"}, None),
        ({"size": "0x512"}, None),
        ({"size": "512x"}, None),
        ({"size": "1024x768"}, (1024, 768)),
        ({"size": " 1024 X 0768 "}, (1024, 768)),
        ({"size": "512×256"}, (512, 256)),
        ({"size": "512*256"}, (512, 256)),
        ({"size": "512x512", "width": 640, "height": 480}, (640, 480)),
        ({"size": "512x512", "width": 640}, (512, 512)),
    ],
)
def test_a_size_is_read_where_it_is_one(fields: dict[str, Any], pixels: tuple[int, int] | None) -> None:
    assert read(**fields).pixels == pixels


@pytest.mark.parametrize(
    ("given", "expected"), [(None, None), ("PNG", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("svg", None)]
)
def test_a_format_is_read_where_it_is_known(given: str | None, expected: str | None) -> None:
    assert read(output_format=given).picture_format == expected


def test_an_edit_needs_a_prompt_and_a_variation_none() -> None:
    with pytest.raises(BadRequestError, match="'prompt' is missing"):
        validated(ImageEditRequest, b"{}")
    variation = validated(ImageVariationRequest, b"{}")
    assert (variation.model, variation.strength, bool(variation.prompt)) == (None, 0.6, True)
