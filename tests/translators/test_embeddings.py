"""Embedding requests -> calls, and replies -> embeddings."""

import base64
import math
from array import array
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Failure, FailureKind, Reply, Usage
from app.catalog import Catalog, Model, Quirks
from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.embeddings import EmbeddingRequest
from app.translators.base import Context, Plan
from app.translators.embeddings import embeddings, from_replies, to_plan
from app.translators.tokens import estimate_tokens

CATALOG = Catalog.load()
BGE = CATALOG.resolve("@cf/baai/bge-base-en-v1.5")
M3 = CATALOG.resolve("@cf/baai/bge-m3")
QWEN = CATALOG.resolve("@cf/qwen/qwen3-embedding-0.6b")
GEMMA = CATALOG.resolve("@cf/google/embeddinggemma-300m")
NEW = Model("@cf/test/brand-new", "text-embeddings")
TINY = Model("@cf/test/tiny", "text-embeddings", "current", embedding_dimensions=4, max_batch=3)
SHORTER = Model(
    "@cf/test/shorter",
    "text-embeddings",
    "current",
    embedding_dimensions=4,
    max_batch=3,
    quirks=Quirks(can_shorten=True, max_call_tokens=100),
)

VECTORS = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)


def a_plan(model: Model, body: dict[str, Any] | bytes) -> Plan[EmbeddingRequest]:
    body = body if isinstance(body, bytes) else orjson.dumps({"model": "m"} | body)
    return to_plan(validated(EmbeddingRequest, body), Context(model, "m", id="abc", created=1790000000))


def bodies(model: Model, **fields: Any) -> list[dict[str, Any]]:
    return [call.body for call in a_plan(model, fields).calls]


def refusal(model: Model, **fields: Any) -> tuple[str | None, str | None, str]:
    with pytest.raises(BadRequestError) as failure:
        a_plan(model, fields)
    return failure.value.param, failure.value.code, failure.value.message


def answered(plan: Plan[EmbeddingRequest], *replies: Any) -> tuple[dict[str, Any], Usage]:
    return from_replies(plan, [each if isinstance(each, Reply) else Reply(each) for each in replies])


