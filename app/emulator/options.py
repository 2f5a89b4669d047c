"""Options: how strict, generous and quick an emulator and its gateways are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.catalog import Model
from app.emulator.quirks import DEFAULT_QUIRKS, checked


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    token: str | None = field(default=None, repr=False)
    """Of an authenticated gateway; None lets everybody in."""
    is_down: bool = False
    """Answers 503 to everything, and not in JSON."""
    cache_ttl_seconds: float | None = None
    """What the gateway keeps without being asked to; None: nothing."""
    requests_per_minute: int | None = None
    """Above it 2003; the window slides."""
    is_spent: bool = False
    """Its spend limit is reached (2041)."""
    has_credits: bool = True
    """There is money for the models of other providers, else 2021."""
    key_aliases: tuple[str, ...] = ("default",)
    """Names of stored keys; for others 2040."""
    unsafe_words: tuple[str, ...] = ()
    """What guardrails block, on the gateway host: 2016 in a prompt, 2017 in an answer."""
    private_words: tuple[str, ...] = ()
    """What DLP blocks: 2029 in a request, 2030 in an answer."""
    run_form: Literal["any", "run", "bare"] = "any"
    """Which path runs a model on the gateway host: `workers-ai/run/{model}`, `workers-ai/{model}`, or both."""
    spoils_files: bool = True
    """Forms and plain bytes arrive damaged."""


@dataclass(frozen=True, slots=True)
class Options:
    tokens: Mapping[str, str] | None = field(default=None, repr=False)
    """Account id -> its API token. None accepts any token for any account."""
    quirks: frozenset[str] = DEFAULT_QUIRKS
    """Names out of `QUIRKS`; a request may switch more of them."""
    models: tuple[Model, ...] = ()
    """Models beside those of the catalogue, as if Cloudflare had just added them."""
    any_model: bool = False
    """Run every id of the right form, as if Cloudflare had added all of them."""

    free_plan: bool = False
    """Refuse the models that need Workers Paid (5035)."""
    needs_license: bool = False
    """Refuse the models with a license until its prompt was sent (5016)."""

    daily_neurons: float | None = None
    """What each account may spend between two midnights (UTC); then `quota_code`."""
    quota_code: int = 4006
    """4006 or 3036: the service uses both for the same."""
    requests_per_minute: int | None = None
    """Of each account, for all models together; then 429 without a code."""
    busy_every: Mapping[str, int] = field(default_factory=dict)
    """Model id -> k: every k-th request for it finds no capacity (3040)."""

    gateways: Mapping[str, GatewayOptions] | None = None
    """Id -> an AI Gateway that every account has, beside `default`. None: all ids are gateways that refuse nothing."""

    latency_seconds: float = 0
    """Before the first byte of every answer of a model."""
    token_seconds: float = 0
    """Before every event of a stream."""
    max_body_bytes: int = 100 * 2**20
    """Above it 3006."""
    kept_requests: int = 200
    """How many requests `Emulator.requests` remembers."""

    def __post_init__(self) -> None:
        checked(self.quirks)
