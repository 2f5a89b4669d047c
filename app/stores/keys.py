"""Keys: who may call and how much, from the settings and from a file that can change while the server runs."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from app.stores.key_entries import KeyEntry, KeysError, digest_of, parse_entry
from app.stores.key_file import Stamp, list_keys

logger = logging.getLogger("flarelay")

CHECK_SECONDS = 1.0
"""Between two looks at the file."""


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
        self._stamp: Stamp | None = None
        self._complaint: str | None = None
        self._next_check = now() + CHECK_SECONDS
        self.entries: tuple[KeyEntry, ...] = ()
        """The keys that are valid now."""
        self._by_digest: dict[bytes, KeyEntry] = {}
        self._set(_joined(self._settings, ()))
        self.is_required = bool(self._settings)
        """There are keys, or there have been: when the last one is removed the server must not open to everybody."""
        if path is not None:
            self._read(path)

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key that somebody shows.

        The time it takes tells nothing of the keys that are valid: what is looked up is a digest, and nobody can bring
        one nearer to another by changing a key.
        """
        self.refresh()
        return self._by_digest.get(digest_of(key))

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
        stamp = Stamp.of(path)
        if stamp != self._stamp:
            self._set(_joined(self._settings, list_keys(path)))
            self.is_required |= stamp is not None
            self._stamp = stamp

    def _set(self, entries: tuple[KeyEntry, ...]) -> None:
        self.entries = entries
        self._by_digest = {entry.digest: entry for entry in entries}


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