def vectors_of(plan: Plan[EmbeddingRequest], *replies: Any) -> list[Any]:
    return [each["embedding"] for each in answered(plan, *replies)[0]["data"]]


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (BGE, {"input": "ping"}, {"text": ["ping"], "pooling": "cls"}),
        (BGE, {"input": ["a", "b"]}, {"text": ["a", "b"], "pooling": "cls"}),
        (BGE, {"input": ["a", "", "c"]}, {"text": ["a", " ", "c"], "pooling": "cls"}),
        (BGE, {"input": "a", "pooling": "mean"}, {"text": ["a"], "pooling": "mean"}),
        (BGE, {"input": "a", "dimensions": 768, "encoding_format": "base64"}, {"text": ["a"], "pooling": "cls"}),
        (BGE, {"input": "a", "user": "u", "stream": False, "x": None}, {"text": ["a"], "pooling": "cls"}),
        (M3, {"input": "größe 🦊"}, {"text": ["größe 🦊"]}),
        (M3, {"input": "a", "truncate_inputs": True, "new": [1]}, {"text": ["a"], "truncate_inputs": True, "new": [1]}),
        (M3, {"input": [9906, 1917]}, {"text": ["Hello world"]}),
        (M3, {"input": [[9906, 1917], [], [0]]}, {"text": ["Hello world", " ", "!"]}),
        (QWEN, {"input": "a"}, {"documents": ["a"]}),
        (QWEN, {"input": "a", "input_type": "search_document"}, {"documents": ["a"]}),
        (QWEN, {"input": "a", "input_type": "query"}, {"queries": ["a"]}),
        (
            QWEN,
            {"input": "a", "input_type": "search_query", "instruction": "Find"},
            {"queries": ["a"], "instruction": "Find"},
        ),
        (QWEN, {"input": "a", "dimensions": 256}, {"documents": ["a"]}),
        (GEMMA, {"input": "a", "dimensions": 128}, {"text": ["a"]}),
        (NEW, {"input": "a", "dimensions": 77}, {"text": ["a"]}),
        (
            NEW,
            {"input": "a", "pooling": "mean", "instruction": "Find", "input_type": "query"},
            {"text": ["a"], "pooling": "mean", "instruction": "Find"},
        ),
        (M3, {"query": "q", "contexts": ["a", {"text": "b"}, ""]}, {"query": "q", "contexts": ["a", "b", " "]}),
        (M3, {"query": "q", "contexts": ["a"], "truncate_inputs": True}, {"query": "q", "contexts": ["a"]}),
        (NEW, {"query": "q", "contexts": ["a"]}, {"query": "q", "contexts": ["a"]}),
    ],
)
def test_a_request_becomes_the_call_of_its_model(
    model: Model, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    if "contexts" in expected:
        expected = expected | {"contexts": [{"text": text} for text in expected["contexts"]]}
    if "truncate_inputs" in fields:
        expected = expected | {"truncate_inputs": True}
    (call,) = a_plan(model, fields).calls
    assert (call.model, call.path, call.stream, call.body) == (model.id, f"run/{model.id}", False, expected)


@pytest.mark.parametrize(
    ("model", "body", "texts"),
    [
        # openai for Node: JSON.stringify of the caller's body, with encoding_format added
        (M3, b'{"model":"m","input":["alpha","beta"],"encoding_format":"base64"}', ["alpha", "beta"]),
        (M3, b'{"model":"m","input":"alpha","encoding_format":"base64"}', ["alpha"]),
        # langchain-openai: the ids of cl100k_base
        (M3, b'{"input":[[9906,1917],[0]],"model":"m","encoding_format":"base64"}', ["Hello world", "!"]),
        # Dify and the Vercel AI SDK; Open WebUI; new-api's test of a channel
        (M3, b'{"model":"m","input":"ping","encoding_format":"float"}', ["ping"]),
        (M3, b'{"input": ["a"], "model": "m"}', ["a"]),
        (M3, b'{"model":"m","input":["hello world"]}', ["hello world"]),
    ],
)
def test_what_known_clients_send_becomes_texts(model: Model, body: bytes, texts: list[str]) -> None:
    assert [call.body for call in a_plan(model, body).calls] == [{"text": texts}]


@pytest.mark.parametrize(
    ("model", "fields", "ignored"),
    [
        (BGE, {"input": "a"}, ()),
        (BGE, {"input": "a", "user": "u", "safety_identifier": "s"}, ("user", "safety_identifier")),
        (BGE, {"input": "a", "metadata": {}}, ("metadata",)),
        (BGE, {"input": "a", "input_type": "query"}, ("input_type",)),
        (QWEN, {"input": "a", "input_type": "query"}, ()),
        (M3, {"query": "q", "contexts": ["a"], "encoding_format": "base64"}, ("encoding_format",)),
        (M3, {"query": "q", "contexts": ["a"], "user": "u", "dimensions": 5}, ("user", "dimensions")),
        (M3, {"query": "q", "contexts": ["a"], "input_type": "query"}, ("input_type",)),
    ],
)
def test_what_changes_nothing_is_left_out_and_named(
    model: Model, fields: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    assert a_plan(model, fields).ignored == ignored


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (BGE, {}, ("input", "missing_required_parameter", "'input' is missing.")),
        (BGE, {"input": None}, ("input", "missing_required_parameter", "'input' is missing.")),
        (
            BGE,
            {"input": "a", "dimensions": 512},
            ("dimensions", "invalid_value", "'dimensions' of the model 'm' can only be 768, which may be left out."),
        ),
        (
            BGE,
            {"input": "a", "dimensions": 1536},
            ("dimensions", "invalid_value", "'dimensions' of the model 'm' can only be 768, which may be left out."),
        ),
        (
            QWEN,
            {"input": "a", "dimensions": 1025},
            ("dimensions", "invalid_value", "'dimensions' of the model 'm' can only be from 1 to 1024."),
        ),
        (
            M3,
            {"input": "a", "pooling": "cls"},
            ("pooling", "unsupported_parameter", "The model 'm' has no 'pooling'."),
        ),
        (
            M3,
            {"input": "a", "instruction": "Find", "input_type": "query"},
            ("instruction", "unsupported_parameter", "The model 'm' has no 'instruction'."),
        ),
        (
            QWEN,
            {"input": "a", "instruction": "Find"},
            (
                "instruction",
                "invalid_value",
                "An instruction goes with queries only: set 'input_type' to 'query', or leave it out for documents.",
            ),
        ),
        (
            QWEN,
            {"input": "a", "queries": ["b"]},
            (
                "queries",
                "unknown_parameter",
                "'queries' is not a field of embeddings: the texts go into 'input'.",
            ),
        ),
        (
            BGE,
            {"query": "q", "contexts": ["a"]},
            ("contexts", "unsupported_parameter", "The model 'm' has no 'contexts'."),
        ),
        (BGE, {"input": "a", "query": "q"}, ("query", "unsupported_parameter", "The model 'm' has no 'query'.")),
        (M3, {"contexts": ["a"]}, ("query", "missing_required_parameter", "'query' is missing.")),
        (M3, {"query": "q"}, ("contexts", "missing_required_parameter", "'contexts' is missing.")),
        (
            M3,
            {"input": "a", "query": "q", "contexts": ["a"]},
            (
                "input",
                "invalid_value",
                "Send 'input' to embed it, or 'query' with 'contexts' to score them, not both.",
            ),
        ),
        (
            M3,
            {"query": "q", "contexts": ["a"], "pooling": "cls"},
            ("pooling", "unsupported_parameter", "The model 'm' has no 'pooling'."),
        ),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    model: Model, fields: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert refusal(model, **fields) == expected


def test_an_unknown_token_is_refused_by_its_place() -> None:
    param, code, message = refusal(M3, input=[[1], [2, 150000]])
    assert (param, code) == ("input[1][1]", "invalid_value")
    assert "check_embedding_ctx_length=False" in message


@pytest.mark.parametrize(
    ("model", "sizes"),
    [(BGE, [100, 100, 50]), (QWEN, [32] * 7 + [26]), (NEW, [32] * 7 + [26]), (TINY, [3] * 83 + [1])],
)
def test_many_texts_are_spread_over_calls_as_the_model_takes_them(model: Model, sizes: list[int]) -> None:
    texts = [f"text {i}" for i in range(250)]
    batches = [body[model.quirks.document_field] for body in bodies(model, input=texts)]
    assert [len(batch) for batch in batches] == sizes
    assert list(chain.from_iterable(batches)) == texts


@given(st.lists(st.text("ab 🦊", max_size=200), min_size=1, max_size=20))
def test_batches_keep_order_and_stay_within_the_tokens_of_a_call(texts: list[str]) -> None:
    batches = [body["text"] for body in bodies(SHORTER, input=texts)]
    assert list(chain.from_iterable(batches)) == [text or " " for text in texts]
    assert all(1 <= len(batch) <= 3 for batch in batches)
    assert all(len(batch) == 1 or sum(map(estimate_tokens, batch)) <= 80 for batch in batches)
    for batch, following in pairwise(batches):
        assert len(batch) == 3 or sum(map(estimate_tokens, [*batch, following[0]])) > 80


def test_a_query_counts_again_with_each_of_its_contexts() -> None:
    quirks = Quirks(scores_contexts=True, max_call_tokens=100)
    model = Model("@cf/test/scorer", "text-embeddings", "current", max_batch=9, quirks=quirks)
    batches = bodies(model, query="q" * 80, contexts=["a" * 40, "b" * 40, "c" * 40])
    assert [[context["text"][0] for context in body["contexts"]] for body in batches] == [["a", "b"], ["c"]]
    assert {body["query"] for body in batches} == {"q" * 80}


def test_vectors_come_back_as_openai_writes_them() -> None:
    plan = a_plan(TINY, {"input": ["a", "b", "c", "d"]})
    sent = [[0.1, 0.2, 0.3, 0.4], [-1, 0, 0.5, 2e-8], [0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]]
    first = {"shape": [3, 4], "data": sent[:3], "pooling": "cls", "usage": {"prompt_tokens": 6, "total_tokens": 6}}
    second = {"shape": [1, 4], "data": sent[3:], "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    body, usage = answered(plan, Reply(first, neurons=0.25), Reply(second, neurons=0.5))
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(sent)],
        "model": "m",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    assert usage == Usage(8, neurons=0.75)


def test_replies_in_openai_shape_are_read_too() -> None:
    sent = [{"object": "embedding", "index": i, "embedding": [i, 0.5]} for i in (1, 0)]
    assert vectors_of(a_plan(NEW, {"input": ["a", "b"]}), {"object": "list", "data": sent}) == [[0, 0.5], [1, 0.5]]


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7)),
        ({"prompt_tokens": 7.0}, Usage(7)),
        ({"total_tokens": 9}, Usage(9)),
        ({"prompt_tokens": 7, "neurons": 0.5}, Usage(7, neurons=0.5)),
        ({"prompt_tokens": 0, "total_tokens": 0}, Usage(5, is_estimated=True)),
        ({"prompt_tokens": "7"}, Usage(5, is_estimated=True)),
        ({}, Usage(5, is_estimated=True)),
        (None, Usage(5, is_estimated=True)),
        ([7], Usage(5, is_estimated=True)),
    ],
)
def test_tokens_are_those_that_cloudflare_counted_or_an_estimate(counted: Any, expected: Usage) -> None:
    plan = a_plan(TINY, {"input": ["sixteen letters.", "a"]})
    body, usage = answered(plan, rows(2) | {"usage": counted})
    assert usage == expected
    assert body["usage"] == {"prompt_tokens": expected.prompt_tokens, "total_tokens": expected.prompt_tokens}


