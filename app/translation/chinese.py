"""The forms of Chinese: simplified, traditional as in Taiwan, traditional as in Hong Kong, converted by OpenCC.

OpenCC's converters towards traditional Chinese hold about 45 MB together and take 0.1 s to load, the others 3 MB and
a few milliseconds. They are loaded with the first text that needs them.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

from app.languages.scripts import letters_of, main_script, script_of

_FORMS = {
    "zh": "zh-Hans",
    "zh-Hans": "zh-Hans",
    "zh-Hant": "zh-Hant",
    "zh-Hant-TW": "zh-Hant",
    "zh-Hant-HK": "zh-Hant-HK",
}

_TO_TRADITIONAL = {"zh-Hant": "s2twp", "zh-Hant-HK": "s2hk"}
"""Form -> OpenCC's conversion of simplified Chinese; for Taiwan with what things are called there."""

_BETWEEN_TRADITIONAL = {"zh-Hant": "t2tw", "zh-Hant-HK": "t2hk"}
"""The same from traditional Chinese, of which it changes characters alone: 文件 is a document in Taiwan, not a file.

Not by way of `hk2t` and `tw2t`, which guess: they would write 台灣 as 臺灣 and 參閱 as 蔘閱.
"""

# OpenCC ends at a NUL, and half of a surrogate pair cannot be told to it at all.
_CONVERTIBLE = re.compile(r"[^\x00\ud800-\udfff]+")


def to_form(text: str, tag: str) -> str:
    """The text in the form of Chinese that the tag names: `zh-Hans`, `zh-Hant` or `zh-Hant-HK`.

    What is no Chinese stays: other scripts, signs, Japanese and Korean texts, and all of it for other tags.
    """
    form = _FORMS.get(tag)
    if form is None or not _has_chinese(text):
        return text
    if form == "zh-Hans":
        return _convert(text, "t2s")
    return _convert(text, (_BETWEEN_TRADITIONAL if _is_traditional(text) else _TO_TRADITIONAL)[form])


def is_form(text: str, tag: str) -> bool:
    """Whether all characters of a text belong to the tag's form of Chinese: its words may be another region's.

    True for a text without Chinese, and for tags of other languages.
    """
    form = _FORMS.get(tag)
    if form is None or not _has_chinese(text):
        return True
    if form == "zh-Hans":
        return _convert(text, "t2s") == text
    return not _has_simplified(text) and _convert(text, _BETWEEN_TRADITIONAL[form]) == text


def _has_chinese(text: str) -> bool:
    letters = letters_of(text)
    if "Hani" not in letters:
        return False
    main = main_script(text)
    return main != "Hang" and not (main == "Jpan" and "Kana" in letters)


def _is_traditional(text: str) -> bool:
    return not _has_simplified(text) and _convert(text, "t2s") != text


def _has_simplified(text: str) -> bool:
    return any(map(_is_simplified, set(text)))


@lru_cache(maxsize=16384)
def _is_simplified(character: str) -> bool:
    """Whether a character is simplified and nothing else: 里 is not, being a mile in either form."""
    if script_of(character) != "Hani":
        return False
    try:
        character.encode("big5")  # Taiwan's character set
    except UnicodeEncodeError:
        return character not in (_convert(character, "s2t"), _convert(character, "s2hk"))
    return False


def _convert(text: str, conversion: str) -> str:
    converter = _converter(conversion)
    return _CONVERTIBLE.sub(lambda match: converter(match[0]), text)


_loading = Lock()


def _converter(conversion: str) -> Callable[[str], str]:
    """Any thread may use it: OpenCC's converters don't change after they are made."""
    with _loading:  # @cache alone would let two threads load at once
        return _load(conversion)


@cache
def _load(conversion: str) -> Callable[[str], str]:
    opencc: Any = import_module("opencc")
    convert: Callable[[str], str] = opencc.OpenCC(conversion).convert
    return convert
