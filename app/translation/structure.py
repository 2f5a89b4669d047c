"""take_apart: a text as units to translate and the frame around them, so that its structure survives any engine.

Everything that is no unit comes back byte for byte: white space, line breaks, list markers, tags and placeholders at
the edge of a unit, code blocks, and lines without a letter. One thing is added: a space between two sentences that
needed none in Chinese, Japanese or the like and need one in their translation.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from app.translation.edges import trimmed
from app.translation.markup import Markup, Tags, atoms_of
from app.translation.pieces import Atom, Unit, frame_atom, text_atom, to_unit
from app.translation.rules import BREAK, HEADING, SPACE_REFERENCE, UNSPACED, plain_atoms
from app.translators.sentences import chunks, sentences
from app.values import immutable

Split = Literal["sentences", "lines", "none"]

SHORT = 80
"""Width of a sentence that is translated together with its neighbour: calls are counted by the minute (Cloudflare's
docs, limits: 720 translations), and a short one has too little context by itself."""
PACKED = 200
"""Width up to which such sentences are joined."""

WIDE = re.compile(f"[{UNSPACED}\uac00-\ud7af]")
SPACED_END = re.compile(rf"[^\W_{UNSPACED}]|[.,;:!?…)\]}}\"'”’»%]")
SPACED_START = re.compile(rf"[^\W_{UNSPACED}]|[(\[{{\"'“‘«¿¡]")
UNSPACED_SIGN = re.compile(f"[{UNSPACED}]")
CLOSING_TAGS = re.compile(r"(?:</[^<>]*+>)*+")

BARS = re.compile(r"(\|)")
FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})([^\n\r]*)")
SEPARATOR = re.compile(r"\s*%%\s*")
LINES = re.compile(r"[^\n\r]*(?:\r\n|\n|\r|\Z)")


@immutable
class Structure:
    """A text without what has to be translated."""

    units: tuple[Unit, ...]
    frame: tuple[str, ...]
    """What stands before, between and after the units; one more than there are units."""
    joints: frozenset[int]
    """Places in `frame` with the same line on both sides."""

    def put_together(self, translations: Sequence[str]) -> str:
        """The text with its units replaced, in order. Given their own `original`s, it is the text that was taken apart.

        Raises ValueError if there are not as many translations as units.
        """
        if len(translations) != len(self.units):
            raise ValueError(f"{len(translations)} translations for {len(self.units)} units")
        parts = [self.frame[0]]
        for place, translation in enumerate(translations):
            if place in self.joints:
                parts[-1] = self._spaced(place, translations)
            parts += translation, self.frame[place + 1]
        return "".join(parts)

    def _spaced(self, place: int, translations: Sequence[str]) -> str:
        """The frame between two units of a line, with the space that only their translations need."""
        frame = self.frame[place]
        before, after = self.units[place - 1].original, self.units[place].original
        left, right = translations[place - 1], translations[place]
        if (left, right) == (before, after) or any(map(str.isspace, frame)) or SPACE_REFERENCE.search(frame):
            return frame
        needed = UNSPACED_SIGN.match(before[-1]) or UNSPACED_SIGN.match(after[0])
        if needed and SPACED_END.match(left[-1:]) and SPACED_START.match(right[:1]):
            return _with_space(frame)
        return frame


def take_apart(
    text: str,
    *,
    markup: Markup | None,
    split: Split = "sentences",
    most: int,
    ignore_tags: AbstractSet[str] = frozenset(),
    non_splitting_tags: AbstractSet[str] = frozenset(),
    splitting_tags: AbstractSet[str] = frozenset(),
) -> Structure:
    """The units of a text, of at most `most` characters each (a mask counts as one, a tag as none), and its frame.

    `sentences`: a unit is a sentence, or a few very short ones of the same line. `lines`: a line, or in HTML a block.
    `none`: as much as possible, line breaks included. The tags are those of DeepL's API; names are not
    case-sensitive in HTML. Raises ValueError if `most` is less than 1.
    """
    if most < 1:
        raise ValueError("a unit holds at least one character")
    if markup:
        names = [_names(tags, markup) for tags in (ignore_tags, non_splitting_tags, splitting_tags)]
        atoms: Iterable[Atom] = atoms_of(text, Tags(markup, *names))
    else:
        atoms = _without_fences(text)
    build = _Builder(split, most, is_markup=markup is not None)
    for part in _parted(atoms):
        build.add(part)
    return build.structure()


def _names(tags: AbstractSet[str], markup: Markup) -> frozenset[str]:
    return frozenset(tag.lower() if markup == "html" else tag for tag in tags)


class _Builder:
    """Collects units and the frame between them."""

    def __init__(self, split: Split, most: int, *, is_markup: bool) -> None:
        self._split = split
        self._most = most
        self._is_markup = is_markup
        self._units: list[Unit] = []
        self._frame: list[str] = []
        self._waiting: list[str] = []
        self._joints: set[int] = set()
        self._is_same_line = False

    def add(self, atoms: list[Atom]) -> None:
        """What stands between two pieces of frame, or one of these."""
        if atoms[0].is_frame:
            self._keep(atoms[0].raw)
        elif self._split == "none" and _length(atoms) <= self._most:
            self._add_unit(atoms)
            self._is_same_line = False
        else:
            for line in _lines(atoms):
                self._add_line(line)

    def structure(self) -> Structure:
        return Structure(tuple(self._units), (*self._frame, "".join(self._waiting)), frozenset(self._joints))

    def _keep(self, raw: str) -> None:
        self._waiting.append(raw)
        self._is_same_line = False

    def _add_line(self, atoms: list[Atom]) -> None:
        if atoms[0].is_frame:
            self._keep(atoms[0].raw)
            return
        if not self._is_markup and atoms[0].mask is None and (marker := HEADING.match(atoms[0].raw)):
            self._waiting.append(marker[0])
            atoms[0] = text_atom(atoms[0].raw[marker.end() :])
        is_row = not self._is_markup and atoms[0].raw.startswith("|")
        for cell in _parted(_cells(atoms)) if is_row else [atoms]:
            if cell[0].is_frame:
                self._keep(cell[0].raw)
            else:
                self._add_sentences(cell)
        self._is_same_line = False

    def _add_sentences(self, atoms: list[Atom]) -> None:
        flat = "".join(atom.shown for atom in atoms)
        for part in _divided(atoms, [len(piece) for piece in _pieces(flat, self._split, self._most)]):
            self._add_unit(part)

    def _add_unit(self, atoms: list[Atom]) -> None:
        left, core, right = trimmed(atoms)
        self._waiting += left
        if core:
            if self._is_same_line:
                self._joints.add(len(self._frame))
            self._frame.append("".join(self._waiting))
            self._waiting = []
            self._units.append(to_unit(core, is_markup=self._is_markup))
            self._is_same_line = True
        self._waiting += right


def _without_fences(text: str) -> Iterator[Atom]:
    """Fenced code (as in CommonMark, but it must be closed) and lines of `%%`, which Immersive Translate puts between
    paragraphs, are frame."""
    lines = LINES.findall(text)
    fences = [place for place, line in enumerate(lines) if FENCE.match(line)]
    closed = dict(_closed(lines, fences))
    waiting: list[str] = []
    place = 0
    while place < len(lines):
        end = closed.get(place, place + 1 if SEPARATOR.fullmatch(lines[place]) else place)
        if end > place:
            yield from plain_atoms("".join(waiting))
            waiting = []
            yield frame_atom("".join(lines[place:end]))
            place = end
        else:
            waiting.append(lines[place])
            place += 1
    yield from plain_atoms("".join(waiting))


def _closed(lines: Sequence[str], fences: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first line of every fenced block, and the one behind it. `fences`: lines that could open or close one."""
    place = 0
    while place < len(fences):
        mark = FENCE.match(lines[fences[place]])[1]  # type: ignore[index]  # they all match
        closing = next((other for other in range(place + 1, len(fences)) if _closes(lines[fences[other]], mark)), None)
        if closing is not None:
            yield fences[place], fences[closing] + 1
            place = closing
        place += 1


