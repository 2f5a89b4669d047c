"""Record: the one log line of a request. Who asked, how it went, what it cost; never what was said."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope, Send

from app.auth import Auth
from app.calls import Caller, Failure, Usage
from app.errors import APIStatusError, InternalServerError
from app.limits import Admission
from app.logs import log_request
from app.routes.books import Books
from app.routes.replies import Headers, send_error

logger = logging.getLogger("flarelay")


@dataclass(slots=True)
class Record:
    """What becomes the line of one request, filled in as it goes."""

    request_id: str
    method: str
    path: str
    caller: str | None = None
    model: str | None = None
    ran: str | None = None
    stream: bool = False
    status: int = 0
    error: str | None = None
    usage: Usage | None = None
    accounts: tuple[str, ...] = ()
    """Ids of those that paid, one for each call."""
    shares: tuple[float, ...] = ()
    """The neurons of each of them, where they are known."""
    first_byte_seconds: float | None = None
    seconds: float = 0.0
    """All it took, once it is over."""
    books: Books | None = None
    asker: Caller | None = None
    admission: Admission | None = None
    is_streaming: bool = False
    """A stream has begun."""
    refuse: Callable[[APIStatusError, Send], Awaitable[None]] = send_error
    """How a failure is told: an API may have a shape of its own for it."""
    started: float = field(default_factory=time.perf_counter)

    def admit(self, caller: Caller) -> None:
        """Note who asks, and let the request begin. Raises RateLimitError."""
        self.caller, self.asker = caller.name, caller
        if books := self.books:
            self.admission = books.admit(caller)

    def answer(self, status: int) -> Headers:
        """The answer begins. What there is to tell of what is left."""
        self.status = status
        self.first_byte_seconds = time.perf_counter() - self.started
        if self.books is None:
            return []
        if self.stream:
            self.is_streaming = True
            self.books.metrics.streams_open += 1
        if self.asker is None:
            return []
        if status == 200 and self.admission:
            return self.admission.headers
        return self.books.headers(self.asker)

    def fail(self, error: APIStatusError) -> None:
        """There is no answer, but maybe something to pay."""
        self.error = error.code
        bill = error.__cause__.bill if isinstance(error.__cause__, Failure) else None
        if bill and not self.usage:
            self.ran, self.accounts, self.shares = bill.model, bill.accounts, bill.shares
            self.usage = Usage(neurons=sum(bill.shares))

    def crash(self, failure: Exception) -> InternalServerError:
        """What to tell of an exception that nobody foresaw; the log gets it whole."""
        logger.error("crash", exc_info=failure, extra={"fields": {"request_id": self.request_id}})
        crash = InternalServerError("The server failed. Its log has the reason under the request's id.")
        self.error = crash.code
        return crash

    def close(self) -> None:
        """It is over."""
        self.seconds = time.perf_counter() - self.started
        if self.books is not None:
            self.books.close(self)

    def write(self) -> None:
        level = logging.INFO if self.status < 500 else logging.WARNING
        if logger.isEnabledFor(level):
            log_request(level, "request", self._fields)

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "duration_ms": _milliseconds(self.seconds),
        }
        if self.first_byte_seconds is not None:
            fields["first_byte_ms"] = _milliseconds(self.first_byte_seconds)
        for name in ("caller", "model", "ran", "stream", "error"):
            if value := getattr(self, name):
                fields[name] = value
        if usage := self.usage:
            fields["prompt_tokens"], fields["completion_tokens"] = usage.prompt_tokens, usage.completion_tokens
            if usage.cached_tokens:
                fields["cached_tokens"] = usage.cached_tokens
            if usage.neurons is not None:
                fields["neurons"] = usage.neurons
            if usage.is_estimated:
                fields["usage_estimated"] = True
        return fields


def _milliseconds(seconds: float) -> float:
    """To a tenth. Python's `round` would take longer than all else in the line."""
    return int(seconds * 10_000 + 0.5) / 10


def admitted(scope: Scope, auth: Auth) -> tuple[Record, Caller]:
    """Who asks, noted down and let in. Raises AuthenticationError, RateLimitError."""
    record: Record = scope["record"]
    caller = auth.identify(scope["headers"])
    record.admit(caller)
    return record, caller