@pytest.mark.parametrize("text", ["a", " ", "é", "\n"])
def test_no_text_is_free(text: str) -> None:
    _, usage = answered(a_plan(TINY, {"input": text}), rows(1))
    assert usage.prompt_tokens >= 1


@given(st.lists(VECTORS, min_size=1, max_size=7))
def test_base64_is_the_float_vectors_as_32_bit_floats(vectors: list[list[float]]) -> None:
    texts = [f"text {i}" for i in range(len(vectors))]
    replies = [{"data": vectors[i : i + 3]} for i in range(0, len(vectors), 3)]
    floats = vectors_of(a_plan(TINY, {"input": texts, "encoding_format": "float"}), *replies)
    assert floats == vectors_of(a_plan(TINY, {"input": texts}), *replies) == vectors
    packed = vectors_of(a_plan(TINY, {"input": texts, "encoding_format": "base64"}), *replies)
    assert [array("f", base64.b64decode(each)).tolist() for each in packed] == floats


@given(st.lists(VECTORS.filter(lambda vector: any(vector[:2])), min_size=1, max_size=3))
def test_shortened_vectors_have_length_1_in_both_formats(vectors: list[list[float]]) -> None:
    texts = ["a", "b", "c"][: len(vectors)]
    fields = {"input": texts, "dimensions": 2}
    floats = vectors_of(a_plan(SHORTER, fields), {"data": vectors})
    packed = vectors_of(a_plan(SHORTER, fields | {"encoding_format": "base64"}), {"data": vectors})
    assert [len(vector) for vector in floats] == [2] * len(vectors)
    assert [math.hypot(*vector) for vector in floats] == pytest.approx([1.0] * len(vectors))
    assert [array("f", base64.b64decode(each)).tolist() for each in packed] == [
        array("f", each).tolist() for each in floats
    ]


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_each_text_gets_its_own_vector_however_the_texts_are_split(count: int, random: Any) -> None:
    model = Model(
        "@cf/test/some", "text-embeddings", "current", max_batch=random.randint(1, 10), embedding_dimensions=1
    )
    plan = a_plan(model, {"input": [str(i) for i in range(count)]})
    replies = [{"data": [[float(text)] for text in call.body["text"]]} for call in plan.calls]
    body, _ = answered(plan, *replies)
    assert [(each["index"], each["embedding"]) for each in body["data"]] == [(i, [float(i)]) for i in range(count)]


