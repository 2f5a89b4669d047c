"""What a client is told about a Failure: one table.

Statuses, types and codes are chosen so that OpenAI's clients retry what is worth it, and so that One API and new-api
never switch a channel off for something that is not the caller's key.
"""

from typing import NamedTuple

from app.calls import Failure, FailureKind
from app.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)
from app.upstream.failure_codes import ADVICE

MAX_WAIT_SECONDS = 60
"""OpenAI's clients ignore a longer `Retry-After` or give up on it."""


class _Answer(NamedTuple):
    """How a client learns of a Failure."""

    error: type[APIStatusError]
    code: str
    status: int | None = None
    param: str | None = None
    wait_seconds: float | None = None
    should_retry: bool | None = None
    message: str | None = None
    """Instead of Cloudflare's."""


ANSWERS: dict[FailureKind, _Answer] = {
    FailureKind.QUOTA: _Answer(RateLimitError, "daily_limit_reached", should_retry=False),
    FailureKind.CAPACITY: _Answer(InternalServerError, "overloaded", 503, wait_seconds=2),
    FailureKind.RATE_LIMIT: _Answer(RateLimitError, "rate_limit_exceeded", wait_seconds=10),
    FailureKind.AUTHENTICATION: _Answer(
        AuthenticationError,
        "invalid_api_key",
        message="Cloudflare did not accept this key. It has to be an API token of the account with the permission "
        "Workers AI Read and Edit.",
    ),
    FailureKind.PERMISSION: _Answer(PermissionDeniedError, "model_not_available"),
    # Not a 401 although the account comes with the key: the same codes also mean a path that Cloudflare does not
    # route, and a 401 makes One API switch off the whole channel.
    FailureKind.CONFIGURATION: _Answer(NotFoundError, "upstream_configuration"),
    FailureKind.MODEL_NOT_FOUND: _Answer(NotFoundError, "model_not_found", param="model"),
    FailureKind.CONTENT_FILTER: _Answer(BadRequestError, "content_policy_violation"),
    FailureKind.TOO_LARGE: _Answer(RequestTooLargeError, "request_too_large"),
    FailureKind.JSON_MODE: _Answer(BadRequestError, "json_mode_failed", param="response_format"),
    FailureKind.NO_JSON_MODE: _Answer(BadRequestError, "unsupported_parameter", param="response_format"),
    FailureKind.BAD_REQUEST: _Answer(BadRequestError, "invalid_value"),
    FailureKind.TIMEOUT: _Answer(InternalServerError, "upstream_timeout", 504),
    FailureKind.CONNECTION: _Answer(InternalServerError, "upstream_unreachable", 503, wait_seconds=2),
    FailureKind.BROKEN: _Answer(InternalServerError, "upstream_error", 502),
    FailureKind.SERVER: _Answer(InternalServerError, "upstream_error", 502),
}

OUR_FAULT = _Answer(
    InternalServerError,
    "upstream_auth",
    503,
    wait_seconds=MAX_WAIT_SECONDS,
    should_retry=False,
    message="Cloudflare did not accept this server's own account. Its operator has to look into it.",
)
OURS: dict[FailureKind, _Answer] = {
    FailureKind.AUTHENTICATION: OUR_FAULT,
    FailureKind.CONFIGURATION: OUR_FAULT._replace(
        code="upstream_configuration",
        message="This server is not set up correctly for Cloudflare. Its operator has to look into it.",
    ),
}
"""The answers that differ when account and token come from the settings: callers can do nothing about those."""

ACCOUNT_BLOCKED = 3023
ERROR_CODES = {
    2001: "gateway_not_found",
    ACCOUNT_BLOCKED: "account_blocked",
    5005: "unsupported_parameter",
    5016: "model_terms_not_accepted",
    5035: "plan_required",
    7000: "account_not_found",
    7003: "account_not_found",
}
"""Cloudflare's codes that get a code of their own."""


def is_operators(failure: Failure) -> bool:
    """Whether only the operator can mend it, if account and token come from our settings."""
    return failure.kind in OURS or failure.code == ACCOUNT_BLOCKED


def to_error(failure: Failure, *, is_ours: bool) -> APIStatusError:
    """What the client sees. `is_ours`: account and token come from our settings, not from the caller."""
    if failure.kind is FailureKind.CONTEXT_LENGTH:
        return _context_error(failure)
    if is_ours and is_operators(failure):
        answer = OURS.get(failure.kind, OUR_FAULT)
    else:
        answer = ANSWERS[failure.kind]
        answer = answer._replace(code=ERROR_CODES.get(failure.code or 0, answer.code))
    remedy = ADVICE.get(failure.code or 0) if is_ours and answer.message else None
    return answer.error(
        f"{answer.message} {remedy}" if remedy else answer.message or failure.message,
        param=answer.param or failure.param,
        code=answer.code,
        status=answer.status,
        retry_after_seconds=_wait(failure, answer),
        should_retry=answer.should_retry,
    )


def _wait(failure: Failure, answer: _Answer) -> float | None:
    if failure.kind is FailureKind.QUOTA:
        return failure.retry_after_seconds
    wait_seconds = answer.wait_seconds if failure.retry_after_seconds is None else failure.retry_after_seconds
    if wait_seconds is None or (answer.status or answer.error.status) < 429:
        return None
    return min(max(wait_seconds, 1), MAX_WAIT_SECONDS)


def _context_error(failure: Failure) -> BadRequestError:
    """Always with the words and the code by which agents know that they have to shorten the conversation."""
    window, prompt = failure.context_window, failure.prompt_tokens
    if window and prompt and prompt > window:
        return ContextLengthError(window, prompt)
    limit = f"{window} tokens" if window else "exceeded"
    size = f": {prompt} tokens leave no room for the answer asked for" if window and prompt else ""
    message = (
        f"This model's maximum context length is {limit}. However, your prompt is too long{size}. "
        "Please reduce the length of the messages."
    )
    return BadRequestError(message, param="messages", code="context_length_exceeded")
