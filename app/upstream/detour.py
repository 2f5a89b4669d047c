"""Detour: whose AI Gateway is down and gone past for a while, so that not every call has to find out anew."""

import time
from collections.abc import Callable

REST_SECONDS = 30.0
MOST_KEPT = 1_000
"""Callers bring accounts of their own, and made-up ones too."""


class Detour:
    """By account: each has its gateway."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, rest_seconds: float = REST_SECONDS) -> None:
        """`now` tells seconds."""
        self._now = now
        self._rest_seconds = rest_seconds
        self._until: dict[str, float] = {}

    def is_taken(self, account_id: str) -> bool:
        """Whether a call should not even try the gateway. After the rest one call is let through to see how it is."""
        until = self._until.get(account_id)
        if until is None:
            return False
        if self._now() < until:
            return True
        self.begin(account_id)
        return False

    def begin(self, account_id: str) -> None:
        """The gateway is down."""
        self._until.pop(account_id, None)
        self._until[account_id] = self._now() + self._rest_seconds
        if len(self._until) > MOST_KEPT:
            del self._until[next(iter(self._until))]

    def end(self, account_id: str) -> None:
        """It has answered."""
        if self._until:
            self._until.pop(account_id, None)
