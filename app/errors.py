"""The failures a client can see, named as in OpenAI's Python client: what we raise is what the caller catches.

APIStatusError
├── BadRequestError            400
│   └── ContextLengthError     400  context_length_exceeded
├── AuthenticationError        401
├── PermissionDeniedError      403
├── NotFoundError              404
├── MethodNotAllowedError      405
├── RequestTooLargeError       413
├── RateLimitError             429
└── InternalServerError        500, 502, 503, 504
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any


class APIStatusError(Exception):
    """An answer other than 200, in OpenAI's shape.

    `retry_after_seconds` becomes `Retry-After`. `should_retry` becomes `x-should-retry`, which OpenAI's clients
    obey over their own table.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.status = status or self.status
        self.retry_after_seconds = retry_after_seconds
        self.should_retry = should_retry

    def envelope(self) -> dict[str, Any]:
        """The body: `{"error": {...}}` with `param` and `code` a string or null, never absent."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_seconds)))
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


class BadRequestError(APIStatusError):
    status = 400
    type = "invalid_request_error"


class ContextLengthError(BadRequestError):
    """The one wording that every agent recognises and answers by compacting the conversation."""

    code = "context_length_exceeded"

    def __init__(self, context_window: int, prompt_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_window} tokens. However, your prompt is too long: "
            f"{prompt_tokens} tokens > {context_window} maximum. Please reduce the length of the messages.",
            param="messages",
        )


class AuthenticationError(APIStatusError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class PermissionDeniedError(APIStatusError):
    """Its type is not OpenAI's `permission_error`, which makes OneAPI switch the whole channel off."""

    status = 403
    type = "invalid_request_error"


class NotFoundError(APIStatusError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"

    def __init__(self, name: str, known: Sequence[str] = (), *, hint: str = "") -> None:
        """`hint` is said in place of the names that are `known` and close to this one."""
        close = [] if hint else get_close_matches(name, known, n=3, cutoff=0.5)
        hint = hint or (f"Did you mean {' or '.join(close)}?" if close else "GET /v1/models lists what there is.")
        super().__init__(f"The model '{name[:200]}' does not exist. {hint}", param="model")


class MethodNotAllowedError(APIStatusError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class RequestTooLargeError(APIStatusError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class RateLimitError(APIStatusError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class InternalServerError(APIStatusError):
    status = 500
    type = "server_error"
    code = "internal_error"
