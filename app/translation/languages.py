"""Languages as clients of translation write them, and our own tags: `en`, `en-GB`, `pt-BR`, `zh-Hans`, `zh-Hant`.

A tag is a language of `app.languages`, or one of the variants of `languages.json`; what else a client says of region
and script is dropped. Chinese has a form: `zh-Hans`, `zh-Hant` (as in Taiwan) or `zh-Hant-HK` (which stands for
Cantonese too). Only a source may be `zh`, and its text tells which form it is in.
"""

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

import orjson

from app.languages.codes import Tag, code_of, name_of, split_tag
from app.languages.detect import detect
from app.languages.scripts import LANGUAGES, han_variant
from app.values import immutable

AUTOMATIC = frozenset({"", "auto", "autodetect", "auto detect", "automatic", "detect", "detect language", "und"})
"""What clients write for a language that is to be found out, with spaces for other signs."""

SHORT_LETTERS = 40
"""Up to here a text may be a name, a label, a few words; above it, a hint knows no better."""

_SIGNS = re.compile(r"[\s_()-]+")
_LONGEST, _SHOWN = 100, 40
"""Characters of a code, and of an unknown one that its error repeats."""

_TRADITIONAL_REGIONS = {"TW": "zh-Hant", "HK": "zh-Hant-HK", "MO": "zh-Hant-HK"}
_SIMPLIFIED_REGIONS = {"CN", "SG", "MY"}


@immutable
class _DeepL:
    """What DeepL offers. Source: DeepL's docs, "Supported languages" and `/v2/languages`."""

    sources: str
    targets: str
    names: dict[str, str]
    """Of variants."""
    codes: dict[str, str]
    """Our tag -> DeepL's code, where it is another one."""


@immutable
class _Tables:
    variants: dict[str, str]
    """Tag -> English name."""
    names: dict[str, str]
    more: dict[str, str]
    """Codes that clients send of languages that ISO 639-1 lacks, and their names."""
    also: dict[str, str]
    """Names and codes as they are looked up -> tag."""
    regions: dict[str, str]
    """Variant -> the regions that it is written in."""
    deepl: _DeepL
    immersive: dict[str, str]
    m2m100: str
    """Its 100 codes. Source: the model card."""


def parse_target(code: str | None) -> str | None:
    """The tag of a language that a client asked for; `zh` is `zh-Hans`. None if it left that open.

    Codes (`EN`, `en_us`, `eng`, `eng_Latn`, `iw`), English names, any case. Raises ValueError for what is unknown.
    """
    tag = parse_source(code)
    return "zh-Hans" if tag == "zh" else tag


def parse_source(code: str | None) -> str | None:
    """Like `parse_target`, but `zh` stays `zh`: the text decides its form."""
    if code is None or (len(code) <= _LONGEST and _key(code) in AUTOMATIC):
        return None
    tag = _tag_of(code) if len(code) <= _LONGEST else None
    if tag is None:
        raise ValueError(f"Unknown language: {code[:_SHOWN]!r}")
    return tag


parse = parse_target


def base(tag: str) -> str:
    """`zh` of `zh-Hant`."""
    return tag.partition("-")[0]


def is_same(source: str, target: str) -> bool:
    """Whether a text in `source` needs no translation: `en` and `en-GB` are one language, as are `pt` and `pt-BR`.

    Forms of Chinese and scripts of Serbian are not. `zh` is the same as none of its forms, since it may be another.
    """
    return source == target or (_written(source) == _written(target) and base(source) != "zh")


def detected(text: str, hint: str | None = None) -> str | None:
    """The tag of the language that a text is in, found out on this machine. None if it has no letters.

    `hint` is the tag of what surrounds the text. It decides where a short text leaves a doubt and its script allows.
    """
    found = detect(text)
    if found is None:
        return None
    code = found.code
    is_short = sum(map(str.isalpha, text[: 4 * SHORT_LETTERS])) <= SHORT_LETTERS
    if hint and is_short and not found.is_sure and _is_written_in(hint, found.script):
        if base(hint) != "zh":
            return hint
        code = "zh"
    return _chinese_form(text, hint) if code in ("zh", "yue") else code


