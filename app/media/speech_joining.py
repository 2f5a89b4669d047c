"""Speech made in several calls -> one, without a click where they meet, and with a breath between them."""

import struct

from app.media.speech_pcm import SAMPLE_BYTES, bytes_of

FADE_BYTES = bytes_of(0.005)
PAUSE_BYTES = bytes_of(0.25)
QUIET = 100
"""The loudest sample of silence: -50 dB, where speech in MP3 has some noise."""


class Joiner:
    """24 kHz, 16 bit mono PCM in parts, each of them cut anywhere, into one.

    At a seam the end of the one and the start of the other are faded over 5 ms, and a quarter of a second of silence
    is between them: their own, filled up with ours. Holds back 5 ms, and what of a part's start is silent.
    """

    def __init__(self) -> None:
        self._part = bytearray()  # what of it was not given out
        self._joined = b""  # the end of what was given out
        self._is_begun = True  # the seam before the part is made; there is none before the first
        self._pause = 0  # bytes of silence that are missing before the part
        self._quiet = 0  # bytes of silence that it begins with

    def feed(self, pcm: bytes) -> bytes:
        """More of the part. What is ready of the whole; perhaps nothing yet."""
        self._part += pcm
        begun = self._begin()
        return begun + self._give(len(self._part) - FADE_BYTES) if self._is_begun else b""

    def seam(self) -> bytes:
        """The part is over, and another follows. Half a sample at its end is dropped, and no part is one too."""
        if not self._end():
            return b""
        begun = self._begin(is_over=True)
        _fade(self._part, max(0, len(self._part) - FADE_BYTES), len(self._part), falls=True)
        ended = begun + self._give(len(self._part))
        self._pause, self._quiet, self._is_begun = max(0, PAUSE_BYTES - _quiet_end(self._joined)), 0, False
        return ended

    def close(self) -> bytes:
        """The last part is over."""
        return self._begin(is_over=True) + self._give(len(self._part)) if self._end() else b""

    def _end(self) -> bool:
        """Whether there was anything in the part."""
        del self._part[len(self._part) // SAMPLE_BYTES * SAMPLE_BYTES :]
        return bool(self._part)

    def _begin(self, *, is_over: bool = False) -> bytes:
        """The pause before the part, as soon as it is known how much of one the part brings along."""
        if self._is_begun:
            return b""
        while self._quiet < self._pause and _is_quiet(self._part[self._quiet : self._quiet + FADE_BYTES]):
            self._quiet += FADE_BYTES
        if not is_over and len(self._part) < self._quiet + FADE_BYTES:
            return b""
        self._is_begun = True
        _fade(self._part, 0, min(FADE_BYTES, len(self._part)), falls=False)
        return bytes(max(0, self._pause - self._quiet))

    def _give(self, length: int) -> bytes:
        given = bytes(self._part[: max(0, length) // SAMPLE_BYTES * SAMPLE_BYTES])
        del self._part[: len(given)]
        self._joined = (self._joined + given[-PAUSE_BYTES:])[-PAUSE_BYTES:]
        return given


def _is_quiet(window: bytes | bytearray) -> bool:
    """Whether it is a whole window of silence."""
    return len(window) == FADE_BYTES and max(map(abs, _samples(window))) <= QUIET


def _quiet_end(pcm: bytes) -> int:
    """Bytes of silence at the end."""
    end = len(pcm)
    while _is_quiet(pcm[max(0, end - FADE_BYTES) : end]):
        end -= FADE_BYTES
    return len(pcm) - end


def _fade(pcm: bytearray, start: int, end: int, *, falls: bool) -> None:
    samples = _samples(pcm[start:end])
    steps = range(len(samples), 0, -1) if falls else range(1, len(samples) + 1)
    faded = (int(sample * step / (len(samples) + 1)) for sample, step in zip(samples, steps, strict=True))
    pcm[start:end] = struct.pack(f"<{len(samples)}h", *faded)


def _samples(pcm: bytes | bytearray) -> tuple[int, ...]:
    return struct.unpack(f"<{len(pcm) // SAMPLE_BYTES}h", pcm)
