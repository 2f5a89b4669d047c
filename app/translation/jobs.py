"""Job and Made: one unit on its way through an engine, and what became of it, also as a line of the cache."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import orjson

from app.translation.charges import Charges
from app.translation.engines import Engine
from app.translation.masks import BRACKETS, FOR_CHAT_MODELS, FOR_TRANSLATION_MODELS, render, restore, split_at_masks
from app.translation.pieces import Unit, pairs
from app.translation.wishes import Direction, Manner
from app.values import immutable

VERSION = 1
"""Part of every key: to be raised when units, tokens or prompts change so far that old translations don't fit."""

STYLES = {style.name: style for style in (*FOR_TRANSLATION_MODELS, *FOR_CHAT_MODELS)}


@dataclass(frozen=True)
class Order:
    """What is wanted of an engine."""

    engine: Engine
    direction: Direction
    manner: Manner = field(default_factory=Manner)
    alternatives: int = 0
    base_url: str = ""
    """Of the account that pays: what an emulator makes up must not be found by those who pay for translations."""

    @cached_property
    def key(self) -> bytes:
        """Of everything that a translation depends on beside its unit."""
        manner = (self.manner.formality, self.manner.context, self.manner.instructions, dict(self.manner.glossary))
        direction = (self.direction.source, self.direction.target)
        return orjson.dumps([VERSION, self.base_url, self.engine.model.id, direction, manner, self.alternatives])


@dataclass(frozen=True)
class Job:
    """A unit and its order."""

    unit: Unit
    order: Order

    @cached_property
    def key(self) -> bytes:
        """The same for units that differ only in what their masks stand for."""
        rendered = render(self.unit, self.order.engine.styles[0])
        masks = self.unit.masks
        shape = orjson.dumps([[mask.kind for mask in masks], sorted(pairs(masks).items())])
        return sha256(b"\0".join([self.order.key, shape, rendered.encode("utf-8", "surrogatepass")])).digest()


@immutable
class Made:
    """A translation as the engine wrote it, so that it serves every unit of the same key. Empty: the source stays."""

    style: str = ""
    """How its masks are written."""
    versions: tuple[str, ...] = ()
    """The translation, then its alternatives."""
    runs: tuple[str, ...] = ()
    """In place of that: the translations of what is between the masks, not encoded yet."""
    remedies: tuple[str, ...] = ()
    charges: Charges = ()
    is_worth_keeping: bool = True

    def versions_for(self, unit: Unit) -> list[str]:
        """With the unit's own masks, encoded as its text was; at least one."""
        if self.runs:
            structure = split_at_masks(unit)
            parts = zip(structure.units, self.runs, strict=True)
            return [structure.put_together([restore(part, run, BRACKETS) or part.original for part, run in parts])]
        restored = [restore(unit, version, STYLES[self.style]) for version in self.versions]
        return [each for each in restored if each is not None] or [unit.original]

    def shared(self) -> "Made":
        """As it is for those who waited for somebody else's, who pays for it."""
        return replace(self, charges=())

    def to_json(self) -> str:
        return orjson.dumps([self.style, self.versions, self.runs]).decode()

    @classmethod
    def from_json(cls, text: str) -> "Made":
        style, versions, runs = orjson.loads(text)
        return cls(style, tuple(versions), tuple(runs))
