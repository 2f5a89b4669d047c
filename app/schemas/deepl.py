"""DeepL's API, version 2: what its clients send to have texts translated, and what they get.

JSON or a form, so every value may be a text and a list of one its item alone. What is empty counts as absent. Fields
that are not here have no effect.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

MOST_TEXTS = 1000
"""Of one request. DeepL's own limit is 50."""
MOST_TERMS = 1000
MOST_INSTRUCTIONS = 100


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _formality(value: Any) -> Any:
    """`prefer_more` asks for `more` where a language has it, which is all that can be done about `more` too."""
    lowered = _lower(value)
    return lowered.removeprefix("prefer_") if isinstance(lowered, str) else lowered


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _names(value: Any) -> Any:
    """`a,b`, or a list of such."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return value if not isinstance(value, str) else _names([value])
    return [name.strip() for item in value for name in item.split(",") if name.strip()]


def _flag(value: Any) -> Any:
    """`1`, `0` and the like as the texts that stand for them."""
    return str(int(value)) if isinstance(value, int) else _lower(value)


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Names = Annotated[frozenset[str], BeforeValidator(_names)]


class TranslationOptions(BaseModel):
    """What a translation may be asked for, whichever API does it. `glossary` and `model` are ours."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    source_lang: str | None = None
    """Any code of a language; None, empty or `auto`: it is found out."""
    target_lang: str | None = None
    tag_handling: Annotated[Literal["html", "xml"] | None, BeforeValidator(_lower)] = None
    formality: Annotated[Literal["default", "more", "less"], BeforeValidator(_formality)] = "default"
    context: str = ""
    glossary: Annotated[dict[str, str], Field(max_length=MOST_TERMS)] = Field(default_factory=dict)
    """Terms of the source -> what they are called in the target."""
    model: ModelName | None = None
    """A name of the catalogue."""

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, fields: Mapping[str, Any]) -> Any:
        """An empty text to translate is not absent: it has a place in the answer."""
        return {name: value for name, value in fields.items() if value is not None and (value != "" or name == "text")}

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of fields without an effect."""
        return tuple(self.model_extra or ())


class DeepLRequest(TranslationOptions):
    """`POST /v2/translate`: https://developers.deepl.com/api-reference/translate"""

    text: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1, max_length=MOST_TEXTS)]
    split_sentences: Annotated[Literal["0", "1", "nonewlines"], BeforeValidator(_flag)] = "1"
    preserve_formatting: bool = False
    ignore_tags: Names = frozenset()
    splitting_tags: Names = frozenset()
    non_splitting_tags: Names = frozenset()
    custom_instructions: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(max_length=MOST_INSTRUCTIONS)] = ()
    glossary_id: str | None = None
    glossary_ids: Names = frozenset()
    show_billed_characters: bool = True
    """DeepL's own clients fail without them."""
    model_type: str | None = None
    """Of no effect, but answered."""


class DeepLTranslation(TypedDict):
    detected_source_language: str
    text: str
    billed_characters: NotRequired[int]
    model_type_used: NotRequired[str]


class DeepLResponse(TypedDict):
    """`translations` has the order of `text`."""

    translations: list[DeepLTranslation]


class DeepLLanguage(TypedDict):
    """One row of `/v2/languages`; only targets have `supports_formality`."""

    language: str
    name: str
    supports_formality: NotRequired[bool]


class DeepLUsage(TypedDict):
    character_count: int
    character_limit: int


class DeepLError(TypedDict):
    """`detail` is a text or absent: DeepL's Python client fails at null."""

    message: str
    detail: NotRequired[str]
