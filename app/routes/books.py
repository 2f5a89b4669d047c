"""Books: what every request is let in by, and where what it cost is written down."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.calls import Caller, Usage
from app.limits import Admission, Limiter
from app.metrics import Metrics, route_of
from app.routes.replies import Headers
from app.stores.ledger import Entry, Ledger

if TYPE_CHECKING:
    from app.routes.record import Record


NOTHING = Usage()


class Books:
    """The limits, the ledger and the metrics."""

    def __init__(self, limiter: Limiter, ledger: Ledger, metrics: Metrics) -> None:
        self._limiter = limiter
        self._ledger = ledger
        self.metrics = metrics
        self.known: frozenset[str] = frozenset()
        """The paths that there are, as templates."""

    def admit(self, caller: Caller) -> Admission:
        """Raises RateLimitError."""
        return self._limiter.admit(caller)

    def headers(self, caller: Caller) -> Headers:
        """What is left, for every answer."""
        return self._limiter.headers(caller)

    def close(
        self,
        admission: Admission,
        caller: Caller,
        model: str | None,
        usage: Usage | None,
        accounts: tuple[str, ...],
        shares: tuple[float, ...] = (),
    ) -> None:
        """The request is over. `shares`: the neurons of each account, if they have not paid all the same."""
        if model and usage:
            admission.neurons = usage.neurons
            accounts = accounts or (caller.account.id,)
            if len(accounts) == 1:  # nearly always
                self._ledger.add(
                    caller.name,
                    accounts[0],
                    model,
                    usage.neurons or 0.0,
                    usage.is_priced,
                    usage.prompt_tokens,
                    usage.completion_tokens,
                    usage.cached_tokens,
                    usage.audio_seconds,
                )
            else:
                for entry in entries(caller.name, accounts, model, usage, shares):
                    self._ledger.record(entry)
        admission.release()

    def count(self, record: "Record") -> None:
        """The request in the metrics."""
        usage = record.usage or NOTHING
        self.metrics.request(
            route_of(record.path, self.known),
            record.status,
            record.seconds,
            record.first_byte_seconds,
            record.ran,
            record.stream,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.neurons,
            usage.audio_seconds,
        )


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
