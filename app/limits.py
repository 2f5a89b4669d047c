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
from types import TracebackType

from app.calls import UNLIMITED, Caller
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

Headers = list[tuple[bytes, bytes]]


class Admission:
    """The leave of one request. Whoever has it gives it back, once the request is done and recorded in the ledger.

    Use it as a context manager, or call `release`; what comes after the first time does nothing.
    """

    __slots__ = ("_held", "_limiter", "left", "neurons")

    def __init__(self, limiter: "Limiter", held: tuple[Tally, ...], left: float | None = None) -> None:
        self._limiter = limiter
        self._held = held
        self.left = left
        """Neurons, as the request began, if its key has no limits: then there is no more to tell of them."""
        self.neurons: float | None = None
        """What the request has cost, for whoever knows to set: later ones are expected to cost the like."""

    def release(self) -> None:
        held, self._held = self._held, ()
        for tally in held:
            tally.end()
        if held and self.neurons is not None and math.isfinite(self.neurons):
            self._limiter.learn(self.neurons)

    def __enter__(self) -> "Admission":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


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
        self._keys: dict[str, Tally] = {}

    def admit(self, caller: Caller) -> Admission:
        """Let a request begin. A refusal costs nothing: it counts as no request. Raises RateLimitError."""
        budget = self._budget if caller.account.is_ours else None
        if caller.limits is UNLIMITED:  # as most are
            return Admission(self, ()) if budget is None else self._admit_plain(budget)
        if budget is not None:
            self._check_neurons(self._spent(), budget, self._server, "server")
        tally = self._admit_key(caller)
        if budget is None:
            return Admission(self, (tally,))
        self._server.begin()
        return Admission(self, (tally, self._server))

    def _admit_plain(self, budget: float) -> Admission:
        """Within the server's budget alone."""
        spent, server = self._spent(), self._server
        if spent + (server.running + 1) * self._expected >= budget:
            self._check_neurons(spent, budget, server, "server")
        server.running += 1
        return Admission(self, (server,), 0.0 if self._is_spent() else budget - spent)

    def learn(self, neurons: float) -> None:
        """What a request has cost."""
        former = self._expected
        self._expected = former + (neurons - former) * NEWEST_WEIGHT if former else neurons

    def remaining_neurons(self, caller: Caller) -> float | None:
        """What the caller can spend until 00:00 UTC: the least of the key's and the server's. None: no limit."""
        allowances = []
        if self._budget is not None and caller.account.is_ours:
            allowances.append(self._left(self._budget))
        if caller.limits.neurons_per_day is not None:
            allowances.append(caller.limits.neurons_per_day - self._ledger.spent_today(caller.name))
        return max(min(allowances), 0.0) if allowances else None

    def headers(self, caller: Caller) -> Headers:
        """For every answer, refusals included: OpenAI's `x-ratelimit-*`, the same for neurons, and what is left.

        So many more requests as `remaining` says would be let in now. Neurons are rounded down.
        """
        limits = caller.limits
        headers: Headers = []
        now = self._now()
        if limits.requests_per_minute is not None:
            limit = limits.requests_per_minute
            drawn = self._tally(caller.name).settle(now, limit)
            reset = duration(drawn * MINUTE_SECONDS / limit).encode() if drawn else b"0s"
            headers += _rate_headers(b"requests", limit, limit - drawn + ROUNDING, reset)
        if limits.neurons_per_day is not None:
            left = max(limits.neurons_per_day - self._ledger.spent_today(caller.name), 0.0)
            reset = _in_seconds(math.ceil(until_midnight(now)))
            headers += _rate_headers(b"neurons", limits.neurons_per_day, left, reset)
        remaining_neurons = self.remaining_neurons(caller)
        if remaining_neurons is not None:
            headers.append(_remaining(remaining_neurons))
        return headers

    def _admit_key(self, caller: Caller) -> Tally:
        """Begins the request: other workers have to see it before it is seen whether there are too many."""
        limits, tally = caller.limits, self._tally(caller.name)
        if limits.neurons_per_day is not None:
            self._check_neurons(self._ledger.spent_today(caller.name), limits.neurons_per_day, tally, "key")
        tally.begin()
        try:
            if limits.concurrent_requests is not None:
                _check_running(tally, limits.concurrent_requests)
            if limits.requests_per_minute is not None:  # the last: it changes something
                self._draw(tally, limits.requests_per_minute)
        except RateLimitError:
            tally.end()
            raise
        return tally

    def _draw(self, tally: Tally, limit: int) -> None:
        """Take one request out of the bucket."""
        missing = tally.settle(self._now(), limit) + 1 - limit
        if missing > ROUNDING:
            wait = missing * MINUTE_SECONDS / limit
            raise RateLimitError(
                f"Rate limit reached for this key on requests per min (RPM): Limit {limit}. "
                f"Please try again in {duration(wait)}.",
                retry_after_seconds=math.ceil(wait - ROUNDING),
            )
        tally.draw()

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

    def _left(self, budget: float) -> float:
        return 0.0 if self._is_spent() else budget - self._spent()

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


def until_midnight(now: float) -> float:
    """Seconds until the next UTC day."""
    return DAY_SECONDS - now % DAY_SECONDS


def duration(seconds: float) -> str:
    """As OpenAI writes it in headers: `120ms`, `6s`, `1m0s`, `13h5m0.5s`. Rounded up to milliseconds."""
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest / 1000:g}s"


def _remaining(neurons: float) -> tuple[bytes, bytes]:
    return REMAINING, b"%d" % max(neurons, 0.0)


@lru_cache(maxsize=2)
def _in_seconds(seconds: int) -> bytes:
    return duration(seconds).encode()


def _rate_headers(what: bytes, limit: float, remaining: float, reset: bytes) -> Headers:
    return [
        (b"x-ratelimit-limit-" + what, b"%d" % limit),
        (b"x-ratelimit-remaining-" + what, b"%d" % remaining),
        (b"x-ratelimit-reset-" + what, reset),
    ]
