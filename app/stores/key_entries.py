"""Key entries: what is known of a key once it was handed out, and how an entry of a setting writes it down.

A setting's entry is a plain key, or has a name and limits:

    name=key;rpm=60;concurrent=4;neurons=5000;models=gpt-*|@cf/meta/*
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import field
from hashlib import sha256
from typing import Any

from app.calls import UNLIMITED, Limits
from app.values import immutable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = "anonymous"
"""The name of callers without a key."""
NAMED = re.compile(rf"(?P<name>{NAME.pattern})=(?!=*$)(?P<rest>.+)", re.DOTALL)
"""Not with `=` alone behind it: that is how base64 ends."""
LIMIT = re.compile(r";\s*(?:rpm|concurrent|neurons|models)\s*=")


class KeysError(ValueError):
    """Entries that can't be understood, or a change that can't be made. Its words have no key in them."""


@immutable
class KeyEntry:
    """A key, as far as it is known once it was handed out."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256."""
    limits: Limits = UNLIMITED


def fingerprint(key: str) -> str:
    """What stands for a key that has no name."""
    return digest_of(key).hex()[:8]


def digest_of(key: str) -> bytes:
    """SHA-256, which is all that is kept of a key."""
    return sha256(key.encode()).digest()


def parse_entry(text: str) -> KeyEntry:
    """An entry of a setting. Raises KeysError."""
    text = text.strip()
    named = NAMED.fullmatch(text)
    if named is None:
        if LIMIT.search(text):
            raise KeysError("A key with limits needs a name: `name=key;rpm=60`.")
        if not text:
            raise KeysError("A key is empty.")
        return KeyEntry(fingerprint(text), digest_of(text))
    key, *options = named["rest"].split(";")
    if not key.strip():
        raise KeysError("A key is empty.")
    return KeyEntry(checked_name(named["name"]), digest_of(key.strip()), parse_limits(options))


def parse_limits(options: Iterable[str]) -> Limits:
    """From `rpm=60`, `concurrent=4`, `neurons=5000`, `models=gpt-*|@cf/meta/*`, or some of them. Raises KeysError."""
    values: dict[str, Any] = {}
    for option in options:
        word, _, text = map(str.strip, option.partition("="))
        if word not in OPTIONS:
            # Without a word of what stands there: it may be a part of a key.
            raise KeysError("Behind a key only `;rpm=`, `;concurrent=`, `;neurons=` and `;models=` can follow.")
        limit = OPTIONS[word]
        if limit in values:
            raise KeysError(f"`{word}` is there twice.")
        values[limit] = PARSERS[limit](text)
    return Limits(**values) if values else UNLIMITED


def is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name != RESERVED


def checked_name(name: str) -> str:
    """The name, if a key can have it. Raises KeysError."""
    if not is_name(name):
        raise KeysError(
            "A name has 1 to 64 letters of ASCII, digits, dots, dashes and underscores, the first a letter or digit, "
            f"and is not `{RESERVED}`."
        )
    return name


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,9}", text):
        raise KeysError("`rpm` and `concurrent` are whole numbers above 0.")
    return int(text)


def _amount(text: str) -> float:
    try:
        return _checked_amount(float(text))
    except ValueError:
        raise KeysError("`neurons` is a number above 0.") from None


def _checked_amount(number: float) -> float:
    if not (math.isfinite(number) and number > 0):
        raise ValueError(number)
    return number


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(name.strip() for name in text.split("|"))
    if not all(map(is_pattern, patterns)):
        raise KeysError("`models` are names, in which `*` matches any text, with `|` between them.")
    return patterns


def is_pattern(name: object) -> bool:
    """Whether it can stand for models."""
    return isinstance(name, str) and name.strip() != "" and name.isprintable()


OPTIONS = {
    "rpm": "requests_per_minute",
    "concurrent": "concurrent_requests",
    "neurons": "neurons_per_day",
    "models": "models",
}
"""What limits are called in an entry of a setting."""
PARSERS: dict[str, Callable[[str], object]] = {
    "requests_per_minute": _count,
    "concurrent_requests": _count,
    "neurons_per_day": _amount,
    "models": _patterns,
}
