"""Pictures as callers send them: sniff, check, and convert to what a vision model reads, a data URI of PNG or JPEG."""

import base64
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

from app.errors import BadRequestError

# Pillow is imported by the functions that decode: it takes a good part of the time in which the server should be
# ready, and most requests hold no picture.
if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

MAX_PIXELS = 64_000_000
"""More than any phone's camera by default; Pillow takes up to 4 bytes for each."""
MAX_READY_BYTES = 4 * 2**20
"""Larger files are encoded anew: as text in a JSON body they would weigh on every hop."""

SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/bmp": re.compile(rb"BM"),
    "image/tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "image/avif": re.compile(rb".{4}ftyp(?:.{4}){0,12}avi[fs]", re.DOTALL),
    "image/heic": re.compile(rb".{4}ftyp(?:hei[cfmsvx]|hev[cmsx]|mif1|msf1)", re.DOTALL),
}
FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
}
"""What can be decoded, by Pillow's name for it."""

PLAIN_MODES = {"image/png": {"1", "L", "LA", "P", "RGB", "RGBA"}, "image/jpeg": {"L", "RGB"}}
"""What every decoder understands; others take 16 bits of grey, or CMYK, for something else."""
LAST_MARKERS = {"image/png": (b"IDAT", b"IEND"), "image/jpeg": (b"\xff\xda", b"\xff\xd9")}
"""Where pixels begin, and the end of the picture: a file that lacks the latter after the former was cut off."""

