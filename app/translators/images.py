"""Images: one call for each picture, and the pictures as bytes, whatever form they come in.

Which format, address or text they go out as is the route's business. Where we knowingly differ from OpenAI:

1. A size is fitted to what the model can do, its ratio kept, and never refused.
2. `quality` is a number of steps. `style`, `background` and `moderation` have no counterpart.
3. A parameter that the model lacks is dropped, and told, unless it is `negative_prompt`, which is refused.
"""

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from app.calls import Call, Reply, Usage
from app.catalog.pictures import PictureFacts, facts_of
from app.errors import BadRequestError
from app.schemas.images import ImageOptions, ImageRequest
from app.translators.base import Context, Plan, Translator
from app.translators.forms import Part, to_form
from app.translators.image_fields import PICTURES, Body, given, ignored_of, size_of, steps_of, to_fields
from app.translators.image_prices import Work, neurons_of
from app.translators.tokens import estimate_tokens
from app.translators.vectors import broken

PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF.{4}WEBP", re.DOTALL)

SEEDS = 2**63
"""One more than the largest."""


def to_plan(request: ImageRequest, context: Context) -> Plan[ImageRequest]:
    """A call for each picture. Raises BadRequestError for what the model can't do."""
    for field in PICTURES & given(request).keys():
        message = f"'{field}' is not a field of {images.endpoint}: POST /v1/images/edits changes a picture."
        raise BadRequestError(message, param=field, code="unknown_parameter")
    facts = facts_of(context.model.id)
    calls = to_calls(to_fields(request, context, facts), (), request, context, facts)
    work = Work(size_of(request, facts), steps_of(request, facts) or 0, prompt_tokens=estimate_tokens(request.prompt))
    return Plan(request, context, calls, ignored_of(request, facts), work)


def to_calls(
    fields: Body, files: Sequence[Part], request: ImageOptions, context: Context, facts: PictureFacts
) -> tuple[Call, ...]:
    """As many as there shall be pictures, each with a seed of its own if the model takes one."""
    bodies = [fields | seed for seed in _seeds(request, context, facts)]
    return tuple(_call(body, files, context) for body in bodies)


def _seeds(request: ImageOptions, context: Context, facts: PictureFacts) -> list[Body]:
    """From the caller's seed upwards, or else from one that no other request has."""
    count, first = request.n or 1, request.seed
    if first is None or first < 0:
        first = int.from_bytes(sha256(context.id.encode()).digest()[:4], "big") >> 2 if facts.is_listed else None
    if first is None or not facts.takes_seed:
        return [{}] * count
    return [{"seed": (first + i) % SEEDS} for i in range(count)]


def _call(body: Body, files: Sequence[Part], context: Context) -> Call:
    """FLUX.2 takes a form even where it gets no picture. Source: Cloudflare's docs, FLUX.2."""
    model = context.model
    path = f"run/{model.id}"
    if model.input_shape != "image-multipart":
        return Call(model.id, path, body)
    parts = [Part(name, str(value).encode("utf-8", "replace")) for name, value in body.items()]
    content, content_type = to_form([*parts, *files], context.id)
    return Call(model.id, path, {}, content=content, content_type=content_type)


def from_replies(plan: Plan[Any], replies: Sequence[Reply]) -> tuple[list[bytes], Usage]:
    """The pictures as they came: PNG, JPEG or WebP. `plan.reading` is the Work of each call. Raises Failure."""
    work: Work = plan.reading
    usage = Usage(work.prompt_tokens, is_estimated=True)
    by_list = neurons_of(work, plan.context.model.price)
    for reply in replies:
        is_priced = reply.neurons is None
        usage += Usage(neurons=by_list if is_priced else reply.neurons, is_priced=is_priced)
    return [read_picture(reply.body) for reply in replies], usage


def read_picture(body: Any) -> bytes:
    """The picture in a reply: bytes, or base64 in `image`. Raises Failure for what is no picture."""
    data = body if isinstance(body, bytes) else _from_base64(body.get("image") if isinstance(body, dict) else None)
    if not PICTURE.match(data):
        raise broken("did not send a picture")
    return data


def _from_base64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise broken("sent an answer without a picture")
    if text.startswith(("https://", "http://")):
        raise broken("sent the address of a picture in place of the picture")
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except ValueError as failure:
        raise broken("sent a picture that is not valid base64") from failure


images = Translator(
    tasks=frozenset({"text-to-image"}), endpoint="/v1/images/generations", to_plan=to_plan, from_replies=from_replies
)
