"""Made-up translations: each word shows where it comes from, in the target's script, and nothing else changes."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.emulator.pseudo import LETTERS, SCRIPTS, pseudo, script_of
from app.emulator.translation import INDIC_LANGUAGES, LANGUAGES
from app.languages.codes import code_of
from app.languages.scripts import han_variant, letters_of, main_script
from app.translation.guard import fault

SENTENCES = {
    "en": "Hello there, the weather is nice today and we are going to the park with 250 dogs.",
    "zh": "今天天气很好，我们带着250只狗去公园散步，然后回家吃饭。",
    "ru": "Сегодня хорошая погода, и мы идём в парк с собаками.",
    "th": "วันนี้อากาศดีและเราจะไปสวนสาธารณะกับสุนัขของเรา",
    "ja": "今日は天気がいいので犬と公園に行きます。",
    "ko": "오늘은 날씨가 좋아서 개와 함께 공원에 갑니다.",
    "hi": "आज मौसम अच्छा है और हम पार्क जा रहे हैं।",
    "ar": "الطقس جميل اليوم وسنذهب إلى الحديقة.",
}
TARGETS = sorted(LANGUAGES | INDIC_LANGUAGES | {"zh-Hant-TW", "pt-BR", "sr-Latn"})
WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)


@pytest.mark.parametrize("target", TARGETS)
def test_it_passes_for_a_translation(target: str) -> None:
    for source, text in SENTENCES.items():
        said = pseudo(text, source, target)
        assert fault(text, said, source_language=source, target_language=code_of(target) or "auto") is None
        assert said != text


@pytest.mark.parametrize("target", sorted(SCRIPTS))
def test_it_is_written_in_the_script_of_the_target(target: str) -> None:
    script = {"Hans": "Hani"}.get(script_of(target), script_of(target))
    assert all(main_script(pseudo(text, source, target)) == script for source, text in SENTENCES.items())


@pytest.mark.parametrize(
    ("target", "script"),
    [
        ("fr", "Latn"),
        ("french", "Latn"),
        ("russian", "Cyrl"),
        ("kas_Arab", "Arab"),
        ("mni_Mtei", "Mtei"),
        ("sr-Latn-RS", "Latn"),
        ("xx", "Latn"),
    ],
)
def test_tags_and_names_tell_the_script(target: str, script: str) -> None:
    assert set(letters_of(pseudo("some words", "en", target))) == {script}


@pytest.mark.parametrize(("target", "variant"), [("zh", "hans"), ("zh-Hans", "hans"), ("zh-Hant", "hant")])
def test_chinese_is_of_the_variant_that_was_asked_for(target: str, variant: str) -> None:
    assert han_variant(pseudo(SENTENCES["en"], "en", target)) == variant


def test_codes_and_names_of_one_language_mean_the_same() -> None:
    assert pseudo("some words", "english", "chinese") == pseudo("some words", "en", "zh-Hans")


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("One, two!\r\n\n  Three (3) ", "fr", "Azi, mka!\r\n\n  Mbyii (3) "),
        ("one two three", "zh", "哑筑诱逃道秩筑"),
        ("one  two, three 3 4", "zh", "哑筑  诱逃, 道秩筑 3 4"),
        ("one X0X X1X two", "zh", "哑筑 X0X X1X 诱逃"),
        ("one two three", "ru", "ыиц вяы ванцц"),
    ],
)
def test_everything_but_words_stays(text: str, target: str, said: str) -> None:
    assert pseudo(text, "en", target) == said


@pytest.mark.parametrize(
    "kept",
    [
        *("<m0/>", "</g1>", '<a href="x y">', "{0}", "{name}", "%s", "@0#", "X0X", "H2O", "3", "1️⃣", "❤️"),
        *("https://a.b/c?d=e", "me@a-b.org", "…", "²"),
    ],
)
@pytest.mark.parametrize("target", ["fr", "zh", "ja", "ru"])
def test_what_is_no_word_stays(kept: str, target: str) -> None:
    one = pseudo("one", "en", target)
    assert pseudo(f"one ({kept}) one", "en", target) == f"{one} ({kept}) {one}"


def test_letters_keep_their_accents_and_capitals() -> None:
    said = pseudo("Été ÇA où ß", "fr", "de")
    assert [word.istitle() for word in said.split()[:2]] == [True, False]
    assert said.split()[1].isupper()
    assert pseudo("où", "fr", "de") != pseudo("ou", "fr", "de")
    assert len(said) == len("Été ÇA où ß")
    assert pseudo("où", "fr", "ru") == pseudo("ou", "fr", "ru")
    assert pseudo("où", "fr", "zh") == pseudo("ou", "fr", "zh")


def test_words_without_spaces_get_some() -> None:
    assert pseudo("我有3个苹果", "zh", "en").count(" ") == 3
    assert pseudo("点X0X继续", "zh", "en").split()[1] == "X0X"
    assert len(pseudo("สวัสดีชาวโลก", "th", "en").split()) == 2
    assert " " not in pseudo("我有3个苹果", "zh", "ja")


@given(st.lists(WORD, min_size=2, max_size=6, unique=True), st.sampled_from(["fr", "zh", "ja", "ko", "ru", "hi", "th"]))
def test_words_can_be_told_apart(words: list[str], target: str) -> None:
    said = [pseudo(word, "en", target) for word in words]
    assert len(set(said)) == len(said)
    assert pseudo("\n".join(words), "en", target) == "\n".join(said)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Mn", "Me")), max_size=40)
"""Marks alone are no letters, and yet no signs either."""


@given(TEXTS, st.sampled_from(["en", "zh", "ja", "ko", "ar", "km"]))
def test_any_text_becomes_something(text: str, target: str) -> None:
    said = pseudo(text, "en", target)
    assert said == pseudo(text, "en", target)
    assert any(map(str.isalpha, said)) == any(map(str.isalpha, text))


def test_directions_can_be_told_apart() -> None:
    codes = ["en", "fr", "de", "es", "it", "pt", "pt-BR", "pt-PT", "en-GB"]
    said = [pseudo("directions", source, target) for source, target in combinations(codes, 2)]
    assert len(set(said)) == len(said)


def test_no_alphabet_has_a_letter_twice() -> None:
    assert all(len(set(letters)) == len(letters) for letters in LETTERS.values())