def test_the_full_number_of_dimensions_leaves_vectors_as_they_came() -> None:
    plan = a_plan(SHORTER, {"input": "a", "dimensions": 4})
    row = [3.0, 4.0, 0.0, 0.0]
    assert vectors_of(plan, {"data": [row]}) == [row]


@pytest.mark.parametrize(
    ("dimensions", "length", "message"),
    [
        (512, 768, "'dimensions' of the model 'm' can only be 768, which may be left out."),
        (1024, 768, "'dimensions' of the model 'm' can only be 768, which may be left out."),
    ],
)
def test_the_dimensions_of_a_model_not_in_the_catalogue_are_checked_on_its_vectors(
    dimensions: int, length: int, message: str
) -> None:
    plan = a_plan(NEW, {"input": "a", "dimensions": dimensions})
    with pytest.raises(BadRequestError) as failure:
        answered(plan, {"data": [[0.5] * length]})
    assert (failure.value.param, failure.value.message) == ("dimensions", message)


def test_dimensions_that_a_new_model_happens_to_have_are_fine() -> None:
    plan = a_plan(NEW, {"input": "a", "dimensions": 768})
    assert vectors_of(plan, {"data": [[0.5] * 768]}) == [[0.5] * 768]


def rows(count: int) -> dict[str, Any]:
    return {"data": [[1, 0, 0, 0]] * count}


