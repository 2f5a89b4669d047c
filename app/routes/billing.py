"""The balance of a key, for relays and chat UIs that read OpenAI's old billing pages.

One API, new-api and their kin compute `hard_limit_usd - total_usage / 100` and switch a channel off for good when that
is not above zero; NextChat shows the two numbers. So, unlike OpenAI:

1. A dollar stands for 1000 neurons. All of them show two decimals, and at Cloudflare's price the free allowance of a
   day is 11 cents: it would look the same for hours.
2. What counts is today (UTC), since allowances are per day; `start_date` and `end_date` change nothing.
3. A key without a limit has a million dollars.
4. At least one cent is left even when nothing is: tomorrow there will be more, and the calls in between are refused
   with a 429, which relays take to another channel. `may_reach_zero` turns this off.
"""

import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Request

from app.auth import Auth
from app.calls import Caller
from app.schemas.usage import BillingUsage, CreditGrants, DailyCost, LineItem, Subscription

NEURONS_PER_DOLLAR = 1000
UNLIMITED_DOLLARS = 1_000_000.0
A_CENT = 0.01
ACCESS_UNTIL = 4_102_444_800
"""2100: keys don't expire."""
A_DAY = 86400

AllowanceOf = Callable[[Caller], tuple[float | None, float]]
"""What a caller may spend today (None: as much as it likes), and what it has spent; in neurons."""


class Balance(NamedTuple):
    """In dollars."""

    limit: float
    used: float

    @property
    def left(self) -> float:
        return self.limit - self.used


def router(
    allowance: AllowanceOf, auth: Auth, *, may_reach_zero: bool = False, now: Callable[[], float] = time.time
) -> APIRouter:
    """`now` is in Unix seconds."""
    routes = APIRouter(tags=["billing"])

    def identify(request: Request) -> Balance:
        caller = auth.identify(request.scope["headers"])
        request.scope["record"].caller = caller.name
        return balance(*allowance(caller), may_reach_zero=may_reach_zero)

    BalanceDep = Annotated[Balance, Depends(identify)]  # noqa: N806 - a type

    async def subscription(balance: BalanceDep) -> Subscription:
        """What the key may spend today."""
        limit = round(balance.limit, 6)
        return Subscription(
            soft_limit_usd=limit, hard_limit_usd=limit, system_hard_limit_usd=limit, access_until=ACCESS_UNTIL
        )

    async def usage(balance: BalanceDep) -> BillingUsage:
        """What the key has spent today, in cents."""
        cents = round(balance.used * 100, 6)
        today = now() // A_DAY * A_DAY
        return BillingUsage(
            total_usage=cents,
            daily_costs=[DailyCost(timestamp=today, line_items=[LineItem(name="Neurons", cost=cents)])],
        )

    async def credit_grants(balance: BalanceDep) -> CreditGrants:
        """Both, and what is left of it."""
        return CreditGrants(
            total_granted=round(balance.limit, 6),
            total_used=round(balance.used, 6),
            total_available=round(balance.left, 6),
        )

    for prefix in ("/v1", ""):
        is_shown = prefix == "/v1"
        for answer in (subscription, usage, credit_grants):
            path = f"{prefix}/dashboard/billing/{answer.__name__}"
            routes.add_api_route(path, answer, include_in_schema=is_shown)
    return routes


def allowance_of(remaining: Callable[[Caller], float | None], spent: Callable[[str], float]) -> AllowanceOf:
    """From what a caller may yet spend today (None: no limit), and what the key of a name has spent, in neurons.

    The limit is the sum of both: where all keys share the server's, less is left than a key's own limit says.
    """

    def allowance(caller: Caller) -> tuple[float | None, float]:
        left, used = remaining(caller), spent(caller.name)
        return None if left is None else used + left, used

    return allowance


def balance(limit: float | None, spent: float, *, may_reach_zero: bool = False) -> Balance:
    """`limit` and `spent` in neurons."""
    dollars = UNLIMITED_DOLLARS if limit is None else limit / NEURONS_PER_DOLLAR
    used = spent / NEURONS_PER_DOLLAR
    if may_reach_zero:
        return Balance(dollars, used)
    dollars = max(dollars, A_CENT)
    return Balance(dollars, min(used, dollars - A_CENT))
