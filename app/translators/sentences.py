"""sentences and chunks: a text in pieces that can be spoken or translated by themselves, nothing lost between them.

Rules for all languages at once, since nobody says which one a text is in. A sentence too long does less harm than one
cut in two, so a mark that may be either is taken for no end.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from unicodedata import category


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SURE = "。｡！？；।॥؟۔။።፧፨։។៕๚๛།༎᠃᱾꘎꛳"
"""Marks that end a sentence, space after them or not."""

CLOSING = ")\\]}”’»›」』）】〉》〕］｝＂＇*_`\ufe0f"
"""What belongs to the sentence before it, if it follows a mark. `"` and `'` open as well as close."""

OPENING = "\"'“„‚‘«»‹›¿¡(\\[{*_`#>–—-"
CASELESS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Chinese, Japanese, Korean."""

MARK = re.compile(
    rf"""
    (?P<line> [\n\r\v\f\x85\u2028\u2029] )
    | (?P<sure> (?: [{SURE}] | ．(?![0-9０-９]) | (?<=[{CASELESS}]) [.!?](?![.!?A-Za-z0-9\s]) )
        (?: [{SURE}．!?…] )*+ [{CLOSING}]*+ )
    | (?P<spaced> (?: [.!?…‽⁇⁈⁉‼\u037e] | (?<=[\u0370-\u03ff\u1f00-\u1fff]); )
        [.!?…‽⁇⁈⁉‼]*+ (?P<closing> ["'“«{CLOSING}]*+ (?: [\x20\xa0\u202f] [»›] (?!\S) )?+ ) )
    """,
    re.VERBOSE,
)
SPACE = re.compile(r"\s*+")
LINE_BREAK = re.compile(r"[\n\r\v\f\x85\u2028\u2029]")
NEXT_WORD = re.compile(rf"[{OPENING}]*+(\w\.|\w{{0,24}})")
"""With its full stop if it is an initial, which is then no `A` or `I`."""

LAST_WORD = re.compile(r"[^\W_][\w.]*$")
WORD_LENGTH = 24
"""Characters that are looked at before a full stop; no abbreviation is longer."""

LIST_NUMBER = re.compile(r"\s*[(\[]?(?:\d{1,3}(?:\.\d{1,3})*|[ivxIVX]{1,4}|[A-Za-z])")
LETTERS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
"""An initial, or several: `J`, `U.S`, `a.m`."""

ORDINAL = re.compile(r"\d{1,2}")
AFTER_ORDINALS = words(
    "januar jänner februar märz april mai juni juli august september oktober november dezember jahrhundert jh"
)
"""What German writes after `5.`; most other languages that write numbers so go on in small letters."""

TITLES = words(
    """
    mr mrs ms mx dr drs prof rev messrs mme mmes mlle mgr capt cmdr sgt lt gov supt hr frl fr sra srta dott sig
    ing dipl vs cf viz eg ie e.g i.e bzw vgl ggf inkl exkl zzgl evtl bspw sog z.b d.h u.a v.a s.o m.e i.d.r p.ex
    st ste mt т.е т.к т.н напр акад доц
    """
)
"""Always followed by more of their sentence."""

COUNTED = words(
    """
    no nos nr num núm fig figs abb tab eq vol bd pp pg ch chap kap cap sec sect art op tel ext approx ca seg vers
    стр рис гл табл п ст tom sid str
    """
)
"""Abbreviations where a number follows, words otherwise: `No. 5`, and "He said no."."""

OPEN = words(
    """
    etc usw inc ltd co corp jr sr al ed eds dept est ave blvd rd ex esp gen col sen rep hon jan feb mar apr jun jul aug
    sep sept oct nov dec ph.d b.sc m.sc u.s.a e.v gmbh uvm др пр см г гг тыс млн млрд руб
    """
)
"""Abbreviations that may end a sentence: the next word tells."""

STARTERS = words(
    """
    the a an this that these those he she it they we you i his her its their our my your there here but and so then
    when what who why how where if in on at as after before however now yes no
    der die das ein eine er sie es wir ich ihr aber und dann wenn
    le la les un une il elle ils elles nous vous je ce cette mais el los las ella ellos pero y
    он она оно они мы вы я это но и а в на
    """
)
"""Words that often begin a sentence, and are seldom part of a name."""

