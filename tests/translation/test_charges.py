"""Charges: what calls cost, divided among texts and summed up by account."""

from typing import Any

import pytest

from app.calls import Origin, Usage
from app.relay import Answer
from app.translation.charges import Charge, Charges, by_call, charges_of, neurons_of, parted


def answer(usage: Usage, *accounts: str) -> Answer[Any]:
    plan: Any = None
    return Answer("", plan, usage, tuple(Origin(account) for account in accounts))


def test_the_calls_of_an_answer_cost_the_same() -> None:
    expected = (Charge("a", 1.5, 1, True), Charge("b", 1.5, 1, True))
    assert charges_of(answer(Usage(neurons=3, is_priced=True), "a", "b")) == expected
    assert charges_of(answer(Usage(), "a")) == (Charge("a", None),)
    assert charges_of(answer(Usage(neurons=0))) == ()


def test_a_text_has_its_share_of_every_call() -> None:
    assert parted((Charge("a", 4.0), Charge("b", None)), 0.25) == (Charge("a", 1.0, 0.25), Charge("b", None, 0.25))


@pytest.mark.parametrize(
    ("charges", "neurons"),
    [
        ((), 0.0),
        ((Charge("a", None),), None),
        ((Charge("a", None), Charge("b", 2.0)), 2.0),
        ((Charge("a", 1.5), Charge("b", 2.0)), 3.5),
    ],
)
def test_what_nobody_knows_is_not_nothing(charges: Charges, neurons: float | None) -> None:
    assert neurons_of(charges) == neurons


@pytest.mark.parametrize(
    ("charges", "calls"),
    [
        ((), []),
        (parted((Charge("a", 3.0),), 1 / 3) * 3, [("a", 3.0)]),
        (parted((Charge("a", 3.0),), 1 / 3), [("a", 1.0)]),
        ((Charge("a", 3.0), Charge("b", None), Charge("a", 2.0, 0.5)), [("a", 2.5), ("a", 2.5), ("b", 0.0)]),
        ((Charge("a", 0.0, 0.0),), [("a", 0.0)]),
    ],
)
def test_parts_of_calls_are_counted_up_by_account(charges: Charges, calls: list[tuple[str, float]]) -> None:
    found = list(by_call(charges))
    assert [account for account, _ in found] == [account for account, _ in calls]
    assert [neurons for _, neurons in found] == pytest.approx([neurons for _, neurons in calls])
