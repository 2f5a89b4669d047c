"""Books: what every request is let in by, and where what it cost is written down.

Requests that have ended are booked together, one turn of the event loop later: code that has just run for one of them
runs faster for the next. To keep them longer would cost more, for new memory.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from app.calls import UNLIMITED, Caller, Usage
from app.errors import RateLimitError
from app.limits import Admission, Limiter
from app.metrics import Metrics, route_of
from app.routes.replies import Headers
from app.stores.ledger import Entry, Ledger

if TYPE_CHECKING:
    from app.routes.record import Record


class Books:
    """The limits, the ledger and the metrics."""

    def __init__(self, limiter: Limiter, ledger: Ledger, metrics: Metrics) -> None:
        self.headers: Callable[[Caller], Headers] = limiter.headers
        """What is left, for every answer."""
        self._admit: Callable[[Caller], Admission] = limiter.admit
        self._release: Callable[[Admission, float | None], None] = limiter.release
        self._ledger = ledger
        self.metrics = metrics
        self.known: frozenset[str] = frozenset()
        """The paths that there are, as templates."""
        self.ended: list[Record] = []
        """Requests that are still to be booked."""

    def admit(self, caller: Caller) -> Admission:
        """Let a request begin. Raises RateLimitError.

        What has ended in this turn counts as running, with what it was expected to cost, as long as that is no reason
        to refuse anybody.
        """
        if self.ended and caller.limits is not UNLIMITED:
            self.settle()
        try:
            return self._admit(caller)
        except RateLimitError:
            if not self.ended:
                raise
        self.settle()
        return self._admit(caller)

    def close(self, record: "Record") -> None:
        """The request is over."""
        self.ended.append(record)
        if len(self.ended) == 1:
            asyncio.get_running_loop().call_soon(self.settle)

    def settle(self) -> None:
        """Book what has ended: in the metrics and in the ledger, and give the leaves back."""
        ended, self.ended = self.ended, []
        for record in ended:
            neurons = None
            try:
                neurons = self._book(record)
            except Exception as failure:  # noqa: BLE001 - the others are still to be booked
                record.crash(failure)
            if record.admission:
                self._release(record.admission, neurons)

    def _book(self, record: "Record") -> float | None:
        """The neurons that it has cost, if that is known."""
        metrics, path, usage = self.metrics, record.path, record.usage
        metrics.requests_open -= 1
        if record.is_streaming:
            metrics.streams_open -= 1
        metrics.request(
            path if path in self.known else route_of(path, self.known),
            record.status,
            record.seconds,
            record.first_byte_seconds,
            is_stream=record.stream,
            model=record.ran,
            usage=usage,
        )
        if usage is None or record.asker is None or record.admission is None:
            return None
        if model := record.ran or record.model:
            key, accounts = record.asker.name, record.accounts or (record.asker.account.id,)
            if len(accounts) == 1:  # nearly always
                self._ledger.add(key, accounts[0], model, usage)
            else:
                for entry in entries(key, accounts, model, usage, record.shares):
                    self._ledger.record(entry)
        return usage.neurons


def entries(
    key: str, accounts: Sequence[str], model: str, usage: Usage, shares: Sequence[float] = ()
) -> Iterator[Entry]:
    """One for each account, by its part of the calls; of what can't be divided nothing is lost.

    `shares`: the neurons of each call, in place of equal parts of the usage's.
    """
    calls, before = len(accounts), 0
    for account, own in Counter(accounts).items():
        after = before + own
        prompt, completion, cached = (
            total * after // calls - total * before // calls
            for total in (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
        )
        part = own / calls
        neurons, seconds = (usage.neurons or 0) * part, usage.audio_seconds * part
        if shares:
            neurons = sum(share for name, share in zip(accounts, shares, strict=True) if name == account)
        yield Entry(key, account, model, neurons, usage.is_priced, prompt, completion, cached, seconds, own)
        before = after
