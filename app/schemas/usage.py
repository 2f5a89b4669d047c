"""Reports of what was consumed, and the same as the old billing pages of OpenAI told it, which relays still read."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel


class UsageTotals(BaseModel):
    """`neurons` holds `estimated_neurons`: those that Cloudflare did not tell and that were reckoned from prices."""

    calls: int = 0
    neurons: float = 0
    estimated_neurons: float = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    audio_seconds: float = 0


class UsageRow(UsageTotals):
    """What is null was not asked to be told apart: the row is about all of them."""

    day: date | None = None
    model: str | None = None


class AdminUsageRow(UsageRow):
    key: str | None = None
    account: str | None = None


class Allowance(BaseModel):
    """Of today (UTC), in neurons; null: there is no limit."""

    limit: float | None
    spent: float
    remaining: float | None
    resets_at: datetime


class AccountState(BaseModel):
    """A Cloudflare account of the server's own. `account` is its id; neurons as in `Allowance`."""

    account: str
    parked_until: datetime | None = None
    """Until then no call goes to it."""
    parked_because: str | None = None
    limit: float | None = None
    spent: float = 0
    remaining: float | None = None


class UsageReport(BaseModel):
    """Of one key, from `start_date` to `end_date`, both included."""

    object: Literal["usage_report"] = "usage_report"
    start_date: date
    end_date: date
    total: UsageTotals
    data: list[UsageRow]
    allowance: Allowance


class AdminUsageReport(BaseModel):
    """Of all keys."""

    object: Literal["usage_report"] = "usage_report"
    start_date: date
    end_date: date
    total: UsageTotals
    data: list[AdminUsageRow]
    accounts: list[AccountState]


class Subscription(BaseModel):
    """OpenAI's old `dashboard/billing/subscription`. What a dollar stands for: `app.routes.billing`."""

    object: Literal["billing_subscription"] = "billing_subscription"
    has_payment_method: bool = True
    soft_limit_usd: float
    hard_limit_usd: float
    system_hard_limit_usd: float
    access_until: int
    """Unix seconds."""


class LineItem(BaseModel):
    name: str
    cost: float
    """In cents."""


class DailyCost(BaseModel):
    timestamp: float
    """Unix seconds of the day's beginning."""
    line_items: list[LineItem]


class BillingUsage(BaseModel):
    """OpenAI's old `dashboard/billing/usage`."""

    object: Literal["list"] = "list"
    total_usage: float
    """In cents."""
    daily_costs: list[DailyCost]


class Grants(BaseModel):
    object: Literal["list"] = "list"
    data: list[str] = []


class CreditGrants(BaseModel):
    """OpenAI's old `dashboard/billing/credit_grants`, in dollars."""

    object: Literal["credit_summary"] = "credit_summary"
    total_granted: float
    total_used: float
    total_available: float
    grants: Grants = Grants()
