"""The formats that callers ask for."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from app.media.output import OutputFormat, finished, format_of


def picture(kind: str, mode: str = "RGB") -> bytes:
    file = BytesIO()
    image = Image.linear_gradient("L").convert(mode)
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_every_format_becomes_every_other(kind: str, wanted: OutputFormat) -> None:
    made = finished(picture(kind), wanted)
    assert (made.format, format_of(made.data), made.size) == (wanted, wanted, (256, 256))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("options", [(None, None), ("same", None)])
def test_what_is_right_already_is_not_touched(kind: OutputFormat, options: tuple[Any, Any]) -> None:
    wanted, compression = options
    data = picture(kind)
    assert finished(data, kind if wanted == "same" else None, compression) == (data, kind, (256, 256))


def test_compression_is_for_jpeg_and_webp() -> None:
    for kind in ("jpeg", "webp"):
        data = picture(kind)
        assert len(finished(data, None, 0).data) < len(finished(data, None, 100).data)
    assert finished(picture("png"), "png", 50).data == picture("png")


def test_transparency_is_kept_where_the_format_can() -> None:
    data = picture("png", "LA")
    formats: dict[OutputFormat, str] = {"webp": "RGBA", "jpeg": "RGB"}
    for wanted, mode in formats.items():
        with Image.open(BytesIO(finished(data, wanted).data)) as image:
            assert image.mode in (mode, "RGB")


@pytest.mark.parametrize("data", [b"", b"<html>", picture("png")[:200], picture("gif")])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="picture"):
        finished(data, "jpeg")
