"""The price of pictures, in neurons."""

import pytest

from app.catalog import Catalog, Model, Price
from app.emulator.tiles import Size, megapixels_of, neurons_of, tiles_of
from tests.emulator.asking import FLUX, FLUX_2, KLEIN_4B, KLEIN_9B, LUCID, PHOENIX, SDXL

CATALOG = Catalog.load()


@pytest.mark.parametrize(
    ("size", "tiles", "megapixels"),
    [((1, 1), 1, 1), ((512, 512), 1, 1), ((513, 512), 2, 1), ((1024, 1024), 4, 1), ((1120, 1120), 9, 2)],
)
def test_begun_tiles_and_megapixels_count(size: Size, tiles: int, megapixels: int) -> None:
    assert (tiles_of(size), megapixels_of(size)) == (tiles, megapixels)


@pytest.mark.parametrize(
    ("model", "size", "steps", "sources", "neurons"),
    [
        (FLUX, (1024, 1024), 4, [], 172.8),  # 4 x (4.8 + 4 x 9.6), as users measured
        (LUCID, (512, 512), 10, [], 756.0),
        (PHOENIX, (1024, 512), 10, [], 1260.0),
        (FLUX_2, (1024, 768), 2, [], 300.0),
        (FLUX_2, (1024, 768), 2, [(300, 200), (512, 512)], 375.0),
        (KLEIN_4B, (512, 512), 4, [(300, 200)], 31.42),
        (KLEIN_9B, (1024, 1024), 4, [], 1363.64),
        (KLEIN_9B, (1920, 1080), 4, [(300, 200)], 1727.28),
        (SDXL, (1024, 1024), 20, [], 0),
    ],
)
def test_a_picture_has_its_price(model: str, size: Size, steps: int, sources: list[Size], neurons: float) -> None:
    assert neurons_of(CATALOG.resolve(model), size, steps, sources) == neurons


def test_a_unit_of_something_else_costs_nothing() -> None:
    assert neurons_of(Model("@cf/a/b", "text-to-image", price=(Price("audio_minute", 9),)), (512, 512), 4) == 0
