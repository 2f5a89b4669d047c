"""Edits and variations: pictures made from pictures, in the way of the model's family.

FLUX.2 takes several pictures as parts of its form, Stable Diffusion one as base64 with a strength, and its inpainting
model one with a mask, both as lists of bytes. Source: Cloudflare's docs, the models' schemas. Where we knowingly differ
from OpenAI: a mask shows what to change in white, so whoever makes an ImageEdit has to turn transparency into white.
"""

import base64
from typing import NoReturn

from app.catalog.pictures import PictureFacts, facts_of
from app.errors import BadRequestError
from app.schemas.images import ImageEditRequest
from app.translators.base import Context, Plan, Translator
from app.translators.forms import Part
from app.translators.image_fields import Body, ignored_of, size_of, steps_of, to_fields
from app.translators.image_prices import Work
from app.translators.images import from_replies, to_calls
from app.translators.sizes import fitted, png_size, shaped_like
from app.translators.tokens import estimate_tokens
from app.values import immutable


@immutable
class ImageEdit:
    """A request with its pictures: PNGs that fit into the model's `input_max_side`."""

    request: ImageEditRequest
    pictures: tuple[bytes, ...]
    mask: bytes | None = None
    """A PNG of the first picture's size, white where it shall change."""


def to_plan(edit: ImageEdit, context: Context) -> Plan[ImageEdit]:
    """A call for each picture to make. Raises BadRequestError for what the model can't do."""
    facts, request = facts_of(context.model.id), edit.request
    _check(edit, context, facts)
    fields = to_fields(request, context, facts)
    sizes = tuple(map(png_size, edit.pictures))
    size = size_of(request, facts)
    files: list[Part] = []
    if context.model.input_shape == "image-multipart":
        files = [_file(i, picture) for i, picture in enumerate(edit.pictures)]
        if facts.sides and not request.pixels:  # the model's own size would stretch the picture
            size = fitted(shaped_like(sizes[0], max(facts.default_size)), facts.sides, facts.side_multiple)
        fields["width"], fields["height"] = size
    else:
        size = size if request.pixels else sizes[0]
        fields |= _picture_fields(edit, facts)
    calls = to_calls(fields, files, request, context, facts)
    ignored = ignored_of(request, facts, has_strength=facts.edit_strength is not None)
    work = Work(size, steps_of(request, facts) or 0, sizes, estimate_tokens(request.prompt))
    return Plan(edit, context, calls, ignored, work)


def _check(edit: ImageEdit, context: Context, facts: PictureFacts) -> None:
    name, most = context.name, facts.max_input_pictures
    if not edit.pictures:
        raise BadRequestError("'image' is missing.", param="image", code="missing_required_parameter")
    if not most:
        _refuse(f"The model '{name}' takes no pictures.", "model", "unsupported_model")
    if len(edit.pictures) > most:
        _refuse(
            f"The model '{name}' takes at most {most}, and was sent {len(edit.pictures)}.", "image", "invalid_value"
        )
    if edit.mask and not facts.needs_mask:
        _refuse(f"The model '{name}' takes no mask.", "mask", "unsupported_parameter")
    if facts.needs_mask and not edit.mask:
        _refuse(f"The model '{name}' changes what a mask shows.", "mask", "missing_required_parameter")


def _refuse(why: str, param: str, code: str) -> NoReturn:
    hint = " Leave 'model' out, and one that suits the pictures is taken."
    raise BadRequestError(why + hint, param=param, code=code)


def _file(i: int, picture: bytes) -> Part:
    name = f"input_image_{i}"
    return Part(name, picture, filename=f"{name}.png", content_type="image/png")


def _picture_fields(edit: ImageEdit, facts: PictureFacts) -> Body:
    picture, strength = edit.pictures[0], edit.request.strength
    if edit.mask:
        return {"image": list(picture), "mask": list(edit.mask)}
    return {
        "image_b64": base64.b64encode(picture).decode(),
        "strength": facts.edit_strength if strength is None else strength,
    }


TASKS = frozenset({"text-to-image"})

edits = Translator(tasks=TASKS, endpoint="/v1/images/edits", to_plan=to_plan, from_replies=from_replies)
variations = Translator(tasks=TASKS, endpoint="/v1/images/variations", to_plan=to_plan, from_replies=from_replies)
