"""What translation models take: every row fits its model, and tags lead to codes."""

from importlib import resources

import orjson
import pytest

from app.catalog import Catalog
from app.catalog.translators import UNLISTED, translating_of
from app.emulator.translation import INDIC_LANGUAGES, LANGUAGES
from tests.emulator.asking import INDIC, M2M100

CATALOG = Catalog.load()
ROWS = orjson.loads(resources.files("app.catalog").joinpath("translators.json").read_bytes())


def test_every_model_that_translates_has_a_row() -> None:
    assert set(ROWS) == {model.id for model in CATALOG if model.task == "translation"}


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("en-GB", "en"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("no", "no"),
        ("zh", "zh"),
        ("zh-Hans", "zh"),
        ("zh-Hant", "zh"),
        ("zh-Hant-TW", "zh"),
        ("sr", "sr"),
        ("sr-Cyrl", "sr"),
        ("tl", "tl"),
        ("fil", "tl"),
        ("nso", "ns"),
        ("he", "he"),
        ("jv", "jv"),
        ("eo", None),
        ("xx", None),
        ("auto", None),
        ("", None),
    ],
)
def test_m2m100_reads_and_writes_a_hundred_languages(tag: str, code: str | None) -> None:
    facts = translating_of(M2M100)
    assert (facts.source_code(tag), facts.target_code(tag)) == (code, code)


@pytest.mark.parametrize(("tag", "code"), [("sr-Latn", "sr"), ("nn", "no")])
def test_some_it_only_reads(tag: str, code: str) -> None:
    facts = translating_of(M2M100)
    assert (facts.source_code(tag), facts.target_code(tag)) == (code, None)


def test_its_codes_are_those_of_the_open_model() -> None:
    facts = translating_of(M2M100)
    assert facts.sources
    assert facts.targets
    assert len(set(facts.targets.values())) == 100
    assert set(facts.sources.values()) == set(facts.targets.values()) < LANGUAGES


@pytest.mark.parametrize(
    ("tag", "written"),
    [("zh-Hant", "zh-Hans"), ("zh-Hant-HK", "zh-Hans"), ("zh-Hans", "zh-Hans"), ("pt-BR", "pt-BR"), ("fr", "fr")],
)
def test_its_chinese_is_simplified(tag: str, written: str) -> None:
    assert translating_of(M2M100).written(tag) == written


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("hi", "hin_Deva"),
        ("hi-IN", "hin_Deva"),
        ("ks", "kas_Arab"),
        ("ks-Deva", "kas_Deva"),
        ("sd-Deva-IN", "snd_Deva"),
        ("mni", "mni_Mtei"),
        ("ne", "npi_Deva"),
        ("hi-Latn", None),
        ("en", None),
        ("fr", None),
    ],
)
def test_indictrans2_writes_the_languages_of_india(tag: str, code: str | None) -> None:
    assert translating_of(INDIC).target_code(tag) == code


@pytest.mark.parametrize(("tag", "code"), [("en", "eng_Latn"), ("en-US", "eng_Latn"), ("hi", None)])
def test_and_reads_english(tag: str, code: str | None) -> None:
    facts = translating_of(INDIC)
    assert facts.source_code(tag) == code
    assert facts.targets
    assert set(facts.targets.values()) == INDIC_LANGUAGES - {"eng_Latn"}


def test_an_unlisted_model_is_asked_for_any_language() -> None:
    facts = translating_of("@cf/test/new")
    assert facts is UNLISTED
    assert (facts.source_code("zh-Hant"), facts.target_code("pt-BR"), facts.written("pt-BR")) == ("zh", "pt", "pt-BR")


@pytest.mark.parametrize("model", ROWS)
def test_lengths_are_in_order(model: str) -> None:
    facts = translating_of(model)
    assert 0 < facts.safe_characters <= facts.max_characters
    assert facts.max_texts == 1 or facts.is_in_lists
    assert not facts.detects


def test_the_model_for_india_is_a_specialist() -> None:
    assert [model for model in ROWS if translating_of(model).is_specialist] == [INDIC]
