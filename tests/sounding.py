"""Recordings whose words are known, as the emulator hears them: each word is a tone at a known time."""

from collections.abc import Sequence
from io import BytesIO

import av

from app.emulator.sound_files import Coding, encoded
from app.emulator.sounds import WORDS, pitch_of, silence, tone

RATE = 16_000
NAMES = [word for word in WORDS if len(word) > 1]
"""Words that can't be taken for a piece of another."""


def recording(said: Sequence[str], *, every_seconds: float = 1.0, seconds: float = 0.3) -> bytes:
    """WAV, 16 kHz. A word begins `every_seconds`."""
    pcm = b"".join(tone(pitch_of(word), seconds, RATE) + silence(every_seconds - seconds, RATE) for word in said)
    return encoded(pcm, RATE, Coding("wav", "pcm_s16le"))


def seconds_in(data: bytes, container: str | None = None) -> float:
    """By decoding it."""
    if container == "pcm":
        return len(data) / 48_000
    with av.open(BytesIO(data), "r") as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
