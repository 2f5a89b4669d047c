"""Keys: who may call and how much, from the settings and from a file that can change while the server runs.

A setting's entry is a plain key, or has a name and limits:

    name=key;rpm=60;concurrent=4;neurons=5000;models=gpt-*|@cf/meta/*

The file is `keys.toml` in DATA_DIR, which `flarelay keys` writes. It has the SHA-256 of each key, never a key itself.
"""

import hmac
import json
import logging
import math
import os
import re
import secrets
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from app.calls import UNLIMITED, Limits
from app.values import immutable

logger = logging.getLogger("flarelay")

CHECK_SECONDS = 1.0
"""Between two looks at the file."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = "anonymous"
"""The name of callers without a key."""
NAMED = re.compile(rf"(?P<name>{NAME.pattern})=(?!=*$)(?P<rest>.+)", re.DOTALL)
"""Not with `=` alone behind it: that is how base64 ends."""
LIMIT = re.compile(r";\s*(?:rpm|concurrent|neurons|models)\s*=")
DIGEST = re.compile(r"[0-9a-f]{64}")

HEADER = "# Written by `flarelay keys`, which keeps no comments. The server reads it again when it changes.\n"


class KeysError(ValueError):
    """Entries that can't be understood, or a change that can't be made. Its words have no key in them."""


@immutable
class KeyEntry:
    """A key, as far as it is known once it was handed out."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256."""
    limits: Limits = UNLIMITED


