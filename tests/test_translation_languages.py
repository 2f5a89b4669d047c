"""Which languages a running server takes, finds out and writes, and which model it asks for them."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.languages.scripts import han_variant
from tests.interpreting import INDIC, LLM, M2M100, calls, models, said
from tests.sentences import SENTENCES
from tests.serving import Cloudflare, connected, flarelay

ENGLISH = SENTENCES["EN"]
CHINESE = "这个国家的医生用鼠标读书。"
"""鼠标, a mouse, is 滑鼠 in Taiwan."""

CODES = {"NB": "no", "ZH": "zh-Hans"}
"""m2m100's codes where they are not DeepL's in lower case."""


def code(language: str) -> str:
    return CODES.get(language, language.lower())


def translated(http: httpx2.Client, text: str, target: str, source: str | None = None, **more: Any) -> dict[str, Any]:
    """An answer of DeepLX."""
    response = http.post("/translate", json={"text": text, "source_lang": source, "target_lang": target} | more)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.parametrize("target", SENTENCES.keys() - {"EN"})
def test_every_language_of_deepl_is_a_target(http: httpx2.Client, target: str) -> None:
    assert translated(http, ENGLISH, target)["data"] == said(ENGLISH, "en", code(target))


@pytest.mark.parametrize(("language", "sentence"), SENTENCES.items())
def test_every_language_of_deepl_is_found_out(http: httpx2.Client, language: str, sentence: str) -> None:
    target = "DE" if language == "EN" else "EN"
    answer = translated(http, sentence, target, "auto")
    assert answer["source_lang"] == language
    assert answer["data"] == said(sentence, code(language), code(target))


@pytest.mark.parametrize("source", ["auto", None])
def test_m2m100_is_told_the_languages_that_were_found(upstream: Cloudflare, tmp_path: Path, source: str | None) -> None:
    """It has no detection: `auto` would be refused, and nothing would be taken for English."""
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as client:
        upstream.emulator.requests.clear()
        for text in SENTENCES.values():
            translated(client, text, "FR", source)
    bodies = [call.body for call in calls(upstream)]
    assert all(body.keys() == {"text", "source_lang", "target_lang"} for body in bodies)
    assert [(body["text"], body["source_lang"]) for body in bodies] == [
        (text, code(language).removesuffix("-Hans")) for language, text in SENTENCES.items() if language != "FR"
    ]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        (ENGLISH, ["EN", "EN-GB", "EN-US", "en"]),
        (SENTENCES["PT"], ["PT", "PT-BR", "PT-PT"]),
        (SENTENCES["DE"], ["DE"]),
        (SENTENCES["ZH"], ["ZH", "ZH-HANS", "zh-CN"]),
        ("這個國家的醫生讀書。", ["ZH-HANT", "zh-TW"]),
        (SENTENCES["NB"], ["NB", "no"]),
    ],
)
def test_what_is_in_the_target_comes_back_without_a_call(
    upstream: Cloudflare, http: httpx2.Client, text: str, targets: list[str]
) -> None:
    upstream.emulator.requests.clear()
    assert [translated(http, text, target, "auto")["data"] for target in targets] == [text] * len(targets)
    assert [translated(http, text, target, target)["data"] for target in targets] == [text] * len(targets)
    assert not calls(upstream)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ZH-HANT", "這個國家的醫生用滑鼠讀書。"),
        ("zh-TW", "這個國家的醫生用滑鼠讀書。"),
        ("zh-HK", "這個國家的醫生用鼠標讀書。"),
    ],
)
@pytest.mark.parametrize("source", ["auto", "ZH"])
def test_forms_of_chinese_are_converted_without_a_call(
    upstream: Cloudflare, http: httpx2.Client, source: str, target: str, expected: str
) -> None:
    upstream.emulator.requests.clear()
    assert translated(http, CHINESE, target, source)["data"] == expected
    assert not calls(upstream)


def test_chinese_is_simplified_without_a_call(upstream: Cloudflare, http: httpx2.Client) -> None:
    upstream.emulator.requests.clear()
    text = "這個國家的醫生讀書：@0#https://example.com/a@1#"
    assert translated(http, text, "ZH", "auto")["data"] == "这个国家的医生读书：@0#https://example.com/a@1#"
    assert not calls(upstream)


@pytest.mark.parametrize("target", ["zh-TW", "zh-HK"])
@pytest.mark.parametrize("model", [None, "gpt-4o-mini"])
def test_models_write_simplified_and_readers_get_traditional(
    http: httpx2.Client, target: str, model: str | None
) -> None:
    answer = translated(http, ENGLISH, target, "EN", **({"model": model} if model else {}))
    assert han_variant(answer["data"]) == "hant"
    assert answer["target_lang"] == target.upper()


@pytest.mark.parametrize("target", ["hi", "bn", "ta", "te", "ur", "mr", "gu", "kn", "ml", "pa", "ne", "as", "or"])
def test_indic_languages_go_to_the_model_that_is_made_for_them(
    upstream: Cloudflare, tmp_path: Path, target: str, http: httpx2.Client
) -> None:
    upstream.emulator.requests.clear()
    text = f"The word {tmp_path.name} is on the wall."
    response = http.post("/translate", json={"text": text, "source_lang": "auto", "target_lang": target})
    assert models(upstream) == [INDIC]
    assert response.headers["x-flarelay-model"] == INDIC
    assert response.json()["data"] != text


def test_indic_languages_are_written_in_the_script_that_they_have(http: httpx2.Client) -> None:
    assert translated(http, ENGLISH, "HI")["data"] == said(ENGLISH, "eng_Latn", "hin_Deva")


def test_indic_languages_from_others_than_english_go_to_m2m100(upstream: Cloudflare, http: httpx2.Client) -> None:
    upstream.emulator.requests.clear()
    assert translated(http, SENTENCES["DE"], "HI")["data"] == said(SENTENCES["DE"], "de", "hi")
    assert set(models(upstream)) <= {M2M100}


def test_languages_that_m2m100_lacks_go_to_the_fallback(upstream: Cloudflare, http: httpx2.Client) -> None:
    upstream.emulator.requests.clear()
    answer = translated(http, "Nobody has seen the whale.", "EU")
    assert models(upstream) == [LLM]
    assert answer["data"] == said("Nobody has seen the whale.", "en", "eu")


def test_languages_that_nobody_has_are_refused_without_a_fallback(upstream: Cloudflare) -> None:
    with flarelay(upstream, translate_fallback_model="off") as server, connected(server) as client:
        response = client.post("/translate", json={"text": ENGLISH, "target_lang": "EU"})
    assert (response.status_code, response.json()["code"]) == (400, 400)


def test_each_text_of_a_list_has_its_own_language(http: httpx2.Client) -> None:
    texts = [SENTENCES[language] for language in ("FR", "EN", "RU", "JA")]
    rows = http.post("/v2/translate", json={"text": texts, "target_lang": "EN-GB"}).json()["translations"]
    assert [row["detected_source_language"] for row in rows] == ["FR", "EN", "RU", "JA"]
    assert [row["text"] for row in rows] == [
        said(texts[0], "fr", "en"),
        texts[1],
        said(texts[2], "ru", "en"),
        said(texts[3], "ja", "en"),
    ]
