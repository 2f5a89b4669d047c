"""Pictures to start from, and masks."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import BadRequestError
from app.media.pictures import sniff
from app.media.sources import to_mask, to_source


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_kind_of_picture_becomes_a_png_that_fits(kind: str) -> None:
    source = to_source(file(Image.new("RGB", (1000, 500), "red"), kind), max_side=511, param="image")
    assert (sniff(source), opened(source).size) == ("image/png", (511, 256))


def test_a_small_picture_keeps_its_size() -> None:
    assert opened(to_source(file(Image.new("RGBA", (30, 20))), max_side=512, param="image")).size == (30, 20)


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(to_source(file(Image.new("RGB", (30, 20)), "JPEG", exif=exif), max_side=99, param="a")).size == (
        20,
        30,
    )


def test_what_is_transparent_shall_change() -> None:
    mask = Image.new("RGBA", (20, 10), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 10, 10))
    found = opened(to_mask(file(mask), file(Image.new("RGB", (40, 20))), param="mask"))
    assert found.size == (40, 20)
    assert (found.getpixel((2, 2)), found.getpixel((38, 2))) == (255, 0)


def test_a_mask_without_transparency_shows_it_in_white() -> None:
    mask = Image.new("L", (40, 20))
    mask.paste(255, (0, 0, 20, 20))
    found = opened(to_mask(file(mask), file(Image.new("RGB", (40, 20))), param="mask"))
    assert (found.getpixel((2, 2)), found.getpixel((38, 2))) == (255, 0)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", file(Image.new("RGB", (50, 50)))[:60], b"\x89PNG\r\n\x1a\nxxxx", b"BM" + bytes(50)]
)
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(BadRequestError) as failure:
        to_source(data, max_side=9, param="image")
    assert failure.value.param == "image"
    with pytest.raises(BadRequestError) as failure:
        to_mask(data, b"", param="mask")
    assert failure.value.param == "mask"


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(BadRequestError, match="64,000,000 pixels"):
        to_source(file(Image.new("1", (8001, 8000))), max_side=9, param="image")


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), kind=st.sampled_from(["PNG", "GIF", "WEBP", "BMP"]))
def test_damage_never_ends_in_another_failure(cut: int, flip: int, kind: str) -> None:
    data = bytearray(file(Image.linear_gradient("L").resize((16, 16)).convert("RGB"), kind))
    data[flip % len(data)] ^= 0xFF
    with suppress(BadRequestError):
        to_source(bytes(data[: len(data) - cut % 64]), max_side=64, param="image")
