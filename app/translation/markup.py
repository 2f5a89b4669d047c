"""HTML and XML in atoms: tags as masks, blocks and what must not be translated as frame, text decoded."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from app.translation.pieces import Atom, frame_atom, mask_atom, pairs
from app.translation.rules import TAG_NAME, markup_atoms, tag_atom
from app.values import immutable

Markup = Literal["html", "xml"]


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


BLOCKS = _names(
    """
    address article aside base blockquote body br button caption center col colgroup dd details dialog dir div
    dl dt fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html
    iframe legend li link main menu meta nav noscript ol optgroup option p pre script search section select
    style summary table tbody td template textarea tfoot th thead title tr ul
    """
)
"""HTML's tags that end a sentence. Source: the HTML standard, 15.3.2 to 15.3.8 (display other than inline)."""

VERBATIM = _names("code pre script style kbd samp var svg math textarea noscript")
"""HTML's elements whose content is not for translation."""

NO_TRANSLATE = re.compile(
    r"""\stranslate\s*=\s*(?:"no"|'no'|no(?=[\s/>]))|\sclass\s*=\s*(?:"[^"]*\bnotranslate\b|'[^']*\bnotranslate\b|notranslate\b)""",
    re.IGNORECASE,
)

SEPARATE = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>", "<!": ">"}
"""What begins like a tag and is none -> its end."""

# A quoted value may hold `>`; one that holds `<`, which XML forbids and HTML allows, is read if it is short, so that
# a text of nothing but `<a "` takes no longer than its length.
_INSIDE = r"""(?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+"""
_PART = re.compile(
    rf"""<!--|<!\[CDATA\[|<\?|<!(?=[A-Za-z])
    |</?[A-Za-z_][^\s<>/]*+(?:{_INSIDE}(?:(?:"[^"]{{0,1000}}+"|'[^']{{0,1000}}+'){_INSIDE}){{0,2}}>|[^<>]*+>)""",
    re.VERBOSE,
)


@immutable
class Tags:
    """Which markup it is, and what the caller says of its tags. The names of HTML's tags are in small letters."""

    markup: Markup
    ignored: frozenset[str] = frozenset()
    non_splitting: frozenset[str] = frozenset()
    splitting: frozenset[str] = frozenset()

    def name_of(self, raw: str) -> str:
        name: str = TAG_NAME.match(raw)[1]  # type: ignore[index]  # every tag matches
        return name.lower() if self.markup == "html" else name

    def splits(self, name: str) -> bool:
        if name in self.non_splitting:
            return False
        return name in self.splitting or (self.markup == "html" and name in BLOCKS)

    def keeps(self, tag: Atom) -> bool:
        """Whether the element that the tag opens is left as it is."""
        if tag.mask is None or tag.mask.kind != "tag-open":
            return False
        name = tag.mask.name
        return (
            name in self.ignored or (self.markup == "html" and name in VERBATIM) or bool(NO_TRANSLATE.search(tag.raw))
        )


def atoms_of(text: str, tags: Tags) -> Iterator[Atom]:
    """Joined, their raw texts are `text`."""
    parts = list(_parts(text, tags))
    partners = pairs([part.mask if isinstance(part, Atom) else None for part in parts])
    place = 0
    while place < len(parts):
        part = parts[place]
        if isinstance(part, str):
            yield from markup_atoms(part, are_breaks_spaces=tags.markup == "html")
        elif tags.keeps(part) and place in partners:
            yield _element(parts[place : partners[place] + 1], tags)
            place = partners[place]
        elif part.mask and tags.splits(part.mask.name):
            yield frame_atom(part.raw)
        else:
            yield part
        place += 1


def _element(parts: Sequence[str | Atom], tags: Tags) -> Atom:
    raw = "".join(part if isinstance(part, str) else part.raw for part in parts)
    return frame_atom(raw) if tags.splits(tags.name_of(raw)) else mask_atom(raw, "element")


def _parts(text: str, tags: Tags) -> Iterator[str | Atom]:
    """Texts as they stand, and what is between `<` and `>`."""
    done = position = 0
    last = {end: text.rfind(end) for end in SEPARATE.values()}
    while match := _PART.search(text, position):
        position = match.end()
        end = SEPARATE.get(match[0])
        if end:
            if last[end] < position:
                continue
            position = text.index(end, position) + len(end)
        if match.start() > done:
            yield text[done : match.start()]
        raw = text[match.start() : position]
        yield _separate(raw) if end else tag_atom(raw, tags.name_of(raw))
        done = position
    if done < len(text):
        yield text[done:]


def _separate(raw: str) -> Atom:
    """A comment, CDATA or a processing instruction stays where it is in its sentence; a document type is outside."""
    return mask_atom(raw, "element") if raw.startswith(("<!--", "<![", "<?")) else frame_atom(raw)
