"""Translation models: pseudo-translations that keep their lines, and the languages that are taken."""

from typing import Any

import pytest

from tests.emulator.asking import INDIC, M2M100, Asker, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"text": "Hello", "target_lang": "fr"}, "[en→fr] Hello"),
        ({"text": "Hallo", "source_lang": "de", "target_lang": "english"}, "[de→english] Hallo"),
        ({"text": "One\n\n  Two \r\nThree\n", "target_lang": "fr"}, "[en→fr] One\n\n  [en→fr] Two \r\n[en→fr] Three\n"),
        ({"text": "word " * 1023 + "last lost", "target_lang": "fr"}, "[en→fr] " + "word " * 1023 + "last"),
        ({"text": 'Hi\n!emulate {"text":"Salut"}', "target_lang": "fr"}, "Salut"),
    ],
)
async def test_texts_are_marked(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert await ask.ran(M2M100, **body) == {"translated_text": text}


async def test_the_translation_may_be_missing(ask: Asker) -> None:
    assert await ask.ran(M2M100, text='!emulate {"empty":true}', target_lang="fr") == {}


async def test_both_ways_are_paid(ask: Asker) -> None:
    response = await ask.run(M2M100, text="Hello", target_lang="fr")
    assert response.headers["cf-ai-neurons"] == f"{(1 + 2) * 31050 / 1e6:.6f}"


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
        ("Hello", ["[eng_Latn→hin_Deva] Hello"]),
        (["One", "Two"], ["[eng_Latn→hin_Deva] One", "[eng_Latn→hin_Deva] Two"]),
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
