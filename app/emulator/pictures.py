"""Pictures in a prompt: only as data URIs, which the service does not fetch for anyone, and really pictures."""

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.emulator.checks import missing, type_problem
from app.emulator.faults import Fault, bad_input
from app.emulator.run import Run

DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,")


class Picture(NamedTuple):
    format: str
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.format} of {self.width}x{self.height} pixels"


def urls(run: Run) -> Iterator[tuple[str, Any]]:
    """Path and URL of every picture part."""
    for turn, message in enumerate(run.turns):
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        for number, part in enumerate(parts):
            if isinstance(part, dict) and part.get("type") == "image_url":
                image = part.get("image_url")
                yield f"/messages/{turn}/content/{number}/image_url/url", isinstance(image, dict) and image.get("url")


def check_pictures(run: Run) -> None:
    """Raises 5006 for what is no data URI and 8006 for one that holds no picture."""
    for path, url in urls(run):
        if not isinstance(url, str) or not url.startswith("data:"):
            raise bad_input(f"'{path}' does not match pattern '^data:'")
        if not DATA_URI.match(url):
            raise Fault(8006, "Invalid data for image - reason not a base64 data URI of an image")
        sniff(url)


def check_texts(run: Run) -> None:
    """A data URI in a text is taken for a broken picture (8006)."""
    for message in run.turns:
        content = message.get("content")
        texts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        if any(isinstance(text, str) and DATA_URI.search(text) for text in [content, *texts]):
            raise Fault(8006)


def sniff(url: str) -> Picture:
    """The picture in a data URI. Raises 8006 for what is none."""
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error as failure:
        raise Fault(8006) from failure
    return identified(data)


def identified(data: bytes) -> Picture:
    """Raises 8006 for what is no picture."""
    from PIL import Image  # here, since it takes a good part of the time in which the server should be ready

    try:
        with Image.open(io.BytesIO(data)) as image:
            return Picture(str(image.format), image.width, image.height)
    except (OSError, ValueError, Image.DecompressionBombError) as failure:
        raise Fault(8006, "Invalid data for image - reason cannot identify image file") from failure


def listed(body: Mapping[str, Any], name: str) -> bytes:
    """A picture as a list of its bytes. Raises 5006 for what is none."""
    if name not in body:
        raise bad_input(missing("/", name))
    if problem := type_problem(f"/{name}", body[name], "array"):
        raise bad_input(problem)
    try:
        return bytes(body[name])
    except (TypeError, ValueError) as failure:
        raise bad_input(f"'/{name}' must hold integers from 0 to 255") from failure


def described(run: Run) -> list[str]:
    found = [str(sniff(url)) for _, url in urls(run)]
    return [*found, "picture in the field `image`"] if run.body.get("image") else found
