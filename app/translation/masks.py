"""Masks as tokens that an engine can carry through a translation, and the way back.

`restore(unit, render(unit, style), style)` is `unit.original` for every unit and style: numbers that the text itself
contains are not used for tokens, so nothing in it can be taken for one.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape, unescape

from app.translation.edges import EDGE
from app.translation.pieces import Mask, Unit, has_letters, pairs
from app.translation.rules import SPACE_REFERENCE, UNSPACED
from app.translation.structure import Structure
from app.values import immutable


@immutable
class Style:
    """A way to write tokens. The patterns have a group `number`, and for pairs a group `close`."""

    name: str
    single: str
    """How a token is written, with `{}` for its number."""
    exact: re.Pattern[str]
    """Finds what was written."""
    tolerant: re.Pattern[str]
    """Finds what engines make of it: spaces inside, other brackets and digits, another case, brackets twice."""
    pair: tuple[str, str] | None = None
    """How the two halves of a pair are written; None if each is a token of its own."""
    is_word: bool = False
    """A token glued to a word would become part of it, so it is written with spaces around."""


def _style(
    name: str, single: str, exact: str, tolerant: str, pair: tuple[str, str] | None = None, *, is_word: bool = False
) -> Style:
    return Style(name, single, re.compile(exact), re.compile(tolerant, re.IGNORECASE), pair, is_word)


NUMBER = r"(?P<number>\d{1,9})"
_OPEN_TAG = r"(?:[<＜〈《]|&lt;){1,2}"
_END_TAG = r"(?:[>＞〉》]|&gt;){1,2}"

LETTERS = _style("letters", "X{}X", rf"X{NUMBER}X", rf"[xхΧχ×Ｘ]\s{{0,2}}{NUMBER}\s{{0,2}}[xхΧχ×Ｘ]", is_word=True)
UNDERSCORES = _style(
    "underscores", "__{}__", rf"__{NUMBER}__", rf"(?:[_＿]\s?){{1,3}}{NUMBER}(?:\s?[_＿]){{1,3}}", is_word=True
)
PARENTHESES = _style("parentheses", "({})", rf"\({NUMBER}\)", rf"([(（])\1?\s{{0,2}}{NUMBER}\s{{0,2}}([)）])\3?")
BRACKETS = _style(
    "brackets",
    "⟦{}⟧",
    rf"⟦{NUMBER}⟧",
    rf"([⟦\[【〚〖［「({{（])\1?\s{{0,2}}{NUMBER}\s{{0,2}}([⟧\]】〛〗］」)}}）])\3?",
)
TAGS = _style(
    "tags",
    "<m{}/>",
    rf"<(?P<close>/)?[mg]{NUMBER}/?>",
    rf"{_OPEN_TAG}\s{{0,2}}(?P<close>[/／])?\s{{0,2}}[mgｍｇ]\s{{0,2}}{NUMBER}\s{{0,2}}[/／]?\s{{0,2}}{_END_TAG}",
    ("<g{}>", "</g{}>"),
)

FOR_TRANSLATION_MODELS = (LETTERS, UNDERSCORES, PARENTHESES, BRACKETS)
"""To be tried in this order with models that do nothing but translate: a word of rare letters is copied most often."""
FOR_CHAT_MODELS = (TAGS, BRACKETS)
"""To be tried in this order with models that follow instructions and know HTML."""

_LEFT = re.compile(rf"\A[\s{EDGE}]++")
_RIGHT = re.compile(rf"(?<![\s{EDGE}])[\s{EDGE}]++\Z|\A[\s{EDGE}]++\Z")
_WORD = re.compile(rf"[^\W_{UNSPACED}]")
_IN_WORD = re.compile(rf"[^\W{UNSPACED}]")
_SIGN = re.compile(rf"[^\w\s{UNSPACED}]")
_NUMBERS = re.compile(r"(?<!\d)0*(\d{1,9})(?!\d)")

_REFERENCE = re.compile(r"&(?:#\w{1,8}|[A-Za-z]\w{1,31});")
_BLANK = rf"(?:[\s{EDGE}]|{SPACE_REFERENCE.pattern})"
_BLANK_START = re.compile(rf"{_BLANK}*+")
_UP_TO_BLANK_END = re.compile(rf"(?:{_BLANK}*+(?:(?!{_BLANK}).)++)*+", re.DOTALL)


def tokens(unit: Unit, style: Style) -> tuple[str, ...]:
    """What stands for the unit's masks, in order: for telling a chat model what to keep."""
    return tuple(_write(unit, style))


def render(unit: Unit, style: Style) -> str:
    """The unit for an engine: its text with tokens for masks."""
    written = _write(unit, style)
    parts = [run if isinstance(run, str) else next(written) for run in unit.runs]
    if style.is_word:
        for i in range(1, len(parts)):
            if _IN_WORD.match(parts[i - 1][-1]) and _IN_WORD.match(parts[i][0]):
                parts[i] = f" {parts[i]}"
    return "".join(parts)


