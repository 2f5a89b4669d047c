"""Forms: the bytes of a multipart/form-data body (RFC 7578), for models that take their fields as its parts."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count
from typing import NamedTuple


class Part(NamedTuple):
    """One field. Names are written as they are, so they must be plain: letters, digits, `_`, `-` and `.`."""

    name: str
    data: bytes
    filename: str | None = None
    content_type: str | None = None


def to_form(parts: Sequence[Part], root: str) -> tuple[bytes, str]:
    """The body, and the content type that goes with it. `root` is what the boundary grows from."""
    boundary = next(each for each in map(_boundary, _roots(root)) if not any(each in part.data for part in parts))
    pieces = [piece for part in parts for piece in (b"--", boundary, b"\r\n", _head(part), part.data, b"\r\n")]
    return b"".join([*pieces, b"--", boundary, b"--\r\n"]), f"multipart/form-data; boundary={boundary.decode()}"


def _roots(root: str) -> Iterator[str]:
    return map(f"{root}:{{}}".format, count())


def _boundary(root: str) -> bytes:
    return b"form-" + sha256(root.encode()).hexdigest()[:32].encode()


def _head(part: Part) -> bytes:
    filename = f'; filename="{part.filename}"' if part.filename else ""
    content_type = f"Content-Type: {part.content_type}\r\n" if part.content_type else ""
    return f'Content-Disposition: form-data; name="{part.name}"{filename}\r\n{content_type}\r\n'.encode()