def _closes(line: str, mark: str) -> bool:
    found = FENCE.match(line)
    return found is not None and found[1].startswith(mark) and not found[2].strip()


def _parted(atoms: Iterable[Atom]) -> Iterator[list[Atom]]:
    """Atoms in groups: one that is frame, or those between two such."""
    group: list[Atom] = []
    for atom in atoms:
        if atom.is_frame:
            if group:
                yield group
            yield [atom]
            group = []
        else:
            group.append(atom)
    if group:
        yield group


def _lines(atoms: Iterable[Atom]) -> Iterator[list[Atom]]:
    """The same at line breaks, with the indentation behind them."""
    return _parted(part for atom in atoms for part in _broken(atom))


def _broken(atom: Atom) -> Iterator[Atom]:
    if atom.mask is not None or atom.raw != atom.shown:
        yield atom
        return
    position = 0
    for match in BREAK.finditer(atom.raw):
        if match.start() > position:
            yield text_atom(atom.raw[position : match.start()])
        yield frame_atom(match[0])
        position = match.end()
    if position < len(atom.raw):
        yield text_atom(atom.raw[position:])


def _cells(atoms: Iterable[Atom]) -> Iterator[Atom]:
    """A line of a table as Markdown writes it, its bars as frame."""
    for atom in atoms:
        if atom.mask is not None:
            yield atom
            continue
        for piece in filter(None, BARS.split(atom.raw)):
            yield frame_atom(piece) if piece == "|" else text_atom(piece)


