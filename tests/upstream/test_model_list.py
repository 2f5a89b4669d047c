"""The account's list over the catalogue's: what it adds and corrects, and that it is never in the way."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.calls import Account
from app.catalog import Catalog, Model, Price
from app.errors import ModelNotFoundError
from app.upstream.client import WorkersAI
from app.upstream.model_list import MOST_ACCOUNTS, ModelList, merged
from tests.upstream.replaying import ACCOUNT, DEADLINE_SECONDS, Outcome, Replaying, failed, never, whole

pytestmark = pytest.mark.anyio

KNOWN = Model(
    "@cf/a/known",
    "text-generation",
    "current",
    capabilities=frozenset({"vision"}),
    context_window=1000,
    created=5,
    price=(Price("input_tokens_M", 1.0), Price("audio_minute", 2.0)),
)
RETIRED = Model("@cf/a/retired", "text-generation", "deprecated")
UNLISTED = Model("@cf/a/unlisted", "text-generation")
CATALOG = Catalog([KNOWN, RETIRED, UNLISTED])


def page(*rows: Any) -> httpx2.Response:
    return whole({"success": True, "result": list(rows), "errors": [], "messages": []})


def row(name: Any, **more: Any) -> dict[str, Any]:
    return {"id": "9b1c-uuid", "source": 1, "name": name} | more


def properties(**values: Any) -> dict[str, Any]:
    return {"properties": [{"property_id": key, "value": value} for key, value in values.items()]}


@asynccontextmanager
async def model_list(
    *outcomes: Outcome,
    ttl_seconds: float = 1000,
    retry_seconds: float = 1000,
    patience_seconds: float = DEADLINE_SECONDS,
) -> AsyncGenerator[tuple[ModelList, Replaying]]:
    transport = Replaying(*outcomes)
    models = ModelList(
        CATALOG,
        WorkersAI(transport, max_tries=1),
        ttl_seconds=ttl_seconds,
        retry_seconds=retry_seconds,
        patience_seconds=patience_seconds,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield models, transport
    finally:
        await models.aclose()


async def ids(models: ModelList, account: Account = ACCOUNT) -> list[str]:
    return [model.id for model in await models.listed(account)]


async def settled() -> None:
    """Let a look-up in the background, which waits for nothing, come to its end."""
    for _ in range(50):
        await asyncio.sleep(0)


class TestMerging:
    def test_the_catalogue_knows_how_a_model_speaks(self) -> None:
        live = row(KNOWN.id, task={"name": "Translation"}, **properties(context_window="7", vision="false"))
        assert merged(live, CATALOG) == KNOWN

    @pytest.mark.parametrize(
        ("text", "created"),
        [
            ("2026-01-02 03:04:05.678", 1767323045),
            ("2026-01-02", 1767312000),
            (None, 5),
            ("soon", 5),
            (["2026-01-02"], 5),
        ],
    )
    def test_created_is_their_date_in_utc(self, text: Any, created: int) -> None:
        assert merged(row(KNOWN.id, created_at=text), CATALOG) == replace(KNOWN, created=created)

    def test_prices_are_theirs_in_neurons(self) -> None:
        price = [
            {"unit": "per M input tokens", "price": 0.1, "currency": "USD"},
            {"unit": "per M cached input tokens", "price": 0, "currency": "USD"},
            {"unit": "per M output tokens", "price": 1.1, "currency": "USD"},
            {"unit": "per M dreams", "price": 1, "currency": "USD"},
        ]
        model = merged(row(KNOWN.id, **properties(price=price)), CATALOG)
        assert model
        assert {price.unit: price.neurons for price in model.price} == {
            "input_tokens_M": 9090.91,
            "cached_input_tokens_M": 0,
            "output_tokens_M": 100_000,
            "audio_minute": 2,
        }

    def test_a_new_model_is_what_they_say(self) -> None:
        task = {"id": "uuid", "name": "Text Embeddings", "description": "…"}
        facts = properties(context_window="131072", function_calling="true", vision="false", terms="https://t")
        live = row("@cf/b/new", task=task, created_at="1970-01-01 00:00:09.000", **facts)
        assert merged(live, CATALOG) == Model(
            "@cf/b/new",
            "text-embeddings",
            "current",
            capabilities=frozenset({"function-calling"}),
            context_window=131072,
            created=9,
        )

    @pytest.mark.parametrize("task", [{}, {"name": "Dreaming"}, {"name": ["Translation"]}, {"task": {"name": None}}])
    def test_a_task_of_another_kind_is_other(self, task: dict[str, Any]) -> None:
        model = merged(row("@cf/b/new", task=task), CATALOG)
        assert model
        assert model.task == "other"

    @pytest.mark.parametrize(
        ("name", "date", "is_listed"),
        [
            (KNOWN.id, "2020-01-01", False),
            (KNOWN.id, "2020-01-01T00:00:00Z", False),
            (KNOWN.id, "2999-01-01", True),
            (KNOWN.id, "some day", True),
            (KNOWN.id, None, True),
            ("@cf/b/new", "2020-01-01", False),
            (UNLISTED.id, None, True),
            (RETIRED.id, None, False),
            (RETIRED.id, "2999-01-01", False),
        ],
    )
    def test_whether_it_is_listed(self, name: str, date: Any, is_listed: bool) -> None:
        model = merged(row(name, **properties(planned_deprecation_date=date)), CATALOG)
        assert model
        assert model.is_listed is is_listed

    @pytest.mark.parametrize(
        "name", [None, 7, ["@cf/a/known"], "", "openai/gpt-4.1", "@cf", "@cf/alone", "@cf/a/b?c", "9b1c-uuid"]
    )
    def test_what_names_no_model_of_cloudflares_is_none(self, name: Any) -> None:
        assert merged(row(name), CATALOG) is None

    @pytest.mark.parametrize(
        "odd",
        [
            {"properties": None},
            {"properties": "none"},
            {"properties": {"context_window": "7"}},
            {"properties": [None, 7, "x", {}, {"property_id": ["a"], "value": 1}]},
            properties(price="free"),
            properties(price=[None, 7, {}, {"unit": ["x"], "price": 1}, {"unit": "per M input tokens", "price": "1"}]),
            properties(context_window="many"),
            properties(context_window=["7"]),
            properties(context_window="9" * 5000),
            {"task": "Text Generation"},
            {"task": ["Text Generation"]},
            {"created_at": {"year": 2026}},
        ],
    )
    def test_odd_rows_are_read_as_far_as_they_go(self, odd: dict[str, Any]) -> None:
        assert merged(row(KNOWN.id, **odd), CATALOG) == KNOWN
        assert merged(row("@cf/b/new", **odd), CATALOG) == Model("@cf/b/new", "other", "current")


class TestKeeping:
    async def test_the_list_is_the_catalogue_with_theirs_over_it(self) -> None:
        old = properties(planned_deprecation_date="2020-01-01")
        rows = [row("@cf/b/new"), row(KNOWN.id, created_at="1970-01-01 00:00:09"), row("@cf/a/gone", **old)]
        async with model_list(page(*rows), page()) as (models, _):
            assert [(model.id, model.created) for model in await models.listed(ACCOUNT)] == [
                ("@cf/a/known", 9),
                ("@cf/b/new", 0),
            ]

    async def test_what_they_have_retired_is_not_listed(self) -> None:
        old = properties(planned_deprecation_date="2020-01-01")
        async with model_list(page(row(KNOWN.id, **old), row("@cf/b/new")), page()) as (models, _):
            assert await ids(models) == ["@cf/b/new"]

    async def test_it_is_kept(self) -> None:
        async with model_list(page(row("@cf/b/new")), page()) as (models, transport):
            assert await ids(models) == await ids(models) == ["@cf/a/known", "@cf/b/new"]
            assert len(transport.requests) == 2

    async def test_each_account_has_its_own(self) -> None:
        other = replace(ACCOUNT, id="acc1", token="other")
        async with model_list(page(row("@cf/b/new")), page(), page(row("@cf/b/other")), page()) as (models, transport):
            assert await ids(models) == ["@cf/a/known", "@cf/b/new"]
            assert await ids(models, other) == ["@cf/a/known", "@cf/b/other"]
            assert await ids(models) == ["@cf/a/known", "@cf/b/new"]
        asked = [(request.url.path.split("/")[4], request.headers["authorization"]) for request in transport.requests]
        assert asked == [("acc0", "Bearer token-of-acc0")] * 2 + [("acc1", "Bearer other")] * 2

    async def test_it_is_renewed_in_the_background(self) -> None:
        gate = asyncio.Event()

        async def later(_: httpx2.Request) -> httpx2.Response:
            await gate.wait()
            return page(row("@cf/b/newer"))

        async with model_list(page(row("@cf/b/new")), page(), later, page(), never, ttl_seconds=0) as (
            models,
            transport,
        ):
            for _ in range(3):
                assert await ids(models) == ["@cf/a/known", "@cf/b/new"]
            await settled()
            assert len(transport.requests) == 3
            gate.set()
            await settled()
            assert await ids(models) == ["@cf/a/known", "@cf/b/newer"]

    async def test_those_who_come_first_share_one_look_up(self) -> None:
        async with model_list(page(row("@cf/b/new")), page()) as (models, transport):
            lists = await asyncio.gather(*(ids(models) for _ in range(5)))
        assert lists == [["@cf/a/known", "@cf/b/new"]] * 5
        assert len(transport.requests) == 2

    async def test_a_failure_leaves_the_catalogue(self, caplog: pytest.LogCaptureFixture) -> None:
        async with model_list(failed(10000, 401, f"bad token {'f' * 40}")) as (models, transport):
            assert await ids(models) == await ids(models) == ["@cf/a/known"]
            assert len(transport.requests) == 1
        (record,) = (each for each in caplog.records if each.message == "model list")
        assert record.levelno == logging.WARNING
        fields = record.__dict__["fields"]
        assert fields["error"] == "authentication"
        assert fields["reason"].startswith("bad token … The API token is wrong")

    async def test_a_failure_is_tried_again_after_a_while(self) -> None:
        outcomes = (failed(10000, 401), page(row("@cf/b/new")), page())
        async with model_list(*outcomes, retry_seconds=0) as (models, _):
            assert await ids(models) == ["@cf/a/known"]
            assert await ids(models) == ["@cf/a/known", "@cf/b/new"]

    @pytest.mark.parametrize("later", [lambda: failed(10000, 401), page, lambda: page({"name": 7}, {})])
    async def test_a_failure_or_an_empty_list_keeps_the_last_good_one(self, later: Any) -> None:
        outcomes = (page(row("@cf/b/new")), page(), later(), page(), never)
        async with model_list(*outcomes, ttl_seconds=0, retry_seconds=0) as (models, transport):
            for _ in range(3):
                assert await ids(models) == ["@cf/a/known", "@cf/b/new"]
                await settled()
            assert len(transport.requests) > 3

    async def test_patience_has_an_end(self) -> None:
        async with model_list(never, patience_seconds=0.01) as (models, transport):
            assert await ids(models) == await ids(models) == ["@cf/a/known"]
            assert len(transport.requests) == 1

    async def test_it_is_kept_for_so_many_accounts(self) -> None:
        accounts = [replace(ACCOUNT, id=f"acc{i}") for i in range(MOST_ACCOUNTS + 1)]
        outcomes = [outcome for _ in range(MOST_ACCOUNTS + 3) for outcome in (page(row("@cf/b/new")), page())]
        async with model_list(*outcomes) as (models, transport):
            for account in [*accounts[:-1], accounts[0], accounts[-1]]:
                await models.listed(account)
            assert len(transport.requests) == 2 * len(accounts)
            await models.listed(accounts[0])
            assert len(transport.requests) == 2 * len(accounts)
            await models.listed(accounts[1])
            assert len(transport.requests) == 2 * len(accounts) + 2

    async def test_a_look_up_for_an_account_that_is_dropped_ends(self) -> None:
        tasks = asyncio.all_tasks()
        others = [outcome for _ in range(MOST_ACCOUNTS) for outcome in (page(row("@cf/b/new")), page())]
        async with model_list(never, *others) as (models, _):
            waiter = asyncio.create_task(ids(models))
            await settled()
            for i in range(MOST_ACCOUNTS):
                await models.listed(replace(ACCOUNT, id=f"other{i}"))
            assert await waiter == ["@cf/a/known"]
            assert asyncio.all_tasks() == tasks

    async def test_closing_ends_the_look_ups(self) -> None:
        tasks = asyncio.all_tasks()
        async with model_list(never, never, patience_seconds=0) as (models, _):
            await models.listed(ACCOUNT)
            await models.listed(replace(ACCOUNT, id="acc1"))
            assert len(asyncio.all_tasks()) == len(tasks) + 2
            await models.aclose()
            assert asyncio.all_tasks() == tasks


class TestFinding:
    async def test_a_name_leads_to_what_they_say_of_the_model(self) -> None:
        rows = [row(KNOWN.id, created_at="1970-01-01 00:00:09"), row("@cf/b/new", task={"name": "Translation"})]
        async with model_list(page(*rows), page()) as (models, _):
            assert (await models.find("a/known", ACCOUNT)).created == 9
            assert (await models.find("@cf/b/new", ACCOUNT)).task == "translation"
            assert (await models.find("@cf/b/unheard-of", ACCOUNT)).task == "text-generation"

    async def test_a_name_that_leads_nowhere_is_asked_of_nobody(self) -> None:
        async with model_list() as (models, transport):
            with pytest.raises(ModelNotFoundError):
                await models.find("gpt-9", ACCOUNT)
        assert transport.requests == []
