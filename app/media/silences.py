"""Where a recording is quiet: that is where it can be cut without cutting a word.

PCM here is one channel of 16 bits a sample, at 16 kHz.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

BLOCK = 320
"""Samples: 20 ms, shorter than any pause between words."""
NEIGHBOURS = 7
"""Blocks on either side that have to be quiet too."""
INAUDIBLE = 33
"""Of 32,767: 60 dB below full scale."""
ALIKE = 1.5
"""Two peaks of which one is so much larger are about as quiet."""


def quietest(pcm: bytes | bytearray, least: int, most: int) -> int:
    """Where to cut, in bytes between `least` and `most`: in the middle of the longest pause; of equals, the last."""
    peaks = _around(_peaks(pcm, least, most))
    quiet = max(min(peaks) * ALIKE, INAUDIBLE)
    runs = [list(run) for is_quiet, run in groupby(range(len(peaks)), lambda i: peaks[i] <= quiet) if is_quiet]
    longest = max(runs, key=lambda run: (len(run), run[0]))
    return least + (longest[len(longest) // 2] * BLOCK + BLOCK // 2) * 2


def sounds(pcm: bytes | bytearray) -> bool:
    """Whether anything in it could be heard."""
    samples = memoryview(pcm).cast("h")
    starts = range(0, len(samples), BLOCK)
    return any(_peak(samples[start : start + BLOCK]) > INAUDIBLE for start in starts)


def _peaks(pcm: bytes | bytearray, least: int, most: int) -> list[int]:
    samples = memoryview(pcm).cast("h")[least // 2 : most // 2]
    return [_peak(samples[start : start + BLOCK]) for start in range(0, len(samples) - BLOCK + 1, BLOCK)]


def _peak(samples: Iterable[int]) -> int:
    return max(max(samples), -min(samples))


def _around(peaks: Sequence[int]) -> list[int]:
    """Each block's loudest neighbour."""
    return [max(peaks[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]) for i in range(len(peaks))]
