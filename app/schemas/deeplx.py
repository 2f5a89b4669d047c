"""What is sent to `/translate`, in three dialects: DeepLX, and the custom APIs of Immersive Translate and of KISS.

They are told apart by their fields. DeepLX is https://github.com/OwO-Network/DeepLX; beyond it `text` may be a list,
which `data` then is too, and there are the fields of `TranslationOptions`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Discriminator, Field, Tag
from typing_extensions import TypedDict

from app.schemas.deepl import MOST_TEXTS, TranslationOptions

MOST_ALTERNATIVES = 5


def _form(value: Any) -> str:
    """Which of the two a fault is told of."""
    return "str" if isinstance(value, str) else "list[str]"


Text = Annotated[
    Annotated[str, Tag("str")] | Annotated[tuple[str, ...], Tag("list[str]"), Field(max_length=MOST_TEXTS)],
    Discriminator(_form),
]
"""One or several."""


class DeepLXRequest(TranslationOptions):
    text: Text = ()
    alternatives: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] = 0
    """How many further translations are wanted of a single text."""

    @property
    def is_list(self) -> bool:
        return not isinstance(self.text, str)

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text


class ImmersiveRequest(DeepLXRequest):
    """https://immersivetranslate.com/docs/services/custom/"""

    text: Text = Field((), validation_alias="text_list")


class KissRequest(DeepLXRequest):
    """https://github.com/fishjar/kiss-translator/blob/master/custom-api_v2.md, and `text` as before its version 2."""

    text: Text = Field((), validation_alias=AliasChoices("texts", "text"))
    source_lang: str | None = Field(None, validation_alias="from")
    target_lang: str | None = Field(None, validation_alias="to")


def dialect_of(fields: Mapping[str, Any]) -> type[DeepLXRequest]:
    """Which of the three a body is."""
    if "text_list" in fields:
        return ImmersiveRequest
    if "texts" in fields or ("to" in fields and "target_lang" not in fields):
        return KissRequest
    return DeepLXRequest


class DeepLXResponse(TypedDict):
    """`code` is the number 200, without which Immersive Translate takes no answer."""

    code: Literal[200]
    id: int
    data: str | list[str]
    alternatives: list[str]
    source_lang: str
    """Of the first text, in upper case."""
    target_lang: str
    """As it was asked for, in upper case."""
    method: Literal["Free", "Pro"]


class DeepLXError(TypedDict):
    """`code` is the status."""

    code: int
    message: str


class ImmersiveTranslation(TypedDict):
    detected_source_lang: str
    text: str


class ImmersiveResponse(TypedDict):
    """As many as `text_list` has, in its order."""

    translations: list[ImmersiveTranslation]


class KissTranslation(TypedDict):
    """The answer to a `text`; that to `texts` is a list of them."""

    text: str
    src: str
