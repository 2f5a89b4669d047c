"""Scripts of letters and texts."""

import unicodedata

import pytest

from app.languages.codes import name_of
from app.languages.scripts import LANGUAGES, han_variant, letters_of, main_script, script_of

LETTERS = {
    "Latn": "aZéßğơṃＡ",
    "Grek": "αΩἀ",
    "Cyrl": "яЁқӣ",
    "Armn": "աՖ",
    "Hebr": "את",
    "Arab": "عپڑۇ",
    "Thaa": "ހ",
    "Deva": "कॲ",
    "Beng": "কৰ",
    "Guru": "ਕ",
    "Gujr": "ક",
    "Orya": "କ",
    "Taml": "க",
    "Telu": "క",
    "Knda": "ಕ",
    "Mlym": "ക",
    "Sinh": "ක",
    "Thai": "กเ",
    "Laoo": "ກ",
    "Tibt": "ཀ",
    "Mymr": "က",
    "Geor": "აႠ",
    "Hang": "가ㄱ",
    "Ethi": "አ",
    "Cher": "Ꭰ",
    "Khmr": "ក",
    "Mong": "ᠠ",
    "Olck": "ᱚ",
    "Tfng": "ⴰ",
    "Kana": "あアーｱ",
    "Bopo": "ㄅ",
    "Hani": "中㐀々𠀀",
    "Yiii": "ꀀ",
    "Mtei": "ꯀ",
}


@pytest.mark.parametrize(("script", "letters"), LETTERS.items())
def test_letters_know_their_script(script: str, letters: str) -> None:
    assert {script_of(letter) for letter in letters} == {script}


@pytest.mark.parametrize("character", "\x00 0٣९.،。！…—€→😀\U0001f1e9\u200d\U0010ffff")
def test_what_is_no_letter_has_no_script(character: str) -> None:
    assert script_of(character) is None


def test_ranges_agree_with_the_names_in_unicode() -> None:
    prefixes = {"Latn": "LATIN", "Cyrl": "CYRILLIC", "Arab": "ARABIC", "Deva": "DEVANAGARI", "Grek": "GREEK"}
    for point in range(0x41, 0x3000):
        name = unicodedata.name(chr(point), "")
        for script, prefix in prefixes.items():
            if chr(point).isalpha() and name.startswith(f"{prefix} ") and "LETTER" in name and point < 0x1C80:
                assert script_of(chr(point)) in {script, None}, name


def test_every_script_has_languages_with_names() -> None:
    assert set(LANGUAGES) == set(LETTERS) - {"Kana"} | {"Jpan"}
    assert all(name_of(code) != code for codes in LANGUAGES.values() for code in codes)
    assert all(len(codes) == len(set(codes)) for codes in LANGUAGES.values())


def test_letters_are_counted_by_script() -> None:
    assert letters_of("Ab, я 7 語ア") == {"Latn": 2, "Cyrl": 1, "Hani": 1, "Kana": 1}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", None),
        ("123 !?", None),
        ("Hello", "Latn"),
        ("取消", "Hani"),
        ("東京駅", "Jpan"),
        ("ありがとう", "Jpan"),
        ("設定を開く", "Jpan"),
        ("我在 GitHub 上用 Docker 部署了 Kubernetes", "Hani"),
        ("Kubernetes と Docker の違い", "Jpan"),
        ("优之良の品连锁店在上海又新开了三家门店", "Hani"),
        ("昨天我们在涩谷看到了渋谷的新店，大家都觉得这里的东西非常便宜而且好看又好吃", "Hani"),
        ("The word 你好 means hello in Chinese", "Latn"),
        ("Docker 컨테이너를 실행합니다", "Hang"),
        ("Привет from Moscow, мой дорогой друг", "Cyrl"),
    ],
)
def test_the_main_script_of_a_text(text: str, script: str | None) -> None:
    assert main_script(text) == script


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("请问最近的火车站在哪里？", "hans"),
        ("請問最近的火車站在哪裡？", "hant"),
        ("软件设置", "hans"),
        ("軟體設定", "hant"),
        ("去年物價上漲的速度超出預期。", "hant"),
        ("谢谢", "hans"),
        ("你好", None),
        ("取消", None),
        ("车車", None),
        ("Hello", None),
        ("我们在臺灣", "hant"),
    ],
)
def test_the_variant_of_chinese(text: str, variant: str | None) -> None:
    assert han_variant(text) == variant
