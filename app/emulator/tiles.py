"""What a picture costs: by tiles of 512 pixels a side, by steps, by megapixels.

Source: Cloudflare's price list. Of flux-1-schnell users measured that a step is paid once per tile, as if it said
so; the models that are priced in the same words are taken to count in the same way.
"""

from collections.abc import Sequence

from app.catalog import Model

TILE = 512
MEGAPIXEL = 1024 * 1024
Size = tuple[int, int]
"""Width and height in pixels."""


def neurons_of(model: Model, size: Size, steps: int, sources: Sequence[Size] = ()) -> float:
    """Of one picture of this size, made in so many steps from these sources."""
    tiles, source_tiles = tiles_of(size), sum(map(tiles_of, sources))
    units = {
        "tile_512": tiles,
        "step": tiles * steps,
        "output_tile_512": tiles,
        "output_tile_512_step": tiles * steps,
        "input_tile_512": source_tiles,
        "input_tile_512_step": source_tiles * steps,
        "first_megapixel": 1,
        "subsequent_megapixel": megapixels_of(size) - 1,
        "input_image_megapixel": sum(map(megapixels_of, sources)),
    }
    return round(sum(price.neurons * units.get(price.unit, 0) for price in model.price), 6)


def tiles_of(size: Size) -> int:
    width, height = size
    return -(-width // TILE) * -(-height // TILE)


def megapixels_of(size: Size) -> int:
    """Begun ones count."""
    width, height = size
    return -(-width * height // MEGAPIXEL)