def restore(unit: Unit, translated: str, style: Style) -> str | None:
    """The unit's translation, encoded and with its masks, from what an engine made of `render(unit, style)`.

    None if a mask is lost, doubled or invented, or if tags would no longer nest. Masks may change places. White space
    at the ends is dropped; around masks it becomes what it was in the source, where the neighbours are alike.
    """
    if translated == render(unit, style):
        return unit.original
    if not unit.masks:
        return _Encoder(unit).write(_trimmed(translated))
    for pattern in (style.exact, style.tolerant):
        runs = _read(unit, translated, style, pattern)
        if runs is not None:
            return _spell(unit, runs)
    return None


def without_tokens(unit: Unit, translated: str, style: Style) -> str:
    """What an engine made of the unit's text alone: with `unit.plain` the two texts to judge a translation by."""
    first = _first_number(unit, count := len(unit.masks))
    parts, position = [], 0
    for match in _own(style.tolerant, translated, range(first, first + count)):
        parts.append(translated[position : match.start()])
        position = match.end()
    return "".join((*parts, translated[position:]))


def split_at_masks(unit: Unit) -> Structure:
    """The last resort: the texts between a unit's masks as units of their own, which no engine can get wrong.

    What it puts together is a translation for the unit's place in its own structure.
    """
    units: list[Unit] = []
    frame = [""]
    for run, spelling in zip(unit.runs, unit.spellings, strict=True):
        if isinstance(run, Mask) or not has_letters(run):
            frame[-1] += spelling
            continue
        start = _BLANK_START.match(spelling).end()  # type: ignore[union-attr]  # it matches anything
        end = max(start, _UP_TO_BLANK_END.match(spelling).end())  # type: ignore[union-attr]  # the same
        frame[-1] += spelling[:start]
        units.append(Unit((_trimmed(run),), (spelling[start:end],), unit.is_markup))
        frame.append(spelling[end:])
    return Structure(tuple(units), tuple(frame), frozenset(range(1, len(units))))


def _write(unit: Unit, style: Style) -> Iterator[str]:
    masks = unit.masks
    partners = pairs(masks) if style.pair else {}
    first = _first_number(unit, len(masks))
    for place in range(len(masks)):
        partner = partners.get(place)
        if style.pair is None or partner is None:
            yield style.single.format(first + place)
        else:
            yield style.pair[partner < place].format(first + min(place, partner))


def _first_number(unit: Unit, count: int) -> int:
    """The first of `count` numbers in a row that the unit's texts don't contain."""
    first = 0
    for number in sorted(_numbers(unit)):
        if first <= number < first + count:
            first = number + 1
    return first


def _numbers(unit: Unit) -> set[int]:
    texts = (run for run in unit.runs if isinstance(run, str))
    return {int(digits) for text in texts for digits in _NUMBERS.findall(text)}


def _read(unit: Unit, translated: str, style: Style, pattern: re.Pattern[str]) -> "_Placed | None":
    """Texts and masks of a translation; None unless it has each of the unit's masks once, and nothing like another."""
    masks = unit.masks
    partners = pairs(masks) if style.pair else {}
    numbers = range(first := _first_number(unit, len(masks)), first + len(masks))
    texts, order, position = [], [], 0
    for match in _own(pattern, translated, numbers):
        place = int(match["number"]) - first
        texts.append(translated[position : match.start()])
        order.append(partners.get(place, -1) if style.pair and match["close"] else place)
        position = match.end()
    texts.append(translated[position:])
    is_whole = sorted(order) == list(range(len(masks))) and _nests(masks, order)
    invented = _strangers(pattern, translated, numbers) - _numbers(unit)
    return _Placed(tuple(texts), tuple(order)) if is_whole and not invented else None


def _matches(pattern: re.Pattern[str], text: str, numbers: range) -> Iterator[re.Match[str]]:
    """Where what looks like a token is none of `numbers`, one of them may begin inside of it."""
    position = 0
    while match := pattern.search(text, position):
        yield match
        position = match.end() if int(match["number"]) in numbers else match.start() + 1


def _own(pattern: re.Pattern[str], text: str, numbers: range) -> Iterator[re.Match[str]]:
    return (match for match in _matches(pattern, text, numbers) if int(match["number"]) in numbers)


def _strangers(pattern: re.Pattern[str], text: str, numbers: range) -> set[int]:
    """Numbers of what looks like a token and is none of ours."""
    return {int(match["number"]) for match in _matches(pattern, text, numbers)} - set(numbers)


def _nests(masks: Sequence[Mask], order: Sequence[int]) -> bool:
    """Whether tags in this order belong together as they did, with no lone one in a pair that was outside before."""
    inside = _lone_inside(masks, order)
    return inside is not None and inside <= (_lone_inside(masks, range(len(masks))) or set())


