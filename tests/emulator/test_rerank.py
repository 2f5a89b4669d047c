"""Rerankers: contexts are scored by what they share with the query, and come back unsorted."""

from typing import Any

import pytest

from tests.emulator.asking import RERANKER, Asker, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
QUERY = "Where does the cat sleep?"
CONTEXTS = [
    {"text": "Revenue grew by eight percent"},
    {"text": "The cat sleeps on the sofa, that is where"},
    {"text": "Cats eat fish"},
]


async def scores(ask: Asker, **body: Any) -> dict[int, float]:
    found = (await ask.ran(RERANKER, **{"query": QUERY, "contexts": CONTEXTS} | body))["response"]
    return {item["id"]: item["score"] for item in found}


async def test_scores(ask: Asker) -> None:
    found = await scores(ask)
    assert list(found) == [0, 1, 2]
    assert 1 > found[1] > 0.5 > found[2] > found[0] > 0


async def test_the_best_ones_are_not_sorted_either(ask: Asker) -> None:
    contexts = [*CONTEXTS[::2], CONTEXTS[1]]
    assert list(await scores(ask, contexts=contexts, top_k=2)) == [1, 2]
    assert list(await scores(ask, contexts=contexts, top_k=9)) == [0, 1, 2]


async def test_scores_may_be_logits(ask: Asker) -> None:
    found = await scores(ask, query=QUERY + '\n!emulate {"quirks":["logits"]}')
    assert found[1] > 1
    assert found[0] < 0


async def test_a_long_pair_is_cut(ask: Asker) -> None:
    contexts = [{"text": "word " * 500 + QUERY}, {"text": "word " * 600 + QUERY}]
    near, far = (await scores(ask, contexts=contexts)).values()
    assert near > far
    long = await scores(ask, query="word " * 600, contexts=[{"text": "word"}])
    assert long[0] < 0.1


async def test_pairs_are_paid_by_their_tokens(ask: Asker) -> None:
    response = await ask.run(RERANKER, query="One two", contexts=[{"text": "Three"}, {"text": "Four five"}])
    assert response.headers["cf-ai-neurons"] == f"{7 * 283 / 1e6:.6f}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"contexts": CONTEXTS}, "required properties at '/' are 'query'"),
        ({"query": QUERY}, "required properties at '/' are 'contexts'"),
        ({"query": "", "contexts": CONTEXTS}, "'/query' must NOT have fewer than 1 characters"),
        ({"query": QUERY, "contexts": []}, "'/contexts' must NOT have fewer than 1 items"),
        ({"query": QUERY, "contexts": CONTEXTS * 34}, "'/contexts' must NOT have more than 100 items"),
        ({"query": QUERY, "contexts": "One"}, "Type mismatch of '/contexts', 'string' not in 'array'"),
        ({"query": QUERY, "contexts": ["One"]}, "Type mismatch of '/contexts/0', 'string' not in 'object'"),
        ({"query": QUERY, "contexts": [{}]}, "required properties at '/contexts/0' are 'text'"),
        (
            {"query": QUERY, "contexts": [{"text": {"a": 1}}]},
            "Type mismatch of '/contexts/0/text', 'object' not in 'string'",
        ),
        ({"query": QUERY, "contexts": CONTEXTS, "top_k": 0}, "'/top_k' must be >= 1"),
    ],
)
async def test_what_misses_the_schema_is_5006(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.run(RERANKER, **body)) == (400, 5006, BAD + text)