def _length(atoms: Iterable[Atom]) -> int:
    return sum(len(atom.shown) for atom in atoms)


def _pieces(flat: str, split: Split, most: int) -> Iterator[str]:
    for piece in _packed(sentences(flat), most) if split == "sentences" else [flat]:
        if len(piece) > most:
            yield from chunks(piece, most)
        else:
            yield piece


def _packed(pieces: Iterable[str], most: int) -> Iterator[str]:
    """Short sentences with the one before or behind them."""
    packed = ""
    for piece in pieces:
        widths = _width(packed), _width(piece)
        if packed and (min(widths) >= SHORT or sum(widths) > PACKED or len(packed) + len(piece) > most):
            yield packed
            packed = ""
        packed += piece
    yield packed


def _width(text: str) -> int:
    """In columns, so that a Chinese sentence counts for as much as an English one of twice the letters."""
    return len(text) + len(WIDE.findall(text))


def _divided(atoms: Sequence[Atom], lengths: Iterable[int]) -> Iterator[list[Atom]]:
    """Atoms in groups of these lengths, which sum up to theirs. Tags go to the sentence that they open or close in."""
    rest = list(reversed(atoms))
    group: list[Atom] = []
    for length in lengths:
        needed = length
        while needed:
            atom = rest.pop()
            if len(atom.shown) > needed:
                atom, behind = atom.cut(needed)
                rest.append(behind)
            group.append(atom)
            needed -= len(atom.shown)
        while rest and rest[-1].mask and rest[-1].mask.kind == "tag-close":
            group.append(rest.pop())
        yield group
        group = []
    if rest:
        yield rest[::-1]


def _with_space(frame: str) -> str:
    """The space stands outside of tags, and on both sides of anything else."""
    closing = CLOSING_TAGS.match(frame).end()  # type: ignore[union-attr]  # it matches anything
    opening = len(frame)
    while opening > closing and frame[opening - 1] == ">":
        start = frame.rfind("<", closing, opening)
        if start < 0 or frame.startswith("</", start):
            break
        opening = start
    head, core, tail = frame[:closing], frame[closing:opening], frame[opening:]
    return f"{head} {core} {tail}" if core else f"{head} {tail}"
