"""Markdown: what files say, as Cloudflare reads them (Cloudflare's docs, Workers AI, Markdown Conversion).

A conversion is a call as any other, but it runs no model and costs no neurons. Agents send the whole conversation again
with each turn, so the latest texts are kept in memory: by the bytes of the file, and for each caller apart.
"""

from collections import OrderedDict
from typing import Any, Protocol

from app.calls import Call, Caller, Failure, FailureKind, File, Reply
from app.errors import BadRequestError

MOST_CHARACTERS = 8_000_000
"""Of all texts that are kept: some 2 million tokens."""

LONGEST_REASON = 300
"""Characters."""

OF_THE_FILE = (FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE)
"""Failures of a conversion that another file would not have."""

Key = tuple[str, str, str]
"""A caller's name, and the extension and digest of a file."""


class Runner(Protocol):
    """What runs a call. Raises Failure."""

    async def run(self, call: Call, caller: Caller) -> tuple[Call, Reply]: ...


class Markdown:
    """Asks `upstream` for what it does not remember."""

    def __init__(self, upstream: Runner, *, most_characters: int = MOST_CHARACTERS) -> None:
        self._upstream = upstream
        self._most_characters = most_characters
        self._characters = 0
        self._texts: OrderedDict[Key, str] = OrderedDict()

    async def convert(self, file: File, caller: Caller, *, param: str) -> str:
        """The file as Markdown. Raises Failure, and BadRequestError for a file that Cloudflare can't read."""
        key = caller.name, file.extension, file.digest
        if key in self._texts:
            self._texts.move_to_end(key)
            return self._texts[key]
        try:
            _, reply = await self._upstream.run(to_call(file), caller)
        except Failure as failure:
            if failure.kind in OF_THE_FILE:
                failure.param = param
            raise
        text = from_reply(reply, param)
        self._keep(key, text)
        return text

    def _keep(self, key: Key, text: str) -> None:
        """Those that were not asked for the longest time make room; a single one may not take it all."""
        if len(text) > self._most_characters // 2:
            return
        self._characters += len(text) - len(self._texts.get(key, ""))  # two requests may have asked at once
        self._texts[key] = text
        while self._characters > self._most_characters:
            _, dropped = self._texts.popitem(last=False)
            self._characters -= len(dropped)


def to_call(file: File) -> Call:
    """A form with one file, whose name tells its type. No model has a part in it."""
    boundary = f"form-{file.digest}".encode()  # no file holds its own digest
    head = f'Content-Disposition: form-data; name="files"; filename="document{file.extension}"\r\n\r\n'.encode()
    content = b"".join((b"--", boundary, b"\r\n", head, file.data, b"\r\n--", boundary, b"--\r\n"))
    return Call(
        "", "tomarkdown", {}, content=content, content_type=f"multipart/form-data; boundary={boundary.decode()}"
    )


def from_reply(reply: Reply, param: str) -> str:
    """Raises BadRequestError for a file that could not be read, and Failure for a reply that can't."""
    result: Any = reply.body[0] if isinstance(reply.body, list) and reply.body else reply.body
    if isinstance(result, dict) and result.get("format") == "error":
        reason = " ".join(str(result.get("error") or "Cloudflare tells no reason.").split())[:LONGEST_REASON]
        message = f"The document could not be read: {reason}"
        raise BadRequestError(message, param=param, code="invalid_document")
    text = result.get("data") if isinstance(result, dict) else None
    if not isinstance(text, str):
        raise Failure(FailureKind.BROKEN, "Cloudflare answered without the text of the document.", status=502)
    return text
