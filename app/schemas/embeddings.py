"""Embeddings: what clients send.

Beyond OpenAI's fields: `input_type`, `instruction`, `pooling` and `truncate_inputs`, where the model has them; and
`query` with `contexts`, which a model that can score texts answers with scores in place of vectors.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from app.schemas.texts import MOST_INPUTS, Input, Text


@with_config(ConfigDict(extra="allow"))
class ScoredText(TypedDict):
    text: str


class EmbeddingRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/embeddings/create"""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    input: Input | None = None
    """Left out only where `query` and `contexts` stand in its place."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    stream: Literal[False] | None = None
    input_type: Literal["query", "search_query", "document", "search_document", "passage"] | None = None
    """Cohere's and others' names for what a text is: a question, or what is searched."""
    instruction: Text | None = None
    """What queries are for, in words."""
    pooling: Literal["mean", "cls"] | None = None
    truncate_inputs: bool | None = None
    query: Text | None = None
    contexts: Annotated[list[str | ScoredText], Field(min_length=1, max_length=MOST_INPUTS)] | None = None

    @property
    def is_query(self) -> bool:
        return self.input_type in ("query", "search_query")
