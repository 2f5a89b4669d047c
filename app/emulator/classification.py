"""The task text classification: whether a text sounds negative or positive, by a few words.

Source: Cloudflare's docs, the models' own pages.
"""

import math

from app.emulator.meters import Meters
from app.emulator.replies import Reply
from app.emulator.results import charged_reply, fail_as_wanted
from app.emulator.run import Run
from app.emulator.text_fields import text_at
from app.emulator.tokens import count
from app.emulator.vectors import WORD

GOOD = frozenset(["good", "great", "love", "loved", "excellent", "nice", "happy", "wonderful", "best", "like", "enjoy"])
BAD = frozenset(["bad", "terrible", "hate", "hated", "awful", "poor", "sad", "worst", "broken", "boring", "wrong"])
NEGATIONS = frozenset(["not", "no", "never", "hardly"])


def run_text_classification(run: Run, meters: Meters) -> Reply:
    text = text_at(run.body, "text")
    fail_as_wanted(run)
    positive = 1 / (1 + math.exp(-3 * _mood(text)))
    result = [{"label": "NEGATIVE", "score": 1 - positive}, {"label": "POSITIVE", "score": positive}]
    return charged_reply(run, meters, result, count(text))


def _mood(text: str) -> int:
    """Good words less bad ones; one after a negation counts as its opposite."""
    words = WORD.findall(text.casefold())
    moods = [(word in GOOD) - (word in BAD) for word in words]
    return sum(-mood if before in NEGATIONS else mood for mood, before in zip(moods, ["", *words], strict=False))
