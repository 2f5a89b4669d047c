"""pseudo: made-up translations, in which every word shows where it comes from and the script is the target's.

A word becomes the same word wherever it stands, another one for each pair of languages, and two words hardly ever
become the same. Line breaks, punctuation, numbers and words with a digit (`H2O`), tags, placeholders in braces and
addresses stay. What stays is no claim about real models: those differ, and the quirks of a task say how.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby
from math import isqrt
from random import Random
from typing import Literal

Kind = Literal["word", "run", "sign", "other"]
"""`run`: letters of a script without spaces, `sign`: Han, kana and hangul, which say more than letters."""

NAMES = {
    "english": "en",
    "chinese": "zh",
    "french": "fr",
    "spanish": "es",
    "arabic": "ar",
    "russian": "ru",
    "german": "de",
    "japanese": "ja",
    "portuguese": "pt",
    "hindi": "hi",
}
"""The names that m2m100 takes for codes."""

_SCRIPTS = {
    "Cyrl": "ru uk bg sr be mk kk mn ky tg tt ba cv",
    "Arab": "ar fa ur ps sd ug ks ckb",
    "Hebr": "he yi",
    "Deva": "hi mr ne sa mai bho doi awa gom brx hne mag",
    "Beng": "bn as",
    "Grek": "el",
    "Armn": "hy",
    "Geor": "ka",
    "Guru": "pa",
    "Gujr": "gu",
    "Orya": "or",
    "Taml": "ta",
    "Telu": "te",
    "Knda": "kn",
    "Mlym": "ml",
    "Sinh": "si",
    "Thai": "th",
    "Laoo": "lo",
    "Mymr": "my",
    "Khmr": "km",
    "Ethi": "am ti",
    "Tibt": "bo dz",
    "Mtei": "mni",
    "Olck": "sat",
    "Hang": "ko",
    "Jpan": "ja",
    "Hans": "zh yue",
}
SCRIPTS = {language: script for script, languages in _SCRIPTS.items() for language in languages.split()}
"""Of languages that are not written in Latin letters."""

LETTERS = {
    "Cyrl": "абвгдежзиклмнопрстуфхцчшщыэюя",
    "Arab": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Hebr": "אבגדהוזחטיכלמנסעפצקרשת",
    "Grek": "αβγδεζηθικλμνξοπρστυφχψω",
}
_FIRST_LETTERS = {
    "Deva": 0x0915,
    "Beng": 0x0995,
    "Guru": 0x0A15,
    "Gujr": 0x0A95,
    "Orya": 0x0B15,
    "Taml": 0x0B95,
    "Telu": 0x0C15,
    "Knda": 0x0C95,
    "Mlym": 0x0D15,
    "Sinh": 0x0D9A,
    "Thai": 0x0E01,
    "Laoo": 0x0E81,
    "Mymr": 0x1000,
    "Khmr": 0x1780,
    "Ethi": 0x1200,
    "Tibt": 0x0F40,
    "Armn": 0x0561,
    "Geor": 0x10D0,
    "Mtei": 0xABC0,
    "Olck": 0x1C5A,
}
_BLOCK = 33
"""Code points from a script's first letter on, of which those that are letters are used."""

UNSPACED = frozenset({"Hans", "Hant", "Jpan", "Thai", "Laoo", "Mymr", "Khmr", "Tibt"})
"""Without spaces between words."""

SIGNS = frozenset({"Hans", "Hant", "Jpan", "Hang"})
"""A sign stands for two letters of an alphabet."""

VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
HIRAGANA = "".join(map(chr, range(0x3042, 0x3094)))

_KEPT = re.compile(
    r"</?[^\s<>][^<>]*>|\{[^{}\s]*\}|%\w\b|@\d+#|\b\w+://[^\s<>\u3000-\u9fff]+|\b[\w.+-]+@[\w-]+\.[\w.-]+"
)
_CHUNKS: dict[Kind, int] = {"sign": 2, "run": 6}
"""How many of them become one word where there are spaces between words."""


def pseudo(text: str, source: str, target: str) -> str:
    """The made-up translation. Languages are m2m100's codes and names, indictrans2's codes, or BCP 47 tags."""
    return _Tongue.between(NAMES.get(source, source), NAMES.get(target, target)).said(text)


