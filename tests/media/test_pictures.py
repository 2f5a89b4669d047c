"""Pictures in, data URIs out: what passes, what is converted and to what, and what is refused."""

import base64
import random
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import BadRequestError
from app.media.pictures import from_data_uri, sniff, to_data_uri

RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION = 0x0112
KINDS = "The picture must be PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF, but it is "


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    encoded = BytesIO()
    image.save(encoded, file_format, **options)
    return encoded.getvalue()


def photo(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Many colours, all of them smooth, so that JPEG keeps them well."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.blend(across, down, 0.5))).convert(mode)


def halves(width: int = 64, height: int = 32) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def convert(data: bytes, max_side: int = 2048) -> Image.Image:
    """The picture that a model would see, decoded; `format` tells how it was encoded."""
    uri = to_data_uri(data, max_side=max_side)
    declared, _, payload = uri.partition(";base64,")
    converted = base64.b64decode(payload, validate=True)
    assert declared == f"data:{sniff(converted)}"
    image = Image.open(BytesIO(converted))
    image.load()
    return image


def passes(data: bytes, max_side: int = 2048) -> bool:
    """Whether the picture is sent byte for byte."""
    return from_data_uri(to_data_uri(data, max_side=max_side)) == data


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """A pixel as RGB or RGBA, rounded to steps of 15, since JPEG loses a little."""
    pixel = image.convert("RGBA" if image.mode == "RGBA" else "RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return tuple(round(value / 15) * 15 for value in pixel)


def refusal(data: bytes) -> str:
    with pytest.raises(BadRequestError) as caught:
        to_data_uri(data, max_side=2048, param="image")
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_image", "image")
    return caught.value.message


# Sniffing


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(photo(), "PNG"), "image/png"),
        (encode(photo(), "JPEG"), "image/jpeg"),
        (encode(photo(), "GIF"), "image/gif"),
        (encode(photo(), "WEBP"), "image/webp"),
        (encode(photo(), "BMP"), "image/bmp"),
        (encode(photo(), "TIFF"), "image/tiff"),
        (encode(photo(), "TIFF", big_tiff=True), "image/tiff"),
        (encode(photo(mode="I;16"), "TIFF"), "image/tiff"),
        (encode(photo(), "AVIF"), "image/avif"),
        (b"GIF87a", "image/gif"),
        (b"MM\0*", "image/tiff"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "image/avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\x89PN", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(data: bytes, expected: str | None) -> None:
    assert sniff(data) == expected


# What passes


@pytest.mark.parametrize(
    "data",
    [
        encode(photo(), "PNG"),
        encode(photo(mode="L"), "PNG"),
        encode(photo(mode="1"), "PNG"),
        encode(photo(mode="P"), "PNG"),
        encode(photo(mode="LA"), "PNG"),
        encode(photo(mode="RGBA"), "PNG"),
        encode(photo(), "JPEG"),
        encode(photo(), "JPEG", progressive=True),
        encode(photo(mode="L"), "JPEG"),
        encode(photo(), "JPEG", exif=oriented(1)),
        encode(photo(), "PNG", exif=oriented(1)),
        encode(photo(), "JPEG") + b"what cameras like to add",
        encode(photo(), "MPO", save_all=True, append_images=[photo()]),
        encode(photo(2048, 2), "PNG"),
    ],
)
def test_a_png_or_jpeg_that_fits_passes_byte_for_byte(data: bytes) -> None:
    assert passes(data)


def test_only_the_header_of_a_picture_that_passes_is_read() -> None:
    data = bytearray(encode(photo(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 0xFF

    assert passes(bytes(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_broken_exif_spoils_no_picture(file_format: str, exif: bytes) -> None:
    assert passes(encode(photo(), file_format, exif=exif))


def test_a_picture_that_pillow_warns_of_is_read_all_the_same() -> None:
    data = bytearray(encode(photo(), "MPO", save_all=True, append_images=[photo()]))
    index = data.index(b"MPF\0") + 4  # the index of the pictures in the file
    data[index : index + 4] = b"nope"

    assert passes(bytes(data))


# What is converted


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(photo(), "WEBP"), "JPEG"),
        (encode(photo(), "AVIF"), "JPEG"),
        (encode(photo(), "BMP"), "JPEG"),
        (encode(photo(), "TIFF"), "JPEG"),
        (encode(photo(), "GIF"), "PNG"),
        (encode(halves(64, 48), "BMP"), "PNG"),
        (encode(halves(64, 48), "WEBP", lossless=True), "PNG"),
        (encode(photo(mode="1"), "TIFF"), "PNG"),
        (encode(photo(mode="L"), "TIFF"), "PNG"),
        (encode(photo(mode="CMYK"), "TIFF"), "JPEG"),
        (encode(photo(mode="RGBA"), "WEBP"), "JPEG"),
    ],
)
def test_other_formats_become_jpeg_or_png_if_they_are_drawings(data: bytes, expected: str) -> None:
    converted = convert(data)

    assert (converted.format, converted.size) == (expected, (64, 48))


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((640, 480), 64, (64, 48)),
        ((480, 640), 64, (48, 64)),
        ((65, 65), 64, (64, 64)),
        ((5000, 2), 64, (64, 1)),
        ((2, 5000), 512, (1, 512)),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_scaled_down_to_fit(
    size: tuple[int, int], max_side: int, expected: tuple[int, int], file_format: str
) -> None:
    assert convert(encode(photo(*size), file_format), max_side).size == expected


def test_scaling_keeps_what_is_in_the_picture() -> None:
    converted = convert(encode(halves(640, 320), "JPEG"), 64)

    assert (colour(converted, 10, 16), colour(converted, 54, 16)) == (RED, BLUE)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    ("orientation", "size", "red", "blue"),
    [
        (2, (64, 32), (54, 16), (10, 16)),
        (3, (64, 32), (54, 16), (10, 16)),
        (4, (64, 32), (10, 16), (54, 16)),
        (5, (32, 64), (16, 10), (16, 54)),
        (6, (32, 64), (16, 10), (16, 54)),
        (7, (32, 64), (16, 54), (16, 10)),
        (8, (32, 64), (16, 54), (16, 10)),
    ],
)
def test_a_picture_is_turned_upright(
    file_format: str, orientation: int, size: tuple[int, int], red: tuple[int, int], blue: tuple[int, int]
) -> None:
    converted = convert(encode(halves(), file_format, exif=oriented(orientation)))

    assert converted.size == size
    assert (colour(converted, *red), colour(converted, *blue)) == (RED, BLUE)
    assert converted.getexif() == {}


def test_turning_tells_top_from_bottom() -> None:
    corner = Image.new("RGB", (64, 64), RED)
    corner.paste(BLUE, (0, 0, 32, 32))

    corners = {
        orientation: next(
            (x, y)
            for x in (10, 54)
            for y in (10, 54)
            if colour(convert(encode(corner, "PNG", exif=oriented(orientation))), x, y) == BLUE
        )
        for orientation in range(1, 9)
    }

    left, right, top, bottom = 10, 54, 10, 54
    assert corners == {
        1: (left, top),
        2: (right, top),
        3: (right, bottom),
        4: (left, bottom),
        5: (left, top),
        6: (right, top),
        7: (right, bottom),
        8: (left, bottom),
    }


def animation(file_format: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (BLUE, RED)]
    return encode(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "AVIF", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken(file_format: str) -> None:
    assert colour(convert(animation(file_format)), 16, 16) == BLUE


def clear_halves(mode: str) -> Image.Image:
    """Blue where it can be seen, on the right."""
    image = Image.new("RGBA", (64, 32), (*RED, 0))
    image.paste((*BLUE, 255), (32, 0, 64, 32))
    return image.convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        encode(clear_halves("RGBA"), "PNG"),
        encode(clear_halves("RGBA"), "WEBP", lossless=True),
        encode(clear_halves("RGBA"), "TIFF"),
        encode(clear_halves("RGBA"), "GIF"),
        encode(clear_halves("P"), "PNG", transparency=clear_halves("P").getpixel((0, 0))),
        encode(halves(), "PNG", transparency=RED),
    ],
    ids=["PNG", "WebP", "TIFF", "GIF", "palette", "one colour of many"],
)
def test_transparency_is_kept_as_png(data: bytes) -> None:
    converted = convert(data, 32)

    assert (converted.format, converted.mode, converted.size) == ("PNG", "RGBA", (32, 16))
    assert colour(converted, 5, 8)[3] == 0
    assert colour(converted, 27, 8) == (*BLUE, 255)


def test_an_alpha_channel_that_hides_nothing_is_dropped() -> None:
    converted = convert(encode(photo(640, 480, "RGBA"), "PNG"), 64)

    assert (converted.format, converted.mode) == ("JPEG", "RGB")


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_the_colours_of_print_become_those_of_screens(file_format: str) -> None:
    converted = convert(encode(halves().convert("CMYK"), file_format))

    assert converted.mode == "RGB"
    assert (colour(converted, 10, 16), colour(converted, 54, 16)) == (RED, BLUE)


def deep(mode: str, left: float, right: float) -> Image.Image:
    image = Image.new(mode, (64, 32), left)
    for x in range(32, 64):
        for y in range(32):  # one by one: `paste` writes 8 bits of 16
            image.putpixel((x, y), right)
    return image


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (encode(deep("I;16", 0, 65535), "PNG"), 0, 255),
        (encode(deep("I;16", 0x1000, 0x8000), "PNG"), 15, 127),
        (encode(deep("I;16", 0x1000, 0x8000), "TIFF"), 15, 127),
        (encode(deep("I;16B", 0x1000, 0x8000), "TIFF"), 15, 127),
        (encode(deep("I", -70000, 70000), "TIFF"), 0, 255),
        (encode(deep("F", 0.25, 0.75), "TIFF"), 0, 255),
        (encode(deep("F", 0.5, 0.5), "TIFF"), 0, 0),
        (encode(deep("F", 1e30, float("inf")), "TIFF"), 0, 0),
    ],
)
def test_greys_of_more_than_8_bits_keep_their_steps(data: bytes, left: int, right: int) -> None:
    converted = convert(data)

    assert converted.mode == "L"
    assert (converted.getpixel((10, 16)), converted.getpixel((54, 16))) == (left, right)