ORIENTATION = 0x0112
DATA_URI = re.compile(r"data:(?:image/[^;,]+|application/octet-stream)?(?:;[^;]*)*", re.IGNORECASE)
URLSAFE = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n\f\v"


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes speak of: one of SIGNATURES, or None."""
    return next((media_type for media_type, signature in SIGNATURES.items() if signature.match(data)), None)


def from_data_uri(uri: str, *, param: str | None = None) -> bytes:
    """The bytes inside a `data:` URI (RFC 2397).

    Its declared type is not believed, so a wrong one does no harm. Base64 may be of either alphabet, wrapped,
    percent-encoded or unpadded. Raises BadRequestError.
    """
    header, comma, payload = uri.partition(",")
    header = "".join(header.split())
    if not comma or not DATA_URI.fullmatch(header):
        raise _invalid("The picture's data URI must have the form data:image/png;base64,...", param)
    try:
        return from_base64(payload) if header.lower().endswith(";base64") else unquote_to_bytes(payload)
    except ValueError as failure:
        raise _invalid("The picture's data URI does not hold valid base64.", param) from failure


def from_base64(text: str) -> bytes:
    """Of either alphabet, wrapped, percent-encoded or unpadded. Raises ValueError."""
    data = unquote_to_bytes(text) if "%" in text else text.encode()
    data = data.translate(URLSAFE, WHITESPACE).rstrip(b"=")
    return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)


def to_data_uri(data: bytes, *, max_side: int, param: str | None = None) -> str:
    """A picture as a data URI of PNG or JPEG, neither side longer than `max_side` pixels.

    What is PNG or JPEG already, small enough and upright passes byte for byte, and only its header is read. All else
    is decoded (the first picture of an animation), turned upright, scaled down and encoded: as PNG if it is
    transparent or a drawing of few colours, as JPEG otherwise. Blocks. Raises BadRequestError.
    """
    media_type = sniff(data)
    if media_type not in FORMATS:
        raise _invalid(_what_is_wrong(data, media_type), param)
    try:
        with _without_warnings():
            fitted_type, fitted = _fit(data, media_type, max_side, param)
    except BadRequestError:
        raise
    except Exception as failure:  # damaged files make Pillow's decoders raise nearly everything
        raise _invalid("The picture is damaged or incomplete: it can't be decoded.", param) from failure
    return f"data:{fitted_type};base64,{base64.b64encode(fitted).decode('ascii')}"


def _what_is_wrong(data: bytes, media_type: str | None) -> str:
    if not data:
        return "The picture is empty."
    found = "a web page, a drawing or some other text" if data.lstrip()[:1] == b"<" else media_type or "something else"
    return f"The picture must be PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF, but it is {found}."


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence Pillow, which warns of odd metadata in pictures that it decodes well.

    `catch_warnings` is not made for threads; what a race can leave behind is a filter that ignores Pillow.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _fit(data: bytes, media_type: str, max_side: int, param: str | None) -> tuple[str, bytes]:
    image = _open(data, media_type)
    if image is None or image.width * image.height > MAX_PIXELS:
        raise _invalid(f"The picture has more than {MAX_PIXELS:,} pixels.", param)
    if _is_ready(image, data, media_type, max_side):
        return media_type, data
    return _convert(image, media_type, max_side)


def _open(data: bytes, media_type: str) -> "Image | None":
    from PIL import Image

    try:
        return Image.open(BytesIO(data), formats=[FORMATS[media_type]])
    except Image.DecompressionBombError:
        return None


def _is_ready(image: "Image", data: bytes, media_type: str, max_side: int) -> bool:
    if len(data) > MAX_READY_BYTES or image.mode not in PLAIN_MODES.get(media_type, ()) or max(image.size) > max_side:
        return False
    start, end = LAST_MARKERS[media_type]
    return data.rfind(end) > data.rfind(start) and _turn(image) is None


def _convert(image: "Image", media_type: str, max_side: int) -> tuple[str, bytes]:
    from PIL.Image import Resampling

    # A JPEG can be decoded at an eighth, a quarter or half of its size, for a fraction of the time and memory. Twice
    # the wanted size leaves the fine scaling to Lanczos.
    image.draft(None, (2 * max_side, 2 * max_side))
    image.load()
    turn = _turn(image)
    flat = _flatten(image)
    is_drawing = media_type != "image/jpeg" and flat.getcolors(256) is not None
    flat.thumbnail((max_side, max_side), Resampling.LANCZOS)
    if turn is not None:
        flat = flat.transpose(turn)
    return _encode(flat, as_png=is_drawing or flat.mode == "RGBA")


def _turn(image: "Image") -> "Transpose | None":
    """What turns the picture upright, by its EXIF orientation; None if it is upright."""
    from PIL.Image import Transpose

    if image.format == "PNG" and "exif" not in image.info:
        return None  # Pillow would decode all of it to look for an orientation behind the pixels
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - many programs write broken EXIF, and it raises as much as broken pictures do
        return None
    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)


def _flatten(image: "Image") -> "Image":
    """The picture with 8 bits a channel: L, RGB, or RGBA where something shows through."""
    if image.mode.startswith(("I", "F")):
        return _to_8_bits(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        is_opaque = clear.getchannel("A").getextrema() == (255, 255)
        return clear.convert("RGB") if is_opaque else clear
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _to_8_bits(image: "Image") -> "Image":
    """Greys of 16 or 32 bits, scaled; Pillow's own conversion makes everything above 255 white."""
    values = image.convert("F")
    extremes = (0, 65535) if image.mode.startswith("I;16") else values.getextrema()
    low, high = cast("tuple[float, float]", extremes)
    scale = 255 / ((high - low) or 1)
    return values.point(lambda value: value * scale - low * scale).convert("L")


def _encode(image: "Image", *, as_png: bool) -> tuple[str, bytes]:
    # Without the colour profile: it may be one for the channels that the picture had before.
    encoded = BytesIO()
    if as_png:
        image.save(encoded, "PNG", icc_profile=None)
        return "image/png", encoded.getvalue()
    image.save(encoded, "JPEG", quality=90, icc_profile=None)
    return "image/jpeg", encoded.getvalue()


def _invalid(message: str, param: str | None) -> BadRequestError:
    return BadRequestError(message, param=param, code="invalid_image")
