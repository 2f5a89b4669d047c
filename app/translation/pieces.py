"""Mask, Atom, Unit: what a text consists of once it is taken apart, all of them immutable."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from app.values import immutable

Kind = Literal[
    "tag-open",
    "tag-close",
    "tag-empty",
    "element",
    "placeholder",
    "url",
    "email",
    "path",
    "code",
    "entity",
    "emoji",
    "number",
    "mention",
]

STAND_IN = "\ue000"
"""What a mask other than a tag counts as where sentences are looked for: one character that is no letter."""


@immutable
class Mask:
    """A part of the text that no engine may change: a tag, a placeholder, an address."""

    original: str
    kind: Kind
    name: str = ""
    """Of a tag, by which opening and closing ones find each other."""


@immutable
class Atom:
    """The smallest piece: characters, one character reference, one mask, or something between units."""

    raw: str
    """As it stands in the text."""
    shown: str
    """As an engine may see it. It differs from `raw` only where it is at most one character."""
    mask: Mask | None = None
    is_frame: bool = False
    """It separates units and belongs to none."""

    def cut(self, at: int) -> tuple["Atom", "Atom"]:
        """Two atoms of characters; `at` counts from 0 and lies inside."""
        head, tail = self.raw[:at], self.raw[at:]
        return Atom(head, head), Atom(tail, tail)


@immutable
class Unit:
    """What is translated in one go. It neither begins nor ends with white space."""

    runs: tuple[str | Mask, ...]
    """Texts and masks in turn, character references decoded; two masks may be neighbours, two texts may not."""
    spellings: tuple[str, ...]
    """The same as they stand in the text."""
    is_markup: bool = False
    """Texts that go back are encoded for HTML or XML."""

    @property
    def original(self) -> str:
        return "".join(self.spellings)

    @property
    def plain(self) -> str:
        """The text without masks: for detecting a language and for judging a translation."""
        return "".join(run for run in self.runs if isinstance(run, str))

    @property
    def masks(self) -> tuple[Mask, ...]:
        return tuple(run for run in self.runs if isinstance(run, Mask))


def text_atom(text: str) -> Atom:
    return Atom(text, text)


def mask_atom(text: str, kind: Kind, name: str = "") -> Atom:
    return Atom(text, "" if kind.startswith("tag") else STAND_IN, Mask(text, kind, name))


def frame_atom(text: str) -> Atom:
    return Atom(text, "", is_frame=True)


def to_unit(atoms: Sequence[Atom], *, is_markup: bool) -> Unit:
    """Neighbouring texts become one."""
    runs: list[str | Mask] = []
    spellings: list[str] = []
    texts: list[Atom] = []

    def close_text() -> None:
        if texts:
            runs.append("".join(atom.shown for atom in texts))
            spellings.append("".join(atom.raw for atom in texts))
            texts.clear()

    for atom in atoms:
        if atom.mask is None:
            texts.append(atom)
        else:
            close_text()
            runs.append(atom.mask)
            spellings.append(atom.raw)
    close_text()
    return Unit(tuple(runs), tuple(spellings), is_markup)


def pairs(masks: Sequence[Mask | None]) -> dict[int, int]:
    """Places of tags that belong together, from either to the other. A tag inside that has no partner gets none."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    names: Counter[str] = Counter()
    for place, mask in enumerate(masks):
        if mask is None:
            continue
        if mask.kind == "tag-open":
            waiting.append(place)
            names[mask.name] += 1
        elif mask.kind == "tag-close" and names[mask.name]:
            partner = _pop(waiting, names, masks, mask.name)
            found[place], found[partner] = partner, place
    return found


def _pop(waiting: list[int], names: Counter[str], masks: Sequence[Mask | None], name: str) -> int:
    """The last tag of that name, which is there; what was opened after it is dropped."""
    while True:
        place = waiting.pop()
        opened = masks[place].name  # type: ignore[union-attr]  # only masks wait
        names[opened] -= 1
        if opened == name:
            return place


def has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))
