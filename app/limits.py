"""Limiter: whether a request may begin, by the limits of its key and the neurons that the server may spend in a day.

Requests per minute and concurrent requests are counted for all workers together, where there are several. Neurons are
those of the ledger, which all processes share, and are right to within a few seconds.

Where this differs from OpenAI: the type of a refusal is always `rate_limit_error`, and its code never
`insufficient_quota`, for which One API would switch the whole channel off.
"""

import math
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from app.calls import UNLIMITED, Caller, Limits
from app.errors import RateLimitError
from app.stores.ledger import DAY_SECONDS, Ledger
from app.tallies import MINUTE_SECONDS, Others, SharedTally, Tally

ROUNDING = 1e-6
"""Of requests, that are counted down by the clock."""
LARGEST_SHARE = 0.02
"""Of a day's neurons, that one running request can hold: one that was dear must not close the whole day."""
NEWEST_WEIGHT = 0.2
"""Of the latest request in the average cost."""

REMAINING = b"x-flarelay-remaining-neurons"
"""The header that tells what is left."""

REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
NEURONS = (b"x-ratelimit-limit-neurons", b"x-ratelimit-remaining-neurons", b"x-ratelimit-reset-neurons")

Headers = list[tuple[bytes, bytes]]


class Admission(NamedTuple):
    """The leave of a request, or of several that are alike. It is given back for each of them, once that is done and
    recorded in the ledger: `Limiter.release`.
    """

    key: Tally | None
    headers: Headers
    """What there is to tell with the answer, as of the request's beginning."""
    server: Tally | None
    """With `key`, the tallies in which the request runs."""


FREE = Admission(None, [], None)
"""Of those of whom nothing is counted."""


class Limiter:
    """Limits are those that the caller carries; a key is known by the caller's name."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        budget: float | None = None,
        accounts: Iterable[str] = (),
        others: Others | None = None,
        is_spent: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`budget`: neurons that the server's own accounts may spend in a day, together. `accounts`: their ids.

        Callers who bring an account of their own have no budget. `others`: the other workers, if there are any.
        `is_spent`: whether Cloudflare says of all of our accounts that nothing is left today. `now` tells Unix seconds.
        """
        self._ledger = ledger
        self._budget = budget
        self._accounts = tuple(accounts)
        self._others = others
        self._is_spent = is_spent
        self._now = now
        self._expected = 0.0
        """Neurons that a request costs on average; its model is not known yet when it is let in. So many are set aside
        for each that runs.
        """
        self._server = Tally()
        self._latest: Admission | None = None
        """Of a caller without limits. The next one may have the same, unless something has changed: some request has
        ended, more is spent than was then, or so many run that there may be no room.
        """
        self._total = self._room = 0.0
        self._keys: dict[str, Tally] = {}

    def admit(self, caller: Caller) -> Admission:
        """Let a request begin. A refusal costs nothing: it counts as no request. Raises RateLimitError."""
        if (
            self._latest
            and caller.limits is UNLIMITED
            and caller.account.is_ours
            and self._server.running < self._room
            and self._ledger.sums().total == self._total
        ):
            self._server.running += 1
            return self._latest
        return self._admit(caller)

    def release(self, admission: Admission, neurons: float | None = None) -> None:
        """A request is over. `neurons`: its cost, if that is known; later ones are expected to cost the like."""
        self._latest = None
        if admission.key:
            admission.key.end()
        if admission.server:
            admission.server.running -= 1
        if neurons is not None and neurons < math.inf and admission is not FREE:
            former = self._expected
            self._expected = former + (neurons - former) * NEWEST_WEIGHT if former else neurons

    def _admit(self, caller: Caller) -> Admission:
        budget = self._budget if caller.account.is_ours else None
        if budget is None:
            return FREE if caller.limits is UNLIMITED else Admission(*self._admit_key(caller, None), server=None)
        server, spent = self._server, self._spent()
        if spent + (server.running + 1) * self._expected >= budget:  # else there is room whatever a share is
            self._check_neurons(spent, budget, server, "server")
        left = 0.0 if self._is_spent() else budget - spent
        if caller.limits is not UNLIMITED:
            admission = Admission(*self._admit_key(caller, left), server)
        else:
            admission = self._latest = Admission(None, [(REMAINING, b"%d" % left)], server)
            self._total = self._ledger.sums().total
            self._room = (budget - spent) / self._expected - 1 if self._expected else math.inf
        server.running += 1
        return admission

    def remaining_neurons(self, caller: Caller) -> float | None:
        """What the caller can spend until 00:00 UTC: the least of the key's and the server's. None: no limit."""
        return _least(self._own(caller), self._left(caller))

    def headers(self, caller: Caller) -> Headers:
        """For every answer, refusals included: OpenAI's `x-ratelimit-*`, the same for neurons, and what is left.

        So many more requests as `remaining` says would be let in now. Neurons are rounded down.
        """
        limits, now = caller.limits, self._now()
        limit = limits.requests_per_minute
        drawn = 0.0 if limit is None else self._tally(caller.name).settle(now, limit)
        return _headers(limits, now, drawn, self._own(caller), self._left(caller))

    def _admit_key(self, caller: Caller, left: float | None) -> tuple[Tally, Headers]:
        """Begins the request: other workers have to see it before it is seen whether there are too many."""
        limits, tally = caller.limits, self._tally(caller.name)
        now, drawn, own = self._now(), 0.0, self._own(caller)
        if limits.neurons_per_day is not None and own is not None:
            self._check_neurons(limits.neurons_per_day - own, limits.neurons_per_day, tally, "key")
        tally.begin()
        try:
            if limits.concurrent_requests is not None:
                _check_running(tally, limits.concurrent_requests)
            if limits.requests_per_minute is not None:  # the last: it changes something
                drawn = _draw(tally, now, limits.requests_per_minute)
        except RateLimitError:
            tally.end()
            raise
        return tally, _headers(limits, now, drawn, own, left)

    def _check_neurons(self, spent: float, limit: float, tally: Tally, whose: str) -> None:
        """Whether so many are left as one more request may cost, beside those that run."""
        share = min(self._expected, limit * LARGEST_SHARE)
        if spent < limit and spent + (tally.running + 1) * share <= limit:
            return
        if spent >= limit or spent + share > limit:
            raise RateLimitError(
                f"This {whose} has used up its allowance of {limit:,.10g} neurons a day. "
                "The daily one starts anew at 00:00 UTC.",
                code="daily_limit_reached",
                retry_after_seconds=math.ceil(until_midnight(self._now())),
                should_retry=False,
            )
        raise RateLimitError(
            f"What is left of this {whose}'s allowance of {limit:,.10g} neurons a day is set aside for requests "
            "that are running. Please try again when they have ended.",
            retry_after_seconds=2,
        )

    def _own(self, caller: Caller) -> float | None:
        """Neurons that the key has left."""
        limit = caller.limits.neurons_per_day
        return None if limit is None else max(limit - self._ledger.sums().keys.get(caller.name, 0.0), 0.0)

    def _left(self, caller: Caller) -> float | None:
        """Neurons that the server has left for the caller."""
        if self._budget is None or not caller.account.is_ours:
            return None
        return 0.0 if self._is_spent() else max(self._budget - self._spent(), 0.0)

    def _spent(self) -> float:
        """Neurons, of the server's own accounts."""
        spent = self._ledger.sums().accounts
        if len(self._accounts) == 1:
            return spent.get(self._accounts[0], 0.0)
        return sum(spent.get(account, 0.0) for account in self._accounts)

    def _tally(self, name: str) -> Tally:
        tally = self._keys.get(name)
        if tally is None:
            tally = self._keys[name] = SharedTally(name, self._others) if self._others else Tally()
        return tally


