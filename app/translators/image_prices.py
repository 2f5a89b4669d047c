"""What pictures cost by Cloudflare's price list, where a reply tells no exact charge."""

import math
from collections.abc import Iterable

from app.catalog import Price
from app.translators.sizes import Size
from app.values import immutable

TILE = 512
"""Pixels a side."""
MEGAPIXEL = 1024 * 1024


@immutable
class Work:
    """What one call asks for, as far as usage goes by it."""

    size: Size
    steps: int = 0
    inputs: tuple[Size, ...] = ()
    """Of the pictures it starts from."""
    prompt_tokens: int = 0
    """Estimated."""


def neurons_of(work: Work, price: Iterable[Price]) -> float | None:
    """None where the list has no price, or one in units of another kind.

    Source: Cloudflare's docs, Workers AI pricing. Steps are counted per tile, as measured: FLUX.1 schnell is charged
    172.8 neurons for 4 tiles and 4 steps, at 4.8 a tile and 9.6 a step.
    """
    counts = _counts(work)
    prices = {each.unit: each.neurons for each in price}
    if not prices or not prices.keys() <= counts.keys():
        return None
    return sum(neurons * counts[unit] for unit, neurons in prices.items())


def _counts(work: Work) -> dict[str, int]:
    tiles, input_tiles = _tiles(work.size), sum(map(_tiles, work.inputs))
    return {
        "tile_512": tiles,
        "step": tiles * work.steps,
        "output_tile_512": tiles,
        "input_tile_512": input_tiles,
        "output_tile_512_step": tiles * work.steps,
        "input_tile_512_step": input_tiles * work.steps,
        "first_megapixel": 1,
        "subsequent_megapixel": _megapixels(work.size) - 1,
        "input_image_megapixel": sum(map(_megapixels, work.inputs)),
    }


def _tiles(size: Size) -> int:
    width, height = size
    return math.ceil(width / TILE) * math.ceil(height / TILE)


def _megapixels(size: Size) -> int:
    return math.ceil(math.prod(size) / MEGAPIXEL)
