"""What a call cost, and what two of them did."""

from typing import Any

import pytest

from app.calls import Bill, Origin, Reply
from app.upstream.charges import bill_for, with_charge_of, without_charge

TOLD = {"text": "a", "usage": {"tokens": 1, "neurons": 2.5}}


@pytest.mark.parametrize("body", ["text", b"bytes", None, [1], {"a": 1}, {"usage": None}, {"usage": {"tokens": 1}}])
def test_what_tells_no_charge_is_left_as_it_is(body: Any) -> None:
    assert without_charge(body) is body


def test_a_charge_of_somebody_else_is_not_told() -> None:
    assert without_charge(TOLD) == {"text": "a", "usage": {"tokens": 1}}


@pytest.mark.parametrize(
    ("former", "latter", "neurons"),
    [
        (Reply("no", neurons=1), Reply("yes", neurons=2), 3),
        (Reply(TOLD), Reply(TOLD, neurons=9), 5),  # in the body it is the more exact one
        (Reply("no", neurons=0), Reply("yes", neurons=0), 0),
        (Reply("no"), Reply("yes", neurons=2), 2),
        (Reply("no", neurons=1), Reply("yes"), None),  # then both are counted by the price list, or neither
        (None, Reply("yes", neurons=2), 2),
    ],
)
def test_a_reply_that_was_no_good_is_paid_for_too(former: Reply | None, latter: Reply, neurons: float | None) -> None:
    assert with_charge_of(former, latter).neurons == neurons


def test_of_a_stream_nothing_is_known_yet() -> None:
    stream = object()
    assert with_charge_of(Reply("no", neurons=1), stream) is stream


def test_what_was_paid_for_replies_that_were_no_good() -> None:
    first, second = Reply("a", neurons=1.5, origin=Origin("one")), Reply(TOLD, origin=Origin("two"))
    others = (Reply("free", neurons=0), Reply("kept", neurons=3, is_cached=True), Reply("unknown"), object())
    assert bill_for("a-model", (first, *others, second)) == Bill("a-model", ("one", "two"), (1.5, 2.5))
    assert bill_for("a-model", others) is None