def _check_running(tally: Tally, limit: int) -> None:
    if tally.running_everywhere() > limit:
        raise RateLimitError(
            f"Rate limit reached for this key on concurrent requests: Limit {limit}. "
            "Please try again when one of them has ended.",
            retry_after_seconds=1,
        )


def _draw(tally: Tally, now: float, limit: int) -> float:
    """Take one request out of the bucket, and tell how many are out of it then."""
    drawn = tally.settle(now, limit) + 1
    if drawn - limit > ROUNDING:
        wait = (drawn - limit) * MINUTE_SECONDS / limit
        raise RateLimitError(
            f"Rate limit reached for this key on requests per min (RPM): Limit {limit}. "
            f"Please try again in {duration(wait)}.",
            retry_after_seconds=math.ceil(wait - ROUNDING),
        )
    tally.draw()
    return drawn


def until_midnight(now: float) -> float:
    """Seconds until the next UTC day."""
    return DAY_SECONDS - now % DAY_SECONDS


def duration(seconds: float) -> str:
    """As OpenAI writes it in headers: `120ms`, `6s`, `1m0s`, `13h5m0.5s`. Rounded up to milliseconds."""
    return _duration(math.ceil(seconds * 1000 - 0.0005))


@lru_cache(maxsize=1024)
def _duration(milliseconds: int) -> str:
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest / 1000:g}s"


def _least(own: float | None, left: float | None) -> float | None:
    return left if own is None else own if left is None else min(own, left)


def _headers(limits: Limits, now: float, drawn: float, own: float | None, left: float | None) -> Headers:
    """`own` and `left` are what the key and the server have left, `drawn` the requests that are out of the bucket."""
    headers: Headers = []
    if (limit := limits.requests_per_minute) is not None:
        headers += _rate_headers(REQUESTS, limit, limit - drawn + ROUNDING, drawn * MINUTE_SECONDS / limit)
    if limits.neurons_per_day is not None:
        headers += _rate_headers(NEURONS, limits.neurons_per_day, own or 0.0, math.ceil(until_midnight(now)))
    if (least := _least(own, left)) is not None:
        headers.append((REMAINING, b"%d" % least))
    return headers


def _rate_headers(names: tuple[bytes, bytes, bytes], limit: float, remaining: float, reset_seconds: float) -> Headers:
    a, b, c = names
    return [(a, b"%d" % limit), (b, b"%d" % remaining), (c, duration(reset_seconds).encode())]
