"""Where a recording is cut, and what counts as silence."""

import random
from array import array

import pytest

from app.media.recordings import RATE
from app.media.silences import BLOCK, INAUDIBLE, quietest, sounds
from tests.media.recorded import tones

SECOND = 2 * RATE


def pcm(*samples: int) -> bytes:
    return array("h", samples).tobytes()


def noise(count: int, peak: int, seed: int = 1) -> "array[int]":
    chance = random.Random(seed)
    return array("h", (chance.randint(-peak, peak) for _ in range(count)))


@pytest.mark.parametrize(
    ("samples", "is_heard"),
    [
        (b"", False),
        (pcm(0), False),
        (pcm(INAUDIBLE), False),
        (pcm(-INAUDIBLE), False),
        (pcm(INAUDIBLE + 1), True),
        (pcm(-INAUDIBLE - 1), True),
        (pcm(-32768), True),
        (pcm(*[-2000] * 1000), True),
        (pcm(*[2000] * 1000), True),
        (pcm(*[20] * 1000), False),
        (pcm(*[0] * 5000, 100), True),
        (pcm(*[0] * (2 * BLOCK), 100), True),
    ],
)
def test_silence_is_what_nobody_hears(samples: bytes, is_heard: bool) -> None:
    assert sounds(samples) is is_heard
    assert sounds(bytearray(samples)) is is_heard


@pytest.mark.parametrize(
    ("marks", "pause"),
    [
        ([(0.0, 4.0), (5.0, 10.0)], (4.0, 5.0)),
        ([(0.0, 4.0), (4.5, 6.0), (7.5, 10.0)], (6.0, 7.5)),  # the longest
        ([(0.0, 4.0), (5.0, 6.0), (7.0, 10.0)], (6.0, 7.0)),  # of equals, the last
        ([(0.0, 2.5), (3.0, 10.0)], (2.5, 3.0)),
        ([(0.0, 8.5), (8.9, 10.0)], (8.5, 8.9)),
    ],
)
def test_the_cut_is_in_the_middle_of_the_longest_pause(
    marks: list[tuple[float, float]], pause: tuple[float, float]
) -> None:
    cut = quietest(tones(10, marks).tobytes(), 2 * SECOND, 9 * SECOND)
    assert cut / SECOND == pytest.approx(sum(pause) / 2, abs=0.05)


def test_a_pause_need_not_be_silent() -> None:
    samples = noise(RATE * 10, 8000)
    samples[RATE * 6 : RATE * 7] = noise(RATE, 400)
    assert quietest(samples.tobytes(), 2 * SECOND, 9 * SECOND) / SECOND == pytest.approx(6.5, abs=0.05)


def test_a_dip_within_a_word_is_no_pause() -> None:
    samples = tones(10, [(0.0, 10.0)])
    samples[RATE * 4 : RATE * 4 + BLOCK] = array("h", bytes(2 * BLOCK))  # 20 ms of nothing
    samples[RATE * 6 : RATE * 7] = array("h", (sample // 8 for sample in samples[RATE * 6 : RATE * 7]))
    assert quietest(samples.tobytes(), 2 * SECOND, 9 * SECOND) / SECOND == pytest.approx(6.5, abs=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_the_cut_is_a_whole_sample_within_its_bounds(seed: int) -> None:
    chance = random.Random(seed)
    samples = noise(RATE, chance.choice([0, 10, 1000, 32767]), seed)
    least = 2 * chance.randrange(RATE // 2)
    most = least + 2 * chance.randrange(BLOCK, RATE // 2)
    cut = quietest(samples.tobytes(), least, most)
    assert least < cut < most
    assert cut % 2 == 0
