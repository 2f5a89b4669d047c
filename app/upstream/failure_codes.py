"""The tables by which a failure of Cloudflare's is known: its number, its words, its HTTP status.

Sources: Cloudflare's docs, Workers AI > Platform > Errors, and AI Gateway (rate limiting, guardrails, DLP, spend
limits, authentication); codes that the docs leave out are known from public reports.
"""

import re

from app.calls import FailureKind

CODES: dict[int, FailureKind] = {
    # Workers AI, documented
    3003: FailureKind.BAD_REQUEST,  # headers or body missing
    3006: FailureKind.TOO_LARGE,
    3007: FailureKind.TIMEOUT,
    3008: FailureKind.SERVER,  # aborted
    3023: FailureKind.PERMISSION,  # account blocked
    3036: FailureKind.QUOTA,
    3039: FailureKind.BAD_REQUEST,  # fine-tune lacks files
    3040: FailureKind.CAPACITY,
    3041: FailureKind.PERMISSION,  # private model
    3042: FailureKind.MODEL_NOT_FOUND,
    5004: FailureKind.BAD_REQUEST,  # wrong type of data
    5005: FailureKind.BAD_REQUEST,  # no LoRA on this model
    5007: FailureKind.MODEL_NOT_FOUND,
    5016: FailureKind.PERMISSION,  # licence not accepted
    5018: FailureKind.PERMISSION,  # private model
    5019: FailureKind.BAD_REQUEST,  # SDK too old
    5035: FailureKind.PERMISSION,  # Workers Paid only
    # Workers AI, met in practice
    1031: FailureKind.SERVER,
    3010: FailureKind.CONTEXT_LENGTH,  # wraps 5021
    3030: FailureKind.BAD_REQUEST,  # any fault of the input
    3046: FailureKind.TIMEOUT,
    3050: FailureKind.CAPACITY,
    4006: FailureKind.QUOTA,  # the commoner form of 3036
    5006: FailureKind.BAD_REQUEST,  # JSON Schema validation
    5021: FailureKind.CONTEXT_LENGTH,
    5023: FailureKind.JSON_MODE,
    5024: FailureKind.JSON_MODE,
    5025: FailureKind.NO_JSON_MODE,
    5028: FailureKind.MODEL_NOT_FOUND,  # retired
    8001: FailureKind.BAD_REQUEST,
    8004: FailureKind.SERVER,
    8006: FailureKind.BAD_REQUEST,
    8007: FailureKind.BAD_REQUEST,  # whatever vLLM refused
    8008: FailureKind.SERVER,
    # Cloudflare's API
    7000: FailureKind.CONFIGURATION,  # no route
    7003: FailureKind.CONFIGURATION,  # no such account
    7009: FailureKind.SERVER,
    9106: FailureKind.AUTHENTICATION,
    9109: FailureKind.AUTHENTICATION,
    10000: FailureKind.AUTHENTICATION,
    # AI Gateway
    2001: FailureKind.CONFIGURATION,  # no such gateway
    2002: FailureKind.BAD_REQUEST,  # no such provider
    2003: FailureKind.RATE_LIMIT,
    2005: FailureKind.MODEL_NOT_FOUND,
    2008: FailureKind.BAD_REQUEST,  # invalid provider
    2009: FailureKind.AUTHENTICATION,
    2016: FailureKind.CONTENT_FILTER,
    2017: FailureKind.CONTENT_FILTER,
    2018: FailureKind.RATE_LIMIT,
    2019: FailureKind.BAD_REQUEST,  # malformed chat completion
    2021: FailureKind.QUOTA,  # nothing left to pay with
    2029: FailureKind.CONTENT_FILTER,
    2030: FailureKind.CONTENT_FILTER,
    2040: FailureKind.CONFIGURATION,  # no stored key of that name
    2041: FailureKind.QUOTA,  # spend limit
    7013: FailureKind.SERVER,  # guardrails unavailable
}

