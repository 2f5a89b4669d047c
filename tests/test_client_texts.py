"""Embeddings, moderations and rerank, asked for as clients ask, over real sockets."""

import base64
import struct
from typing import Any

import httpx2
import openai
import orjson
import pytest

from tests.serving import Cloudflare

PLAIN = "@cf/meta/llama-3.2-3b-instruct"
SMALL = "@cf/baai/bge-small-en-v1.5"
M3 = "@cf/baai/bge-m3"
QWEN = "@cf/qwen/qwen3-embedding-0.6b"


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_openais_client_gets_the_vectors_right(client: openai.OpenAI, http: httpx2.Client) -> None:
    texts = ["a cat sat on the mat", "the cat sat on a mat", "quantum chromodynamics"]
    response = client.embeddings.create(model="text-embedding-3-small", input=texts)  # asks for base64 by itself
    vectors = [item.embedding for item in response.data]
    assert [item.index for item in response.data] == [0, 1, 2]
    assert len(vectors[0]) == 1024
    assert cosine(vectors[0], vectors[1]) > 0.5 > cosine(vectors[0], vectors[2])
    assert response.usage.prompt_tokens == response.usage.total_tokens > 0
    assert response.model == "text-embedding-3-small"
    floats = http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": texts}).json()
    assert [item["embedding"] for item in floats["data"]] == [pytest.approx(vector) for vector in vectors]


def test_the_node_clients_request_gets_little_endian_floats(http: httpx2.Client) -> None:
    body = b'{"model":"%s","input":"hello","encoding_format":"base64"}' % SMALL.encode()
    data = http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"}).json()["data"]
    plain = http.post("/v1/embeddings", json={"model": SMALL, "input": "hello"}).json()["data"]
    packed = base64.b64decode(data[0]["embedding"])
    assert struct.unpack("<384f", packed) == pytest.approx(plain[0]["embedding"])


def test_langchains_token_ids_mean_the_text(http: httpx2.Client) -> None:
    """LangChain encodes with cl100k_base whatever the model, and asks for base64."""
    ids = {"input": [[9906, 1917]], "model": M3, "encoding_format": "base64"}
    text = {"input": ["Hello world"], "model": M3, "encoding_format": "base64"}
    vectors = [http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"] for body in (ids, text)]
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize(("model", "most"), [(SMALL, 100), (QWEN, 32)])
def test_long_lists_are_split_and_stay_in_order(
    http: httpx2.Client, upstream: Cloudflare, model: str, most: int
) -> None:
    texts = [f"text number {i}" for i in range(250)]
    before = len(upstream.emulator.requests)
    response = http.post("/v1/embeddings", json={"model": model, "input": texts})
    assert response.status_code == 200
    calls = list(upstream.emulator.requests)[before:]
    assert len(calls) == -(-250 // most) or len(upstream.emulator.requests) == upstream.emulator.requests.maxlen
    vectors = [item["embedding"] for item in response.json()["data"]]
    alone = http.post("/v1/embeddings", json={"model": model, "input": texts[137]}).json()["data"][0]["embedding"]
    assert vectors[137] == pytest.approx(alone)
    assert len(vectors) == 250


def test_one_pooling_is_sent_with_every_call(http: httpx2.Client, upstream: Cloudflare) -> None:
    http.post("/v1/embeddings", json={"model": SMALL, "input": "a"})
    assert upstream.sent["pooling"] == "cls"


def test_dimensions_are_cut_to_unit_length_where_that_means_something(client: openai.OpenAI) -> None:
    vector = client.embeddings.create(model=QWEN, input="a text", dimensions=256).data[0].embedding
    assert len(vector) == 256
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a"] * 10_000}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [[1], "a"]}, "input[1]"),
        ({"input": ""}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({}, "input"),
        ({"input": "a", "dimensions": 5}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "model": "gpt-4o"}, "model"),
    ],
)
def test_bad_inputs_are_named(http: httpx2.Client, body: dict[str, Any], param: str) -> None:
    response = http.post("/v1/embeddings", json={"model": SMALL} | body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_difys_validation_gets_floats_and_usage(http: httpx2.Client) -> None:
    body = {"model": M3, "input": "ping", "encoding_format": "float"}
    answer = http.post("/v1/embeddings", json=body).json()
    assert all(isinstance(number, float) for number in answer["data"][0]["embedding"])
    assert answer["usage"]["total_tokens"] > 0


def test_new_apis_tests_pass_by_the_names_of_the_models(http: httpx2.Client) -> None:
    vectors = http.post("/v1/embeddings", json={"model": M3, "input": ["hello world"]})
    assert vectors.status_code == 200
    assert "error" not in vectors.json()
    documents = ["Deep Learning is a field of AI.", "Bread is baked."]
    body = {
        "model": "@cf/baai/bge-reranker-base",
        "query": "What is Deep Learning?",
        "documents": documents,
        "top_n": 2,
    }
    ranked = http.post("/v1/rerank", json=body)
    assert ranked.status_code == 200
    assert "error" not in ranked.json()
    assert [row["index"] for row in ranked.json()["results"]] == [0, 1]


def test_moderations_have_all_thirteen_categories(client: openai.OpenAI) -> None:
    result = client.moderations.create(input=["hello"]).results[0]
    assert result.flagged is False
    assert len(result.categories.model_dump(by_alias=True)) >= 13
    assert set(result.category_scores.model_dump(by_alias=True)) >= {"hate", "self-harm/intent", "violence/graphic"}


def test_a_garbled_verdict_is_an_error_and_never_safe(http: httpx2.Client) -> None:
    text = f"Hi\n!emulate {orjson.dumps({'quirks': ['garbled-verdict']}).decode()}"
    response = http.post("/v1/moderations", json={"input": text})
    assert response.status_code == 502
    assert "results" not in response.json()


def test_open_webui_gets_every_document_scored(http: httpx2.Client) -> None:
    documents = [f"document {i}" for i in range(120)]
    body = {"model": "rerank", "query": "document 7", "documents": documents, "top_n": 120}
    results = http.post("/v1/rerank", json=body).json()["results"]
    assert sorted(row["index"] for row in results) == list(range(120))
    assert all(0 <= row["relevance_score"] <= 1 for row in results)
    assert [row["relevance_score"] for row in results] == sorted(
        (row["relevance_score"] for row in results), reverse=True
    )


def test_coheres_second_version_gets_its_shape(http: httpx2.Client) -> None:
    body = {"model": "rerank-v3.5", "query": "cats", "documents": ["dogs bark", "cats purr"], "top_n": 1}
    response = http.post("/v2/rerank", json=body, headers={"x-client-name": "test"})
    answer = response.json()
    assert [row["index"] for row in answer["results"]] == [1]
    assert "document" not in answer["results"][0]
    assert answer["meta"]["billed_units"]["search_units"] >= 1


def test_legacy_clients_get_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=PLAIN, prompt="Once upon a time", echo=True, max_tokens=5)
    assert answer.object == "text_completion"
    assert answer.choices[0].text.startswith("Once upon a time")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_legacy_clients_get_streams_of_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=PLAIN, prompt="Once").choices[0].text
    chunks = list(client.completions.create(model=PLAIN, prompt="Once", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
