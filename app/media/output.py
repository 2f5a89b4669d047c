"""Pictures that a model made -> the format that the caller asked for."""

from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

from app.media.pictures import sniff

if TYPE_CHECKING:
    from PIL.Image import Image

OutputFormat = Literal["png", "jpeg", "webp"]

MEDIA_TYPES: dict[str, OutputFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def format_of(data: bytes) -> OutputFormat | None:
    """What the bytes are, whatever their sender called them; None for what no model makes."""
    return MEDIA_TYPES.get(sniff(data) or "")


class Finished(NamedTuple):
    """A picture that can be handed out."""

    data: bytes
    format: OutputFormat
    size: tuple[int, int]
    """Pixels: width, height."""


def finished(data: bytes, wanted: OutputFormat | None = None, compression: int | None = None) -> Finished:
    """A model's picture, decoded to be sure of it, in the wanted format; untouched if it is in it already.

    `compression` is OpenAI's `output_compression`: 0 to 100, 100 the best, for JPEG and WebP only. Blocks. Raises
    ValueError for what is no picture or a damaged one.
    """
    from PIL import Image  # takes a while, and not every server makes pictures

    found = format_of(data)
    if found is None:
        raise ValueError("Not a picture.")
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
            if wanted not in (None, found) or (compression is not None and found != "png"):
                data, found = _encoded(image, wanted or found, compression), wanted or found
            return Finished(data, found, image.size)
    except (OSError, SyntaxError, Image.DecompressionBombError) as failure:
        raise ValueError("A damaged picture.") from failure


def _encoded(image: "Image", wanted: OutputFormat, compression: int | None) -> bytes:
    encoded = BytesIO()
    mode = "RGBA" if image.has_transparency_data and wanted != "jpeg" else "RGB"
    options = {} if wanted == "png" else {"quality": 95 if compression is None else max(1, compression)}
    image.convert(mode).save(encoded, wanted.upper(), **options)
    return encoded.getvalue()
