"""trimmed: a unit without what stands at its edges, which needs no engine."""

import re
from collections.abc import Sequence

from app.translation.pieces import Atom, has_letters, pairs

EDGE = "\u200b\u200e\u200f\u2060\ufeff"
"""Besides white space: what has no width and no meaning at the edge of a unit."""
LEADING = re.compile(rf"[\s{EDGE}]*+")
TRAILING = re.compile(rf"(?<![\s{EDGE}])[\s{EDGE}]*+\Z")


def trimmed(atoms: Sequence[Atom]) -> tuple[list[str], list[Atom], list[str]]:
    """What is frame on the left, the unit (empty without a letter), and what is frame on the right."""
    trim = _Trim(atoms)
    while trim.move_left() or trim.move_right() or trim.unwrap():
        pass
    core = trim.core()
    if any(atom.mask is None and has_letters(atom.shown) for atom in core):
        return trim.left, core, trim.right[::-1]
    return [atom.raw for atom in atoms], [], []


class _Trim:
    """Moves white space and masks from both ends outwards. A pair of tags leaves only if nothing stays on one side."""

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self._atoms = list(atoms)
        self._pairs = pairs([atom.mask for atom in atoms])
        self._start, self._end = 0, len(atoms)
        self.left: list[str] = []
        self.right: list[str] = []

    def core(self) -> list[Atom]:
        return self._atoms[self._start : self._end]

    def move_left(self) -> bool:
        if self._start == self._end:
            return False
        atom = self._atoms[self._start]
        if atom.mask is None:
            blank = LEADING.match(atom.shown).end()  # type: ignore[union-attr]  # it matches anything
            return self._take_left(atom, blank)
        stop = self._pairs.get(self._start, self._start) + 1
        if self._has_text(self._start, stop):
            return False
        self.left += (other.raw for other in self._atoms[self._start : stop])
        self._start = stop
        return True

    def move_right(self) -> bool:
        if self._start == self._end:
            return False
        atom = self._atoms[self._end - 1]
        if atom.mask is None:
            match = TRAILING.search(atom.shown)
            return self._take_right(atom, match.start() if match else 0)
        stop = self._pairs.get(self._end - 1, self._end - 1)
        if self._has_text(stop, self._end):
            return False
        self.right += (other.raw for other in reversed(self._atoms[stop : self._end]))
        self._end = stop
        return True

    def unwrap(self) -> bool:
        """Takes a pair of tags around everything."""
        if self._end - self._start < 2 or self._pairs.get(self._start) != self._end - 1:
            return False
        self.left.append(self._atoms[self._start].raw)
        self.right.append(self._atoms[self._end - 1].raw)
        self._start += 1
        self._end -= 1
        return True

    def _has_text(self, start: int, stop: int) -> bool:
        return any(atom.mask is None and has_letters(atom.shown) for atom in self._atoms[start:stop])

    def _take_left(self, atom: Atom, blank: int) -> bool:
        if blank == len(atom.shown):
            self.left.append(atom.raw)
            self._start += 1
        elif blank:
            head, self._atoms[self._start] = atom.cut(blank)
            self.left.append(head.raw)
        return blank > 0

    def _take_right(self, atom: Atom, kept: int) -> bool:
        if kept == 0:
            self.right.append(atom.raw)
            self._end -= 1
        elif kept < len(atom.shown):
            self._atoms[self._end - 1], tail = atom.cut(kept)
            self.right.append(tail.raw)
        return kept < len(atom.shown)
