"""Texts, one or several, as letters or as the ids of their tokens: what embeddings and completions are made of."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, StringConstraints, Tag

MOST_INPUTS = 2048
"""OpenAI's limit for one request."""

Text = Annotated[str, StringConstraints(min_length=1)]

TokenIds = list[Annotated[int, Field(strict=True, ge=0)]]


def _form(value: Any) -> str:
    """The form of `input` that a value is meant for, by its first item: so a fault names the item that is wrong."""
    if not isinstance(value, list):
        return "str"
    first = value[0] if value else None
    if isinstance(first, list):
        return "list[list[int]]"
    return "list[int]" if isinstance(first, int) else "list[str]"


Input = Annotated[
    Annotated[Text, Tag("str")]
    | Annotated[list[str], Tag("list[str]"), Field(min_length=1, max_length=MOST_INPUTS)]
    | Annotated[TokenIds, Tag("list[int]"), Field(min_length=1)]
    | Annotated[list[TokenIds], Tag("list[list[int]]"), Field(min_length=1, max_length=MOST_INPUTS)],
    Discriminator(_form),
]
"""A text or several, as letters or as the ids of their tokens."""
