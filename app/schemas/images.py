"""Images: what clients send to have pictures made, changed or varied.

Beyond OpenAI's fields: `negative_prompt`, `seed`, `guidance`, `steps` (or `num_steps`), `strength`, and `width` with
`height` in place of `size`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.schemas.chat import Seed

DEFAULT_MODEL = "gpt-image-1"
SIZE = re.compile(r"\s*0*([1-9][0-9]{0,5})\s*[xX×*]\s*0*([1-9][0-9]{0,5})\s*")
FORMATS: dict[str, Literal["png", "jpeg", "webp"]] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}

Side = Annotated[int, Field(ge=1, lt=10**6)]
Strength = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]


def _named(value: Any) -> Any:
    return DEFAULT_MODEL if value in (None, "") else value


class ImageOptions(BaseModel):
    """What all three endpoints have in common.

    `size`, `quality`, `output_format` and the like are open texts: new values come up with each of OpenAI's models, and
    one that is unknown means the default.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    prompt: Annotated[str, StringConstraints(min_length=1)]
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    width: Side | None = None
    height: Side | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    output_format: str | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    negative_prompt: str | None = None
    seed: Seed | None = None
    """Below zero it means any, as with other servers of pictures."""
    guidance: Annotated[float, Field(allow_inf_nan=False)] | None = None
    steps: int | None = None
    num_steps: int | None = None
    strength: Strength | None = None
    """How far a picture may be left behind: 0 keeps it, 1 forgets it."""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height as asked for; None leaves them to the model."""
        if self.width and self.height:
            return self.width, self.height
        match = SIZE.fullmatch(self.size or "")
        return (int(match[1]), int(match[2])) if match else None

    @property
    def picture_format(self) -> Literal["png", "jpeg", "webp"] | None:
        """The format asked for; None leaves it to the model."""
        return FORMATS.get((self.output_format or "").lower())


class ImageRequest(ImageOptions):
    """https://platform.openai.com/docs/api-reference/images/create"""

    model: Annotated[Name, BeforeValidator(_named)] = DEFAULT_MODEL


class ImageEditRequest(ImageOptions):
    """https://platform.openai.com/docs/api-reference/images/createEdit

    The fields besides the pictures, which come as parts of a form.
    """

    model: str | None = None
    """None leaves it to what was sent."""


class ImageVariationRequest(ImageEditRequest):
    """https://platform.openai.com/docs/api-reference/images/createVariation"""

    prompt: str = "A new variation of this picture: the same subject, style and colours, composed afresh."
    strength: Strength | None = 0.6