class Keys:
    """All keys. Two of them never share a name, under which they are counted and limited."""

    def __init__(
        self, texts: Iterable[str] = (), path: Path | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`texts`: entries of a setting. `path`: the file, which need not be there; it is looked for again and again.

        Raises KeysError for entries or a file that can't be understood. `now` tells seconds.
        """
        self._settings = _parsed(texts)
        self._path = path
        self._now = now
        self._stamp: _Stamp | None = None
        self._complaint: str | None = None
        self._next_check = now() + CHECK_SECONDS
        self.entries = _joined(self._settings, ())
        """The keys that are valid now."""
        self.is_required = bool(self._settings)
        """There are keys, or there have been: when the last one is removed the server must not open to everybody."""
        if path is not None:
            self._read(path)

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key that somebody shows; in a time that tells nothing about those that are valid."""
        self.refresh()
        digest = _digest(key)
        found = None
        for entry in self.entries:  # all of them: no early end to time
            if hmac.compare_digest(digest, entry.digest):
                found = entry
        return found

    def refresh(self) -> None:
        """Look at the file again, if that was not done in the last second."""
        if self._path is not None and self._now() >= self._next_check:
            self._next_check = self._now() + CHECK_SECONDS
            self._check(self._path)

    def _check(self, path: Path) -> None:
        """Read the file again if it has changed. While it can't be understood, what it said before stays in force."""
        former = self.entries
        try:
            self._read(path)
        except KeysError as failure:
            if self._complaint != str(failure):
                self._complaint = str(failure)
                fields = {"path": str(path), "reason": str(failure)}
                logger.error("keys can't be read; the former ones stay valid", extra={"fields": fields})
        else:
            self._complaint = None
            if self.entries is not former:
                logger.info("keys changed", extra={"fields": {"path": str(path), "keys": len(self.entries)}})

    def _read(self, path: Path) -> None:
        stamp = _stamp(path)
        if stamp != self._stamp:
            self.entries = _joined(self._settings, list_keys(path))
            self.is_required |= stamp is not None
            self._stamp = stamp


def fingerprint(key: str) -> str:
    """What stands for a key that has no name."""
    return _digest(key).hex()[:8]


def parse_entry(text: str) -> KeyEntry:
    """An entry of a setting. Raises KeysError."""
    text = text.strip()
    named = NAMED.fullmatch(text)
    if named is None:
        if LIMIT.search(text):
            raise KeysError("A key with limits needs a name: `name=key;rpm=60`.")
        if not text:
            raise KeysError("A key is empty.")
        return KeyEntry(fingerprint(text), _digest(text))
    key, *options = named["rest"].split(";")
    if not key.strip():
        raise KeysError("A key is empty.")
    return KeyEntry(_named(named["name"]), _digest(key.strip()), parse_limits(options))


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


def list_keys(path: Path) -> list[KeyEntry]:
    """The keys of a file, none if there is no file. Raises KeysError."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return []
    except OSError as failure:
        raise KeysError(f"{path} can't be read ({failure.strerror}).") from failure
    except UnicodeDecodeError as failure:
        raise KeysError(f"{path} is not UTF-8.") from failure
    try:
        return _from_text(text)
    except ValueError as failure:
        raise KeysError(f"{path} can't be understood: {failure}.") from failure


def add_key(path: Path, name: str, limits: Limits = UNLIMITED) -> str:
    """Make a key. It is told here and nowhere again. Raises KeysError.

    This and the other changes read the file, and replace it as a whole; they are for one operator at a time.
    """
    entries = list_keys(path)
    if any(entry.name == name for entry in entries):
        raise KeysError(f"There is a key named {name} already.")
    key = f"sk-{secrets.token_urlsafe(32)}"
    _write(path, [*entries, KeyEntry(_named(name), _digest(key), limits)])
    return key


def remove_key(path: Path, name: str) -> None:
    """Raises KeysError if there is none of this name."""
    entries, _ = _parted(path, name)
    _write(path, entries)


def set_limits(path: Path, name: str, limits: Limits) -> None:
    """In place of those it had. Raises KeysError if there is no key of this name."""
    others, entry = _parted(path, name)
    _write(path, [*others, KeyEntry(name, entry.digest, limits)])


class _Stamp(NamedTuple):
    """Changes when the file does."""

    inode: int
    size: int
    mtime_ns: int


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise KeysError(f"{path} can't be read ({failure.strerror}).") from failure
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def _parsed(texts: Iterable[str]) -> tuple[KeyEntry, ...]:
    entries = []
    for number, text in enumerate(texts, 1):
        try:
            entries.append(parse_entry(text))
        except KeysError as failure:
            raise KeysError(f"Key {number} of the settings: {failure}") from None  # the cause may hold the key
    return tuple(dict.fromkeys(entries))


def _joined(settings: Iterable[KeyEntry], file: Iterable[KeyEntry]) -> tuple[KeyEntry, ...]:
    entries = (*settings, *file)
    names: dict[bytes, str] = {}
    for entry in entries:
        if entry.name in names.values():
            raise KeysError(f"Two keys have the name {entry.name}.")
        if entry.digest in names:
            raise KeysError(f"{names[entry.digest]} and {entry.name} are the same key.")
        names[entry.digest] = entry.name
    return entries


def _named(name: str) -> str:
    if not NAME.fullmatch(name) or name == RESERVED:
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


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(name.strip() for name in text.split("|"))
    if not all(map(_is_pattern, patterns)):
        raise KeysError("`models` are names, in which `*` matches any text, with `|` between them.")
    return patterns


def _checked_amount(number: float) -> float:
    if not (math.isfinite(number) and number > 0):
        raise ValueError(number)
    return number


def _is_pattern(name: object) -> bool:
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


def _from_text(text: str) -> list[KeyEntry]:
    """Raises ValueError, with words that begin small and have no full stop."""
    tables = tomllib.loads(text)
    keys = _table(tables.pop("keys", {}), "`keys`")
    if tables:
        raise KeysError("there is something beside `keys`")
    # By number, as long as a name may be a key that somebody wrote there by mistake.
    return [
        _from_table(name, _table(table, f"entry {number} of `keys`"), f"entry {number} of `keys`")
        for number, (name, table) in enumerate(keys.items(), 1)
    ]


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise KeysError(f"{what} is no table")
    return value


def _from_table(name: str, table: dict[str, Any], what: str) -> KeyEntry:
    """Nothing is passed over: a limit with a typing mistake would be none."""
    if not NAME.fullmatch(name) or name == RESERVED:
        raise KeysError(f"the name of {what} is none for a key")
    digest = table.pop("sha256", None)
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise KeysError(f"`sha256` of {what} is not 64 hexadecimal digits")
    for limit, value in table.items():
        if limit not in CHECKS or not CHECKS[limit](value):
            raise KeysError(f"`{limit}` of `{name}` is no limit")
    if "models" in table:
        table["models"] = tuple(table["models"])
    return KeyEntry(name, bytes.fromhex(digest), Limits(**table) if table else UNLIMITED)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # True is an int too


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]  # as just checked


CHECKS: dict[str, Callable[[Any], bool]] = {
    "requests_per_minute": _is_count,
    "concurrent_requests": _is_count,
    "neurons_per_day": _is_amount,
    "models": lambda value: isinstance(value, list) and all(map(_is_pattern, value)),
}


def _parted(path: Path, name: str) -> tuple[list[KeyEntry], KeyEntry]:
    """The other keys of a file, and the one of this name."""
    entries = list_keys(path)
    for entry in entries:
        if entry.name == name:
            return [other for other in entries if other is not entry], entry
    raise KeysError(f"There is no key named {name}.")


def _write(path: Path, entries: Iterable[KeyEntry]) -> None:
    """The whole file or nothing, for nobody else to read."""
    entries = sorted(entries, key=lambda entry: entry.name)
    text = "\n".join([HEADER, *map(_to_table, entries)])
    try:
        _from_text(text)
    except ValueError as failure:
        raise KeysError(f"These limits can't be: {failure}.") from failure
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".keys-", dir=path.parent)  # with the mode 0600
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - Path can't open a descriptor
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as failure:
        raise KeysError(f"{path} can't be written ({failure.strerror}).") from failure


def _to_table(entry: KeyEntry) -> str:
    limits = entry.limits
    lines = [f'[keys."{entry.name}"]', f'sha256 = "{entry.digest.hex()}"']
    for limit in ("requests_per_minute", "concurrent_requests", "neurons_per_day"):
        value = getattr(limits, limit)
        if value is not None:
            lines.append(f"{limit} = {value!r}")
    if limits.models:
        # JSON's texts are TOML's too, once all characters are printable ones.
        lines.append(f"models = {json.dumps(limits.models, ensure_ascii=False)}")
    return "\n".join([*lines, ""])


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
