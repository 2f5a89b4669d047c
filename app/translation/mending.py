"""Mending: one unit through an engine, its masks back in their places, judged, and tried again if it is bad.

In this order: the tokens for masks written in another way; the texts between masks by themselves; smaller pieces; the
fallback model. What nothing helps against is kept if it is merely doubtful; in place of an empty, looping or talking
answer the source comes back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from app.calls import Caller
from app.errors import APIStatusError
from app.metrics import TranslationCounts
from app.translation.charges import Charge, Charges, parted
from app.translation.chinese import to_form
from app.translation.engines import Engine, Versions
from app.translation.guard import Fault, fault
from app.translation.jobs import Job, Made, Order
from app.translation.languages import base
from app.translation.masks import Style, render, restore, split_at_masks, without_tokens
from app.translation.packs import Packer
from app.translation.pieces import Unit
from app.translation.structure import take_apart
from app.translation.wishes import Direction
from app.translators.sentences import sentences
from app.upstream.batches import together

logger = logging.getLogger("flarelay")

MOST_STYLES = 2
"""To be tried; after that it is surer, and no dearer, to send what is between the masks."""
SMALLEST = 80
"""Characters of a unit that is worth cutting."""
ENDLESS = frozenset({"th", "lo", "km", "my"})
"""Languages that write no mark at the end of a sentence, or seldom."""
LOST = "lost"
"""The masks did not come back."""
HOPELESS = frozenset({Fault.EMPTY, Fault.LOOP, Fault.LEAK, LOST})
"""Worse than no translation."""


class Remedy(StrEnum):
    """What was done about a bad translation."""

    BETWEEN_MASKS = "between-masks"
    SMALLER_PIECES = "smaller-pieces"
    FALLBACK_MODEL = "fallback-model"
    KEPT_DOUBTFUL = "kept-doubtful"
    LEFT_UNTRANSLATED = "left-untranslated"


class Attempt(NamedTuple):
    made: Made
    fault: str | None


@dataclass(slots=True)
class Bill:
    """What one unit has cost, all tries together."""

    charges: list[Charge] = field(default_factory=list)


class Asked(NamedTuple):
    """What an engine made of one text, and its share of the cost."""

    versions: Versions
    charges: Charges


class Mender:
    """Brings units to engines, several in a call where the engine takes them, and brings back what can be used."""

    def __init__(self, counts: TranslationCounts, *, fallback: Engine | None, pack_seconds: float) -> None:
        self._counts = counts
        self._fallback = fallback
        self._packer: Packer[Asked] = Packer(pack_seconds)

    async def translate(self, job: Job, caller: Caller) -> Made:
        """Raises APIStatusError if the engine fails; its bad translations are mended, or given up."""
        bill = Bill()
        made = await self._translated(job.unit, job.order, caller, bill)
        return replace(made, charges=tuple(bill.charges))

    async def _translated(self, unit: Unit, order: Order, caller: Caller, bill: Bill) -> Made:
        made, wrong = await self._attempted(unit, order, caller, bill)
        if wrong is None:
            return made
        mended = (
            await self._between_masks(unit, order, caller, bill)
            or await self._in_pieces(unit, order, caller, bill)
            or await self._by_fallback(unit, order, caller, bill)
        )
        if mended:
            return mended
        if wrong in HOPELESS:
            return Made(remedies=(Remedy.LEFT_UNTRANSLATED,), is_worth_keeping=False)
        return replace(made, remedies=(Remedy.KEPT_DOUBTFUL,))

    async def _attempted(self, unit: Unit, order: Order, caller: Caller, bill: Bill) -> Attempt:
        for style in order.engine.styles[: MOST_STYLES if unit.masks else 1]:
            asked = await self._ask(render(unit, style), order, caller)
            bill.charges += asked.charges
            versions = tuple(_in_form(version, order.direction.target) for version in asked.versions)
            if not versions:
                return Attempt(Made(), Fault.EMPTY)
            if restore(unit, versions[0], style) is not None:
                made = Made(style.name, (versions[0], *_alternatives(unit, versions, style, order)))
                return Attempt(made, _fault(unit, versions[0], style, order))
        return Attempt(Made(), LOST)

    async def _between_masks(self, unit: Unit, order: Order, caller: Caller, bill: Bill) -> Made | None:
        """Surer than anything else to keep the masks."""
        if not unit.masks:
            return None
        units = split_at_masks(unit).units
        made = await self._each(units, order, caller, bill)
        runs = tuple(each.versions[0] if each.versions else run.plain for run, each in zip(units, made, strict=True))
        return _joined(Made(runs=runs), Remedy.BETWEEN_MASKS, made) if runs else None

    async def _in_pieces(self, unit: Unit, order: Order, caller: Caller, bill: Bill) -> Made | None:
        text = unit.plain
        if unit.masks or len(text) < SMALLEST:
            return None
        structure = take_apart(text, markup=None, split="sentences", most=len(text) // 2 + 1)
        if len(structure.units) < 2:
            return None
        made = await self._each(structure.units, order, caller, bill)
        pieces = [each.versions_for(piece)[0] for piece, each in zip(structure.units, made, strict=True)]
        whole = Made(order.engine.styles[0].name, (structure.put_together(pieces),))
        return _joined(whole, Remedy.SMALLER_PIECES, made)

    async def _by_fallback(self, unit: Unit, order: Order, caller: Caller, bill: Bill) -> Made | None:
        """It may fail: the unit's own engine has answered, after all."""
        if self._fallback is None or self._fallback.model.id == order.engine.model.id:
            return None
        if not self._fallback.can(order.direction):
            return None
        try:
            made, wrong = await self._attempted(unit, replace(order, engine=self._fallback), caller, bill)
        except APIStatusError as failure:
            fields = {"model": self._fallback.model.id, "error": failure.code or failure.message}
            logger.warning("translation fallback", extra={"fields": fields})
            return None
        return None if wrong else replace(made, remedies=(Remedy.FALLBACK_MODEL,))

    async def _each(self, units: Sequence[Unit], order: Order, caller: Caller, bill: Bill) -> list[Made]:
        """Parts of a unit, each by itself."""
        order = replace(order, alternatives=0)
        return await together([self._translated(unit, order, caller, bill) for unit in units])

    async def _ask(self, text: str, order: Order, caller: Caller) -> Asked:
        engine = order.engine

        async def send(texts: list[str]) -> list[Asked]:
            self._counts.calls += 1
            batch = await engine.run(texts, order.direction, order.manner, order.alternatives, caller)
            length = sum(map(len, texts))
            return [
                Asked(versions, parted(batch.charges, len(text) / length))
                for versions, text in zip(batch.versions, texts, strict=True)
            ]

        if engine.most_units == 1:
            return (await send([text]))[0]
        group = (order.key, caller.name, caller.account)
        return await self._packer.add(group, text, send, most=engine.most_units, most_characters=engine.most_together)


