"""Paintings, looked at pixel by pixel."""

import io
from typing import Any

import pytest
from PIL import Image

from app.emulator.faults import Fault
from app.emulator.painting import LONGEST_TEXT, Format, Painting, colour_of, painted
from app.emulator.tiles import Size
from tests.emulator.asking import picture_bytes

BLACK = picture_bytes(8, 8)
WHITE = picture_bytes(8, 8, colour="white")
HALF = tuple(value // 2 for value in colour_of(1))


def opened(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))


def painting(text: str = "", seed: int | str = 1, size: Size = (64, 32), kind: Format = "PNG", **more: Any) -> Any:
    return opened(painted(Painting(text, seed, size, kind, **more)))


def inked(image: Any) -> int:
    """Dark pixels."""
    return sum(image.convert("L").histogram()[:100])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (256, 300), (1120, 700)])
def test_every_size_can_be_had_in_every_format(kind: Format, size: Size) -> None:
    image = painting("Hello", size=size, kind=kind)
    assert (image.format, image.size, image.mode) == (kind, size, "RGB")


def test_the_seed_is_the_colour() -> None:
    found = [painting(seed=seed).getpixel((0, 0)) for seed in (1, 1, 2, "a")]
    assert found == [colour_of(1), colour_of(1), colour_of(2), colour_of("a")]
    assert len(set(found)) == 3


def test_no_colour_is_too_dark_to_write_on() -> None:
    assert min(min(colour_of(seed)) for seed in range(500)) >= 128


def test_the_text_is_drawn_and_wrapped() -> None:
    size = (300, 300)
    none, one, more = (painting("Hello " * times, size=size) for times in (0, 1, 100))
    assert inked(none) == 0 < inked(one) < inked(more)
    edge = more.crop((290, 0, 300, 300)).getcolors()
    assert edge == [(3000, colour_of(1))]  # nothing runs over
    assert more.crop((0, 290, 300, 300)).getcolors() == [(3000, colour_of(1))]


def test_what_finds_no_room_is_left_out() -> None:
    text = "x" * LONGEST_TEXT
    assert painted(Painting(text, 1, (2000, 2000), "PNG")) == painted(Painting(text + "y", 1, (2000, 2000), "PNG"))


@pytest.mark.parametrize(
    ("strength", "colour"), [(0, (0, 0, 0)), (1, HALF), (0.5, tuple(int(value / 4) for value in colour_of(1)))]
)
def test_a_source_shows_through_by_its_share(strength: float, colour: tuple[int, ...]) -> None:
    image = painting(size=(32, 32), sources=(BLACK,), strength=strength)
    assert image.size == (32, 32)
    assert image.getcolors() == [(1024, colour)]


def test_sources_stand_side_by_side() -> None:
    image = painting(size=(30, 10), sources=(BLACK, WHITE, BLACK))
    assert [image.getpixel((x, 5)) == HALF for x in (0, 9, 10, 19, 20, 29)] == [True, True, False, False, True, True]


@pytest.mark.parametrize("kind", ["RGBA", "P", "L", "1"])
def test_a_source_may_have_any_mode(kind: str) -> None:
    file = io.BytesIO()
    Image.new(kind, (3, 3)).save(file, "PNG")
    assert painting(sources=(file.getvalue(),), strength=0).getcolors() == [(64 * 32, (0, 0, 0))]


def test_a_mask_keeps_what_is_black() -> None:
    mask = Image.new("L", (4, 4), 127)
    mask.paste(128, (2, 0, 4, 4))
    file = io.BytesIO()
    mask.resize((8, 8), Image.Resampling.NEAREST).save(file, "PNG")
    image = painting(size=(8, 8), sources=(BLACK,), mask=file.getvalue())
    assert image.crop((0, 0, 4, 8)).getcolors() == [(32, (0, 0, 0))]
    assert image.crop((4, 0, 8, 8)).getcolors() == [(32, HALF)]


@pytest.mark.parametrize("broken", [b"", b"7", WHITE[:45], picture_bytes(64, 64, "JPEG")[:-200]])
def test_a_source_or_mask_that_breaks_off_is_8006(broken: bytes) -> None:
    for more in ({"sources": (broken,)}, {"sources": (BLACK,), "mask": broken}):
        with pytest.raises(Fault) as failure:
            painting(**more)
        assert failure.value.code == 8006
