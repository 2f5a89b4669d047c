"""What models that make pictures take."""

import pytest

from app.catalog import Catalog, Model
from app.catalog.pictures import UNLISTED, PictureFacts, Range, editor, facts_of
from app.errors import ModelNotFoundError

CATALOG = Catalog.load()
PAINTERS = [model for model in CATALOG if model.task == "text-to-image"]


@pytest.mark.parametrize("model", PAINTERS, ids=lambda model: model.id)
def test_each_model_that_makes_pictures_has_consistent_facts(model: Model) -> None:
    facts = facts_of(model.id)
    assert facts.is_listed
    assert facts.default_steps
    assert set(facts.quality_steps) == ({"low", "high"} if facts.steps else set())
    if facts.steps:
        assert all(facts.steps.clamp(steps) == steps for steps in (facts.default_steps, *facts.quality_steps.values()))
    if facts.sides:
        assert all(facts.sides.clamp(side) == side and side % facts.side_multiple == 0 for side in facts.default_size)
    assert facts.edit_strength is None or facts.max_input_pictures
    assert not facts.needs_mask or facts.max_input_pictures == 1


def test_an_unlisted_model_has_plain_facts() -> None:
    assert facts_of("@cf/new/painter") is UNLISTED
    assert PictureFacts() == UNLISTED


@pytest.mark.parametrize(("value", "clamped"), [(-1, 2), (2, 2), (5.5, 5.5), (11, 10)])
def test_a_range_holds_both_of_its_ends(value: float, clamped: float) -> None:
    assert Range(2, 10).clamp(value) == clamped


KLEIN, INPAINTING = "@cf/black-forest-labs/flux-2-klein-4b", "@cf/runwayml/stable-diffusion-v1-5-inpainting"


@pytest.mark.parametrize(
    ("name", "is_masked", "expected"),
    [
        (None, False, KLEIN),
        ("", True, INPAINTING),
        ("dall-e-2", False, KLEIN),  # leads to a model that takes no pictures
        ("dall-e-2", True, INPAINTING),
        ("gpt-image-1", False, "gpt-image-1"),
        ("gpt-image-1", True, INPAINTING),
        ("@cf/black-forest-labs/flux-1-schnell", False, "@cf/black-forest-labs/flux-1-schnell"),
        ("black-forest-labs/flux-1-schnell", True, "black-forest-labs/flux-1-schnell"),
        (INPAINTING, True, INPAINTING),
    ],
)
def test_the_editor_is_the_callers_model_if_it_can_or_was_meant(
    name: str | None, is_masked: bool, expected: str
) -> None:
    assert editor(name, CATALOG, is_masked=is_masked) == expected


def test_an_editor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelNotFoundError):
        editor("no-such-model", CATALOG, is_masked=False)
