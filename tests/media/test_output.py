"""The formats that callers ask for."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from app.media.output import OutputFormat, format_of, to_format


def picture(kind: str, mode: str = "RGB") -> bytes:
    file = BytesIO()
    image = Image.linear_gradient("L").convert(mode)
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_every_format_becomes_every_other(kind: str, wanted: OutputFormat) -> None:
    data, found = to_format(picture(kind), wanted)
    assert (found, format_of(data)) == (wanted, wanted)
    with Image.open(BytesIO(data)) as image:
        assert image.size == (256, 256)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("options", [(None, None), ("same", None)])
def test_what_is_right_already_is_not_touched(kind: OutputFormat, options: tuple[Any, Any]) -> None:
    wanted, compression = options
    data = picture(kind)
    assert to_format(data, kind if wanted == "same" else None, compression) == (data, kind)


def test_compression_is_for_jpeg_and_webp() -> None:
    for kind in ("jpeg", "webp"):
        data = picture(kind)
        assert len(to_format(data, None, 0)[0]) < len(to_format(data, None, 100)[0])
    assert to_format(picture("png"), "png", 50)[0] == picture("png")


def test_transparency_is_kept_where_the_format_can() -> None:
    data = picture("png", "LA")
    for wanted, mode in (("webp", "RGBA"), ("jpeg", "RGB")):
        with Image.open(BytesIO(to_format(data, wanted)[0])) as image:  # type: ignore[arg-type]
            assert image.mode in (mode, "RGB")


@pytest.mark.parametrize("data", [b"", b"<html>", picture("png")[:200], picture("gif")])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="picture"):
        to_format(data, "jpeg")
