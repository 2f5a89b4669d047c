"""The emulator's language: every word is a tone, so that what was said can be heard again, exactly and anywhere."""

import math
import re
import zlib
from array import array
from functools import lru_cache

_WORDS = (
    "a|about|after|again|all|and|any|apple|are|as|at|autumn|be|because|been|bird|black|blue|book|bread|but|by|came|can|"
    "car|chair|city|cloud|come|could|day|do|dog|door|down|each|earth|end|eye|far|fire|first|fish|flower|for|forest|"
    "friend|from|garden|give|go|good|great|green|hand|has|have|he|hello|here|his|home|horse|house|how|i|in|is|it|"
    "kitchen|know|lamp|letter|light|like|little|long|look|man|many|milk|moon|morning|mountain|music|my|name|never|new|"
    "night|no|not|now|of|old|on|one|open|or|our|paper|people|rain|red|river|road|said|sea|see|she|silver|small|so|song|"
    "stone|summer|sun|table|that|the|there|they|this|time|to|tree|was|water|we|white|wind|window|winter|with|word|"
    "world|year|yes|you"
)
WORDS: list[str] = _WORDS.split("|")

LOWEST_HZ = 300
STEP_HZ = 20
"""Between a word's pitch and the next one's."""
WORD_SECONDS = 0.25
GAP_SECONDS = 0.1
"""Behind a word."""
SENTENCE_GAP_SECONDS = 0.4
"""Behind the last word of a sentence."""
LOUDNESS = 16000
"""Of 32767."""
FADE_SECONDS = 0.01

_TOKENS = re.compile(r"(?P<word>[^\W_]+(?:['’.,:-][^\W_]+)*)(?P<end>[^\w\s]*[.!?…。！？])?")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without what stands between them."""
    return [token["word"].lower() for token in _TOKENS.finditer(text)]


def heard_as(word: str) -> str:
    """The word of the vocabulary that a word sounds like: itself, or always the same other one."""
    return WORDS[_number(word)]


def pitch_of(word: str) -> float:
    """Hz. Word number k of `WORDS` is a tone of 300 + 20 k; a word that is not in it sounds like one that is."""
    return float(LOWEST_HZ + STEP_HZ * _number(word))


def word_at(pitch: float) -> str:
    """The word of the nearest pitch; beyond both ends of the vocabulary it starts again."""
    return WORDS[round((pitch - LOWEST_HZ) / STEP_HZ) % len(WORDS)]


def spoken(text: str, sample_rate: int) -> bytes:
    """The text as PCM: 16 bit in the machine's byte order, mono, `sample_rate` samples a second."""
    pcm = bytearray()
    for token in _TOKENS.finditer(text):
        pcm += _tone(_number(token["word"]), sample_rate)
        pcm += silence(SENTENCE_GAP_SECONDS if token["end"] else GAP_SECONDS, sample_rate)
    return bytes(pcm) or silence(GAP_SECONDS, sample_rate)


def silence(seconds: float, sample_rate: int) -> bytes:
    return bytes(2 * round(seconds * sample_rate))


def tone(pitch: float, seconds: float, sample_rate: int) -> bytes:
    """PCM, as that of `spoken`; it fades at both ends."""
    count = round(seconds * sample_rate)
    fade, turn = FADE_SECONDS * sample_rate, 2 * math.pi * pitch / sample_rate
    samples = (
        LOUDNESS * min(1.0, (number + 1) / fade, (count - number) / fade) * math.sin(turn * number)
        for number in range(count)
    )
    return array("h", map(int, samples)).tobytes()


@lru_cache(512)
def _tone(number: int, sample_rate: int) -> bytes:
    return tone(LOWEST_HZ + STEP_HZ * number, WORD_SECONDS, sample_rate)


def _number(word: str) -> int:
    word = word.lower()
    return _NUMBERS[word] if word in _NUMBERS else zlib.crc32(word.encode()) % len(WORDS)


_NUMBERS = {word: number for number, word in enumerate(WORDS)}
