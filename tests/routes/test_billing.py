from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Auth
from app.calls import UNLIMITED, Account, Caller, Limits
from app.limits import Limiter
from app.routes.billing import allowance_of, balance, router
from app.routes.edge import Edge, Faults
from app.stores.database import Database
from app.stores.ledger import Entry, Ledger

pytestmark = pytest.mark.anyio

AUTH = Auth("managed", ["key"], "account1", "token", "https://api.example", "http://emulator.invalid")
BEARER = {"authorization": "Bearer key"}
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
NOON = MIDNIGHT + 12 * 3600


def left(subscription: dict[str, Any], usage: dict[str, Any]) -> float:
    """As One API and new-api compute it, in controller/channel-billing.go."""
    dollars: float = subscription["hard_limit_usd"] - usage["total_usage"] / 100
    return dollars


@pytest.fixture
def day() -> SimpleNamespace:
    """What the key may spend today, and has spent."""
    return SimpleNamespace(limit=10_000.0, spent=2_500.0, may_reach_zero=False)


@pytest.fixture
async def client(day: SimpleNamespace) -> AsyncIterator[httpx2.AsyncClient]:
    def allowance(caller: Caller) -> tuple[float | None, float]:
        assert caller.account.id == "account1"
        return day.limit, day.spent

    app = FastAPI()
    app.include_router(router(allowance, AUTH, now=lambda: NOON))
    app.add_middleware(Faults)
    app.add_middleware(Edge)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server", headers=BEARER) as client:
        yield client


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_the_old_billing_pages_tell_what_may_be_spent_today(client: httpx2.AsyncClient, prefix: str) -> None:
    pages = [
        (await client.get(f"{prefix}/dashboard/billing/{page}?start_date=2026-11-01&end_date=2026-11-22")).json()
        for page in ("subscription", "usage", "credit_grants")
    ]
    assert pages == [
        {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": 10.0,
            "hard_limit_usd": 10.0,
            "system_hard_limit_usd": 10.0,
            "access_until": 4102444800,
        },
        {
            "object": "list",
            "total_usage": 250.0,
            "daily_costs": [{"timestamp": MIDNIGHT, "line_items": [{"name": "Neurons", "cost": 250.0}]}],
        },
        {
            "object": "credit_summary",
            "total_granted": 10.0,
            "total_used": 2.5,
            "total_available": 7.5,
            "grants": {"object": "list", "data": []},
        },
    ]
    assert isinstance(pages[0]["access_until"], int)


@pytest.mark.parametrize(
    ("limit", "spent", "dollars"),
    [
        (10_000.0, 0.0, 10),
        (10_000.0, 2_345.6, 7.6544),
        (10_000.0, 9_999.9, 0.01),
        (10_000.0, 10_000.0, 0.01),
        (10_000.0, 25_000.0, 0.01),
        (0.0, 0.0, 0.01),
        (None, 0.0, 1_000_000),
        (None, 5e12, 0.01),
    ],
)
async def test_relays_find_a_balance_above_zero_whatever_was_spent(
    client: httpx2.AsyncClient, day: SimpleNamespace, limit: float | None, spent: float, dollars: float
) -> None:
    day.limit, day.spent = limit, spent
    pages = [(await client.get(f"/v1/dashboard/billing/{page}")).json() for page in ("subscription", "usage")]
    grants = (await client.get("/v1/dashboard/billing/credit_grants")).json()
    assert pages[0]["hard_limit_usd"] > 0
    assert left(pages[0], pages[1]) > 0
    assert left(pages[0], pages[1]) == pytest.approx(dollars, abs=1e-9 * pages[0]["hard_limit_usd"])
    assert grants["total_available"] == pytest.approx(dollars)
    assert grants["total_granted"] - grants["total_used"] == pytest.approx(grants["total_available"])


@pytest.mark.parametrize(("limit", "spent", "dollars"), [(10_000.0, 10_000.0, 0), (10_000.0, 12_000.0, -2), (0, 0, 0)])
def test_a_relay_may_be_told_that_nothing_is_left(limit: float, spent: float, dollars: float) -> None:
    assert balance(limit, spent, may_reach_zero=True).left == dollars


@pytest.mark.parametrize(
    ("limits", "budget", "allowance"),
    [
        (Limits(neurons_per_day=100), None, (100, 30)),
        (Limits(neurons_per_day=100), 60, (40, 30)),  # of which another key has spent 20
        (Limits(neurons_per_day=20), None, (30, 30)),
        (UNLIMITED, 60, (40, 30)),
        (UNLIMITED, None, (None, 30)),
    ],
)
async def test_what_is_left_counts_the_servers_limit_too(
    tmp_path: Path, limits: Limits, budget: float | None, allowance: tuple[float | None, float]
) -> None:
    database = Database(tmp_path / "flarelay.db")
    await database.open()
    ledger = Ledger(database)
    await ledger.open()
    for name, neurons in (("one", 30.0), ("two", 20.0)):
        ledger.record(Entry(name, "account1", "a-model", neurons))
    limiter = Limiter(ledger, budget=budget, accounts=["account1"])
    caller = Caller("one", Account("account1", "token", "https://api.example"), limits=limits)
    assert allowance_of(limiter.remaining_neurons, ledger.spent_today)(caller) == allowance
    await ledger.aclose()
    await database.aclose()


async def test_a_balance_is_nobody_elses(client: httpx2.AsyncClient) -> None:
    response = await client.get("/dashboard/billing/subscription", headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
