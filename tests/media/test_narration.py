"""Speech of several calls as one file."""

import pytest

from app.emulator.sounds import spoken
from app.media.narration import Narration
from app.media.speech_decoding import to_pcm
from app.media.speech_pcm import seconds_of


def narrated(*parts: bytes, tempo: float = 1.0) -> bytes:
    with Narration("flac", tempo=tempo) as narration:
        made = b"".join(narration.feed(part) + narration.seam() for part in parts[:-1])
        return made + narration.feed(parts[-1]) + narration.close()


def test_parts_become_one_file_with_a_breath_between() -> None:
    part = spoken("hello world", 24_000).rstrip(b"\0")
    part += bytes(len(part) % 2)
    one, two = (seconds_of(len(to_pcm(narrated(*[part] * count)))) for count in (1, 2))
    assert two == pytest.approx(2 * one + 0.25, abs=0.05)


def test_it_is_stretched_as_a_whole() -> None:
    part = spoken("hello world", 24_000)
    assert len(to_pcm(narrated(part, tempo=2))) == pytest.approx(len(part) / 2, rel=0.02)


def test_without_sound_nothing_is_set_up() -> None:
    with Narration("mp3") as narration:
        pass
    assert narration._encoder is None


def test_what_is_left_open_is_freed() -> None:
    with Narration("mp3") as narration:
        narration.feed(bytes(48_000))
    with pytest.raises(ValueError, match="closed"):
        narration.feed(bytes(48_000))
