"""Units -> calls of translation models, and replies -> translations in their order."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from app.calls import Failure, FailureKind, Reply, Usage
from app.catalog import Catalog, Model
from app.errors import BadRequestError
from app.translators.base import Context, Plan
from app.translators.translations import UnitsRequest, from_replies, to_plan, translations

CATALOG = Catalog.load()
M2M100 = CATALOG.resolve("@cf/meta/m2m100-1.2b")
INDIC = CATALOG.resolve("@cf/ai4bharat/indictrans2-en-indic-1B")
NEW = Model("@cf/test/new", "translation")


@dataclass(frozen=True)
class Direction:
    source: str
    target: str


def a_plan(*units: str, source: str = "en", target: str = "fr", model: Model = M2M100) -> Plan[UnitsRequest]:
    request = UnitsRequest(units, Direction(source, target))
    return to_plan(request, Context(model, "m", id="abc", created=1790000000))


def replies(*bodies: Any) -> list[Reply]:
    return [Reply(body) for body in bodies]


def test_each_unit_is_a_call() -> None:
    plan = a_plan("One", "Two\nThree", source="en-GB", target="zh-Hant")
    assert [(call.model, call.path, call.body) for call in plan.calls] == [
        (M2M100.id, f"run/{M2M100.id}", {"text": "One", "source_lang": "en", "target_lang": "zh"}),
        (M2M100.id, f"run/{M2M100.id}", {"text": "Two\nThree", "source_lang": "en", "target_lang": "zh"}),
    ]


def test_units_go_in_lists_where_the_model_takes_some() -> None:
    plan = a_plan(*map(str, range(20)), target="hi", model=INDIC)
    assert [call.body for call in plan.calls] == [
        {"text": [str(number) for number in range(16)], "target_language": "hin_Deva"},
        {"text": ["16", "17", "18", "19"], "target_language": "hin_Deva"},
    ]


def test_a_new_model_is_spoken_to_like_m2m100() -> None:
    assert [call.body for call in a_plan("One", target="xy-AB", model=NEW).calls] == [
        {"text": "One", "source_lang": "en", "target_lang": "xy"}
    ]


def test_blank_units_cost_no_call() -> None:
    plan = a_plan("", "One", " \n", "Two")
    assert [call.body["text"] for call in plan.calls] == ["One", "Two"]
    found, _ = from_replies(plan, replies({"translated_text": "Un"}, {"translated_text": "Deux"}))
    assert found == ["", "Un", " \n", "Deux"]


def test_nothing_comes_of_nothing() -> None:
    plan = a_plan("")
    assert (plan.calls, from_replies(plan, [])) == ((), ([""], Usage()))


@pytest.mark.parametrize(
    ("model", "source", "target", "param", "message"),
    [
        (M2M100, "eo", "fr", "source_lang", "The model 'm' can't read 'eo'."),
        (M2M100, "en", "eo", "target_lang", "The model 'm' can't write 'eo'."),
        (M2M100, "auto", "fr", "source_lang", "The model 'm' can't read 'auto'."),
        (M2M100, "en", "sr-Latn", "target_lang", "The model 'm' can't write 'sr-Latn'."),
        (INDIC, "hi", "en", "source_lang", "The model 'm' can't read 'hi'."),
        (INDIC, "en", "fr", "target_lang", "The model 'm' can't write 'fr'."),
    ],
)
def test_a_language_that_the_model_lacks_is_refused(
    model: Model, source: str, target: str, param: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as failure:
        a_plan("One", source=source, target=target, model=model)
    error = failure.value
    assert (error.param, error.code, error.message) == (param, "unsupported_language", message)


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([{"translated_text": "Un"}, {"translated_text": "Deux"}], ["Un", "Deux"]),
        ([{"translated_text": "Un"}, {}], ["Un", ""]),
        ([{"translated_text": None}, {"translated_text": 2}], ["", ""]),
        ([{"translated_text": ""}, {"translations": ["Deux"]}], ["", "Deux"]),
    ],
)
def test_a_missing_translation_is_an_empty_text(bodies: list[Any], expected: list[str]) -> None:
    assert from_replies(a_plan("One", "Two"), replies(*bodies))[0] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"translations": ["a", "b"]}, ["a", "b"]),
        ({"translations": ["a", None]}, ["a", ""]),
        ({"translations": ["a"]}, ["", ""]),
        ({"translations": ["a", "b", "c"]}, ["", ""]),
        ({"translations": "ab"}, ["", ""]),
        ({}, ["", ""]),
    ],
)
def test_a_list_of_the_wrong_length_says_nothing(body: Any, expected: list[str]) -> None:
    assert from_replies(a_plan("One", "Two", target="hi", model=INDIC), replies(body))[0] == expected


@pytest.mark.parametrize("body", ["Un", ["Un"], None, b"Un"])
def test_a_reply_that_is_no_object_is_broken(body: Any) -> None:
    with pytest.raises(Failure) as failure:
        from_replies(a_plan("One"), replies(body))
    assert (failure.value.kind, failure.value.status) == (FailureKind.BROKEN, 502)


def test_tokens_are_estimated_both_ways() -> None:
    _, usage = from_replies(a_plan("Good morning", "Hi"), replies({"translated_text": "Bonjour"}, {}))
    assert usage == Usage(3 + 1, 2, is_estimated=True)


@pytest.mark.parametrize(("told", "neurons"), [({}, 0.5), ({"neurons": 0.75}, 0.75)])
def test_what_cloudflare_counted_goes_first(told: dict[str, float], neurons: float) -> None:
    body = {"translated_text": "Un", "usage": {"prompt_tokens": 5, "completion_tokens": 7} | told}
    reply = Reply(body, raw=orjson.dumps({"result": body, "success": True}), neurons=0.5)
    assert from_replies(a_plan("One"), [reply]) == (["Un"], Usage(5, 7, neurons=neurons))


def test_a_charge_without_a_count_is_kept() -> None:
    assert from_replies(a_plan("One"), [Reply({"translated_text": "Un"}, neurons=0.5)])[1] == Usage(
        1, 1, neurons=0.5, is_estimated=True
    )


def test_it_names_its_parts() -> None:
    assert translations.tasks == {"translation"}
    assert translations.endpoint == "/translate"
