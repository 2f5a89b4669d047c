"""The one form of speech between its model and its caller: 24 kHz, 16 bit little-endian, mono, without a header."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

# PyAV is imported by the functions that need it: it takes a good part of the time in which the server should be ready.
if TYPE_CHECKING:
    from av import AudioFrame

RATE = 24_000
"""Samples in a second: what OpenAI's `pcm` has, and what every model's sound is turned into."""
SAMPLE_BYTES = 2
BYTES_PER_SECOND = RATE * SAMPLE_BYTES
FORMAT, LAYOUT = "s16", "mono"
"""FFmpeg's words for it."""


def seconds_of(pcm_bytes: int) -> float:
    """How long so many bytes of it sound."""
    return pcm_bytes / BYTES_PER_SECOND


def bytes_of(seconds: float) -> int:
    """How many bytes so many seconds take: whole samples."""
    return round(seconds * RATE) * SAMPLE_BYTES


def to_frame(pcm: bytes, start: int) -> "AudioFrame":
    """Whole samples, at least one, as FFmpeg wants them; `start` counts the samples before them."""
    from fractions import Fraction

    from av import AudioFrame

    frame = AudioFrame(FORMAT, LAYOUT, len(pcm) // SAMPLE_BYTES)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), start
    frame.planes[0].update(pcm)
    return frame


def from_frames(frames: "Iterable[AudioFrame]") -> bytes:
    """The samples of frames that are in this form already. FFmpeg pads their buffers."""
    return b"".join(bytes(memoryview(frame.planes[0])[: frame.samples * SAMPLE_BYTES]) for frame in frames)
