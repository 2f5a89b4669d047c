"""Rerank: documents -> calls -> one ranking, in the words of Jina, Cohere and TEI."""

from collections.abc import Callable
from dataclasses import replace
from math import exp
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Call, Failure, FailureKind, Reply, Usage
from app.catalog import Model, Quirks
from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.rerank import MAX_DOCUMENTS, RerankRequest, RerankV2Request
from app.translators.base import Context, Plan
from app.translators.rerank import rerank

MODEL = Model("@cf/test/reranker", "rerank", "current", max_batch=100)
SCORER = Model("@cf/test/scorer", "text-embeddings", "current", max_batch=100, quirks=Quirks(scores_contexts=True))
EMBEDDER = Model("@cf/test/embedder", "text-embeddings", "current", max_batch=100)

DOCUMENTS: list[tuple[Any, dict[str, Any], str]] = [
    ("plain", {}, "plain"),
    ("", {}, " "),
    ({"text": "inside", "id": 3}, {}, "inside"),
    ({"text": ""}, {}, " "),
    ({"title": "T", "id": 3}, {}, '{"title":"T","id":3}'),
    ({"text": 5}, {}, '{"text":5}'),
    ({"text": "body", "title": "T"}, {"rank_fields": ["title", "text"]}, "T\nbody"),
    ({"text": "body", "tags": ["x"], "by": None}, {"rank_fields": ["tags", "by", "year"]}, '["x"]'),
    ({"text": "body", "title": "T"}, {"rank_fields": []}, "body"),
    ("plain", {"rank_fields": ["title"]}, "plain"),
]

FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"documents": ["a"]}, "query", "missing_required_parameter"),
    ({"query": "", "documents": ["a"]}, "query", "invalid_value"),
    ({"query": "q"}, "documents", "missing_required_parameter"),
    ({"query": "q", "documents": None}, "documents", "missing_required_parameter"),
    ({"query": "q", "documents": []}, "documents", "invalid_value"),
    ({"query": "q", "texts": []}, "texts", "invalid_value"),
    ({"query": "q", "documents": ["a"] * (MAX_DOCUMENTS + 1)}, "documents", "invalid_value"),
    ({"query": "q", "texts": ["a"] * (MAX_DOCUMENTS + 1)}, "texts", "invalid_value"),
    ({"query": "q", "documents": ["a"], "texts": ["a"]}, "texts", "invalid_value"),
    ({"query": "q", "documents": ["a", 3]}, "documents[1]", "invalid_value"),
    ({"query": "q", "texts": ["a", {"text": "b"}]}, "texts[1]", "invalid_value"),
    ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n", "invalid_value"),
    ({"query": "q", "documents": ["a"], "top_n": -1}, "top_n", "invalid_value"),
    ({"query": "q", "documents": ["a"], "stream": True}, "stream", "invalid_value"),
    ({"query": "q", "documents": ["a", {"id": 1}], "rank_fields": ["title"]}, "documents[1]", "invalid_value"),
]

BROKEN: list[Any] = [
    None,
    "text",
    [],
    {},
    {"response": None},
    {"response": {"id": 0}},
    {"response": []},
    {"response": [{"id": 0, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 0, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 1, "score": 0.5}, {"id": 1, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 1, "score": 0.5}, {"id": 2, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": -1, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": "1", "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": True, "score": 0.5}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 1, "score": None}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 1, "score": True}]},
    {"response": [{"id": 0, "score": 0.5}, {"id": 1}]},
    {"response": [{"id": 0, "score": 0.5}, [1, 0.5]]},
]


def a_plan(
    *documents: Any, model: Model = MODEL, schema: type[RerankRequest] = RerankRequest, **fields: Any
) -> Plan[RerankRequest]:
    body = {"model": "m", "query": "What?"} | ({"documents": documents} if documents else {}) | fields
    request = validated(schema, orjson.dumps(body))
    return rerank.to_plan(request, Context(model, "m", id="abc", created=1790000000))


def sent(plan: Plan[RerankRequest]) -> list[list[str]]:
    return [[context["text"] for context in call.body["contexts"]] for call in plan.calls]


def scored(call: Call, score: Callable[[str], float]) -> Reply:
    """What the model answers, the last context first: its order means nothing."""
    rows = [{"id": i, "score": score(context["text"])} for i, context in enumerate(call.body["contexts"])]
    body = {"response": rows[::-1]}
    return Reply(body, orjson.dumps(body))


def ranked(plan: Plan[RerankRequest], score: Callable[[str], float] = float) -> Any:
    return rerank.from_replies(plan, [scored(call, score) for call in plan.calls])[0]


def pairs(answer: Any) -> list[tuple[int, float]]:
    return [(result["index"], result["relevance_score"]) for result in answer["results"]]


def test_a_call_has_the_query_and_its_contexts_and_no_top_k() -> None:
    plan = a_plan("a", "b", top_n=1)
    body = {"query": "What?", "contexts": [{"text": "a"}, {"text": "b"}]}
    assert plan.calls == (Call(MODEL.id, f"run/{MODEL.id}", body),)


