"""Sizes: a width and a height as a model takes them, their ratio kept."""

from app.catalog.pictures import Range

Size = tuple[int, int]


def fitted(size: Size, sides: Range, multiple: int) -> Size:
    """The nearest size within `sides` whose sides are multiples of `multiple`.

    The ratio is kept as far as rounding allows, unless it is more extreme than the limits themselves.
    """
    width, height = size
    scale = min(1, sides.most / max(size))
    scale = max(scale, sides.least / min(size))
    return _rounded(width * scale, sides, multiple), _rounded(height * scale, sides, multiple)


def _rounded(side: float, sides: Range, multiple: int) -> int:
    least, most = -(-int(sides.least) // multiple), int(sides.most) // multiple
    return min(max(round(side / multiple), least), most) * multiple


def shaped_like(size: Size, longest: int) -> Size:
    """A size of the same ratio, its longer side `longest`."""
    width, height = (max(1, round(side * longest / max(size))) for side in size)
    return width, height


def png_size(data: bytes) -> Size:
    """Width and height of a PNG, as its first chunk tells them."""
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
