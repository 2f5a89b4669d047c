"""The account's live list: its rows, filters, pages and the other format."""

import re
from typing import Any

import pytest

from app.catalog import Catalog, Model
from app.emulator.options import Options
from tests.emulator.asking import BGE, CHAT, EFFORTS, KIMI, LICENSED, RETIRED, Asker, asking

pytestmark = pytest.mark.anyio

PATH = "/accounts/a1/ai/models/search"


async def search(ask: Asker, **query: Any) -> Any:
    response = await ask.client.get(PATH, params=query)
    body = response.json()
    assert (response.status_code, body["success"], body["errors"], body["messages"]) == (200, True, [], [])
    return body


async def found(ask: Asker, **query: Any) -> list[str]:
    return [row["name"] for row in (await search(ask, per_page=1000, **query))["result"]]


async def properties(ask: Asker, model: str) -> dict[str, Any]:
    (row,) = (await search(ask, search=model))["result"]
    return {each["property_id"]: each["value"] for each in row["properties"]}


async def test_a_row(ask: Asker) -> None:
    (row,) = (await search(ask, search="glm-4.7-flash"))["result"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", row["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", row["created_at"])
    assert (row["name"], row["source"], row["tags"], row["task"]["name"]) == (CHAT, 1, [], "Text Generation")


async def test_properties_are_texts_but_for_price_and_efforts(ask: Asker) -> None:
    assert await properties(ask, CHAT) == {
        "function_calling": "true",
        "reasoning": "true",
        "context_window": "131072",
        "price": [
            {"unit": "per M input tokens", "price": 0.0605, "currency": "USD"},
            {"unit": "per M output tokens", "price": 0.4004, "currency": "USD"},
        ],
    }
    assert (await properties(ask, EFFORTS))["reasoning_effort"] == {
        "supported_efforts": ["low", "medium", "xhigh"],
        "default_effort": "low",
        "mandatory": False,
        "default_enabled": True,
    }
    embedding = await properties(ask, BGE)
    assert (embedding["output_dimensions"], embedding["max_input_tokens"]) == ("768", "512")
    assert (await properties(ask, KIMI))["require_workers_paid"] == "true"
    assert "terms" in await properties(ask, LICENSED)
    assert (await properties(ask, "gemma-2b-it-lora"))["beta"] == "true"


async def test_every_model_of_the_catalogue_is_listed_but_retired_ones(ask: Asker) -> None:
    names = await found(ask)
    assert sorted(names) == sorted(model.id for model in Catalog.load() if model.is_listed)
    assert RETIRED not in names


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"search": "KIMI-K2.6"}, KIMI),
        ({"task": "Text Embeddings"}, "@cf/baai/bge-m3"),
        ({"author": "moonshotai"}, KIMI),
        ({"hide_experimental": "true"}, CHAT),
    ],
)
async def test_filters(ask: Asker, query: dict[str, str], wanted: str) -> None:
    names = await found(ask, **query)
    assert wanted in names
    assert len(names) < len(await found(ask))


async def test_pages_cover_the_list_once(ask: Asker) -> None:
    first = await search(ask, per_page=30)
    info = first["result_info"]
    assert (info["page"], info["per_page"], info["count"], info["total_count"]) == (1, 30, 30, len(await found(ask)))
    rows = [
        row
        for page in range(1, info["total_pages"] + 1)
        for row in (await search(ask, per_page=30, page=page))["result"]
    ]
    assert [row["name"] for row in rows] == await found(ask)
    assert (await search(ask, page=99))["result"] == []


async def test_a_page_that_is_no_number_is_the_first(ask: Asker) -> None:
    assert (await search(ask, page="x", per_page=""))["result_info"]["page"] == 1


async def test_the_openrouter_format(ask: Asker) -> None:
    body = await search(ask, search="kimi-k2.6", format="openrouter")
    (row,) = body["result"]["data"]
    assert (row["id"], row["context_length"], row["input_modalities"]) == (KIMI, 262144, ["text", "image"])
    assert float(row["pricing"]["prompt"]) == pytest.approx(0.95e-6, rel=1e-3)


async def test_a_new_model_has_few_properties_and_maybe_no_date() -> None:
    async with asking(Options(models=(Model("@cf/new/model", "new-task", "current"),))) as ask:
        (row,) = (await search(ask, search="@cf/new/model"))["result"]
        assert (row["task"]["name"], row["properties"], "created_at" in row) == ("Other", [], False)
