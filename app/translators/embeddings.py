"""Embeddings: texts in batches that the model takes, and its vectors as the caller wants them.

Runs natively at `ai/run/{model}`: `ai/v1/embeddings` knows neither `encoding_format` nor `dimensions` nor token ids.
Where we knowingly differ from OpenAI:

1. An empty text in a list is embedded as a space; refusing it would lose the rest of the list.
2. `query` with `contexts` in place of `input` asks for scores; see `context_scores.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from app.calls import Call, Reply, Usage
from app.errors import BadRequestError
from app.schemas.embeddings import EmbeddingRequest
from app.translators import context_scores
from app.translators.base import Context, Plan, Translator
from app.translators.embedding_fields import Body, can_have, passed_on, vector_options, wrong_dimensions
from app.translators.text_batches import in_batches, usage_of
from app.translators.token_ids import to_text
from app.translators.vectors import Vector, broken, read_vectors, shorten, to_base64


def to_plan(request: EmbeddingRequest, context: Context) -> Plan[EmbeddingRequest]:
    """A call for each batch of texts. Raises BadRequestError for what the model can't do."""
    if context_scores.is_asked(request):
        return context_scores.to_plan(request, context)
    model, quirks = context.model, context.model.quirks
    if model.embedding_dimensions and not can_have(request.dimensions, model.embedding_dimensions, context):
        raise wrong_dimensions(model.embedding_dimensions, context)
    passed, ignored = passed_on(request)
    shared = passed | vector_options(request, context)
    if request.input_type and not quirks.query_field:
        ignored.append("input_type")
    field = (request.is_query and quirks.query_field) or quirks.document_field
    batches = in_batches(_texts(request.input), model)
    calls = tuple(Call(model.id, f"run/{model.id}", {field: batch} | shared) for batch in batches)
    return Plan(request, context, calls, tuple(ignored), batches)


def _texts(given: Any) -> list[str]:
    """The texts of `input`, which the schema has checked: of one kind, by its first item."""
    if given is None:
        raise BadRequestError("'input' is missing.", param="input", code="missing_required_parameter")
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [to_text(given, "input")]
    if isinstance(given[0], list):
        return [to_text(ids, f"input[{i}]") for i, ids in enumerate(given)]
    return cast("list[str]", given)


def from_replies(plan: Plan[EmbeddingRequest], replies: Sequence[Reply]) -> tuple[Body, Usage]:
    """The replies, one for each batch, as one list. Raises Failure, and BadRequestError for `dimensions` at odds."""
    to_data = context_scores.to_scores if context_scores.is_asked(plan.request) else _to_embeddings
    data, usage = to_data(plan, replies)
    tokens = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    return {"object": "list", "data": data, "model": plan.context.name, "usage": tokens}, usage


def _to_embeddings(plan: Plan[EmbeddingRequest], replies: Sequence[Reply]) -> tuple[list[Body], Usage]:
    vectors, usage = list[Vector](), Usage()
    for reply, batch in zip(replies, plan.reading, strict=True):
        vectors += read_vectors(reply.body, len(batch))
        usage += usage_of(reply, batch)
    if len({len(vector) for vector in vectors}) != 1:
        raise broken("sent vectors of different lengths")
    write = _writer(plan, len(vectors[0]))
    return [{"object": "embedding", "index": i, "embedding": write(vector)} for i, vector in enumerate(vectors)], usage


def _writer(plan: Plan[EmbeddingRequest], own: int) -> Callable[[Vector], Vector | str]:
    """What makes of a vector with `own` dimensions what was asked for. The model's row may have been silent on them."""
    dimensions, is_text = plan.request.dimensions, plan.request.encoding_format == "base64"
    if not can_have(dimensions, own, plan.context):
        raise wrong_dimensions(own, plan.context)

    def write(vector: Vector) -> Vector | str:
        cut = vector if dimensions in (None, own) else shorten(vector, dimensions)
        return to_base64(cut) if is_text else cut

    return write


embeddings = Translator(
    tasks=frozenset({"text-embeddings"}), endpoint="/v1/embeddings", to_plan=to_plan, from_replies=from_replies
)