@pytest.mark.parametrize(("document", "fields", "text"), DOCUMENTS)
def test_a_document_is_read_as_text(document: Any, fields: dict[str, Any], text: str) -> None:
    assert sent(a_plan(document, **fields)) == [[text]]


def test_a_document_that_cannot_be_sent_on_is_refused() -> None:
    body = b'{"model": "m", "query": "q", "documents": ["a", {"text": "b", "id": 123456789012345678901}]}'
    with pytest.raises(BadRequestError) as failure:
        rerank.to_plan(validated(RerankRequest, body), Context(MODEL, "m", id="abc", created=0))
    assert failure.value.param == "documents[1]"


@pytest.mark.parametrize(("body", "param", "code"), FAULTS)
def test_a_fault_is_told_with_its_place(body: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        rerank.to_plan(validated(RerankRequest, orjson.dumps(body)), Context(MODEL, "m", id="abc", created=0))
    assert (failure.value.param, failure.value.code) == (param, code)


def test_an_embedding_model_ranks_if_it_scores_contexts() -> None:
    assert {MODEL.task, SCORER.task} == rerank.tasks
    assert pairs(ranked(a_plan("0.1", "0.9", model=SCORER))) == [(1, 0.9), (0, 0.1)]
    with pytest.raises(BadRequestError, match="'m' is made for text-embeddings") as failure:
        a_plan("a", model=EMBEDDER)
    assert (failure.value.param, failure.value.code) == ("model", "unsupported_model")


def test_calls_hold_as_many_documents_as_the_model_takes() -> None:
    documents = [f"0.{number}" for number in range(250)]
    plan = a_plan(*documents)
    assert [len(batch) for batch in sent(plan)] == [100, 100, 50]
    assert [text for batch in sent(plan) for text in batch] == documents
    assert a_plan(*documents[:100]).calls[1:] == ()


def test_calls_hold_as_many_tokens_as_the_model_takes() -> None:
    """Each text has 10 tokens, and the query that is read with it 2; an estimate fills four fifths of a call."""
    model = replace(SCORER, quirks=Quirks(scores_contexts=True, max_call_tokens=30))
    assert [len(batch) for batch in sent(a_plan(*["x" * 40] * 5, model=model))] == [2, 2, 1]
    assert [len(batch) for batch in sent(a_plan(*["x" * 4000] * 2, model=model))] == [1, 1]


def test_the_answer_serves_jina_and_cohere() -> None:
    body, usage = rerank.from_replies(
        a_plan("0.02", "0.98"), [Reply({"response": [{"id": 0, "score": 0.02}, {"id": 1, "score": 0.98}]}, b"")]
    )
    assert body == {
        "id": "rerank-abc",
        "object": "list",
        "model": "m",
        "results": [
            {"index": 1, "relevance_score": 0.98, "document": {"text": "0.98"}},
            {"index": 0, "relevance_score": 0.02, "document": {"text": "0.02"}},
        ],
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
        "meta": {"billed_units": {"search_units": 1}},
    }
    assert usage == Usage(prompt_tokens=6, is_estimated=True)


@pytest.mark.parametrize(
    ("schema", "fields", "is_returned"),
    [
        (RerankRequest, {}, True),
        (RerankRequest, {"return_documents": None}, True),
        (RerankRequest, {"return_documents": False}, False),
        (RerankV2Request, {}, False),
        (RerankV2Request, {"return_documents": True}, True),
    ],
)
def test_documents_come_back_as_the_api_of_the_route_has_it(
    schema: type[RerankRequest], fields: dict[str, Any], is_returned: bool
) -> None:
    (result,) = ranked(a_plan("0.5", schema=schema, **fields))["results"]
    assert ("document" in result) is is_returned


@pytest.mark.parametrize(
    ("document", "returned"),
    [
        ("", {"text": ""}),
        ({"text": "a", "id": 3}, {"text": "a", "id": 3}),
        ({"title": "T"}, {"title": "T", "text": '{"title":"T"}'}),
        ({"text": 5}, {"text": '{"text":5}'}),
    ],
)
def test_a_returned_document_is_the_callers_and_has_a_text(document: Any, returned: dict[str, Any]) -> None:
    (result,) = ranked(a_plan(document), lambda _: 0.5)["results"]
    assert result["document"] == returned


def test_texts_are_answered_in_the_form_of_tei() -> None:
    texts = ["0.25", "", "0.75"]
    score = {"0.25": 0.25, " ": 0.0, "0.75": 0.75}.__getitem__
    assert ranked(a_plan(texts=texts), score) == [
        {"index": 2, "score": 0.75},
        {"index": 0, "score": 0.25},
        {"index": 1, "score": 0.0},
    ]
    assert ranked(a_plan(texts=texts, return_text=True), score)[1:] == [
        {"index": 0, "score": 0.25, "text": "0.25"},
        {"index": 1, "score": 0.0, "text": ""},
    ]


@pytest.mark.parametrize(
    ("top_n", "indices"), [(None, [1, 2, 0]), (1, [1]), (2, [1, 2]), (3, [1, 2, 0]), (99, [1, 2, 0])]
)
def test_top_n_keeps_the_best(top_n: int | None, indices: list[int]) -> None:
    answer = ranked(a_plan("0.1", "0.9", "0.5", top_n=top_n))
    assert [result["index"] for result in answer["results"]] == indices
    assert [row["index"] for row in ranked(a_plan(texts=["0.1", "0.9", "0.5"], top_n=top_n))] == indices


def test_equal_scores_stay_in_the_order_of_the_request() -> None:
    assert [i for i, _ in pairs(ranked(a_plan("0.5", "0.7", "0.5", "0.7")))] == [1, 3, 0, 2]


def test_scores_within_0_and_1_stay_as_they_are() -> None:
    assert pairs(ranked(a_plan("0", "1", "0.3"))) == [(1, 1.0), (2, 0.3), (0, 0.0)]


def test_logits_become_scores_for_the_whole_request_and_not_for_one_call() -> None:
    """The first call shows by no score that it has logits."""
    model = replace(MODEL, max_batch=2)
    answer = pairs(ranked(a_plan("0.5", "0", "-3", "8", model=model)))
    assert [i for i, _ in answer] == [3, 0, 1, 2]
    assert [score for _, score in answer] == pytest.approx([1 / (1 + exp(-x)) for x in (8, 0.5, 0, -3)])


def test_raw_scores_stay_as_they_are() -> None:
    assert ranked(a_plan(texts=["-3", "8"], raw_scores=True)) == [
        {"index": 1, "score": 8.0},
        {"index": 0, "score": -3.0},
    ]


def test_logits_too_large_to_tell_apart_as_scores_are_still_sorted() -> None:
    assert pairs(ranked(a_plan("800", "900", "-900", "-800"))) == [(1, 1.0), (0, 1.0), (3, 0.0), (2, 0.0)]


@pytest.mark.parametrize("body", BROKEN)
def test_an_answer_that_does_not_score_each_document_once_is_a_failure(body: Any) -> None:
    with pytest.raises(Failure) as failure:
        rerank.from_replies(a_plan("a", "b"), [Reply(body, b"")])
    assert failure.value.kind is FailureKind.BROKEN


def test_usage_counts_each_pair_as_far_as_the_model_reads_it() -> None:
    plan = a_plan("x" * 40, "x" * 4000, model=replace(MODEL, max_batch=1, max_input_tokens=512))
    replies = [replace(scored(call, lambda _: 0.5), neurons=0.25) for call in plan.calls]
    answer, usage = rerank.from_replies(plan, replies)
    assert usage == Usage(prompt_tokens=12 + 512, neurons=0.5, is_estimated=True)
    assert isinstance(answer, dict)
    assert answer["usage"] == {"prompt_tokens": 524, "total_tokens": 524}


@pytest.mark.parametrize(("count", "units"), [(1, 1), (100, 1), (101, 2), (1000, 10)])
def test_a_search_unit_is_a_hundred_documents(count: int, units: int) -> None:
    assert ranked(a_plan(*["0.5"] * count))["meta"] == {"billed_units": {"search_units": units}}


def test_what_has_no_counterpart_is_named_as_ignored() -> None:
    assert a_plan("a", max_chunks_per_doc=3, truncate=None, return_text=True).ignored == (
        "return_text",
        "max_chunks_per_doc",
    )
    assert a_plan(texts=["a"], return_documents=False, truncate=True, rank_fields=["x"]).ignored == (
        "return_documents",
        "rank_fields",
        "truncate",
    )
    assert a_plan("a", return_documents=True, rank_fields=["x"]).ignored == ()


@pytest.mark.parametrize("model", [{}, {"model": None}])
def test_a_model_need_not_be_named(model: dict[str, Any]) -> None:
    assert validated(RerankRequest, orjson.dumps({"query": "q", "texts": ["a"]} | model)).model == "rerank"


@given(
    st.lists(st.floats(-20, 20) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 30),
)
def test_a_ranking_is_sorted_whole_and_the_same_wherever_it_is_split(
    scores: list[float], max_batch: int, max_call_tokens: int
) -> None:
    documents = [repr(score) for score in scores]
    whole = pairs(ranked(a_plan(*documents)))
    split = replace(MODEL, max_batch=max_batch, quirks=Quirks(max_call_tokens=max_call_tokens))
    assert pairs(ranked(a_plan(*documents, model=split))) == whole
    assert sorted(i for i, _ in whole) == list(range(len(scores)))
    assert [scores[i] for i, _ in whole] == sorted(scores, reverse=True)
    assert [score for _, score in whole] == sorted((score for _, score in whole), reverse=True)
    assert all(0 <= score <= 1 for _, score in whole)
