"""Moderations: what clients send, and what they get."""

from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, with_config
from typing_extensions import TypedDict

LOOSE = ConfigDict(extra="allow")

DEFAULT_MODEL = "omni-moderation-latest"
"""OpenAI's. The catalogue knows what it stands for."""

MAX_INPUTS = 32
"""Texts in one request. Each is a call of its own, and a model's rate limit counts calls."""

Category = Literal[
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)


@with_config(LOOSE)
class ModerationPart(TypedDict):
    """One piece of an input; which fields it has follows from `type`."""

    type: Literal["text", "image_url"]
    text: NotRequired[str | None]
    image_url: NotRequired[Any]


def _form(value: Any) -> str:
    """The branch of Input that a value is held to, so that its faults are told in that branch's terms."""
    if not isinstance(value, list):
        return "str"
    return "list[dict]" if value and not isinstance(value[0], str) else "list[str]"


Size = Field(min_length=1, max_length=MAX_INPUTS)
Input = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[list[str], Size, Tag("list[str]")]
    | Annotated[list[ModerationPart], Size, Tag("list[dict]")],
    Discriminator(_form),
]


def _named(value: Any) -> Any:
    return DEFAULT_MODEL if value is None else value


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300), BeforeValidator(_named)]


class ModerationRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/moderations/create"""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    input: Input
    """A list of texts is as many inputs; a list of parts is one."""
    model: ModelName = DEFAULT_MODEL
    stream: Literal[False] | None = None


class Hazard(TypedDict):
    """What the guard found, in its own terms."""

    code: str
    name: str


class ModerationResult(TypedDict):
    """OpenAI's result, and `hazards` beside it. Scores are 1.0 or 0.0: the guard has none."""

    flagged: bool
    categories: dict[Category, bool]
    category_scores: dict[Category, float]
    category_applied_input_types: dict[Category, list[Literal["text"]]]
    hazards: list[Hazard]


class ModerationResponse(TypedDict):
    """`results` are in the order of the inputs."""

    id: str
    model: str
    results: list[ModerationResult]
