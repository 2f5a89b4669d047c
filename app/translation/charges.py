"""Charges: what each account was asked for a text, in calls that it may share with other texts."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from app.relay import Answer

ROUNDING = 1e-6
"""Of parts that make up a whole call."""


class Charge(NamedTuple):
    """What one account was asked."""

    account: str
    """Its id."""
    neurons: float | None
    """None: nobody knows."""
    calls: float = 1.0
    """In parts, where a call had other texts too."""
    is_priced: bool = False
    """The neurons follow from the price list."""


Charges = tuple[Charge, ...]
"""None at all: it cost nothing."""


def charges_of(answer: Answer[Any]) -> Charges:
    """One for each call that was paid for, all alike: only their sum is known."""
    usage, count = answer.usage, len(answer.origins)
    neurons = None if usage.neurons is None else usage.neurons / max(count, 1)
    return tuple(Charge(origin.account, neurons, is_priced=usage.is_priced) for origin in answer.origins)


def parted(charges: Iterable[Charge], share: float) -> Charges:
    """The share, 0 to 1, that one of several texts has in them."""
    return tuple(
        charge._replace(neurons=None if charge.neurons is None else charge.neurons * share, calls=charge.calls * share)
        for charge in charges
    )


def neurons_of(charges: Sequence[Charge]) -> float | None:
    """As far as they are known; None if there were calls and nobody knows what any of them cost."""
    known = [charge.neurons for charge in charges if charge.neurons is not None]
    return sum(known, 0.0) if known or not charges else None


def by_call(charges: Iterable[Charge]) -> Iterator[tuple[str, float]]:
    """Accounts and neurons, one for each call that a request took part in: parts of calls are counted up."""
    sums: dict[str, tuple[float, float]] = {}
    for charge in charges:
        neurons, calls = sums.get(charge.account, (0.0, 0.0))
        sums[charge.account] = neurons + (charge.neurons or 0), calls + charge.calls
    for account, (neurons, calls) in sums.items():
        count = max(math.ceil(calls - ROUNDING), 1)
        yield from [(account, neurons / count)] * count
