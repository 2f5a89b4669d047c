"""Texts in batches that a model takes in one call, and what a batch has cost."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from app.calls import Reply, Usage
from app.catalog import Model
from app.translators.tokens import estimate_tokens

BLANK = " "
"""Stands for an empty text, which Workers AI refuses."""

BATCH_OF_UNLISTED = 32
"""Texts in one call for a model that is not in the catalogue: the lowest limit that Cloudflare documents."""

SHARE = 0.8
"""Of the tokens that a call may have, as far as it is filled by an estimate."""


def in_batches(texts: Iterable[str], model: Model, *, beside: int = 0) -> list[list[str]]:
    """Texts in order, as many to a call as the model takes. `beside`: tokens that count again with each text."""
    most = BATCH_OF_UNLISTED if model.status == "unlisted" else model.max_batch
    room = SHARE * (model.quirks.max_call_tokens or math.inf)
    batches: list[list[str]] = [[]]
    tokens = 0
    for text in texts:
        cost = estimate_tokens(text) + beside
        if batches[-1] and (len(batches[-1]) == most or tokens + cost > room):
            batches.append([])
            tokens = 0
        batches[-1].append(text or BLANK)
        tokens += cost
    return batches


def usage_of(reply: Reply, batch: Sequence[str]) -> Usage:
    """As Cloudflare counted it, or estimated: its documents promise no count, and a count of zero is none."""
    body = reply.body if isinstance(reply.body, dict) else {}
    counted = body.get("usage")
    counted = counted if isinstance(counted, dict) else {}
    neurons = _positive(counted.get("neurons"))
    neurons = reply.neurons if neurons is None else neurons
    tokens = _positive(counted.get("prompt_tokens")) or _positive(counted.get("total_tokens"))
    if tokens:
        return Usage(math.ceil(tokens), neurons=neurons)
    return Usage(sum(map(estimate_tokens, batch)), neurons=neurons, is_estimated=True)


def _positive(value: Any) -> float | None:
    return value if isinstance(value, int | float) and value > 0 else None
