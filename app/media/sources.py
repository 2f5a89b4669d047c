"""Pictures to start from, and masks, as the models take them: PNG within a size, and white where to change."""

from io import BytesIO
from typing import TYPE_CHECKING

from app.errors import BadRequestError
from app.media.pictures import MAX_PIXELS, sniff

if TYPE_CHECKING:
    from PIL.Image import Image


def to_source(data: bytes, *, max_side: int, param: str) -> bytes:
    """A caller's picture as an upright PNG, neither side above `max_side` pixels. Blocks. Raises BadRequestError."""
    return _png(_fitted(_opened(data, param), max_side).convert("RGB"))


def to_mask(data: bytes, source: bytes, *, param: str) -> bytes:
    """OpenAI's mask, transparent where the picture shall change, as a PNG of `source`'s size, white there.

    A mask without transparency is taken for one that shows it in white already. Blocks. Raises BadRequestError.
    """
    from PIL import Image, ImageOps

    mask = _opened(data, param)
    with Image.open(BytesIO(source)) as picture:
        size = picture.size
    white = ImageOps.invert(mask.convert("RGBA").getchannel("A")) if mask.has_transparency_data else mask.convert("L")
    return _png(white.resize(size).point(lambda value: 255 if value >= 128 else 0))  # half a change is none


def _opened(data: bytes, param: str) -> "Image":
    from PIL import Image, ImageOps

    if sniff(data) is None:
        raise _invalid("is not a picture", param)
    try:
        image = Image.open(BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise _invalid(f"has more than {MAX_PIXELS:,} pixels", param)
        image.load()
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as failure:
        raise _invalid("is damaged or incomplete", param) from failure
    return upright


def _fitted(image: "Image", max_side: int) -> "Image":
    from PIL.Image import Resampling

    image.thumbnail((max_side, max_side), Resampling.LANCZOS)
    return image


def _png(image: "Image") -> bytes:
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def _invalid(problem: str, param: str) -> BadRequestError:
    return BadRequestError(f"The picture in '{param}' {problem}.", param=param, code="invalid_image")
