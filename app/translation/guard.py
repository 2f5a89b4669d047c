"""fault: what is visibly wrong with a translation, so that another engine is asked or the source is kept.

The rules see only the two texts and their languages. A false alarm costs another call and a miss costs the reader, so
each rule wants clear evidence, and compares the translation with what the source does itself.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from app.languages.codes import code_of
from app.languages.scripts import LANGUAGES, letters_of
from app.translation.rules import UNSPACED


class Fault(StrEnum):
    EMPTY = "empty"  # no letters, where the source has some
    LEAK = "leak"  # a chat model talks about the translation, or marks it up
    LOOP = "loop"  # the same again and again, or far too long
    ECHO = "echo"  # not translated
    CUT = "cut"  # far too short
    NUMBERS = "numbers"  # all digits are gone


WEIGHTS = {"Hani": 3.0, "Kana": 1.9, "Hang": 2.2, "Bopo": 1.9}
"""How many letters of an alphabet say as much as one of these signs."""

KIN = tuple(
    frozenset(group.split())
    for group in (
        "da nb nn no sv",
        "hr sr bs sl mk bg",
        "cs sk pl",
        "id ms su jv",
        "es pt gl ca ast oc it",
        "ru uk be bg",
        "hi mr ne sa bho mai awa mag",
        "zh yue",
        "nl af",
        "tr az",
        "fa ps ur",
    )
)
"""Languages that share whole phrases."""

NUMERAL = 12
"""Characters; so much text may be a number in words, and digits its translation."""

ALSO_WRITTEN_IN = {
    script: frozenset(codes.split())
    for script, codes in {
        "Latn": "sr kk tg ky be",
        "Cyrl": "az uz tk",
        "Arab": "pa az ku ms ha kk uz",
        "Deva": "sd ks sat",
    }.items()
}
"""The second scripts of languages."""

WORD = re.compile(rf"[^\W\d_{UNSPACED}]+(?:['’-][^\W\d_{UNSPACED}]+)*")
SIGNIFICANT = re.compile(r"\d{3,}")
SEPARATED = re.compile(r"(?<=\d)[.,'’\s](?=\d{3})")
HAN_NUMERAL = re.compile("[〇一二三四五六七八九十百千万萬億亿兆]")

REPEATED = re.compile(r"(.{1,60}?)\1{3,}", re.DOTALL)
LOOP_LENGTH = 16
"""Characters; a shorter repetition may be a cry or an ornament."""
LONGEST = 4.0
"""Times the source's weight."""
FIRST_LENGTH = 5000
"""Characters in which a loop is looked for: it would have begun by then."""

SHORTEST = 0.25
LONG = 40
"""Weight from which on a text has to have some length in any language."""

QUOTES = "\"'“”„‘’«»「」『』`"
WRAPPED = re.compile(r'"(?s:.+)"|“(?s:.+)”|„(?s:.+)[“”]|«(?s:.+)»|「(?s:.+)」|『(?s:.+)』|`(?s:.+)`')

