"""Embedding models: what they take and refuse on either path, and what can be read from their vectors."""

import json
from typing import Any

import pytest

from app.catalog import Catalog
from app.emulator.options import Options
from tests.emulator.asking import (
    BGE,
    BGE_M3,
    GEMMA_EMBEDDING,
    NATIVE,
    PLAMO,
    QWEN_EMBEDDING,
    Asker,
    asking,
    cosine,
    refusal,
)

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
WORD = " word"
EMBEDDERS = [model.id for model in Catalog.load() if model.task == "text-embeddings"]


def one_of(*names: str) -> str:
    return f"{BAD}oneOf at '/' not met, 0 matches: " + ", ".join(
        f"required properties at '/' are '{name}'" for name in names
    )


@pytest.mark.parametrize("model", EMBEDDERS)
async def test_every_model_has_its_dimensions_and_its_most_items(ask: Asker, model: str) -> None:
    row = Catalog.load().get(model)
    assert row
    result = await ask.ran(model, text=["One two"] * row.max_batch)
    assert result["shape"] == [row.max_batch, row.embedding_dimensions]
    assert [len(result["data"]), len(result["data"][0])] == result["shape"]
    many = refusal(await ask.run(model, text=["One"] * (row.max_batch + 1)))
    assert many == (400, 5006, f"{BAD}'/text' must NOT have more than {row.max_batch} items")


async def test_a_single_text_is_a_list_of_one(ask: Asker) -> None:
    one, listed = await ask.ran(BGE, text="One two"), await ask.ran(BGE, text=["One two"])
    assert (one, one["shape"], one["usage"]) == (listed, [1, 768], {"prompt_tokens": 2, "total_tokens": 2})
    assert cosine(one["data"][0], one["data"][0]) == pytest.approx(1)


async def test_it_is_charged_by_its_tokens(ask: Asker) -> None:
    response = await ask.run(BGE, text="One two")
    assert response.headers["cf-ai-neurons"] == "0.012116"
    assert ask.emulator.meters.neurons_today("a1") == 0.012116


async def test_the_poolings_are_two_spaces_and_mean_is_the_default(ask: Asker) -> None:
    text = "The same text in two ways"
    default, mean, cls = [
        await ask.ran(BGE, text=text, **options) for options in ({}, {"pooling": "mean"}, {"pooling": "cls"})
    ]
    assert (default, mean["pooling"], cls["pooling"]) == (mean, "mean", "cls")
    assert abs(cosine(mean["data"][0], cls["data"][0])) < 0.25


@pytest.mark.parametrize(("model", "pooling"), [(BGE_M3, "cls"), (QWEN_EMBEDDING, None), (GEMMA_EMBEDDING, None)])
async def test_other_models_pool_in_one_way(ask: Asker, model: str, pooling: str | None) -> None:
    asked, unasked = await ask.ran(model, text="One", pooling="mean"), await ask.ran(model, text="One")
    assert (asked, asked.get("pooling")) == (unasked, pooling)


async def test_models_have_nothing_in_common(ask: Asker) -> None:
    one, other = [(await ask.ran(model, text="One two three"))["data"][0] for model in (BGE_M3, QWEN_EMBEDDING)]
    assert abs(cosine(one, other)) < 0.25


async def test_queries_are_read_with_an_instruction(ask: Asker) -> None:
    text = "How warm is the sea in May?"
    result = await ask.ran(QWEN_EMBEDDING, queries=[text], documents=text, text=[text])
    query, document, alias = result["data"]
    assert (result["shape"], document == alias, document == query) == ([3, 1024], True, False)
    assert cosine(query, document) > 0.9
    other = (await ask.ran(QWEN_EMBEDDING, queries=text, instruction="Find songs"))["data"][0]
    assert query != other
    assert result["usage"]["prompt_tokens"] > 3 * 8
    assert (await ask.ran(QWEN_EMBEDDING, documents=text, instruction="Find songs"))["data"] == [document]


@pytest.mark.parametrize("name", ["dimensions", "encoding_format", "stream"])
async def test_unknown_fields_are_ignored_natively(ask: Asker, name: str) -> None:
    assert await ask.ran(BGE, text="One", **{name: True}) == await ask.ran(BGE, text="One")


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (BGE, {"text": ""}, f"{BAD}'/text' must NOT have fewer than 1 characters"),
        (BGE, {"text": ["One", ""]}, f"{BAD}'/text/1' must NOT have fewer than 1 characters"),
        (BGE, {"text": []}, f"{BAD}'/text' must NOT have fewer than 1 items"),
        (BGE, {"text": [[1, 2]]}, f"{BAD}Type mismatch of '/text/0', 'array' not in 'string'"),
        (BGE, {"text": 7}, f"{BAD}Type mismatch of '/text', 'integer' not in 'string', 'array'"),
        (BGE, {"text": "One", "pooling": "max"}, f"{BAD}'/pooling' must be one of 'mean', 'cls'"),
        (BGE, {"text": "One", "pooling": ["cls"]}, f"{BAD}'/pooling' must be one of 'mean', 'cls'"),
        (BGE, {"requests": [{"text": "One"}]}, one_of("text", "requests")),
        (GEMMA_EMBEDDING, {"input": "One"}, f"{BAD}required properties at '/' are 'text'"),
        (QWEN_EMBEDDING, {}, one_of("queries", "documents", "text")),
        (
            QWEN_EMBEDDING,
            {"queries": "One", "instruction": 7},
            f"{BAD}Type mismatch of '/instruction', 'integer' not in 'string'",
        ),
        (QWEN_EMBEDDING, {"queries": ["One"] * 33}, f"{BAD}'/queries' must NOT have more than 32 items"),
        (BGE_M3, {"query": "One"}, one_of("text", "contexts", "requests")),
        (
            BGE_M3,
            {"text": "One", "truncate_inputs": 1},
            f"{BAD}Type mismatch of '/truncate_inputs', 'integer' not in 'boolean'",
        ),
        (BGE_M3, {"contexts": [{"text": ""}]}, f"{BAD}'/contexts/0/text' must NOT have fewer than 1 characters"),
    ],
)
async def test_what_misses_the_schema_is_5006(ask: Asker, model: str, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.run(model, **body)) == (400, 5006, text)


