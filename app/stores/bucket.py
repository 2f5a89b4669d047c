"""Bucket: named objects in S3, R2 or whatever else speaks their protocol, in the place of a folder.

All of it blocks, so it is called in threads. The account comes from the environment, as with every client of S3:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, and `AWS_ENDPOINT` for R2.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from app.stores.disk import File


class Bucket:
    """What Disk is for a folder. Times are those of the bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """`s3://bucket` or `s3://bucket/folder`. Raises OSError for what is no such address."""
        with _as_os_errors():
            return cls(from_url(url))

    def prepare(self) -> None:
        """Nothing: a bucket is there or it isn't, and it may be written to without being listed."""

    def write(self, name: str, data: bytes, mtime: float) -> None:  # noqa: ARG002 - the bucket has a clock of its own
        """A whole object or none. Raises OSError."""
        with _as_os_errors():
            obstore.put(self._store, name, data)

    def find(self, name: str) -> File | None:
        try:
            with _as_os_errors():
                found = obstore.head(self._store, name)
        except FileNotFoundError:
            return None
        return File(name, found["size"], found["last_modified"].timestamp())

    def files(self) -> list[File]:
        with _as_os_errors():
            return [
                File(each["path"], each["size"], each["last_modified"].timestamp())
                for batch in obstore.list(self._store)
                for each in batch
            ]

    def remove(self, name: str) -> None:
        try:
            with _as_os_errors():
                obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def reading(self, name: str, start: int) -> "BucketReading":
        return BucketReading(self._store, name, start)


class BucketReading:
    """An object being read piece by piece, each by a request of its own: nothing is open in between."""

    def __init__(self, store: ObjectStore, name: str, start: int) -> None:
        self._store = store
        self._name = name
        self._start = start

    def read(self, size: int) -> bytes:
        """The next bytes, all of them. Raises FileNotFoundError if the object has gone, EOFError if it is shorter."""
        with _as_os_errors():
            data = bytes(obstore.get_range(self._store, self._name, start=self._start, length=size))
        if len(data) < size:
            raise EOFError("The object is shorter than it was.")
        self._start += len(data)
        return data

    def close(self) -> None:
        """Nothing: see above."""


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """The library's own failures as what a disk's would be; one that is an OSError already stays what it is."""
    try:
        yield
    except OSError:
        raise
    except (BaseError, ValueError) as failure:
        raise OSError(5, type(failure).__name__) from failure  # without the text, which may hold the account
