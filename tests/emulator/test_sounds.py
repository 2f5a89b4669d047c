"""A language of tones: its words, and how a text becomes PCM."""

from array import array

import pytest

from app.emulator.sounds import WORDS, heard_as, pitch_of, silence, spoken, tone, word_at, words_of


def test_the_vocabulary_is_large_and_plain() -> None:
    assert len(WORDS) == len(set(WORDS)) == 139
    assert all(word.isascii() and word.islower() for word in WORDS)


def test_every_word_has_a_pitch_of_its_own() -> None:
    assert [pitch_of(word) for word in WORDS] == [300.0 + 20 * number for number in range(139)]
    assert [word_at(pitch_of(word) + 9) for word in WORDS] == WORDS
    assert [word_at(pitch_of(word) - 9) for word in WORDS] == WORDS
    assert word_at(280) == WORDS[-1]


def test_other_words_always_sound_like_the_same_one() -> None:
    assert (heard_as("Hello"), pitch_of("HELLO")) == ("hello", pitch_of("hello"))
    assert heard_as("Flarelay") == heard_as("flarelay") == word_at(pitch_of("flarelay")) == "on"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", ["hello", "world"]),
        ("It's 3.5 o’clock, at 12:30", ["it's", "3.5", "o’clock", "at", "12:30"]),
        ("(well-known) __x__ ...", ["well-known", "x"]),
        ("你好。世界", ["你好", "世界"]),
        (" ... ", []),
    ],
)
def test_a_text_is_its_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("hello", 0.35),
        ("hello world", 0.7),
        ('hello world. "Red!" blue', 2),
        ("3.5 red", 0.7),
        ("你好。世界", 1),
        ("", 0.1),
    ],
)
@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_words_and_pauses_have_their_length(text: str, seconds: float, sample_rate: int) -> None:
    assert len(spoken(text, sample_rate)) == pytest.approx(2 * seconds * sample_rate, abs=8)


def test_a_tone_fades_at_both_ends() -> None:
    samples = array("h", tone(1000, 0.1, 16000))
    assert len(samples) == 1600
    assert max(map(abs, samples[:8])) < 1000 < 15000 < max(map(abs, samples[400:1200])) <= 16000
    assert max(map(abs, samples[-8:])) < 1000


def test_silence_is_nothing() -> None:
    assert silence(0.5, 8000) == bytes(8000)
