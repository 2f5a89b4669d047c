"""The task rerank, and the same on an embedding model that can do it: contexts scored by what they share with a query.

Source: Cloudflare's published types and model schemas.
"""

import math
from typing import Any, NamedTuple

from app.emulator.checks import Check, field_problem
from app.emulator.faults import bad_input
from app.emulator.meters import Meters
from app.emulator.replies import Reply
from app.emulator.results import charged_reply, fail_as_wanted
from app.emulator.run import Run
from app.emulator.text_fields import contexts_at, text_at
from app.emulator.tokens import count, pieces
from app.emulator.vectors import overlap

FIELDS = {"top_k": Check("integer", 1)}
STEEPNESS = 14
"""Logits lie within half of it around 0."""


class Pairs(NamedTuple):
    query: str
    contexts: list[str]

    @property
    def tokens(self) -> int:
        return len(self.contexts) * count(self.query) + sum(map(count, self.contexts))


def run_rerank(run: Run, meters: Meters) -> Reply:
    pairs = pairs_of(run)
    fail_as_wanted(run)
    return charged_reply(run, meters, {"response": _best(scores(run, pairs), run.body.get("top_k"))}, pairs.tokens)


def pairs_of(run: Run) -> Pairs:
    """Raises 5006 for what misses the schema. A pair that is longer than the model reads is cut."""
    query, contexts = text_at(run.body, "query"), contexts_at(run.body, run.model.max_batch)
    if problem := field_problem(run.body, FIELDS):
        raise bad_input(problem)
    most = run.model.max_input_tokens
    room = None if most is None else max(0, most - count(query))
    return Pairs(query, ["".join(pieces(context)[:room]) for context in contexts])


def scores(run: Run, pairs: Pairs) -> list[dict[str, Any]]:
    """`{id, score}` in the order of the contexts."""
    logits = [STEEPNESS * (overlap(pairs.query, context) - 0.5) for context in pairs.contexts]
    found = logits if "logits" in run.quirks else [1 / (1 + math.exp(-logit)) for logit in logits]
    return [{"id": number, "score": score} for number, score in enumerate(found)]


def _best(found: list[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    best = sorted(found, key=lambda item: item["score"], reverse=True)[:most]
    return [item for item in found if item in best]
