"""Charges: what a call cost, as Cloudflare tells it in a header, and in some models' answers too."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from app.calls import Bill, Reply
from app.upstream.wire import Response

T = TypeVar("T")


def neurons_of(response: Response) -> float | None:
    told = response.header(b"cf-ai-neurons")
    try:
        return float(told) if told else None
    except ValueError:
        return None


def without_charge(body: Any) -> Any:
    """For an answer that somebody else has paid for."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict) or "neurons" not in usage:
        return body
    return body | {"usage": {name: value for name, value in usage.items() if name != "neurons"}}


def with_charge_of(former: object, outcome: T) -> T:
    """The outcome of a call that had to be asked again: a reply that was no good is charged like any other."""
    if not isinstance(former, Reply) or not isinstance(outcome, Reply):
        return outcome
    costs = [_charge_of(former), _charge_of(outcome)]
    if None in costs:
        return outcome
    return replace(outcome, body=without_charge(outcome.body), neurons=sum(filter(None, costs)))


def bill_for(model: str, outcomes: Iterable[object]) -> Bill | None:
    """For replies that were no good, as far as Cloudflare told their charge."""
    replies = [each for each in outcomes if isinstance(each, Reply) and not each.is_cached]
    paid = [(reply.origin.account, cost) for reply in replies if (cost := _charge_of(reply))]
    return Bill(model, *zip(*paid, strict=True)) if paid else None


def _charge_of(reply: Reply) -> float | None:
    usage = reply.body.get("usage") if isinstance(reply.body, dict) else None
    told = usage.get("neurons") if isinstance(usage, dict) else None
    return told if isinstance(told, int | float) else reply.neurons
