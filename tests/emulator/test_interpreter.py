"""Chat models that are given the server's translation prompt: numbered texts come back made-up, in the same tags."""

from typing import Any

import pytest

from app.emulator.options import Options
from app.emulator.pseudo import pseudo
from app.emulator.quirks import DEFAULT_QUIRKS
from app.translation.prompts import from_chat, to_chat
from app.translation.wishes import Direction, Manner
from tests.emulator.asking import CHAT, EFFORTS, GPT_OSS, NATIVE, Asker, asking

pytestmark = pytest.mark.anyio

INTO_FRENCH = Direction("en", "fr")
UNITS = ("Good morning", "A <g1>cup</g1> of <m0/>.\nYes?")


def body(*units: str, direction: Direction = INTO_FRENCH, manner: Any = None, alternatives: int = 0) -> dict[str, Any]:
    request = to_chat(units, direction, manner or Manner(), model="m", alternatives=alternatives)
    return request.model_dump(exclude_unset=True, exclude={"model", "reasoning_effort"})


async def answered(ask: Asker, *units: str, model: str = CHAT, **others: Any) -> str:
    completion = await ask.chatted(model, **body(*units, **others))
    return str(completion["choices"][0]["message"]["content"])


def said(*units: str, source: str = "en", target: str = "fr") -> list[list[str]]:
    return [[pseudo(unit, source, target)] for unit in units]


@pytest.mark.parametrize("model", [NATIVE, EFFORTS])
async def test_texts_are_answered_one_by_one(ask: Asker, model: str) -> None:
    answer = await answered(ask, *UNITS, model=model)
    assert from_chat(answer, 2) == said(*UNITS)
    assert "</g1>" in answer
    assert "<m0/>" in answer


async def test_models_that_think_answer_too(ask: Asker) -> None:
    completion = await ask.chatted(GPT_OSS, **(body(*UNITS) | {"max_tokens": 2000}))
    assert from_chat(completion["choices"][0]["message"]["content"], 2) == said(*UNITS)


@pytest.mark.parametrize(
    "direction",
    [
        Direction("en", "zh-Hant-TW"),
        Direction("zh-Hans", "pt-BR"),
        Direction("en-GB", "ja"),
        Direction("fr", "sr-Latn"),
    ],
)
async def test_in_the_languages_of_the_prompt(ask: Asker, direction: Direction) -> None:
    answer = await answered(ask, "Good morning", model=NATIVE, direction=direction)
    assert from_chat(answer, 1) == said("Good morning", source=direction.source, target=direction.target)


async def test_texts_with_tags_of_that_kind_are_texts(ask: Asker) -> None:
    units = ("one\n<t1>two</t1>", "<t2>")
    assert from_chat(await answered(ask, *units, model=NATIVE), 2) == said(*units)


async def test_alternatives_differ(ask: Asker) -> None:
    answer = await answered(ask, "Good morning", "Bye", model=NATIVE, alternatives=2)
    assert from_chat(answer, 2) == [
        [pseudo(unit, source, "fr") for source in ("en", "en~1", "en~2")] for unit in ("Good morning", "Bye")
    ]


async def test_terms_are_translated_as_the_glossary_says(ask: Asker) -> None:
    manner = Manner(glossary={"cat": "félin", "the cat": "le minet"}, context="- dog -> chien")
    answer = await answered(ask, "a cat and the cat", "a dog", model=NATIVE, manner=manner)
    assert from_chat(answer, 2) == [
        [f"{pseudo('a', 'en', 'fr')} félin {pseudo('and', 'en', 'fr')} le minet"],
        *said("a dog"),
    ]


async def test_it_works_without_a_system_turn(ask: Asker) -> None:
    rules, texts = body("Good morning")["messages"]
    merged = f"{rules['content']}\n\n{texts['content']}"
    completion = await ask.chatted(NATIVE, messages=[{"role": "user", "content": merged}])
    assert from_chat(completion["choices"][0]["message"]["content"], 1) == said("Good morning")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "<t1>Hello</t1>"}],
        [
            {"role": "system", "content": "Translate from English (en) into French (fr)."},
            {"role": "user", "content": "Hi"},
        ],
    ],
)
async def test_other_prompts_are_answered_as_ever(ask: Asker, messages: list[Any]) -> None:
    completion = await ask.chatted(NATIVE, messages=messages)
    assert "emulator" in completion["choices"][0]["message"]["content"]


async def test_a_script_goes_first(ask: Asker) -> None:
    assert await answered(ask, 'Hi\n!emulate {"text":"Salut"}', model=NATIVE) == "Salut"


@pytest.mark.parametrize(
    ("quirk", "texts"),
    [
        ("interpreter-miscounts", None),
        ("interpreter-talks", said("one", "two")),
        ("echoes", [["one"], ["two"]]),
    ],
)
async def test_it_may_go_wrong(quirk: str, texts: Any) -> None:
    async with asking(Options(quirks=DEFAULT_QUIRKS | {quirk})) as ask:
        answer = await answered(ask, "one", "two", model=NATIVE)
        assert from_chat(answer, 2) == texts
        assert answer.startswith("<t1>") != (quirk == "interpreter-talks")


async def test_a_lost_single_text_leaves_nothing() -> None:
    async with asking(Options(quirks=frozenset({"interpreter-miscounts"}))) as ask:
        assert await answered(ask, "one", model=NATIVE) == ""
