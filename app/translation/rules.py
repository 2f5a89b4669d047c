"""What is masked in running text, as one table of patterns.

Every pattern takes linear time: quantifiers are possessive or bounded, and a pattern that could start anywhere in a
long run looks back so that it starts only at the run's beginning.
"""

import re
from collections.abc import Iterator, Sequence
from html import unescape
from html.entities import html5
from typing import cast

from app.translation.pieces import STAND_IN, Atom, Kind, frame_atom, mask_atom, text_atom

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3100-\u318f\u31a0-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Scripts that put no spaces between words, with their punctuation: Thai, Lao, Burmese, Khmer, Chinese, Japanese."""

LINE_BREAK = "\\n\\r\\v\\f\\x85\\u2028\\u2029"

URL_TAIL = rf"(?:[.,;:!?'*|\]]*+(?:(?![{UNSPACED}])[\w\-/%&=+#~@$\[]|\([^\s()<>]{{0,200}}+\)|\{{[\w.-]{{0,40}}+\}}))++"
"""Behind an address there may be the punctuation of the sentence around it."""

TOP_DOMAINS = "com|org|net|edu|gov|info|io|dev|app|ai|cn|jp|kr|tw|hk|de|fr|uk|ru|br|eu|ch|nl|xyz"
EXTENSIONS = (
    "py|js|ts|tsx|jsx|json|ya?ml|toml|md|txt|csv|xml|html?|css|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|webp|mp[34]|"
    "zip|gz|tar|exe|dll|sh|bat|ini|cfg|conf|log|sql|db|java|go|rs|cpp|rb|php"
)

PICTURE = "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u3030\u303d\u3297\u3299]"
MODIFIER = "[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
EMOJI = rf"""(?x: (?:
    [0-9\#*]\ufe0f?\u20e3 | {PICTURE}{MODIFIER}*+ | [\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff]\ufe0f
    ) (?: \u200d {PICTURE} {MODIFIER}*+ | \u200d[\u2190-\u21ff]\ufe0f? )*+ )"""

ATTRIBUTE = r"""\s{1,9}[A-Za-z_:][\w:.-]{0,40}(?:\s?=\s?(?:"[^"<>]{0,300}"|'[^'<>]{0,300}'))?"""

PLAIN_ONLY: tuple[tuple[Kind, str], ...] = (
    ("code", r"(?<!`)`[^`\n\r]{1,300}`(?!`)"),
    ("code", r"(?<!`)``(?!`)(?:[^`\n\r]|`(?!`)){1,300}+``"),
    ("url", r"\]\((?:[^()\s<>]|\([^()\s]{0,200}\)){1,1000}+\)"),
    ("tag-open", rf"</?[A-Za-z0-9][\w:.-]{{0,15}}+(?:{ATTRIBUTE}){{0,9}}\s{{0,9}}/?>"),
)
"""Markdown, the addresses of its links included. In markup, tags are read by `markup`."""

RULES: tuple[tuple[Kind, str], ...] = (
    ("entity", r"&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"),
    ("url", rf"(?<![A-Za-z])(?:https?|ftp|wss?|file)://{URL_TAIL}"),
    ("url", r"(?<![A-Za-z])(?:mailto|tel):[\w+@-]++(?:\.[\w+@-]++)*+"),
    ("email", r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+)++"),
    (
        "url",
        (
            rf"(?<![A-Za-z0-9_@./-])(?:[A-Za-z0-9-]{{1,63}}\.){{1,5}}(?:{TOP_DOMAINS}|{TOP_DOMAINS.upper()})(?![A-Za-z0-9_-]|\.[A-Za-z0-9])"
            rf"(?:/(?:{URL_TAIL})?)?"
        ),
    ),
    ("placeholder", r"\{\{\{?\s{0,3}[\w.$@\#/!|:>^ -]{1,60}?\s{0,3}\}?\}\}"),
    ("placeholder", r"[$\#%]?\{[A-Za-z0-9_.:$@!,\#%\[\]-]{0,40}\}"),
    ("placeholder", r"@\d{1,4}\#|\[\[\d{1,4}\]\]|⟦\d{1,4}⟧|【\d{1,4}】"),
    ("placeholder", r"(?<![A-Za-z0-9_])__[A-Z0-9]{1,20}+(?:_[A-Z0-9]{1,20}+){0,5}__(?![A-Za-z0-9_])"),
    ("placeholder", r"%\([A-Za-z_]\w{0,30}\)[sdifr]"),
    ("placeholder", r"%%"),
    (
        "placeholder",
        r"(?<![\d%])%(?:\d{1,2}\$)?[-+0\#]{0,3}\d{0,3}(?:\.\d{1,2})?(?:ll?|h)?[sdiufxXoeEgGc@](?![A-Za-z])",
    ),
    ("path", r"(?<![\w/.:~<])(?:~|\.{1,2})?/(?:[A-Za-z0-9_.+@-]++/)++[A-Za-z0-9_+@-]*+(?:\.[A-Za-z0-9_-]++)*+"),
    ("path", r"(?<![\w/])(?:~|\.{1,2})/[A-Za-z0-9_.+@-]*[A-Za-z0-9_+@-]"),
    ("path", r"(?<![A-Za-z0-9_])[A-Za-z]:\\[^\s:*?\"<>|,;]*[^\s:*?\"<>|,;.!)]"),
    (
        "path",
        r"(?<![A-Za-z0-9_/.-])(?:[A-Za-z0-9_.-]++/)++[A-Za-z0-9_-]++(?:\.[A-Za-z][A-Za-z0-9]{0,4})(?![A-Za-z0-9_])",
    ),
    ("path", rf"(?<![A-Za-z0-9_/.-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*?\.(?:{EXTENSIONS})(?![A-Za-z0-9_/])"),
    (
        "number",
        r"(?<![\w.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?::\d{1,5})?(?![\w.]\w)",
    ),
    ("number", r"(?<![\w-])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![\w-])"),
    (
        "number",
        r"(?<![\w-])\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w-])",
    ),
    ("number", r"(?<![A-Za-z0-9_])[vV]\d{1,5}(?:\.\d{1,6}){1,5}(?:-[A-Za-z0-9.]{1,20}[A-Za-z0-9])?(?![A-Za-z0-9_])"),
    (
        "number",
        (
            r"(?<![\w.,])(?!\d{1,3}(?:\.\d{3})+(?![\d.]))(?!\d{1,2}\.\d{1,2}\.\d{4}(?!\d))"
            r"\d{1,5}(?:\.\d{1,6}){2,5}(?:-[A-Za-z0-9.]{1,20}[A-Za-z0-9])?(?![A-Za-z0-9_])"
        ),
    ),
    ("mention", r"(?<![A-Za-z0-9_@/])@[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,60}[A-Za-z0-9_])?"),
    ("mention", r"(?<![\w&#/])\#(?=[\w]{0,60}[^\W\d])\w{1,60}+"),
    ("emoji", rf"(?:{EMOJI})++"),
)
"""Tried in this order at every place."""

SPACE = (("space", r"(?<!\s)\s++"),)
"""In markup, where a line break may be no more than a space."""

HEADING = re.compile(
    r"\s*+(?:(?:[-*+•‣◦▪–—]|\(?\d{1,3}[.)]|\(?[a-zA-Z]\)|\#{1,6}|>{1,9}|\[[ xX]\])\s++|\d{1,3}、|[•‣◦▪])++"
)
"""List markers, quotation marks and heading signs at the start of a line."""

LINE_ENDS = re.compile(rf"\r\n|[{LINE_BREAK}]")
BREAK = re.compile(rf"[{LINE_BREAK}]\s*+")

SPACE_REFERENCE = re.compile(r"&(?:nbsp|NonBreakingSpace|#0{0,4}160|#[xX]0{0,4}[aA]0);")

_VOID = "area base br col embed hr img input link meta param source track wbr"
VOID = frozenset(_VOID.split())
"""HTML's tags that have no closing one. Source: the HTML standard, 13.1.2."""

TAG_NAME = re.compile(r"</?([^\s/>]+)")


def tag_atom(raw: str, name: str) -> Atom:
    if raw.startswith("</"):
        return mask_atom(raw, "tag-close", name)
    return mask_atom(raw, "tag-empty" if raw.endswith("/>") or name in VOID else "tag-open", name)


def plain_atoms(text: str) -> Iterator[Atom]:
    """The atoms of a text that is neither HTML nor XML. Fenced code, separators and line breaks stay in texts."""
    position = 0
    for match in _PLAIN.finditer(text):
        if match.start() > position:
            yield text_atom(text[position : match.start()])
        yield _plain_atom(match)
        position = match.end()
    if position < len(text):
        yield text_atom(text[position:])


def markup_atoms(text: str, *, are_breaks_spaces: bool) -> Iterator[Atom]:
    """The atoms of what stands between two tags: character references are decoded."""
    position = 0
    for match in (_HTML if are_breaks_spaces else _XML).finditer(text):
        if match.start() > position:
            yield text_atom(text[position : match.start()])
        yield _markup_atom(match)
        position = match.end()
    if position < len(text):
        yield text_atom(text[position:])


def _compile(*tables: Sequence[tuple[str, str]]) -> re.Pattern[str]:
    rules = [rule for table in tables for rule in table]
    return re.compile(
        "|".join(f"(?P<r{number}_{kind.replace('-', '_')}>{rule})" for number, (kind, rule) in enumerate(rules))
    )


_PLAIN = _compile(PLAIN_ONLY, RULES)
_HTML = _compile(SPACE, RULES)
_XML = _compile(RULES)
_EMOJI = re.compile(EMOJI)


def _kind(match: re.Match[str]) -> str:
    name = match.lastgroup or ""  # every rule is a named group
    return name.partition("_")[2]


def _plain_atom(match: re.Match[str]) -> Atom:
    kind, raw = _kind(match), match[0]
    if kind == "tag_open":
        return tag_atom(raw, TAG_NAME.match(raw)[1])  # type: ignore[index]  # the rule begins so
    if kind == "entity" and not _decoded(raw):
        return text_atom(raw)
    return mask_atom(raw, cast("Kind", kind))


def _markup_atom(match: re.Match[str]) -> Atom:
    kind, raw = _kind(match), match[0]
    if kind == "space":
        breaks = len(LINE_ENDS.findall(raw))
        return frame_atom(raw) if breaks > 1 else Atom(raw, " ") if breaks else text_atom(raw)
    if kind == "entity":
        character = _decoded(raw)
        return Atom(raw, character) if _is_text(character) else mask_atom(raw, "entity")
    return mask_atom(raw, cast("Kind", kind))


def _decoded(reference: str) -> str:
    """The characters that a character reference names; nothing if it names none."""
    if reference[1] == "#" or reference[1:] in html5:
        return unescape(reference)
    return ""


def _is_text(character: str) -> bool:
    """Whether an engine may see it: one visible character, or the space that does not break."""
    return (
        len(character) == 1
        and character not in "\ufffd" + STAND_IN
        and (character.isprintable() or character == "\xa0")
        and not _EMOJI.match(character)
    )