CLAUSES = re.compile(rf".*(?:[.!?…,;:،؛、][\"'{CLOSING}]*\s|[—–]\s?|[、，：،؛၊፣፤…{SURE}][{CLOSING}]*)\s*", re.DOTALL)
SPACES = re.compile(r".*\s", re.DOTALL)

JOINER = "\u200d"
MODIFIERS = re.compile("[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
PAIRS = re.compile("\r\n|[\ud800-\udbff][\udc00-\udfff]|[\U0001f1e6-\U0001f1ff]{2}")


def sentences(text: str) -> list[str]:
    """The text's sentences, each with the white space after it; a line break ends one too. Joined, they are `text`."""
    ends = [0, *_ends(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def chunks(text: str, most: int) -> list[str]:
    """As many whole sentences at a time as fit into `most` (1 or more) characters. Joined, they are `text`.

    A longer sentence is cut: after a comma or the like, else at a space, else between any two characters.
    """
    cuts = [0]
    reached = 0
    for end in _ends(text):
        if end - cuts[-1] > most and reached > cuts[-1]:
            cuts.append(reached)
        while end - cuts[-1] > most:
            cuts.append(_cut(text, cuts[-1], most))
        reached = end
    if reached > cuts[-1]:
        cuts.append(reached)
    return [text[start:end] for start, end in pairwise(cuts)]


def _ends(text: str) -> Iterator[int]:
    """Where sentences end; the last one at the end of the text."""
    start = 0
    position = 0
    while match := MARK.search(text, position):
        position = _after_quote(text, start, match)
        end = next(SPACE.finditer(text, position)).end()
        if end < len(text) and not _is_joined(text, end) and _is_end(text, start, match, position, end):
            yield end
            start = end
        position = max(end, position)
    if text:
        yield len(text)


def _after_quote(text: str, start: int, match: re.Match[str]) -> int:
    """The end of the mark, with a straight quote behind it if that one closes: if another is open."""
    end = match.end()
    if match["sure"] and text[end : end + 1] == '"' and text.count('"', start, end) % 2:
        return end + 1
    return end


def _is_end(text: str, start: int, mark: re.Match[str], after: int, end: int) -> bool:
    """`start`: of the sentence. `after`, `end`: of the white space behind the mark."""
    if not mark["spaced"] or LINE_BREAK.search(text, after, end):
        return True
    if after == end:
        return False
    word = next(NEXT_WORD.finditer(text, end))[1]
    is_small = word[:1].islower()
    signs = mark["spaced"].removesuffix(mark["closing"])
    if signs == ".":
        return not is_small and not _is_abbreviated(text, start, mark.start(), word)
    if signs[-1] in ".…" or mark["closing"]:
        return not is_small
    return True


def _is_abbreviated(text: str, start: int, dot: int, following: str) -> bool:
    """Whether the full stop at `dot` belongs to what stands before it."""
    if dot - start < WORD_LENGTH and LIST_NUMBER.fullmatch(text, start, dot):
        return True
    found = LAST_WORD.search(text[max(start, dot - WORD_LENGTH) : dot])
    if not found:
        return False
    word, following = found[0].casefold(), following.casefold()
    if word in TITLES:
        return True
    if word in COUNTED:
        return following[:1].isdigit()
    if ORDINAL.fullmatch(word):
        return following in AFTER_ORDINALS
    return (word in OPEN or bool(LETTERS.fullmatch(word))) and following not in STARTERS


def _cut(text: str, start: int, most: int) -> int:
    """Where to cut a text that is too long from `start` on: late, so that pieces are few."""
    limit = start + most
    late = start + most // 2
    match = CLAUSES.match(text, late, limit) or SPACES.match(text, start, limit) or CLAUSES.match(text, start, limit)
    return (match and _whole(text, start, match.end())) or _whole(text, start, limit) or limit


def _whole(text: str, start: int, cut: int) -> int | None:
    """The last place up to `cut` that has no character on both sides; None if that is not after `start`."""
    return next((place for place in range(cut, start, -1) if not _is_joined(text, place)), None)


def _is_joined(text: str, i: int) -> bool:
    """Whether the characters on both sides of a place are one to the reader: a letter and its accent, an emoji."""
    return (
        category(text[i])[0] == "M"
        or text[i - 1] == JOINER
        or bool(MODIFIERS.match(text, i))
        or bool(PAIRS.match(text, i - 1))
    )
