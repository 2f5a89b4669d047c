"""Pictures that a model made -> the format that the caller asked for."""

from io import BytesIO
from typing import Literal

from app.media.pictures import sniff

OutputFormat = Literal["png", "jpeg", "webp"]

MEDIA_TYPES: dict[str, OutputFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def format_of(data: bytes) -> OutputFormat | None:
    """What the bytes are, whatever their sender called them; None for what no model makes."""
    return MEDIA_TYPES.get(sniff(data) or "")


def to_format(data: bytes, wanted: OutputFormat | None, compression: int | None = None) -> tuple[bytes, OutputFormat]:
    """A picture in the wanted format, and that format; untouched if it is in it already, or none is wanted.

    `compression` is OpenAI's `output_compression`: 0 to 100, 100 the best, for JPEG and WebP only. Blocks. Raises
    ValueError for what is no picture or a damaged one.
    """
    found = format_of(data)
    if found is None:
        raise ValueError("Not a picture.")
    if wanted in (None, found) and (compression is None or found == "png"):
        return data, found
    return _encode(data, wanted or found, compression), wanted or found


def _encode(data: bytes, wanted: OutputFormat, compression: int | None) -> bytes:
    from PIL import Image  # takes a while, and not every server makes pictures

    encoded = BytesIO()
    try:
        with Image.open(BytesIO(data)) as image:
            has_alpha = image.has_transparency_data and wanted != "jpeg"
            image.convert("RGBA" if has_alpha else "RGB").save(encoded, wanted.upper(), **_options(wanted, compression))
    except (OSError, SyntaxError, Image.DecompressionBombError) as failure:
        raise ValueError("A damaged picture.") from failure
    return encoded.getvalue()


def _options(wanted: OutputFormat, compression: int | None) -> dict[str, int]:
    return {} if wanted == "png" else {"quality": 95 if compression is None else max(1, compression)}
