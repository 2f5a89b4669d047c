"""Painting: a text on a colour, or over other pictures, as the bytes of a file.

A painting over sources stays recognisable: each pixel is mixed of theirs and its own by a known share.
"""

import hashlib
import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app.emulator.faults import Fault
from app.emulator.tiles import Size

# Pillow is imported by the functions that draw: the server should be ready sooner than it is.
if TYPE_CHECKING:
    from PIL.Image import Image

Format = Literal["PNG", "JPEG"]
Colour = tuple[int, int, int]

MOST_OF_PAINT = 0.5
"""The share of the painting over a source at strength 1; at 0 nothing changes."""
LONGEST_TEXT = 4000
"""Characters that are drawn, at most."""
INK = (20, 20, 20)
WHITE_FROM = 128
"""From this grey on, a mask is white: what it covers changes."""


@dataclass(frozen=True, slots=True)
class Painting:
    text: str
    seed: int | str
    """Decides the colour."""
    size: Size
    format: Format
    sources: tuple[bytes, ...] = ()
    """Pictures to paint over, side by side."""
    mask: bytes | None = None
    """A picture whose black parts keep the sources as they are."""
    strength: float = 1
    """0 to 1: how much of the sources gives way."""


def colour_of(seed: int | str) -> Colour:
    """Light enough to write on."""
    red, green, blue, *_ = hashlib.sha256(str(seed).encode()).digest()
    return 128 + red // 2, 128 + green // 2, 128 + blue // 2


def painted(painting: Painting) -> bytes:
    """Blocks. Raises 8006 for a source or a mask that can't be decoded."""
    picture = _written(painting)
    if painting.sources:
        picture = _over_sources(picture, painting)
    file = io.BytesIO()
    picture.save(file, painting.format, **({"compress_level": 1} if painting.format == "PNG" else {"quality": 90}))
    return file.getvalue()


def _written(painting: Painting) -> "Image":
    from PIL import Image, ImageDraw, ImageFont

    width, height = painting.size
    picture = Image.new("RGB", painting.size, colour_of(painting.seed))
    font_size = max(10, width // 28)
    font = ImageFont.load_default(font_size)
    line_height, margin = font_size * 4 // 3, font_size
    columns = max(8, int((width - 2 * margin) / font.getlength("n")))
    rows = max(1, (height - 2 * margin) // line_height)
    lines = textwrap.wrap(painting.text[:LONGEST_TEXT], columns, max_lines=rows, placeholder=" ...")
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((margin, margin + number * line_height), line, INK, font)
    return picture


def _over_sources(picture: "Image", painting: Painting) -> "Image":
    from PIL import Image

    source = Image.new("RGB", painting.size)
    width, height = painting.size
    edges = [width * number // len(painting.sources) for number in range(len(painting.sources) + 1)]
    for data, left, right in zip(painting.sources, edges, edges[1:], strict=False):
        source.paste(_decoded(data, "RGB").resize((right - left, height)), (left, 0))
    mixed = Image.blend(source, picture, MOST_OF_PAINT * painting.strength)
    if painting.mask is None:
        return mixed
    mask = _decoded(painting.mask, "L").resize(painting.size)
    return Image.composite(mixed, source, mask.point([255 * (grey >= WHITE_FROM) for grey in range(256)]))


def _decoded(data: bytes, mode: str) -> "Image":
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert(mode)
    except Exception as failure:  # damaged files make Pillow's decoders raise nearly everything
        raise Fault(8006, "Invalid data for image - reason cannot decode image file") from failure