def english_name(tag: str) -> str:
    """What a prompt calls a language: `Simplified Chinese`, `Brazilian Portuguese`. A tag that is unknown: itself."""
    tables = _tables()
    return tables.variants.get(tag) or tables.names.get(tag) or tables.more.get(tag) or name_of(tag)


def deepl_code(tag: str, *, is_source: bool = False) -> str:
    """DeepL's code: `ZH`, `EN`, `NB` for sources; targets have variants, and Chinese always has one: `ZH-HANS`.

    Of a language that DeepL does not have, our code in capitals.
    """
    deepl = _tables().deepl
    if is_source:
        tag = base(tag)
    elif tag == "zh":
        tag = "zh-Hans"
    code = deepl.codes.get(tag, tag.upper())
    return code if is_source or code in deepl.targets.split() else deepl.codes.get(base(tag), base(tag).upper())


def immersive_code(tag: str) -> str:
    """The code of Immersive Translate: `zh-CN`, `zh-TW`, `pt-br`, `no`."""
    codes = _tables().immersive
    return codes.get(tag) or codes.get(base(tag), base(tag))


def deepl_languages(kind: Literal["source", "target"]) -> list[tuple[str, str]]:
    """Codes and English names of what can be translated: DeepL's own languages, then m2m100's others, each by code."""
    deepl = _tables().deepl
    own = (deepl.sources if kind == "source" else deepl.targets).split()
    further = {deepl_code(tag, is_source=True) for tag in m2m100_languages()} - set(own)
    return [(code, _deepl_name(code)) for code in (*own, *sorted(further))]


def m2m100_languages() -> tuple[str, ...]:
    """The languages that m2m100 knows, as our tags; its own code of `nso` is `ns`."""
    return tuple(code_of(code) or code for code in _tables().m2m100.split())


def _deepl_name(code: str) -> str:
    return _tables().deepl.names.get(code) or name_of(code_of(code) or code)


@lru_cache(maxsize=1024)
def _tag_of(code: str) -> str | None:
    key = _key(code)
    found = _tables().also.get(key)
    if found:
        return found
    language = code_of(code) or _further(code)
    if language is None:
        return None
    tag = split_tag(code)
    return _chinese(language, tag) if language in ("zh", "yue") else _variant(language, tag)


def _key(code: str) -> str:
    return _SIGNS.sub(" ", code.lower()).strip()


def _further(code: str) -> str | None:
    """A language that is not in `app.languages`, from its code, a tag or a name."""
    more = _tables().more
    first = split_tag(code).language
    if first in more:
        return first
    return next((language for language, name in more.items() if name.lower() == first), None)


def _chinese(language: str, tag: Tag) -> str:
    script, region = tag.script, tag.region or ""
    if script == "Hans":
        return "zh-Hans"
    if script is None and language == "zh":
        return "zh-Hans" if region in _SIMPLIFIED_REGIONS else _TRADITIONAL_REGIONS.get(region, "zh")
    return "zh-Hant-HK" if language == "yue" else _TRADITIONAL_REGIONS.get(region, "zh-Hant")


def _variant(language: str, tag: Tag) -> str:
    tables = _tables()
    by_script, by_region = f"{language}-{tag.script}", f"{language}-{tag.region}"
    if by_script in tables.variants:
        return by_script
    if by_region in tables.variants:
        return by_region
    of_language = (variant for variant in tables.regions if base(variant) == language)
    return next((variant for variant in of_language if tag.region in tables.regions[variant].split()), language)


def _written(tag: str) -> str:
    """The tag without its region."""
    parts = split_tag(tag)
    return f"{parts.language}-{parts.script}"


def _is_written_in(tag: str, script: str | None) -> bool:
    own = split_tag(tag).script
    if own and base(tag) != "zh":
        return own == script
    return base(tag) in LANGUAGES.get(script or "", ())


def _chinese_form(text: str, hint: str | None) -> str:
    """The form of a Chinese text; of one that is the same in both, the hint's."""
    variant = han_variant(text)
    if variant == "hans":
        return "zh-Hans"
    if hint and hint.startswith("zh-Hant"):
        return hint
    return "zh-Hant" if variant == "hant" else "zh-Hans"


@cache
def _tables() -> _Tables:
    rows = orjson.loads(resources.files(__package__).joinpath("languages.json").read_bytes())
    return _Tables(**rows | {"deepl": _DeepL(**rows["deepl"])})