ADVICE: dict[int, str] = {
    2001: "The account has no AI Gateway of this name: create it in the Cloudflare dashboard, or correct "
    "AI_GATEWAY_ID.",
    2003: "This is the rate limit of the AI Gateway, which is set in the Cloudflare dashboard.",
    2008: "AI Gateway does not know this provider: write the model as `provider/model`.",
    2009: "AI Gateway did not accept the token: AI_GATEWAY_TOKEN has to be an API token with the permission AI Gateway "
    "Run; without it, the account's own token has to have that permission.",
    2016: "The guardrails of the AI Gateway blocked the prompt.",
    2017: "The guardrails of the AI Gateway blocked the answer.",
    2018: "Cloudflare limits the pace of models that it pays for (Unified Billing): wait, or store a key of the "
    "provider in the AI Gateway.",
    2021: "There is no money left for models of other providers (Unified Billing): top it up in the Cloudflare "
    "dashboard, or store a key of the provider in the AI Gateway.",
    2029: "The data loss prevention (DLP) of the AI Gateway blocked the request.",
    2030: "The data loss prevention (DLP) of the AI Gateway blocked the answer.",
    2040: "The AI Gateway has no stored key of this name: add it in the Cloudflare dashboard (Provider Keys).",
    2041: "This is a spend limit of the AI Gateway, which is set in the Cloudflare dashboard.",
    7000: "Either the account id (CLOUDFLARE_ACCOUNT_ID) or the name of the model is wrong.",
    7003: "Either the account id (CLOUDFLARE_ACCOUNT_ID) or the name of the model is wrong.",
    10000: "The API token is wrong, of another account, or lacks the permission Workers AI Read and Edit (with an AI "
    "Gateway, AI Gateway Run too): check CLOUDFLARE_API_TOKEN.",
}
"""What Cloudflare's few words mean, and what to set; said after them."""

OF_THE_DAY = {3036, 4006}
"""Codes of the neurons spent, which are back at 00:00 UTC. Other allowances are money: somebody has to pay, or to raise
a limit whose window only its owner knows."""

WRAPPERS = {3030, 5006, 8001, 8006, 8007}
"""Codes that say no more than "refused": the words of the message come first."""

NAMES: dict[str, FailureKind] = {
    "authentication_error": FailureKind.AUTHENTICATION,
    "content_filter": FailureKind.CONTENT_FILTER,
    "content_policy_violation": FailureKind.CONTENT_FILTER,
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
    "insufficient_quota": FailureKind.QUOTA,
    "invalid_api_key": FailureKind.AUTHENTICATION,
    "model_not_found": FailureKind.MODEL_NOT_FOUND,
    "overloaded_error": FailureKind.CAPACITY,
    "provider_unavailable": FailureKind.CAPACITY,
    "rate_limit_error": FailureKind.RATE_LIMIT,
    "rate_limit_exceeded": FailureKind.RATE_LIMIT,
}
"""The words in `code` or `type` by which other providers, reached through Cloudflare, name a failure."""

DAILY = r"used up your daily|daily free allocation"
"""In what is said of the neurons."""

TEXTS: tuple[tuple[re.Pattern[str], FailureKind], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (DAILY, FailureKind.QUOTA),
        (r"no more data centers|capacity temporarily exceeded", FailureKind.CAPACITY),
        (
            r"context (?:length|window)|max context reached|token count exceeds|maximum model length",
            FailureKind.CONTEXT_LENGTH,
        ),
        (r"/(?:content|prompt)' must NOT have more than 131072 characters", FailureKind.CONTEXT_LENGTH),
        (r"rate limiting|rate limited|rate limit (?:reached|exceeded)|too many requests", FailureKind.RATE_LIMIT),
        (r"JSON Mode couldn['’]t be met", FailureKind.JSON_MODE),
        (r"does(?: not|n['’]t) support JSON", FailureKind.NO_JSON_MODE),
        (r"\bnsfw\b|\bflagged\b", FailureKind.CONTENT_FILTER),
        (
            r"no such model|model has been deprecated|\bmodel\b.{0,200}(?:does not exist|not found)",
            FailureKind.MODEL_NOT_FOUND,
        ),
    )
)

STATUSES: dict[int, FailureKind] = {
    401: FailureKind.AUTHENTICATION,
    402: FailureKind.QUOTA,
    403: FailureKind.AUTHENTICATION,
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER,
    413: FailureKind.TOO_LARGE,
    429: FailureKind.RATE_LIMIT,
    504: FailureKind.TIMEOUT,
    522: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
}

RETRYABLE = {
    FailureKind.CAPACITY,
    FailureKind.RATE_LIMIT,
    FailureKind.TIMEOUT,
    FailureKind.CONNECTION,
    FailureKind.BROKEN,
    FailureKind.SERVER,
}
