"""What the models that make pictures take. Source: Cloudflare's docs and published model schemas."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.catalog import Model
from app.emulator.bodies import FORM_SHAPE
from app.emulator.checks import Check, field_problem, missing, quoted
from app.emulator.faults import Fault, bad_input
from app.emulator.painting import Format
from app.emulator.pictures import listed
from app.emulator.run import Run
from app.emulator.tiles import Size

RUN_OPTIONS = "options"
"""Stands in the body, but is not the model's."""
PROMPT = Check("string", 1)
SEED = {"seed": Check("integer")}
INPUT_IMAGES = tuple(f"input_image_{number}" for number in range(4))


@dataclass(frozen=True, slots=True)
class Painter:
    """A group of models that take the same: every field with its check, and what holds where it isn't sent."""

    fields: Mapping[str, Check]
    steps: int
    size: Size = (1024, 1024)
    needs: tuple[str, ...] = ("prompt",)
    is_closed: bool = False
    """Other fields are refused; elsewhere they change nothing."""
    format: Format = "JPEG"
    max_source_side: int | None = None
    """Pixels of pictures to work on; above it 3030. None: any, and the answer has the size of the source."""
    refusal: str = "Input prompt contains NSFW content."


def _sides(least: int, most: int) -> dict[str, Check]:
    return {"width": Check("integer", least, most), "height": Check("integer", least, most)}


_DIFFUSION = {
    "prompt": PROMPT,
    "negative_prompt": Check("string"),
    **_sides(256, 2048),
    "num_steps": Check("integer", 1, 20),
    "guidance": Check("number"),
    **SEED,
    "image": Check("array"),
    "image_b64": Check("string"),
    "mask": Check("array"),
    "strength": Check("number", 0, 1),
}
_FLUX_2 = {
    "prompt": PROMPT,
    **dict.fromkeys(INPUT_IMAGES, Check("file")),
    "steps": Check("integer", 1),
    "guidance": Check("number"),
    **_sides(256, 1920),
    **SEED,
}
_FLAGGED = "Your output has been flagged. Choose another prompt or input image combination."

DIFFUSION = Painter(_DIFFUSION, 20, format="PNG")
FLUX_2 = Painter(_FLUX_2, 25, (1024, 768), format="PNG", max_source_side=512, refusal=_FLAGGED)
KLEIN = Painter(
    _FLUX_2 | {"steps": Check("integer", 4, 4)}, 4, (1024, 768), format="PNG", max_source_side=512, refusal=_FLAGGED
)
PAINTERS = {
    "@cf/lykon/dreamshaper-8-lcm": Painter(_DIFFUSION, 20, (512, 512), format="PNG"),
    "@cf/black-forest-labs/flux-1-schnell": Painter(
        {"prompt": Check("string", 1, 2048), "steps": Check("integer", 1, 8)}, 4, is_closed=True
    ),
    "@cf/black-forest-labs/flux-2-klein-4b": KLEIN,
    "@cf/black-forest-labs/flux-2-klein-9b": KLEIN,
    "@cf/leonardo/phoenix-1.0": Painter(
        {
            "prompt": PROMPT,
            "negative_prompt": Check("string"),
            "guidance": Check("number", 2, 10),
            **_sides(0, 2048),
            "num_steps": Check("integer", 1, 50),
            **SEED,
        },
        25,
    ),
    "@cf/leonardo/lucid-origin": Painter(
        {
            "prompt": PROMPT,
            "guidance": Check("number", 0, 10),
            **_sides(0, 2500),
            "num_steps": Check("integer", 1, 40),
            "steps": Check("integer", 1, 40),
            **SEED,
        },
        20,  # nobody has published how many it takes by itself
        (1120, 1120),
    ),
    # The schemas of these two need the prompt alone, but without the pictures there is nothing for them to do.
    "@cf/runwayml/stable-diffusion-v1-5-img2img": Painter(
        _DIFFUSION, 20, (512, 512), ("prompt", "image"), format="PNG"
    ),
    "@cf/runwayml/stable-diffusion-v1-5-inpainting": Painter(
        _DIFFUSION, 20, (512, 512), ("prompt", "image", "mask"), format="PNG"
    ),
}
"""Models that differ from DIFFUSION, and from FLUX_2 among those that take forms."""


def painter_of(model: Model) -> Painter:
    return PAINTERS.get(model.id, FLUX_2 if model.input_shape == FORM_SHAPE else DIFFUSION)


def fields_of(run: Run, painter: Painter) -> dict[str, Any]:
    """The body of a run, the numbers of a form read as such. Raises 5006 for one that the schema refuses."""
    is_form = run.model.input_shape == FORM_SHAPE
    body = {name: _read(painter, name, value) for name, value in run.body.items()} if is_form else run.body
    problem = _absence(body, painter) or field_problem(body, painter.fields) or _surplus(body, painter)
    if problem:
        raise bad_input(problem)
    return body


def sources_of(body: Mapping[str, Any], painter: Painter) -> tuple[bytes, ...]:
    """The pictures to work on. Raises 5006 for what is no list of bytes, 8006 for what is no base64."""
    if "image" not in painter.fields:
        return tuple(body[name] for name in INPUT_IMAGES if name in body and name in painter.fields)
    if "image" in body:
        return (listed(body, "image"),)
    return (_decoded(body["image_b64"]),) if "image_b64" in body else ()


def mask_of(body: Mapping[str, Any], painter: Painter) -> bytes | None:
    return listed(body, "mask") if "mask" in painter.fields and "mask" in body else None


def steps_of(body: Mapping[str, Any], painter: Painter) -> int:
    names = (name for name in ("steps", "num_steps") if name in painter.fields and name in body)
    return int(body.get(next(names, ""), painter.steps))


def _read(painter: Painter, name: str, value: Any) -> Any:
    """All texts of a form are texts; what should be a number and is none stays one, to be refused."""
    check = painter.fields.get(name)
    if check is None or check.type not in ("integer", "number") or not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _absence(body: Mapping[str, Any], painter: Painter) -> str | None:
    present = {"image" if name == "image_b64" else name for name in body}
    absent = [name for name in painter.needs if name not in present]
    return missing("/", *absent) if absent else None


def _surplus(body: Mapping[str, Any], painter: Painter) -> str | None:
    surplus = [name for name in body if name not in painter.fields and name != RUN_OPTIONS]
    return f"additional properties at '/' are {quoted(surplus)}" if painter.is_closed and surplus else None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise Fault(8006) from failure
