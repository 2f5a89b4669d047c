"""Codes and names of languages: `en`, `eng`, `en-US` and `English` are one language.

The code of a language is ISO 639-1's, or 639-3's where 639-1 has none. Where clients and ISO disagree, clients win:
`kr` is Korean (ISO: Kanuri), `jp` Japanese, `cn` Chinese, and `nb` is `no`, as whisper and m2m100 say it.
"""

import re
from functools import cache
from importlib import resources
from typing import Any

import orjson

from app.values import immutable

_TAGGED = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8})*")
_QUALIFIER = re.compile(r"\s*\([^()]*\)\s*$")
_LONGEST_NAME = 100


@immutable
class Tag:
    """A BCP 47 tag, in its recommended case: `zh`, `Hant`, `TW`."""

    language: str
    """As it was written, but in lower case; `code_of` tells what it is."""
    script: str | None = None
    region: str | None = None


def code_of(name: str) -> str | None:
    """The code of a language, from a code, a BCP 47 tag or an English name in any case. None if it is unknown.

    `auto`, an empty text and their like are unknown.
    """
    key = " ".join(name[:_LONGEST_NAME].lower().split())
    names = _names()
    found = names.get(key) or names.get(_QUALIFIER.sub("", key)) or names.get(key.replace("_", " "))
    if found:
        return found
    tag = key.replace("_", "-")
    return names.get(tag.partition("-")[0]) if _TAGGED.fullmatch(tag) else None


def split_tag(tag: str) -> Tag:
    """The parts of a BCP 47 tag, such as `zh-Hant-TW` or `en_us`. What is neither a script nor a region is left out."""
    language, *rest = tag.strip().lower().replace("_", "-").split("-")
    script = region = None
    for part in rest:
        if len(part) == 1:  # an extension or a private use begins
            break
        if script is None and region is None and len(part) == 4 and part.isalpha():
            script = part.title()
        elif region is None and _is_region(part):
            region = part.upper()
    return Tag(language, script, region)


def region_of(tag: str) -> str | None:
    """The region of a BCP 47 tag: `US` of `en-us`, `419` of `es-419`."""
    return split_tag(tag).region


def name_of(code: str) -> str:
    """The English name of a language, such as `English`; the code itself if it is unknown."""
    name: str = _rows().get(code, {}).get("name", code)
    return name


def whisper_name(code: str) -> str | None:
    """What Whisper calls a language, such as `english`. None if Whisper does not know it.

    Source: LANGUAGES in `whisper/tokenizer.py` of OpenAI's whisper.
    """
    name: str | None = _rows().get(code, {}).get("whisper")
    return name


def _is_region(part: str) -> bool:
    return part.isascii() and ((len(part) == 2 and part.isalpha()) or (len(part) == 3 and part.isdecimal()))


@cache
def _rows() -> dict[str, Any]:
    rows: dict[str, Any] = orjson.loads(resources.files(__package__).joinpath("codes.json").read_bytes())
    return rows


@cache
def _names() -> dict[str, str]:
    """Every code and name in lower case -> the code."""
    return {name: code for code, row in _rows().items() for name in _names_in(code, row)}


def _names_in(code: str, row: dict[str, Any]) -> list[str]:
    return [code, row["name"].lower(), row.get("whisper", code), *row.get("also", ())]