def broken(plan: Plan[EmbeddingRequest], *replies: Any) -> str:
    with pytest.raises(Failure) as failure:
        answered(plan, *replies)
    assert (failure.value.kind, failure.value.status) == (FailureKind.BROKEN, 502)
    return failure.value.message


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([rows(3), {}], "Cloudflare did not send one vector for each of 1 texts."),
        ([rows(2), rows(2)], "Cloudflare did not send one vector for each of 3 texts."),
        ([rows(3), {"data": [[1, 0, 0, "0"]]}], "Cloudflare sent a vector that is no list of numbers."),
        ([rows(3), {"data": [[1, 0, 0]]}], "Cloudflare sent vectors of different lengths."),
        (["text", b"bytes"], "Cloudflare did not send one vector for each of 3 texts."),
    ],
)
def test_a_reply_without_the_vectors_breaks_the_whole_answer(replies: Sequence[Any], message: str) -> None:
    assert broken(a_plan(TINY, {"input": ["a", "b", "c", "d"]}), *replies) == message


def test_contexts_come_back_with_their_scores_in_order() -> None:
    contexts = [f"context {i}" for i in range(150)]
    plan = a_plan(M3, {"query": "what", "contexts": contexts, "encoding_format": "base64"})
    sizes = [len(call.body["contexts"]) for call in plan.calls]
    replies = [{"response": [{"id": i, "score": i / 200} for i in reversed(range(size))]} for size in sizes]
    body, usage = answered(plan, *replies)
    expected = [i / 200 for i in range(100)] + [i / 200 for i in range(50)]
    assert sizes == [100, 50]
    assert body == {
        "object": "list",
        "data": [{"object": "score", "index": i, "score": score} for i, score in enumerate(expected)],
        "model": "m",
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
    }
    assert usage == Usage(2 * estimate_tokens("what") + sum(map(estimate_tokens, contexts)), is_estimated=True)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (None, "Cloudflare did not send one score for each of 2 texts."),
        ({"data": []}, "Cloudflare did not send one score for each of 2 texts."),
        ({"response": [{"id": 0, "score": 0.5}]}, "Cloudflare did not send one score for each of 2 texts."),
        ({"response": [0.5, 0.25]}, "Cloudflare did not send one score for each of 2 texts."),
        (
            {"response": [{"id": 0, "score": 0.5}, {"id": 0, "score": 0.5}]},
            "Cloudflare sent results whose 'id' does not tell which is which.",
        ),
        (
            {"response": [{"id": 0, "score": 0.5}, {"id": 1, "score": None}]},
            "Cloudflare sent a score that is no number.",
        ),
    ],
)
def test_a_reply_without_the_scores_is_broken(reply: Any, message: str) -> None:
    assert broken(a_plan(M3, {"query": "q", "contexts": ["a", "b"]}), reply) == message


@settings(max_examples=200)
@given(
    st.sampled_from([BGE, M3, QWEN, GEMMA, NEW]),
    st.dictionaries(
        st.sampled_from(["pooling", "dimensions", "input_type", "instruction", "user", "task"]), st.just(None)
    ),
)
def test_a_null_is_as_good_as_nothing(model: Model, fields: dict[str, None]) -> None:
    assert a_plan(model, {"input": "a"} | fields).calls == a_plan(model, {"input": "a"}).calls


def test_the_row_is_for_embedding_models_at_the_endpoint_of_embeddings() -> None:
    assert embeddings.endpoint == "/v1/embeddings"
    assert {model.task for model in CATALOG if model.embedding_dimensions} == embeddings.tasks
