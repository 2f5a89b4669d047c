"""The fields of a request for pictures, in the model's terms: which it takes, which can go, which can't."""

from typing import Any

from app.catalog.pictures import PictureFacts
from app.errors import BadRequestError
from app.schemas.images import ImageOptions
from app.translators.base import Context
from app.translators.sizes import Size, fitted

Body = dict[str, Any]

ANSWERED = frozenset({"model", "prompt", "n", "output_compression", "response_format", "stream", "partial_images"})
"""Fields that are for whoever answers the request: none of them is the model's."""

PICTURES = frozenset({"image", "images", "image[]", "image_b64", "image_url", "mask"})
"""Fields for pictures to start from."""

HARMLESS = frozenset(
    {
        "style", "background", "moderation", "user", "metadata", "safety_identifier", "input_fidelity", "complexity",
        "frame_count", "svg", "gateway",
    }
)  # fmt: skip
"""OpenAI's fields without a counterpart."""

QUALITIES = {"low": "low", "high": "high", "hd": "high", "xhigh": "high", "max": "high"}
PLAIN_QUALITIES = frozenset({"medium", "standard"})


def to_fields(request: ImageOptions, context: Context, facts: PictureFacts) -> Body:
    """What every call has, besides a seed and pictures. Raises BadRequestError for what the model can't do."""
    _check(request, context, facts)
    body: Body = {"prompt": request.prompt}
    if request.negative_prompt:
        body["negative_prompt"] = request.negative_prompt
    if facts.sides and request.pixels:
        body["width"], body["height"] = size_of(request, facts)
    steps = steps_of(request, facts)
    if facts.steps and steps is not None:
        body[facts.steps_field] = steps
    if facts.guidance and request.guidance is not None:
        body["guidance"] = facts.guidance.clamp(request.guidance)
    return body | {name: value for name, value in given(request).items() if name in _passed_on(request, facts)}


def _check(request: ImageOptions, context: Context, facts: PictureFacts) -> None:
    length = facts.max_prompt_length
    if length and len(request.prompt) > length:
        message = f"The model '{context.name}' takes prompts of up to {length} characters; this one has "
        raise BadRequestError(f"{message}{len(request.prompt)}.", param="prompt", code="string_above_max_length")
    if request.negative_prompt and not facts.takes_negative_prompt:
        message = f"The model '{context.name}' has no 'negative_prompt': say in the prompt what the picture shows."
        raise BadRequestError(message, param="negative_prompt", code="unsupported_parameter")


def size_of(request: ImageOptions, facts: PictureFacts) -> Size:
    """Of the pictures that come out."""
    if not facts.sides or not request.pixels:
        return facts.default_size
    return fitted(request.pixels, facts.sides, facts.side_multiple)


def steps_of(request: ImageOptions, facts: PictureFacts) -> int | None:
    """How many the model takes; None if that is its secret."""
    asked = request.num_steps if request.steps is None else request.steps
    if asked is None:
        asked = facts.quality_steps.get(_quality(request))
    return facts.default_steps if asked is None or not facts.steps else int(facts.steps.clamp(asked))


def _quality(request: ImageOptions) -> str:
    return QUALITIES.get((request.quality or "").lower(), "")


def ignored_of(request: ImageOptions, facts: PictureFacts, *, has_strength: bool = False) -> tuple[str, ...]:
    """The fields that ask for something and won't get it. `has_strength`: a picture is sent to a model with one."""
    is_plain = (request.quality or "").lower() in PLAIN_QUALITIES
    is_sized = bool(facts.sides and request.pixels)
    honoured = {
        "size": is_sized,
        "width": is_sized,
        "height": is_sized,
        "quality": is_plain or _quality(request) in facts.quality_steps,
        "output_format": request.picture_format is not None,
        "negative_prompt": facts.takes_negative_prompt,
        "seed": facts.takes_seed,
        "guidance": facts.guidance is not None,
        "steps": facts.steps is not None,
        "num_steps": facts.steps is not None,
        "strength": has_strength,
    }
    done = {name for name, is_honoured in honoured.items() if is_honoured} | ANSWERED | PICTURES
    done |= _passed_on(request, facts)
    return tuple(name for name, value in given(request).items() if name not in done and value not in ("", "auto"))


def _passed_on(request: ImageOptions, facts: PictureFacts) -> set[str]:
    """Fields that nobody knows, for a model that nobody knows."""
    return set() if facts.is_listed else (request.model_extra or {}).keys() - HARMLESS - PICTURES


def given(request: ImageOptions) -> Body:
    """What the caller has set."""
    everything = request.__dict__ | (request.model_extra or {})
    return {name: value for name, value in everything.items() if value is not None and name in request.model_fields_set}
