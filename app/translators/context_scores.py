"""Contexts scored for a query, by an embedding model that can: an extension of ours to OpenAI's endpoint.

`query` and `contexts` stand in place of `input`; `data` is, in order of the contexts, `{"object": "score", "index",
"score"}`. The scores are Cloudflare's, as they are: good for an order, and not made to lie between 0 and 1.
"""

from collections.abc import Sequence
from typing import Any

from app.calls import Call, Reply, Usage
from app.errors import BadRequestError
from app.schemas.embeddings import EmbeddingRequest
from app.translators.base import Context, Plan
from app.translators.embedding_fields import Body, is_unlisted, passed_on, unknown_to, vector_options
from app.translators.text_batches import BLANK, in_batches, usage_of
from app.translators.tokens import estimate_tokens
from app.translators.vectors import broken, in_order

FOR_VECTORS = ("encoding_format", "dimensions", "input_type")
"""Fields that mean nothing for scores. OpenAI's clients send the first whether they are asked to or not."""


def is_asked(request: EmbeddingRequest) -> bool:
    return request.query is not None or request.contexts is not None


def to_plan(request: EmbeddingRequest, context: Context) -> Plan[EmbeddingRequest]:
    """A call for each batch of contexts. Raises BadRequestError for what the model can't do."""
    query, texts = _asked(request, context)
    passed, ignored = passed_on(request)
    shared = passed | vector_options(request, context)
    ignored += [field for field in FOR_VECTORS if getattr(request, field)]
    batches = in_batches(texts, context.model, beside=estimate_tokens(query))
    bodies = [{"query": query, "contexts": [{"text": text} for text in batch]} | shared for batch in batches]
    calls = tuple(Call(context.model.id, f"run/{context.model.id}", body) for body in bodies)
    return Plan(request, context, calls, tuple(ignored), batches)


def _asked(request: EmbeddingRequest, context: Context) -> tuple[str, list[str]]:
    query, contexts = request.query, request.contexts
    if not context.model.quirks.scores_contexts and not is_unlisted(context):
        raise unknown_to(context, "query" if contexts is None else "contexts")
    if request.input is not None:
        message = "Send 'input' to embed it, or 'query' with 'contexts' to score them, not both."
        raise BadRequestError(message, param="input", code="invalid_value")
    if query is None or contexts is None:
        missing = "query" if query is None else "contexts"
        raise BadRequestError(f"'{missing}' is missing.", param=missing, code="missing_required_parameter")
    return query, [each if isinstance(each, str) else each["text"] for each in contexts]


def to_scores(plan: Plan[EmbeddingRequest], replies: Sequence[Reply]) -> tuple[list[Body], Usage]:
    """The replies, one for each batch, as one `data`. Raises Failure."""
    scores, usage = list[float](), Usage()
    for reply, batch in zip(replies, plan.reading, strict=True):
        scores += _read(reply.body, len(batch))
        usage += usage_of(reply, [plan.request.query or BLANK, *batch])
    return [{"object": "score", "index": i, "score": score} for i, score in enumerate(scores)], usage


def _read(body: Any, count: int) -> list[float]:
    """The scores of `{"response": [{"id", "score"}]}`, in any order. Source: Cloudflare's types, `AiModels`."""
    rows = body.get("response") if isinstance(body, dict) else None
    if not isinstance(rows, list) or len(rows) != count or not all(isinstance(row, dict) for row in rows):
        raise broken(f"did not send one score for each of {count} texts")
    scores: list[Any] = [row.get("score") for row in in_order(rows, "id")]
    if not all(type(score) in (int, float) for score in scores):
        raise broken("sent a score that is no number")
    return scores