def _lone_inside(masks: Sequence[Mask], order: Sequence[int]) -> set[int] | None:
    """The tags without a partner that stand within a pair; None if a pair crosses another."""
    partners = pairs(masks)
    opened: list[int] = []
    inside = set()
    for place in order:
        kind, partner = masks[place].kind, partners.get(place)
        if partner is None:
            if kind in ("tag-open", "tag-close") and opened:
                inside.add(place)
        elif kind == "tag-open":
            opened.append(place)
        elif not opened or opened.pop() != partner:
            return None
    return inside


@immutable
class _Placed:
    """A unit or its translation as one more text than masks, in turn."""

    texts: tuple[str, ...]
    order: tuple[int, ...]
    """Of the unit's masks."""

    def neighbours(self) -> dict[tuple[int, bool], "_Neighbour"]:
        """What stands on the left (False) and the right (True) of each mask."""
        found = {}
        for i, place in enumerate(self.order):
            before = self.order[i - 1] if i else None
            behind = self.order[i + 1] if i + 1 < len(self.order) else None
            found[place, False] = _neighbour(self.texts[i][::-1], before)
            found[place, True] = _neighbour(self.texts[i + 1], behind)
        return found


@immutable
class _Neighbour:
    has_space: bool
    kind: str | int | None
    """`word`, `sign` or `unspaced`; the place of another mask; None at the unit's edge."""


def _neighbour(text: str, mask: int | None) -> _Neighbour:
    """`text`: away from the mask, as far as the next one."""
    has_space = text[:1].isspace()
    character = text.lstrip()[:1]
    if not character:
        return _Neighbour(has_space, mask)
    if _WORD.match(character):
        return _Neighbour(has_space, "word")
    return _Neighbour(has_space, "sign" if _SIGN.match(character) else "unspaced")


def _placed(unit: Unit) -> _Placed:
    texts = [""]
    for run in unit.runs:
        if isinstance(run, str):
            texts[-1] = run
        else:
            texts.append("")
    return _Placed(tuple(texts), tuple(range(len(texts) - 1)))


def _spell(unit: Unit, placed: _Placed) -> str:
    """The translation with its masks, and with white space around them as in the source."""
    masks = unit.masks
    texts = list(placed.texts)
    before, now = _placed(unit).neighbours(), placed.neighbours()
    for i, place in enumerate(placed.order):
        for is_right in (False, True):
            was, found = before[place, is_right], now[place, is_right]
            if isinstance(found.kind, int) and not is_right:
                continue  # seen from the other mask
            text = texts[i + is_right]
            if _wants_space(masks[place], was, found, is_right=is_right):
                texts[i + is_right] = f" {text}" if is_right else f"{text} "
            elif _wants_glue(masks[place], was, found, is_right=is_right):
                texts[i + is_right] = text.lstrip() if is_right else text.rstrip()
    texts[0] = _LEFT.sub("", texts[0])
    texts[-1] = _RIGHT.sub("", texts[-1])
    encoder = _Encoder(unit)
    parts = [encoder.write(texts[0])]
    for place, text in zip(placed.order, texts[1:], strict=True):
        parts += masks[place].original, encoder.write(text)
    return "".join(parts)


def _wants_glue(mask: Mask, was: _Neighbour, found: _Neighbour, *, is_right: bool) -> bool:
    if not found.has_space or was.has_space or found.kind is None:
        return False
    return found.kind == was.kind or _is_inside(mask, is_right=is_right)


def _wants_space(mask: Mask, was: _Neighbour, found: _Neighbour, *, is_right: bool) -> bool:
    """Where there was one beside a like neighbour, or where none was needed in Chinese or the like."""
    if found.has_space or found.kind in (None, "unspaced"):
        return False
    if was.has_space:
        return was.kind == found.kind
    return was.kind == "unspaced" and found.kind == "word" and not _is_inside(mask, is_right=is_right)


def _is_inside(mask: Mask, *, is_right: bool) -> bool:
    """Whether that side of the mask is what a pair of tags encloses."""
    return mask.kind == ("tag-open" if is_right else "tag-close")


def _trimmed(text: str) -> str:
    return _RIGHT.sub("", _LEFT.sub("", text))


class _Encoder:
    """Writes texts as the unit's markup wants them; a text that was in the unit, as it was there."""

    def __init__(self, unit: Unit) -> None:
        self._is_markup = unit.is_markup
        self._spellings = dict(zip(unit.runs, unit.spellings, strict=True)) if unit.is_markup else {}
        self._is_literal = bool(_REFERENCE.search(unit.plain))
        self._space = SPACE_REFERENCE.search(unit.original)

    def write(self, text: str) -> str:
        if not self._is_markup:
            return text
        if text in self._spellings:
            return self._spellings[text]
        if not self._is_literal:
            text = unescape(text)  # some engines encode by themselves
        encoded = escape(text, quote=False)
        return encoded.replace("\xa0", self._space[0]) if self._space else encoded