async def test_without_usage(ask: Asker) -> None:
    result = await ask.ran(BGE, text=["One", '!emulate {"quirks":["no-usage"]}'])
    assert result.keys() == {"shape", "data", "pooling"}


async def test_a_script_is_no_part_of_its_text(ask: Asker) -> None:
    result = await ask.ran(BGE, text=['One\n!emulate {"first_delay_ms":1}', "One"])
    assert result["data"][0] == result["data"][1]


@pytest.mark.parametrize(
    ("model", "words", "text"),
    [
        (BGE_M3, [8193], "Max context reached 8193 tokens but model supports only 8192"),
        (BGE_M3, [8000] * 8, "Max context reached 64000 tokens but model supports only 60000"),
    ],
)
async def test_too_much_text_is_3030(ask: Asker, model: str, words: list[int], text: str) -> None:
    assert refusal(await ask.run(model, text=[WORD * count for count in words])) == (400, 3030, text)


async def test_or_8007_from_behind_vllm(ask: Asker) -> None:
    status, code, text = refusal(await ask.run(QWEN_EMBEDDING, queries=["One", WORD * 8193]))
    assert (status, code) == (400, 8007)
    assert json.loads(text)["message"].startswith("This model's maximum context length is 8192 tokens. However, you")


@pytest.mark.parametrize(
    ("model", "options", "most"),
    [(BGE, {}, 512), (GEMMA_EMBEDDING, {}, 512), (BGE_M3, {"truncate_inputs": True}, 8192)],
)
async def test_or_it_is_cut_in_silence(ask: Asker, model: str, options: dict[str, Any], most: int) -> None:
    result = await ask.ran(model, text=[WORD * most, WORD * most + " more and more"], **options)
    assert result["data"][0] == result["data"][1]
    assert result["usage"]["prompt_tokens"] == 2 * most


async def test_a_call_may_be_too_long_although_its_texts_are_cut(ask: Asker) -> None:
    response = await ask.run(BGE_M3, text=[WORD * 8193] * 8, truncate_inputs=True)
    assert refusal(response) == (400, 3030, "Max context reached 65536 tokens but model supports only 60000")


async def test_a_model_without_a_known_limit_takes_all(ask: Asker) -> None:
    assert (await ask.ran(PLAMO, text=WORD * 70000))["usage"]["prompt_tokens"] == 70000


async def test_contexts_alone_are_embedded(ask: Asker) -> None:
    plain = await ask.ran(BGE_M3, text=["One", "Two"])
    result = await ask.ran(BGE_M3, contexts=[{"text": "One"}, {"text": "Two"}])
    assert (result["response"], result["shape"], result["pooling"]) == (plain["data"], [2, 1024], "cls")


async def test_contexts_beside_a_query_are_scored(ask: Asker) -> None:
    contexts = [{"text": "Revenue grew"}, {"text": "A warm sofa for a cat"}]
    found = (await ask.ran(BGE_M3, query="the warm sofa", contexts=contexts))["response"]
    assert [item["id"] for item in found] == [0, 1]
    assert 0 < found[0]["score"] < 0.1 < 0.9 < found[1]["score"] < 1
    response = await ask.run(BGE_M3, query=WORD * 100, contexts=[{"text": WORD * 800}] * 70)
    assert refusal(response) == (400, 3030, "Max context reached 63000 tokens but model supports only 60000")


async def test_openai_path(ask: Asker) -> None:
    response = await ask.embed(BGE, input=["One", "Two three"], encoding_format="float", dimensions=64)
    body = response.json()
    plain = await ask.ran(BGE, text=["One", "Two three"])
    assert body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": values} for number, values in enumerate(plain["data"])
        ],
        "model": BGE,
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert response.headers["cf-ai-neurons"] == "0.018174"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, f"{BAD}required properties at '/' are 'input'"),
        ({"input": "One", "encoding_format": "base64"}, f"{BAD}'/encoding_format' must be one of 'float'"),
        ({"input": [1, 2]}, f"{BAD}Type mismatch of '/input/0', 'integer' not in 'string'"),
        ({"input": ""}, f"{BAD}'/input' must NOT have fewer than 1 characters"),
        ({"input": ["One"] * 101}, f"{BAD}'/input' must NOT have more than 100 items"),
    ],
)
async def test_what_openais_path_refuses(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.embed(BGE, **body)) == (400, 5006, text)


async def test_base64_may_be_ignored_instead() -> None:
    async with asking(Options(quirks=frozenset({"floats-for-base64"}))) as ask:
        body = (await ask.embed(BGE_M3, input="One", encoding_format="base64")).json()
        assert isinstance(body["data"][0]["embedding"], list)


async def test_a_path_is_for_its_own_tasks(ask: Asker) -> None:
    assert refusal(await ask.embed(NATIVE, input="One")) == (400, 5007, f"No such model {NATIVE} or task")
    assert refusal(await ask.chat(BGE, messages=[])) == (400, 5007, f"No such model {BGE} or task")


async def test_any_model_embeds_on_the_path_for_it() -> None:
    async with asking(Options(any_model=True)) as ask:
        body = (await ask.embed("@cf/new/embedder", input="One")).json()
        assert len(body["data"][0]["embedding"]) == 1024
