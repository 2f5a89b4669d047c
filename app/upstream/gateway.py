"""Gateway: the AI Gateway that calls go through, what it tells of a call, and whether it is what failed. Pure.

Sources: Cloudflare's docs, AI Gateway > Configuration > Authentication; the glossary of headers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from app.calls import Failure, FailureKind
from app.settings import Settings

GATEWAY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Gateway:
    """An AI Gateway that every account has under the same id. Raises ValueError for an id that can't be one."""

    id: str
    token: str | None = field(default=None, repr=False)
    """With the permission AI Gateway Run; None: the account's own token."""
    base_url: str = "https://gateway.ai.cloudflare.com/v1"
    """Of the gateway host, up to and without the account."""
    route: Literal["rest", "host"] = "rest"
    skip_cache: bool = False
    cache_ttl_seconds: int | None = None
    has_run: bool = True
    """The gateway host runs a model at `workers-ai/run/{model}`; else at `workers-ai/{model}`."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Gateway | None":
        if settings.ai_gateway_id is None:
            return None
        token = settings.ai_gateway_token
        return cls(
            settings.ai_gateway_id,
            token.get_secret_value() if token else None,
            settings.ai_gateway_base_url,
            settings.ai_gateway_route,
            settings.ai_gateway_skip_cache,
            settings.ai_gateway_cache_ttl_seconds,
        )

    def __post_init__(self) -> None:
        if not GATEWAY_ID.fullmatch(self.id):
            raise ValueError("The id of an AI Gateway has up to 64 letters, digits, dots, dashes and underscores.")


TOLD = frozenset(
    {
        *(b"cf-aig-cache-status", b"cf-aig-cache-ttl", b"cf-aig-log-id", b"cf-aig-event-id", b"cf-aig-request-id"),
        *(b"cf-aig-step", b"cf-aig-model", b"cf-aig-provider", b"cf-aig-dlp", b"cf-aig-run-id"),
        *(b"cf-aig-routed-model", b"cf-aig-routing-reason", b"cf-aig-routing-decision-id"),
    }
)


def told(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """What AI Gateway says about a call, for the caller to see; names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers if name[:7].lower() == b"cf-aig-")
    return tuple((name, value) for name, value in lowered if name in TOLD)


HIT = (b"cf-aig-cache-status", b"HIT")


def is_hit(told: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the gateway had the answer already, which costs nothing (Cloudflare's docs, AI Gateway > Caching)."""
    return HIT in told


UNKNOWN_GATEWAY, BAD_GATEWAY_TOKEN, SCANNER_DOWN = 2001, 2009, 7013
DOWN_STATUSES = {500, 502, 503, 520, 521, 522, 523, 525, 526, 530}
"""Of an answer without a code of Cloudflare's: a page of its edge."""
MISROUTED = {2008, 7000, 7003}


def is_down(failure: Failure) -> bool:
    """Whether it is the gateway that failed, and a direct call makes sense.

    Not so what a gateway refuses on purpose (rate and spend limits, guardrails, DLP), nor a model's own failure.
    """
    if failure.code in (UNKNOWN_GATEWAY, BAD_GATEWAY_TOKEN, SCANNER_DOWN):
        return True
    if failure.code is not None:
        return False
    if failure.kind in (FailureKind.CONNECTION, FailureKind.TIMEOUT) and not failure.status:
        return failure.is_retryable  # nothing was sent, so nothing is paid twice
    return failure.status in DOWN_STATUSES and failure.kind in (FailureKind.SERVER, FailureKind.TIMEOUT)


def is_misrouted(failure: Failure) -> bool:
    """Whether the gateway host did not know the path: `Address.other_url` may be right."""
    return failure.code in MISROUTED and failure.status in (400, 404)