class _Tongue:
    """One direction."""

    def __init__(self, source: str, target: str) -> None:
        self._script = script_of(target)
        self._random = Random(f"{source}>{target}")  # noqa: S311 - it has to be the same every time
        self._is_spaced = self._script not in UNSPACED
        self._alphabet = self._shuffled(_alphabet(self._script))
        self._latin = self._circle(VOWELS) | self._circle(CONSONANTS)

    @staticmethod
    @lru_cache(500)
    def between(source: str, target: str) -> "_Tongue":
        return _Tongue(_plain(source), _plain(target))

    def said(self, text: str) -> str:
        said: list[str] = []
        position = 0
        for kept in _KEPT.finditer(text):
            said += [*self._run(text[position : kept.start()]), kept[0]]
            position = kept.end()
        return "".join([*said, *self._run(text[position:])])

    def _run(self, text: str) -> Iterator[str]:
        tokens = list(_tokens(text))
        for place, (kind, token) in enumerate(tokens):
            before, after = (_token_at(tokens, place - 1), _token_at(tokens, place + 1))
            if kind == "other":
                is_between_words = not any(_is_fixed(*each) for each in (before, after))
                yield token.removeprefix(" ") if len(token) == 1 and is_between_words and not self._is_spaced else token
                continue
            is_apart = self._is_spaced and before[0] != "other"
            yield " " * is_apart + (token if _has_digit(token) else self._word(kind, token))

    def _word(self, kind: Kind, word: str) -> str:
        if kind != "sign":
            word = unicodedata.normalize("NFD", word)
        if self._script in SIGNS:
            return self._in_signs(kind, word)
        if kind == "sign":
            return self._syllables(word)
        if self._script == "Latn":
            return unicodedata.normalize("NFC", "".join(map(self._latin_letter, word)))
        return "".join(self._alphabet[ord(letter) % len(self._alphabet)] for letter in _letters(word))

    def _latin_letter(self, letter: str) -> str:
        if _is_accent(letter):
            return letter
        found = self._latin.get(letter.lower())
        if found is None:
            everything = VOWELS + CONSONANTS
            found = self._latin[everything[ord(letter.lower()[0]) % len(everything)]]
        return found.upper() if letter.isupper() else found

    def _syllables(self, word: str) -> str:
        """A few letters for a sign, since that says as much as they do."""
        said = []
        for sign in word:
            number = ord(sign)
            if self._script == "Latn":
                number, vowel = divmod(number, len(VOWELS))
                number, first = divmod(number, len(CONSONANTS))
                said.append(self._latin[CONSONANTS[first]] + self._latin[VOWELS[vowel]])
                said.append(self._latin[CONSONANTS[number % len(CONSONANTS)]])
            else:
                number, first = divmod(number, len(self._alphabet))
                said.append(self._alphabet[first] + self._alphabet[number % len(self._alphabet)])
        return "".join(said)

    def _in_signs(self, kind: Kind, word: str) -> str:
        signs, base = self._alphabet, isqrt(len(self._alphabet))
        if kind == "sign":
            said = "".join(signs[ord(sign) % len(signs)] for sign in word)
        else:
            numbers = [1 + ord(letter) % (base - 1) for letter in _letters(word)] + [0]
            said = "".join(signs[base * one + other] for one, other in zip(numbers[::2], numbers[1::2], strict=False))
        if self._script == "Jpan":
            said += HIRAGANA[sum(map(ord, word.lower())) % len(HIRAGANA)]
        return said

    def _shuffled(self, letters: str) -> str:
        return "".join(self._random.sample(letters, len(letters)))

    def _circle(self, letters: str) -> dict[str, str]:
        """Each letter -> another one."""
        mixed = self._shuffled(letters)
        return dict(zip(mixed, mixed[1:] + mixed[0], strict=True))


def script_of(language: str) -> str:
    """Such as `Latn`, `Cyrl`, `Hans`, `Hant`, `Jpan`; from the tag itself, if it names one."""
    first, *rest = language.replace("_", "-").split("-")
    named = next((part.title() for part in rest if len(part) == 4 and part.isalpha()), None)
    return named or SCRIPTS.get(first, "Latn")


def _plain(language: str) -> str:
    return "zh" if language == "zh-Hans" else language


@cache
def _alphabet(script: str) -> str:
    """The Chinese and Japanese signs are the frequent ones: the first plane of each country's own standard."""
    match script:
        case "Hans":
            return _plane("gb2312", range(0xB0, 0xD8))
        case "Hant":
            return _plane("big5", range(0xA4, 0xC6))
        case "Jpan":
            return _plane("euc_jp", range(0xB0, 0xD0))
        case "Hang":
            return "".join(map(chr, range(0xAC00, 0xD7A4, 3)))
    if script in _FIRST_LETTERS:
        block = map(chr, range(_FIRST_LETTERS[script], _FIRST_LETTERS[script] + _BLOCK))
        return "".join(filter(_is_plain_letter, block))
    return LETTERS.get(script, VOWELS + CONSONANTS)


def _is_plain_letter(character: str) -> bool:
    return unicodedata.category(character) in ("Lo", "Ll") and unicodedata.is_normalized("NFC", character)


def _plane(encoding: str, rows: Sequence[int]) -> str:
    return "".join(bytes([row, cell]).decode(encoding, "ignore") for row in rows for cell in range(0xA1, 0xFF))


def _tokens(text: str) -> Iterator[tuple[Kind, str]]:
    for kind, run in groupby(text, _kind):
        token = "".join(run)
        size = _CHUNKS.get(kind, len(token))
        yield from ((kind, token[start : start + size]) for start in range(0, len(token), size))


def _token_at(tokens: Sequence[tuple[Kind, str]], place: int) -> tuple[Kind, str]:
    return tokens[place] if 0 <= place < len(tokens) else ("other", "")


def _is_fixed(kind: Kind, token: str) -> bool:
    return kind == "other" or _has_digit(token)


@cache
def _kind(character: str) -> Kind:
    if character in "\ufe0e\ufe0f\u20e3\u200c\u200d" or unicodedata.category(character)[0] not in "LMN":
        return "other"
    point = ord(character)
    if 0x2E80 <= point < 0xD7B0:
        return "sign"
    return "run" if 0x0E00 <= point < 0x0F00 or 0x1000 <= point < 0x10A0 or 0x1780 <= point < 0x1800 else "word"


def _letters(word: str) -> list[str]:
    return [character for character in word.lower() if not _is_accent(character)]


def _is_accent(character: str) -> bool:
    return "\u0300" <= character <= "\u036f"


def _has_digit(token: str) -> bool:
    return any(unicodedata.category(character)[0] == "N" for character in token)
