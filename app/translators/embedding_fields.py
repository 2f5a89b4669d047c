"""The fields of an embedding request that are not texts: which the model has, which can go, which can't."""

from typing import Any

from app.errors import BadRequestError
from app.schemas.embeddings import EmbeddingRequest
from app.translators.base import Context

Body = dict[str, Any]

HANDLED = frozenset(
    {
        "model", "input", "encoding_format", "dimensions", "stream", "input_type", "instruction", "pooling", "query",
        "contexts",
    }
)  # fmt: skip
"""Fields that are put in the model's terms one by one. All others are passed on as they came."""

HARMLESS = frozenset({"user", "metadata", "safety_identifier", "gateway"})
"""OpenAI's fields without a counterpart that don't change what an answer means."""

REFUSED = frozenset({"text", "documents", "queries", "requests"})
"""Fields of `ai/run` for what is `input` here, or that would make another request of it."""


def passed_on(request: EmbeddingRequest) -> tuple[Body, list[str]]:
    """The fields that go to the model as they came, and the names of those that don't need to."""
    given = {
        key: value
        for key, value in (request.__dict__ | (request.model_extra or {})).items()
        if value is not None and key not in HANDLED
    }
    for field in REFUSED & given.keys():
        message = f"'{field}' is not a field of embeddings: the texts go into 'input'."
        raise BadRequestError(message, param=field, code="unknown_parameter")
    body = {key: value for key, value in given.items() if key not in HARMLESS}
    return body, [key for key in given if key in HARMLESS]


def vector_options(request: EmbeddingRequest, context: Context) -> Body:
    """What else tells the model how to embed. Raises BadRequestError."""
    options = {"pooling": _pooling(request, context), "instruction": _instruction(request, context)}
    return {key: value for key, value in options.items() if value is not None}


def _pooling(request: EmbeddingRequest, context: Context) -> str | None:
    own = context.model.quirks.pooling
    if request.pooling and not own and not is_unlisted(context):
        raise unknown_to(context, "pooling")
    return request.pooling or own


def _instruction(request: EmbeddingRequest, context: Context) -> str | None:
    """Source: Cloudflare's docs, the embedding models' schemas: an instruction is applied to queries only."""
    if request.instruction and not context.model.quirks.query_field and not is_unlisted(context):
        raise unknown_to(context, "instruction")
    if request.instruction and not request.is_query:
        message = "An instruction goes with queries only: set 'input_type' to 'query', or leave it out for documents."
        raise BadRequestError(message, param="instruction", code="invalid_value")
    return request.instruction


def can_have(dimensions: int | None, own: int, context: Context) -> bool:
    """Whether vectors that have `own` dimensions can be had with so many. None asks for no certain number."""
    return dimensions in (None, own) or (context.model.quirks.can_shorten and (dimensions or 0) < own)


def wrong_dimensions(own: int, context: Context) -> BadRequestError:
    possible = f"from 1 to {own}" if context.model.quirks.can_shorten else f"{own}, which may be left out"
    message = f"'dimensions' of the model '{context.name}' can only be {possible}."
    return BadRequestError(message, param="dimensions", code="invalid_value")


def is_unlisted(context: Context) -> bool:
    """The model is not in the catalogue: what it can do is up to Cloudflare."""
    return context.model.status == "unlisted"


def unknown_to(context: Context, field: str) -> BadRequestError:
    message = f"The model '{context.name}' has no '{field}'."
    return BadRequestError(message, param=field, code="unsupported_parameter")
