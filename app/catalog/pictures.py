"""PictureFacts: what each model that makes pictures takes, from the rows of `pictures.json`.

Ranges are those of Cloudflare's model pages. Where these name none (guidance of Stable Diffusion and FLUX.2, the steps
of FLUX.2 dev, the smallest sides of Leonardo's models), they are what the models' makers use.
"""

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from importlib import resources
from typing import Any

import orjson

from app.catalog.models import Catalog
from app.values import immutable


@immutable
class Range:
    """Both ends belong to it."""

    least: float
    most: float

    def clamp(self, value: float) -> float:
        return min(max(value, self.least), self.most)


@immutable
class PictureFacts:
    """One model's fields. The defaults are for models that are not listed: wide, in Stable Diffusion's names.

    Whether a model takes JSON or a form is its `input_shape`.
    """

    is_listed: bool = False
    """Only what is listed here goes to the model; others get the fields that nobody knows as well."""
    sides: Range | None = Range(256, 2048)
    """Pixels of `width` and of `height`; None if the model has one size only."""
    side_multiple: int = 8
    """Pixels that a side is made up of."""
    default_size: tuple[int, int] = (1024, 1024)
    """Width and height of a picture when no size is sent."""
    steps_field: str = "num_steps"
    steps: Range | None = Range(1, 100)
    """None if the model has a fixed number of steps."""
    default_steps: int | None = None
    """How many are sent when nobody says, so that the price follows from the call; of fixed steps, their number."""
    quality_steps: Mapping[str, int] = field(default_factory=dict)
    """Steps of a `low` and of a `high` quality."""
    guidance: Range | None = Range(0, 100)
    """None if the model has no such field."""
    takes_seed: bool = True
    takes_negative_prompt: bool = True
    max_prompt_length: int | None = None
    """Characters."""
    max_input_pictures: int = 0
    """How many pictures the model can start from."""
    input_max_side: int = 1024
    """Pixels; larger pictures have to be scaled down before they are sent."""
    edit_strength: float | None = None
    """Of a change without a `strength`, where the model has that field: its own default, 1, forgets the picture."""
    needs_mask: bool = False
    """The model changes what a mask shows; others take none."""

    def can_edit(self, *, is_masked: bool) -> bool:
        return self.max_input_pictures > 0 and self.needs_mask == is_masked


UNLISTED = PictureFacts()


def facts_of(model_id: str) -> PictureFacts:
    return _listed().get(model_id, UNLISTED)


def editor(name: str | None, catalog: Catalog, *, is_masked: bool) -> str:
    """The name of the model that shall change a picture, with a mask or without: the caller's, if it can.

    OpenAI's names lead to models that may take no pictures, or no mask: there the family follows from what was sent. A
    model that was named by its own id is kept, and refuses. Raises ModelNotFoundError.
    """
    if name:
        model_id = catalog.resolve(name).id
        if name in (model_id, model_id.removeprefix("@cf/")) or facts_of(model_id).can_edit(is_masked=is_masked):
            return name
    return str(_rows()["editors"]["masked" if is_masked else "plain"])


@cache
def _rows() -> dict[str, Any]:
    rows: dict[str, Any] = orjson.loads(resources.files(__package__).joinpath("pictures.json").read_bytes())
    return rows


@cache
def _listed() -> dict[str, PictureFacts]:
    return {model_id: _facts(row) for model_id, row in _rows()["models"].items()}


def _facts(row: dict[str, Any]) -> PictureFacts:
    ranges = {name: Range(*row[name]) for name in ("sides", "steps", "guidance") if row.get(name)}
    width, height = row["default_size"]
    return PictureFacts(**row | ranges | {"is_listed": True, "default_size": (width, height)})
