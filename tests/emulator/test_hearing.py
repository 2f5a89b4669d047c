"""What is heard is what was said, when it was said, whatever file it went through."""

import pytest

from app.emulator.hearing import Heard, as_if_heard, heard
from app.emulator.sound_files import Coding, Raw, Sound, decoded, encoded
from app.emulator.sounds import WORDS, silence, spoken, tone, word_at

TEXT = " ".join(WORDS)


def through(pcm: bytes, coding: Coding, sample_rate: int = 16000, raw: Raw | None = None) -> Sound:
    return decoded(encoded(pcm, sample_rate, coding), raw)


@pytest.mark.parametrize(
    ("coding", "sample_rate", "raw"),
    [
        (Coding("wav", "pcm_s16le"), 44100, None),
        (Coding("wav", "pcm_mulaw"), 8000, None),
        (Coding("mp3", "libmp3lame"), 22050, None),
        (Coding("ogg", "libopus"), 48000, None),
        (Coding("webm", "libopus"), 48000, None),
        (Coding("mp4", "aac"), 44100, None),
        (Coding("flac", "flac"), 48000, None),
        (Coding("mulaw", "pcm_mulaw"), 8000, Raw("mulaw", 8000)),
        (Coding("alaw", "pcm_alaw"), 8000, Raw("alaw", 8000)),
        (Coding("f32le", "pcm_f32le"), 16000, Raw("f32le", 16000)),
    ],
)
def test_every_word_comes_back_at_its_time(coding: Coding, sample_rate: int, raw: Raw | None) -> None:
    sound = through(spoken(TEXT, sample_rate), coding, sample_rate, raw)
    words = heard(sound.channels[0])
    assert [word for word, _, _ in words] == WORDS
    assert [start for _, start, _ in words] == pytest.approx([0.35 * n for n in range(139)], abs=0.02)
    assert [end for _, _, end in words] == pytest.approx([0.35 * n + 0.25 for n in range(139)], abs=0.02)
    assert sound.seconds == pytest.approx(0.35 * 139, abs=0.1)


def test_aac_alone_comes_a_frame_late() -> None:
    """The format can't say what its encoder put before the sound."""
    sound = through(spoken(TEXT, 22050), Coding("adts", "aac"), 22050)
    words = heard(sound.channels[0])
    assert [word for word, _, _ in words] == WORDS
    assert [start for _, start, _ in words] == pytest.approx([0.35 * n + 0.046 for n in range(139)], abs=0.02)


def of(*pcm: bytes) -> list[Heard]:
    return heard(through(b"".join(pcm), Coding("wav", "pcm_s16le")).channels[0])


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.5, 0.69])
def test_a_burst_is_a_word(seconds: float) -> None:
    words = of(silence(1, 16000), tone(640, seconds, 16000), silence(1, 16000))
    assert [word for word, _, _ in words] == [WORDS[17]]
    assert words[0][1:] == pytest.approx((1, 1 + seconds), abs=0.002)


@pytest.mark.parametrize(("seconds", "count"), [(0.75, 2), (2, 5), (4, 10)])
def test_a_long_burst_is_several_words(seconds: float, count: int) -> None:
    words = of(tone(640, seconds, 16000))
    assert [word for word, _, _ in words] == [WORDS[17]] * count
    assert [end for _, _, end in words[:-1]] == [start for _, start, _ in words[1:]]
    assert [words[0].start, words[-1].end] == pytest.approx([0, seconds], abs=0.002)


def test_silence_and_clicks_are_no_words() -> None:
    assert of(silence(2, 16000)) == []
    assert of(silence(0.5, 16000), tone(1000, 0.02, 16000), silence(0.5, 16000)) == []


def test_a_short_silence_divides_no_word() -> None:
    assert len(of(tone(1000, 0.1, 16000), silence(0.02, 16000), tone(1000, 0.1, 16000))) == 1
    assert len(of(tone(1000, 0.1, 16000), silence(0.04, 16000), tone(1000, 0.1, 16000))) == 2


def test_what_has_no_wave_is_a_word_too() -> None:
    assert [word for word, _, _ in of(b"\x00\x40" * 1600)] == [word_at(0)]


def test_words_may_be_spread_over_a_sound() -> None:
    assert as_if_heard("Red blue.", 3) == [("red", 0, 1.5), ("blue", 1.5, 3)]
    assert as_if_heard("", 3) == []
