"""Rerank: a query and documents -> calls of as many documents as the model takes, and one ranking of them all.

Where this differs from the APIs it speaks:

1. An object among the documents is read by `rank_fields`, else by its `text`, and else as the JSON that it is.
2. `search_units` counts a query with up to 100 documents as one, however long they are.
"""

from collections.abc import Iterator, Sequence
from math import inf, tanh
from typing import Any

from app.calls import Call, Failure, FailureKind, Reply, Usage
from app.errors import BadRequestError
from app.schemas.rerank import Document, RerankRequest, RerankResponse, RerankResult, TextScore
from app.translators.base import Context, Plan, Translator
from app.translators.sources import asked_source
from app.translators.text_batches import in_batches
from app.translators.tokens import estimate_tokens

ENDPOINT = "/v1/rerank"

SEARCH_UNIT = 100
"""Documents. Source: Cohere's pricing."""


def to_plan(request: RerankRequest, context: Context) -> Plan[RerankRequest]:
    """Raises BadRequestError for a model or a request that can't be ranked."""
    model = context.model
    if model.task == "text-embeddings" and not model.quirks.scores_contexts:
        message = f"The model '{context.name}' is made for {model.task} and can't answer {ENDPOINT}."
        raise BadRequestError(message, param="model", code="unsupported_model")
    texts = _texts(request)
    path = f"run/{model.id}"
    calls = tuple(
        Call(model.id, path, {"query": request.query, "contexts": [{"text": text} for text in batch]})
        for batch in in_batches(texts, model, beside=estimate_tokens(request.query))
    )
    return Plan(request, context, calls, tuple(_ignored(request)), texts)


def _ignored(request: RerankRequest) -> Iterator[str]:
    """What the models have no counterpart for, and what belongs to the other form of the answer."""
    foreign = ("return_text",) if request.texts is None else ("return_documents", "rank_fields")
    given = {field: getattr(request, field) for field in foreign} | (request.model_extra or {})
    return (field for field, value in given.items() if value is not None)


def _texts(request: RerankRequest) -> list[str]:
    """What is ranked."""
    if request.texts is not None and request.documents is not None:
        message = "'documents' and 'texts' are two names for the same: send one of them."
        raise BadRequestError(message, param="texts", code="invalid_value")
    if request.texts is not None:
        return request.texts
    if request.documents is None:
        raise BadRequestError("'documents' is missing.", param="documents", code="missing_required_parameter")
    fields = request.rank_fields or ()
    return [_text(document, fields, f"documents[{i}]") for i, document in enumerate(request.documents)]


def _text(document: Document, fields: Sequence[str], param: str) -> str:
    if isinstance(document, str):
        return document
    source = asked_source(document, param)
    if fields:
        values = [document[field] for field in fields if document.get(field) is not None]
        if not values:
            raise BadRequestError(f"{param} has none of the rank_fields.", param=param, code="invalid_value")
        return "\n".join(value if isinstance(value, str) else asked_source(value, param) for value in values)
    text = document.get("text")
    return text if isinstance(text, str) else source


def from_replies(plan: Plan[RerankRequest], replies: Sequence[Reply]) -> tuple[RerankResponse | list[TextScore], Usage]:
    """The best first; of equals the earlier one. Raises Failure if any document was left without a score."""
    request = plan.request
    scores = [
        score
        for call, reply in zip(plan.calls, replies, strict=True)
        for score in _scores(reply.body, len(call.body["contexts"]))
    ]
    ranking = sorted(range(len(scores)), key=lambda i: -scores[i])[: request.top_n]
    scores = scores if request.raw_scores else _in_unit_interval(scores)
    usage = _usage(plan, replies)
    if request.documents is None:
        return [_text_score(plan, i, scores[i]) for i in ranking], usage
    return _response(plan, [_rerank_result(plan, i, scores[i]) for i in ranking], usage), usage


def _scores(body: Any, size: int) -> list[float]:
    """Of each context of a call, in the order they were sent: the answer has an order of its own."""
    entries = body.get("response") if isinstance(body, dict) else None
    found: dict[int, float] = {}
    for entry in entries if isinstance(entries, list) else ():
        i, score = _entry(entry)
        if i in found:
            raise _broken()
        found[i] = score
    if found.keys() != set(range(size)):
        raise _broken()
    return [found[i] for i in range(size)]


def _entry(entry: Any) -> tuple[int, float]:
    match entry:
        case {"id": int(i), "score": int() | float() as score} if not (isinstance(i, bool) or isinstance(score, bool)):
            return i, float(score)
    raise _broken()


def _broken() -> Failure:
    return Failure(FailureKind.BROKEN, "The model did not give each document one score.", status=502)


def _in_unit_interval(scores: list[float]) -> list[float]:
    """Through a sigmoid if they are logits, which the scores of one call need not show: hence all or none."""
    if all(0 <= score <= 1 for score in scores):
        return scores
    return [(1 + tanh(score / 2)) / 2 for score in scores]


def _usage(plan: Plan[RerankRequest], replies: Sequence[Reply]) -> Usage:
    """Estimated: query and text of each pair, as far as the model reads them."""
    query_tokens = estimate_tokens(plan.request.query)
    longest = plan.context.model.max_input_tokens or inf
    tokens = sum(min(query_tokens + estimate_tokens(text), longest) for text in plan.reading)
    charges = (Usage(neurons=reply.neurons) for reply in replies)
    return sum(charges, Usage(prompt_tokens=int(tokens), is_estimated=True))


def _text_score(plan: Plan[RerankRequest], i: int, score: float) -> TextScore:
    row: TextScore = {"index": i, "score": score}
    if plan.request.return_text:
        row["text"] = plan.reading[i]
    return row


def _rerank_result(plan: Plan[RerankRequest], i: int, score: float) -> RerankResult:
    result: RerankResult = {"index": i, "relevance_score": score}
    if plan.request.documents and plan.request.wants_documents:
        result["document"] = _returned(plan.request.documents[i], plan.reading[i])
    return result


def _returned(document: Document, text: str) -> dict[str, Any]:
    """A document as an object that has a `text`, on which both kinds of client rely."""
    if isinstance(document, str):
        return {"text": document}
    return document if isinstance(document.get("text"), str) else document | {"text": text}


def _response(plan: Plan[RerankRequest], results: list[RerankResult], usage: Usage) -> RerankResponse:
    return {
        "id": f"rerank-{plan.context.id}",
        "object": "list",
        "model": plan.context.name,
        "results": results,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
        "meta": {"billed_units": {"search_units": -(-len(plan.reading) // SEARCH_UNIT)}},
    }


rerank = Translator(
    tasks=frozenset({"rerank", "text-embeddings"}), endpoint=ENDPOINT, to_plan=to_plan, from_replies=from_replies
)
