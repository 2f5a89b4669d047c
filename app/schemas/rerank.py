"""Rerank: what clients of Jina, Cohere and Text Embeddings Inference (TEI) send, and what they get."""

from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

MAX_DOCUMENTS = 1000
"""As in Cohere's API."""

DEFAULT_MODEL = "rerank"
"""TEI's clients name none, for a server of theirs has one model. The catalogue knows what it stands for."""


def _named(value: Any) -> Any:
    return DEFAULT_MODEL if value is None else value


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300), BeforeValidator(_named)]
Document = str | dict[str, Any]


class RerankRequest(BaseModel):
    """`POST /v1/rerank`: https://api.jina.ai/redoc, https://docs.cohere.com/v1/reference/rerank, and TEI's `/rerank`.

    `documents` is Jina's and Cohere's, and `texts` TEI's, which also decides the form of the answer.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    returns_documents_by_default: ClassVar[bool] = True
    """As Jina does. Cohere's first version does not, and its clients read the answer either way."""

    model: ModelName = DEFAULT_MODEL
    query: Annotated[str, StringConstraints(min_length=1)]
    documents: Annotated[list[Document], Field(min_length=1, max_length=MAX_DOCUMENTS)] | None = None
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_DOCUMENTS)] | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    rank_fields: list[str] | None = None
    stream: Literal[False] | None = None

    @property
    def wants_documents(self) -> bool:
        return self.returns_documents_by_default if self.return_documents is None else self.return_documents


class RerankV2Request(RerankRequest):
    """`POST /v2/rerank`: https://docs.cohere.com/reference/rerank"""

    returns_documents_by_default: ClassVar[bool] = False


class RerankResult(TypedDict):
    """`index` is the document's place in the request."""

    index: int
    relevance_score: float
    document: NotRequired[dict[str, Any]]


class RerankUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class BilledUnits(TypedDict):
    search_units: int


class RerankMeta(TypedDict):
    billed_units: BilledUnits


class RerankResponse(TypedDict):
    """One answer for Jina's clients and for Cohere's; `results` begin with the best."""

    id: str
    object: Literal["list"]
    model: str
    results: list[RerankResult]
    usage: RerankUsage
    meta: RerankMeta


class TextScore(TypedDict):
    """One row of TEI's answer, which is a bare list of them, the best first."""

    index: int
    score: float
    text: NotRequired[str]
