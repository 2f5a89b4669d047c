from dataclasses import replace
from typing import Any

import pytest

from app.translation.charges import Charge
from app.translation.jobs import Job, Made, Order
from app.translation.masks import LETTERS, TAGS, render
from app.translation.pieces import Mask, Unit
from app.translation.wishes import Direction, Manner
from tests.translation.test_mending import OTHER, FakeEngine, chatty, unit_of

ORDER = Order(FakeEngine(), Direction("en", "de"))
LINK = unit_of("See <a>it</a> &lt; now", "html")


@pytest.mark.parametrize(
    "fields",
    [
        {"engine": FakeEngine(model_id=OTHER)},
        {"direction": Direction("en", "zh-Hans")},
        {"direction": Direction("nl", "de")},
        {"manner": Manner("more")},
        {"manner": Manner(context="cars")},
        {"manner": Manner(instructions=("be brief",))},
        {"manner": Manner(glossary={"it": "es"})},
        {"alternatives": 1},
        {"base_url": "http://emulator.invalid"},
    ],
)
def test_a_key_goes_by_all_that_a_translation_depends_on(fields: dict[str, Any]) -> None:
    assert Job(LINK, replace(ORDER, **fields)).key != Job(LINK, ORDER).key


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("See <a href='x'>it</a>!", "See <a href='y'>it</a>!", True),
        ("See <a>it</a> &lt; now", "See <b>it</b> &#60; now", True),
        ("See <a>it</a> now", "See <a>it</a> then", False),
        ("See <a>it<img> now", "See <a>it</a> now", False),
        ("See <a>it</a> now", "See <a>it</b> now", False),
    ],
)
def test_what_masks_stand_for_is_no_part_of_a_key_but_what_belongs_together_is(
    first: str, second: str, is_same: bool
) -> None:
    keys = {Job(unit_of(text, "html"), ORDER).key for text in (first, second)}
    assert len(keys) == (1 if is_same else 2)


def test_half_a_character_has_a_key() -> None:
    unit = Unit(("a\ud800",), ("a\ud800",))
    assert len(Job(unit, ORDER).key) == 32


@pytest.mark.parametrize("engine", [FakeEngine(), chatty()])
def test_a_translation_serves_every_unit_of_its_key(engine: FakeEngine) -> None:
    style = engine.styles[0]
    made = Made(style.name, (render(LINK, style).replace("now", "jetzt"),))
    assert made.versions_for(LINK) == ["See <a>it</a> &lt; jetzt"]
    assert made.versions_for(unit_of("See <b>it</b> < now", "html")) == ["See <b>it</b> &lt; jetzt"]


def test_parts_are_encoded_for_the_unit_that_they_serve() -> None:
    made = Made(runs=("Siehe", "das", "< jetzt & hier"))
    assert made.versions_for(LINK) == ["Siehe <a>das</a> &lt; jetzt &amp; hier"]
    plain = Unit(
        ("See ", Mask("%s", "placeholder"), "it", Mask("%d", "placeholder"), " < now"),
        ("See ", "%s", "it", "%d", " < now"),
    )
    assert made.versions_for(plain) == ["Siehe %sdas%d < jetzt & hier"]


def test_what_does_not_fit_is_left_out_and_without_anything_the_source_stays() -> None:
    whole = render(LINK, TAGS)
    assert Made("tags", ("nothing", f"Ja: {whole}")).versions_for(LINK) == ["Ja: See <a>it</a> &lt; now"]
    assert Made("tags", ("nothing",)).versions_for(LINK) == [LINK.original]
    assert Made().versions_for(LINK) == [LINK.original]


@pytest.mark.parametrize("made", [Made(LETTERS.name, ("eins", "ein")), Made(runs=("eins", "\u2028"))])
def test_a_line_of_the_cache_has_all_that_is_needed_again(made: Made) -> None:
    paid = replace(made, charges=(Charge("a", 3.0),), remedies=("between-masks",))
    assert Made.from_json(paid.to_json()) == made


def test_who_waited_for_somebody_elses_pays_nothing() -> None:
    assert Made(charges=(Charge("a", 2.0),)).shared() == Made()