TALK = re.compile(
    r"""
    \A\W{0,3}(?:(?:sure|certainly|of\ course|okay|absolutely)\b[^\n:]{0,20})?
        (?:here(?:['’]s|\ is|\ are|\ you\ go)|below\ is|this\ is)\b[^\n:]{0,60}\btranslat[^\n:]{0,60}:
    | \A\W{0,3}(?:sure|certainly|of\ course|absolutely)\b[^\n:]{0,20}\bhere(?:['’]s|\ is|\ you\ go)\b
    | \A\W{0,3}(?:the\ )?(?:translation|translated\ text|translated)\b[^\n:]{0,40}:
    | \A\W{0,3}(?:译文|翻译(?:结果|如下)?|以下是[^\n：:]{0,20}(?:翻译|译文)[^\n：:]{0,10})\s?[：:]
    | \A\W{0,3}(?:翻訳(?:結果)?|訳文|번역(?:문|결과)?)\s?[：:]
    | \A\W{0,3}(?:übersetzung|traduction|traducción|tradução|traduzione|перевод|vertaling|çeviri|الترجمة)\s?:
    | \A\W{0,3}(?:hier\ ist\ die\ übersetzung|voici\ la\ traduction|aquí\ está\ la\ traducción|вот\ перевод)\b
    | \bas\ an\ ai\ (?:language\ )?(?:model|assistant)\b
    | \bI(?:['’]m|\ am)\ (?:sorry|unable)[^.\n]{0,40}\btranslat
    | \bI\ (?:can['’]?t|cannot)\ translate\b
    | \n\s{0,4}\(?(?:note|explanation|translator['’]s\ note|注|说明|注释|anmerkung|remarque)\s?[:：]
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What chat models say around a translation."""
TALKED_ABOUT = re.compile(
    r"translat|翻译|翻譯|译文|訳|번역|übersetz|traduc|traduz|tradu|перев|vertal|çevir|ترجم|अनुवाद|\bAI\b|人工智能|\bKI\b|\bIA\b|ИИ",
    re.IGNORECASE,
)
"""A source that speaks of translations itself."""
MARKS = ("```", "<think>", "</think>", "<|", "|>", "[INST]", "[/INST]", "<s>", "</s>")
"""Signs of a chat, which are no part of a translation unless they were in the source."""


@dataclass(frozen=True)
class _Pair:
    """Both texts; what is derived from them is found once."""

    source: str
    translated: str
    source_language: str | None
    target_language: str | None

    @cached_property
    def source_letters(self) -> Counter[str]:
        return letters_of(self.source)

    @cached_property
    def letters(self) -> Counter[str]:
        return letters_of(self.translated)

    @cached_property
    def source_words(self) -> list[str]:
        return WORD.findall(self.source)

    @cached_property
    def words(self) -> list[str]:
        return WORD.findall(self.translated)

    @cached_property
    def source_weight(self) -> float:
        return _weight(self.source, self.source_letters)

    @cached_property
    def weight(self) -> float:
        return _weight(self.translated, self.letters)

    @property
    def is_kin(self) -> bool:
        return any(self.source_language in group and self.target_language in group for group in KIN)


def fault(source: str, translated: str, *, source_language: str, target_language: str) -> Fault | None:
    """What is wrong with `translated`, masks left out of both texts; None if nothing can be seen.

    Languages are codes, tags or names as `app.languages.codes` reads them; an unknown one (`auto`) switches off what
    depends on it.
    """
    if not any(map(str.isalpha, source)):
        return None
    pair = _Pair(source, translated.strip(), code_of(source_language), code_of(target_language))
    return next((name for name, is_faulty in _CHECKS if is_faulty(pair)), None)


def _is_empty(pair: _Pair) -> bool:
    if any(map(str.isalpha, pair.translated)):
        return False
    return len(pair.source) > NUMERAL or not any(map(str.isdigit, pair.translated))


def _is_leak(pair: _Pair) -> bool:
    if any(mark in pair.translated and mark not in pair.source for mark in MARKS):
        return True
    if TALK.search(pair.translated) and not TALKED_ABOUT.search(pair.source) and not TALK.search(pair.source):
        return True
    source = pair.source.strip()
    return bool(
        WRAPPED.fullmatch(pair.translated) and source[0] not in QUOTES and source[-1] not in QUOTES and len(source) > 1
    )


def _is_loop(pair: _Pair) -> bool:
    if pair.weight > 80 and pair.weight > LONGEST * max(pair.source_weight, 20):
        return True
    repeated = _longest_repetition(pair.translated)
    if repeated >= LOOP_LENGTH and repeated > 3 * _longest_repetition(pair.source):
        return True
    return _repeated_share(pair.translated) > 0.5 and _repeated_share(pair.source) < 0.25


def _longest_repetition(text: str) -> int:
    """Characters of the longest stretch in which the same follows itself at least three times."""
    return max((len(match[0]) for match in REPEATED.finditer(text[:FIRST_LENGTH]) if match[1].strip()), default=0)


def _repeated_share(text: str) -> float:
    """The share of groups of three words (of five characters where words are not apart) that are there twice."""
    words = text.casefold().split()
    if len(words) * 12 < len(text):
        groups = [text[i : i + 5] for i in range(len(text) - 4)]
    else:
        groups = [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]
    return 1 - len(set(groups)) / len(groups) if len(groups) >= 12 else 0.0


def _is_echo(pair: _Pair) -> bool:
    if pair.target_language is None or pair.source_language == pair.target_language:
        return False
    if pair.source_language is not None and _is_copied(pair):
        return True
    return _is_foreign(pair)


def _is_copied(pair: _Pair) -> bool:
    """The same words, and more of them than a name has. Title case looks like a name and needs more."""
    source, words = ([word.casefold() for word in words] for words in (pair.source_words, pair.words))
    small = sum(word[0].islower() or (not word.isupper() and not word.istitle()) for word in pair.source_words)
    if _bare(pair.source) == _bare(pair.translated):
        if pair.is_kin:
            return small >= 6
        return (small >= 2 and len(source) >= 3) or len(source) >= 6 or _is_sentence_of_signs(pair)
    shared = sum((Counter(source) & Counter(words)).values())
    return not pair.is_kin and small >= 4 and len(words) >= 5 and shared >= 0.9 * max(len(words), len(source))


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _is_sentence_of_signs(pair: _Pair) -> bool:
    """For scripts without spaces. Chinese and Japanese share names and terms in Han."""
    signs = pair.source_letters
    if {pair.source_language, pair.target_language} <= {"zh", "ja", "yue"}:
        return signs["Kana"] >= 5 if pair.source_language == "ja" else signs["Hani"] >= 8
    return signs["Hani"] + signs["Kana"] >= 6 or signs["Thai"] + signs["Khmr"] + signs["Laoo"] + signs["Mymr"] >= 10


def _is_foreign(pair: _Pair) -> bool:
    """Letters of scripts that the target language isn't written in, beyond names and terms."""
    own = {script for script, languages in LANGUAGES.items() if pair.target_language in languages}
    own |= {script for script, languages in ALSO_WRITTEN_IN.items() if pair.target_language in languages}
    if "Jpan" in own:
        own |= {"Hani", "Kana"}
    total = sum(pair.letters.values())
    ours = sum(pair.letters[script] for script in own)
    if not own or not total:
        return False
    if pair.target_language == "zh":
        return (pair.letters["Kana"] >= 5 and pair.letters["Kana"] > 0.3 * total) or _is_mostly_alien(pair, ours, total)
    if pair.target_language == "ja" and pair.letters["Hani"] >= 20 and not pair.letters["Kana"]:
        return True
    return _is_mostly_alien(pair, ours, total)


def _is_mostly_alien(pair: _Pair, ours: int, total: int) -> bool:
    if ours > 0.2 * total:
        return False
    alien_words = sum(word[0].islower() for word in pair.words)
    alien_signs = total - ours - pair.letters["Latn"]
    return alien_words >= 3 or len(pair.words) >= 6 or alien_signs >= 6


def _is_cut(pair: _Pair) -> bool:
    return pair.source_weight >= LONG and pair.weight < SHORTEST * pair.source_weight


def _weight(text: str, letters: Counter[str]) -> float:
    """The length, with signs that say more counting for more."""
    return len(text.strip()) + sum((weight - 1) * letters[script] for script, weight in WEIGHTS.items())


def _has_lost_numbers(pair: _Pair) -> bool:
    """Numbers of three digits or more, and not one digit or written numeral in the translation."""
    if not SIGNIFICANT.search(SEPARATED.sub("", pair.source)):
        return False
    return not any(map(str.isdigit, pair.translated)) and not HAN_NUMERAL.search(pair.translated)


_CHECKS: tuple[tuple[Fault, Callable[[_Pair], bool]], ...] = (
    (Fault.EMPTY, _is_empty),
    (Fault.LEAK, _is_leak),
    (Fault.LOOP, _is_loop),
    (Fault.ECHO, _is_echo),
    (Fault.CUT, _is_cut),
    (Fault.NUMBERS, _has_lost_numbers),
)