def test_a_colour_profile_is_not_passed_on_with_changed_colours() -> None:
    data = encode(photo(640, 480), "PNG", icc_profile=b"made for other channels")

    assert "icc_profile" not in convert(data, 64).info


# What is refused


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The picture is empty."),
        (b"\n<!doctype html><title>Not found</title>", KINDS + "a web page, a drawing or some other text."),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", KINDS + "image/heic."),
        (b"hello", KINDS + "something else."),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, message: str) -> None:
    assert refusal(data) == message


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_picture_that_was_cut_off_is_refused(file_format: str, part: float) -> None:
    data = encode(Image.effect_noise((64, 64), 80).convert("RGB"), file_format)

    assert refusal(data[: int(len(data) * part)]) == "The picture is damaged or incomplete: it can't be decoded."


def test_a_cut_off_jpeg_is_not_taken_for_whole_because_its_preview_is() -> None:
    preview = encode(photo(16, 16), "JPEG")
    exif = b"Exif\0\0" + preview
    data = encode(Image.effect_noise((64, 64), 80), "JPEG", exif=exif)

    assert refusal(data[:-500]) == "The picture is damaged or incomplete: it can't be decoded."


def bomb(width: int, height: int) -> bytes:
    """The head of a black and white PNG that claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@pytest.mark.parametrize(
    ("width", "height"), [(8001, 8000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    assert refusal(bomb(width, height)) == "The picture has more than 64,000,000 pixels."


def test_a_picture_of_exactly_the_limit_is_looked_into() -> None:
    assert refusal(bomb(8000, 8000)) == "The picture is damaged or incomplete: it can't be decoded."


# Data URIs


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,+/8A/w==",
        "DATA:IMAGE/PNG;BASE64,+/8A/w==",
        "data:image/svg+xml;base64,+/8A/w==",
        "data:image/*;base64,+/8A/w==",
        "data:image/png;name=cat.png;base64,+/8A/w==",
        "data:image/png; charset=utf-8; base64, +/8A/w==",
        "data:application/octet-stream;base64,+/8A/w==",
        "data:;base64,+/8A/w==",
        "data:image/png;base64,+/8A/w",
        "data:image/png;base64,+/8A/w=",
        "data:image/png;base64,-_8A_w==",
        "data:image/png;base64,+/8A\r\n/w==\n",
        "data:image/png;base64,%2B%2F8A%2Fw%3D%3D",
        "data:image/png,%FB%FF%00%FF",
        "data:,%FB%FF%00%FF",
    ],
)
def test_a_data_uri_is_read_however_it_was_written(uri: str) -> None:
    assert from_data_uri(uri) == b"\xfb\xff\x00\xff"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("data:image/png;base64", "The picture's data URI must have the form data:image/png;base64,..."),
        ("data:text/html;base64,AAAA", "The picture's data URI must have the form data:image/png;base64,..."),
        ("data:audio/wav;base64,AAAA", "The picture's data URI must have the form data:image/png;base64,..."),
        ("data:image/;base64,AAAA", "The picture's data URI must have the form data:image/png;base64,..."),
        ("http://pictures.example/,", "The picture's data URI must have the form data:image/png;base64,..."),
        ("", "The picture's data URI must have the form data:image/png;base64,..."),
        ("data:image/png;base64,AAAAA", "The picture's data URI does not hold valid base64."),
        ("data:image/png;base64,A===AAA", "The picture's data URI does not hold valid base64."),
        ("data:image/png;base64,<svg/>", "The picture's data URI does not hold valid base64."),
        ("data:image/png;base64,ÄÖÜ", "The picture's data URI does not hold valid base64."),
        ("data:image/png;base64,\ud800", "The picture's data URI does not hold valid base64."),
        ("data:image/png,\ud800", "The picture's data URI does not hold valid base64."),
    ],
)
def test_a_data_uri_that_can_not_be_read_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_data_uri(uri, param="image")

    assert (caught.value.message, caught.value.code, caught.value.param) == (message, "invalid_image", "image")


@given(st.binary(max_size=100))
def test_what_was_put_into_a_data_uri_comes_out(data: bytes) -> None:
    for encoder in (base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes):
        assert from_data_uri(f"data:image/png;base64,{encoder(data).decode()}") == data


# Properties

SAMPLES = [
    encode(photo(16, 12), "PNG"),
    encode(photo(16, 12, "P"), "PNG", exif=oriented(6)),
    encode(photo(16, 12), "JPEG", exif=oriented(6)),
    encode(photo(16, 12, "CMYK"), "JPEG"),
    encode(photo(16, 12), "MPO", save_all=True, append_images=[photo(16, 12)]),
    encode(photo(16, 12), "GIF"),
    encode(photo(16, 12), "WEBP", exif=oriented(6)),
    encode(photo(16, 12), "BMP"),
    encode(photo(16, 12), "TIFF", compression="tiff_lzw"),
    encode(deep("F", 0.25, 0.75), "TIFF"),
    encode(photo(16, 12), "AVIF"),
]


def is_picture_or_refused(data: bytes) -> bool:
    try:
        uri = to_data_uri(data, max_side=8)
    except BadRequestError:
        return True
    return uri.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_refused(data: bytes) -> None:
    assert is_picture_or_refused(data)


@given(st.sampled_from(SAMPLES), st.binary(max_size=200))
def test_any_bytes_behind_the_head_of_a_picture_are_a_picture_or_refused(sample: bytes, data: bytes) -> None:
    assert is_picture_or_refused(sample[:16] + data)


@hypothesis_settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0.1, 1),
)
def test_a_damaged_picture_is_a_picture_or_refused(sample: bytes, damage: list[tuple[float, int]], part: float) -> None:
    data = bytearray(sample)
    for place, value in damage:
        data[int(place * len(data))] = value

    assert is_picture_or_refused(bytes(data[: int(part * len(data))]))


@given(st.text())
def test_any_text_is_a_data_uri_or_refused(text: str) -> None:
    for uri in (text, f"data:{text}", f"data:image/png;base64,{text}"):
        try:
            data = from_data_uri(uri)
        except BadRequestError:
            continue
        assert isinstance(data, bytes)


def test_a_large_file_is_encoded_anew_even_if_it_is_ready() -> None:
    noise = Image.frombytes("RGB", (1500, 1500), random.Random(1).randbytes(1500 * 1500 * 3))
    file = BytesIO()
    noise.save(file, "PNG")
    uri = to_data_uri(file.getvalue(), max_side=2048)
    assert len(file.getvalue()) > 4 * 2**20
    assert uri.startswith("data:image/jpeg;base64,")
