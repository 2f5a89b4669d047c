"""Translation models: made-up translations, the languages that are taken, and what may go wrong."""

from typing import Any

import pytest

from app.emulator.options import Options
from app.emulator.pseudo import pseudo
from app.emulator.translation import MOST_TOKENS
from tests.emulator.asking import INDIC, M2M100, Asker, asking, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "


def said(text: str, source: str = "en", target: str = "fr") -> str:
    return pseudo(text, source, target)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"text": "Hello", "target_lang": "fr"}, said("Hello")),
        ({"text": "Hallo", "source_lang": "de", "target_lang": "english"}, said("Hallo", "de", "en")),
        ({"text": "One\n\n  Two \r\nThree\n", "target_lang": "fr"}, said("One\n\n  Two \r\nThree\n")),
        ({"text": "word " * 1023 + "last lost", "target_lang": "fr"}, said("word " * 1023 + "last")),
        ({"text": 'Hi\n!emulate {"text":"Salut"}', "target_lang": "fr"}, "Salut"),
    ],
)
async def test_texts_are_translated(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert await ask.ran(M2M100, **body) == {"translated_text": text}


async def test_the_translation_may_be_missing(ask: Asker) -> None:
    assert await ask.ran(M2M100, text='!emulate {"empty":true}', target_lang="fr") == {}


async def test_both_ways_are_paid(ask: Asker) -> None:
    response = await ask.run(M2M100, text="Hello", target_lang="fr")
    assert response.headers["cf-ai-neurons"] == f"{(1 + 1) * 31050 / 1e6:.6f}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"target_lang": "fr"}, (400, 5006, f"{BAD}required properties at '/' are 'text'")),
        ({"text": "Hello"}, (400, 5006, f"{BAD}required properties at '/' are 'target_lang'")),
        ({"text": "", "target_lang": "fr"}, (400, 5006, f"{BAD}'/text' must NOT have fewer than 1 characters")),
        (
            {"text": ["Hello"], "target_lang": "fr"},
            (400, 5006, f"{BAD}Type mismatch of '/text', 'array' not in 'string'"),
        ),
        (
            {"text": "Hello", "target_lang": None},
            (400, 5006, f"{BAD}Type mismatch of '/target_lang', 'null' not in 'string'"),
        ),
        ({"text": "Hello", "target_lang": "EN-US"}, (400, 3030, "Unsupported language: EN-US")),
        ({"text": "Hello", "source_lang": "auto", "target_lang": "fr"}, (400, 3030, "Unsupported language: auto")),
    ],
)
async def test_what_is_refused(ask: Asker, body: dict[str, Any], expected: tuple[int, int, str]) -> None:
    assert refusal(await ask.run(M2M100, **body)) == expected


@pytest.mark.parametrize(
    ("text", "translations"),
    [
        ("Hello", [said("Hello", "eng_Latn", "hin_Deva")]),
        (["One", "Two"], [said("One", "eng_Latn", "hin_Deva"), said("Two", "eng_Latn", "hin_Deva")]),
    ],
)
async def test_one_model_speaks_the_languages_of_india(ask: Asker, text: Any, translations: list[str]) -> None:
    assert await ask.ran(INDIC, text=text, target_language="hin_Deva") == {"translations": translations}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "required properties at '/' are 'text', 'target_language'"),
        ({"text": "Hello"}, "required properties at '/' are 'target_language'"),
        ({"text": [""], "target_language": "hin_Deva"}, "'/text/0' must NOT have fewer than 1 characters"),
        ({"text": "Hello", "target_language": []}, "Type mismatch of '/target_language', 'array' not in 'string'"),
        (
            {"text": "Hello", "target_language": "hi"},
            "'/target_language' must be one of the published codes, found 'hi'",
        ),
    ],
)
async def test_and_it_wants_their_codes(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.run(INDIC, **body)) == (400, 5006, BAD + text)


@pytest.mark.parametrize(
    ("text", "remains"),
    [
        ("a @0# b", "a @ 0 b"),
        ("a {0} b", "a 0 b"),
        ("{name}", "name"),
        ("{{name}}", "name"),
        ("a <b0>c</b0> d", "a c d"),
        ("⟦2⟧ [3]", "2 3"),
        ("__4__", "4"),
        ("X0X 5 (6)", "X0X 5 (6)"),
        ("1 < 2 > 1 { _", "1 < 2 > 1 { _"),
    ],
)
async def test_m2m100_garbles_placeholders(ask: Asker, text: str, remains: str) -> None:
    assert await ask.ran(M2M100, text=text, target_lang="fr") == {"translated_text": said(remains)}


async def test_unless_it_is_told_to_leave_it() -> None:
    async with asking(Options(quirks=frozenset())) as ask:
        text = "a @0# {0} <b0>c</b0>"
        assert await ask.ran(M2M100, text=text, target_lang="fr") == {"translated_text": said(text)}
        script = '\n!emulate {"quirks":["loses-placeholders"]}'
        assert await ask.ran(M2M100, text="{0}" + script, target_lang="fr") == {"translated_text": "0"}


async def test_the_other_model_keeps_them(ask: Asker) -> None:
    found = await ask.ran(INDIC, text="a {0}", target_language="hin_Deva")
    assert found == {"translations": [said("a {0}", "eng_Latn", "hin_Deva")]}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two. Three.", "One. Two. Three."),
        ("One. Two! Three. Four? Five.\nSix.", "One. Two! Four? Five.\nSix."),
        ("A 1.5. B. C. D\u2028E", "A 1.5. B. D\u2028E"),
        ("一。二。三。四。", "一。二。四。"),
        ("\n\n", "\n\n"),
    ],
)
async def test_sentences_may_get_lost(text: str, kept: str) -> None:
    async with asking(Options(quirks=frozenset({"drops-sentences"}))) as ask:
        assert await ask.ran(M2M100, text=text, target_lang="fr") == {"translated_text": said(kept)}


@pytest.mark.parametrize(("text", "words"), [("One two three four", 3), ("One", 1)])
async def test_a_translation_may_go_round_in_circles(text: str, words: int) -> None:
    async with asking(Options(quirks=frozenset({"loops"}))) as ask:
        found = (await ask.ran(M2M100, text=text, target_lang="fr"))["translated_text"].split()
        assert found == (said(text).split()[:words] * MOST_TOKENS)[:MOST_TOKENS]
        assert await ask.ran(M2M100, text=" ", target_lang="fr") == {"translated_text": " "}


@pytest.mark.parametrize(("quirk", "found"), [("echoes", {"translated_text": "Hello {0}"}), ("empty-translation", {})])
async def test_or_be_none(ask: Asker, quirk: str, found: Any) -> None:
    script = f'!emulate {{"quirks":["{quirk}"]}}'
    assert await ask.ran(M2M100, text=f"Hello {{0}}\n{script}", target_lang="fr") == found