def converted(unit: Unit, target: str) -> str:
    """The unit in the target's form of Chinese, its masks untouched."""
    runs = [run if isinstance(run, str) else None for run in unit.runs]
    pieces = [
        spelling if run is None else to_form(spelling, target)
        for run, spelling in zip(runs, unit.spellings, strict=True)
    ]
    return "".join(pieces)


def _in_form(text: str, target: str) -> str:
    """Models write the form of Chinese that they know best."""
    return to_form(text, target) if base(target) == "zh" else text


def _fault(unit: Unit, translated: str, style: Style, order: Order) -> Fault | None:
    direction = order.direction
    text = without_tokens(unit, translated, style)
    found = fault(unit.plain, text, source_language=direction.source, target_language=direction.target)
    if found is None and order.engine.split == "sentences" and _has_lost_sentences(unit.plain, text, direction):
        return Fault.CUT
    return found


def _has_lost_sentences(source: str, translated: str, direction: Direction) -> bool:
    """Models made for translation drop some of several; chat models join them with reason."""
    if not ENDLESS.isdisjoint((base(direction.source), base(direction.target))):
        return False
    return len(sentences(translated.strip())) < len(sentences(source.strip()))


def _alternatives(unit: Unit, versions: Sequence[str], style: Style, order: Order) -> list[str]:
    """Those that can be shown: another text than the translation, masks and all, and nothing wrong with them."""
    others = [version for version in dict.fromkeys(versions) if version != versions[0]]
    whole = [version for version in others if restore(unit, version, style) is not None]
    return [version for version in whole if not _fault(unit, version, style, order)]


def _joined(whole: Made, remedy: Remedy, parts: Sequence[Made]) -> Made:
    """Of several parts; no better than the worst of them."""
    remedies = dict.fromkeys([remedy, *(each for part in parts for each in part.remedies)])
    return replace(whole, remedies=tuple(remedies), is_worth_keeping=all(part.is_worth_keeping for part in parts))
