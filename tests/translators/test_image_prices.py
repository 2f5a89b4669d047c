"""What pictures cost by the list."""

import pytest

from app.catalog import Catalog, Price
from app.translators.image_prices import Work, neurons_of

CATALOG = Catalog.load()


@pytest.mark.parametrize(
    ("model", "work", "neurons"),
    [
        ("black-forest-labs/flux-1-schnell", Work((1024, 1024), 4), 172.8),  # as Cloudflare has charged
        ("black-forest-labs/flux-1-schnell", Work((1024, 1024), 8), 4 * (4.8 + 8 * 9.6)),
        ("leonardo/lucid-origin", Work((1120, 1120), 20), 9 * (636 + 20 * 12)),
        ("black-forest-labs/flux-2-dev", Work((1024, 768), 25), 4 * 37.5 * 25),
        ("black-forest-labs/flux-2-dev", Work((1024, 768), 10, ((511, 300), (400, 400))), (4 * 37.5 + 2 * 18.75) * 10),
        ("black-forest-labs/flux-2-klein-4b", Work((1024, 768), 4, ((511, 511),)), 4 * 26.05 + 5.37),
        ("black-forest-labs/flux-2-klein-9b", Work((1024, 1024), 4), 1363.64),
        ("black-forest-labs/flux-2-klein-9b", Work((1920, 1088), 4, ((511, 511),)), 1363.64 + 2 * 181.82),
        ("bytedance/stable-diffusion-xl-lightning", Work((1024, 1024), 20), 0),
        ("lykon/dreamshaper-8-lcm", Work((512, 512), 20), None),
    ],
)
def test_neurons_follow_from_tiles_and_steps(model: str, work: Work, neurons: float | None) -> None:
    assert neurons_of(work, CATALOG.resolve(f"@cf/{model}").price) == (neurons and pytest.approx(neurons))


def test_a_price_in_other_units_tells_nothing() -> None:
    assert neurons_of(Work((512, 512)), [Price("tile_512", 1), Price("audio_minute", 1)]) is None
