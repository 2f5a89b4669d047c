"""The file of keys: `keys.toml` in DATA_DIR, which `flarelay keys` writes.

It has the SHA-256 of each key, never a key itself.
"""

import json
import math
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from app.calls import UNLIMITED, Limits
from app.stores.key_entries import KeyEntry, KeysError, checked_name, digest_of, is_name, is_pattern

DIGEST = re.compile(r"[0-9a-f]{64}")
HEADER = "# Written by `flarelay keys`, which keeps no comments. The server reads it again when it changes.\n"


class Stamp(NamedTuple):
    """Changes when the file does."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """None if there is no file. Raises KeysError."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise KeysError(f"{path} can't be read ({failure.strerror}).") from failure
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


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
    _write(path, [*entries, KeyEntry(checked_name(name), digest_of(key), limits)])
    return key


def remove_key(path: Path, name: str) -> None:
    """Raises KeysError if there is none of this name."""
    entries, _ = _parted(path, name)
    _write(path, entries)


def set_limits(path: Path, name: str, limits: Limits) -> None:
    """In place of those it had. Raises KeysError if there is no key of this name."""
    others, entry = _parted(path, name)
    _write(path, [*others, KeyEntry(name, entry.digest, limits)])


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
    if not is_name(name):
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
    "models": lambda value: isinstance(value, list) and all(map(is_pattern, value)),
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
