"""What a chat model answers to numbered texts that it is told to translate: made-up translations in the same tags."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from app.emulator.pseudo import pseudo
from app.emulator.run import Run, text_of
from app.emulator.translation import rendered

_TAG = r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*"
_DIRECTION = re.compile(
    rf"\bTranslate\b[^\n]{{0,60}}? from [^\n]{{0,60}}?\((?P<source>{_TAG})\) into "
    rf"[^\n]{{0,60}}?\((?P<target>{_TAG})\)\."
)
_ALTERNATIVES = re.compile(r"\bwrite (\d+) other good translations?\b")
GLOSSARY = "\nTranslate these terms as given"
"""Behind it and up to an empty line stand `- term -> translation`."""
_TERM = re.compile(r"^- (.+?) -> (.+)$", re.MULTILINE)
_FIRST = re.compile(r"^<(t+)1>", re.MULTILINE)


class Orders(NamedTuple):
    """What the prompt wants beside the texts."""

    source: str
    target: str
    alternatives: int
    glossary: Mapping[str, str]


def interpreted(run: Run) -> str | None:
    """The answer; None if that is no prompt for translations. The source of alternative n counts as `source~n`."""
    first = _FIRST.search(run.question)
    orders = _orders(run) if first else None
    if first is None or orders is None:
        return None
    tag = first[1]
    units = re.findall(rf"<{tag}(\d+)>(.*?)</{tag}\1>", run.question[first.start() :], re.DOTALL)
    if "interpreter-miscounts" in run.quirks:
        units = units[:-1]
    answer = "\n".join(_answer(tag, number, text, orders, run) for number, text in units)
    if "interpreter-talks" in run.quirks:
        return f"Here is the translation:\n\n```\n{answer}\n```\n\nLet me know if you need anything else!"
    return answer


def _orders(run: Run) -> Orders | None:
    said = "\n\n".join(text_of(turn.get("content")) for turn in run.turns)
    direction = _DIRECTION.search(said)
    if direction is None:
        return None
    alternatives = _ALTERNATIVES.search(said)
    terms = _TERM.findall(said.partition(GLOSSARY)[2].partition("\n\n")[0])
    return Orders(direction["source"], direction["target"], int(alternatives[1]) if alternatives else 0, dict(terms))


def _answer(tag: str, number: str, text: str, orders: Orders, run: Run) -> str:
    lines = [f"<{tag}{number}>{_translated(text, orders, run)}</{tag}{number}>"]
    for place in range(1, orders.alternatives + 1):
        other = pseudo(text, f"{orders.source}~{place}", orders.target)
        lines.append(f"<al{tag}{number}>{other}</al{tag}{number}>")
    return "\n".join(lines)


def _translated(text: str, orders: Orders, run: Run) -> str:
    """Terms of the glossary as it says."""
    quirks = run.quirks - {"loses-placeholders"}
    if not orders.glossary:
        return rendered(text, orders.source, orders.target, quirks)
    terms = "|".join(map(re.escape, sorted(orders.glossary, key=len, reverse=True)))
    parts = re.split(rf"\b({terms})\b", text)
    return "".join(orders.glossary.get(part) or rendered(part, orders.source, orders.target, quirks) for part in parts)
