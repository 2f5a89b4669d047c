"""Bad translations: what a running server does about them, what comes back, and what it tells of that."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.emulator.quirks import DEFAULT_QUIRKS
from tests.interpreting import LLM, M2M100, models, said
from tests.serving import Cloudflare, cloudflare, connected, flarelay

SENTENCE = "The weather in the village was nice this morning."
TEXTS = [SENTENCE, "The doctor went down to the sea.", "Nobody has seen the boat.", "It is late."]
FOUR = (
    "The weather in the village was nice. The doctor went down to the sea. "
    "Nobody has seen the boat of her brother. It was late in the evening."
)
"""Sentences so short that they go together."""


@contextmanager
def faulty(quirk: str, path: Path, **options: Any) -> Iterator[tuple[Cloudflare, httpx2.Client]]:
    """A Cloudflare all of whose models have a fault, and a client of a Flarelay before it."""
    with (
        cloudflare(quirks=DEFAULT_QUIRKS | {quirk}) as cloud,
        flarelay(cloud, data_dir=str(path), **options) as server,
        connected(server) as client,
    ):
        yield cloud, client


def translated(client: httpx2.Client, text: str, **options: Any) -> tuple[str, str | None]:
    """The translation, and what was done about it."""
    body = {"text": text, "source_lang": "EN", "target_lang": "DE"} | options
    response = client.post("/translate", json=body)
    assert response.status_code == 200, response.text
    return response.json()["data"], response.headers.get("x-flarelay-remedy")


def test_the_fallback_translates_what_comes_back_empty(tmp_path: Path) -> None:
    with faulty("empty-translation", tmp_path) as (cloud, client):
        outcome = translated(client, SENTENCE)
        assert models(cloud) == [M2M100, LLM]
        again = translated(client, SENTENCE)
        assert len(models(cloud)) == 2
        counted = client.get("/metrics").text
    assert outcome == (said(SENTENCE, "en", "de"), "fallback-model")
    assert again[0] == outcome[0]
    assert 'flarelay_translation_remedies_total{remedy="fallback-model"} 1.0' in counted


@pytest.mark.parametrize(("quirk", "remedy"), [("loops", "left-untranslated"), ("echoes", "kept-doubtful")])
def test_what_the_fallback_gets_wrong_too_stays_in_its_language(tmp_path: Path, quirk: str, remedy: str) -> None:
    with faulty(quirk, tmp_path) as (cloud, client):
        assert translated(client, SENTENCE) == (SENTENCE, remedy)
        assert models(cloud) == [M2M100, LLM]


@pytest.mark.parametrize(
    ("quirk", "remedy"),
    [("loops", "left-untranslated"), ("echoes", "kept-doubtful"), ("empty-translation", "left-untranslated")],
)
def test_without_a_fallback_nobody_else_is_asked(tmp_path: Path, quirk: str, remedy: str) -> None:
    with faulty(quirk, tmp_path, translate_fallback_model="off") as (cloud, client):
        assert translated(client, SENTENCE) == (SENTENCE, remedy)
        assert models(cloud) == [M2M100]


def test_a_sentence_that_was_left_is_tried_again(tmp_path: Path) -> None:
    with faulty("empty-translation", tmp_path, translate_fallback_model="off") as (cloud, client):
        for _ in range(2):
            assert translated(client, SENTENCE) == (SENTENCE, "left-untranslated")
        assert models(cloud) == [M2M100, M2M100]


def test_a_fallback_that_fails_is_no_failure(tmp_path: Path) -> None:
    options = {"translate_fallback_model": "@cf/nobody/has-this"}
    with faulty("empty-translation", tmp_path, **options) as (_, client):
        assert translated(client, SENTENCE) == (SENTENCE, "left-untranslated")


def test_sentences_that_were_left_out_are_translated_in_smaller_pieces(tmp_path: Path) -> None:
    with faulty("drops-sentences", tmp_path) as (cloud, client):
        assert translated(client, FOUR) == (said(FOUR, "en", "de"), "smaller-pieces")
        assert set(models(cloud)) == {M2M100}


@pytest.mark.parametrize("quirk", ["interpreter-talks", "interpreter-miscounts"])
def test_talk_and_wrong_counts_of_chat_models_are_mended(tmp_path: Path, quirk: str) -> None:
    with faulty(quirk, tmp_path, translate_model="gpt-4o-mini") as (cloud, client):
        body = {"text": TEXTS, "source_lang": "EN", "target_lang": "DE"}
        rows = client.post("/v2/translate", json=body).json()["translations"]
        sent = len(models(cloud))
    if quirk == "interpreter-talks":
        assert [row["text"] for row in rows] == [said(text, "en", "de") for text in TEXTS]
        assert sent == 1
    else:  # a single text is left out as well, so none is ever translated
        assert [row["text"] for row in rows] == TEXTS
        assert sent == 2 * len(TEXTS) - 1


@pytest.mark.parametrize(
    "text", ["The door of the house @0# is open @1#.", "Click {0} to open {1} now.", "Use %s twice."]
)
def test_what_m2m100_garbles_comes_back_whole(tmp_path: Path, text: str) -> None:
    with faulty("loses-placeholders", tmp_path) as (_, client):
        data, _ = translated(client, text)
    for placeholder in ("@0#", "@1#", "{0}", "{1}", "%s"):
        assert data.count(placeholder) == text.count(placeholder)


def test_a_busy_model_is_asked_again(tmp_path: Path) -> None:
    with (
        cloudflare(busy_every={M2M100: 2}) as busy,
        flarelay(busy, data_dir=str(tmp_path)) as server,
        connected(server) as client,
    ):
        for text in TEXTS:
            assert translated(client, text) == (said(text, "en", "de"), None)
