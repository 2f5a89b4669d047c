"""DocumentLoader: whatever a caller sends as a document -> its text, or the file that Cloudflare has to read."""

import re
from functools import partial
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from anyio import CapacityLimiter, to_thread

from app.calls import Document, File
from app.errors import BadRequestError
from app.media.pictures import from_base64, sniff
from app.media.remote import DOCUMENT, RemoteFetcher

EXTENSIONS = {
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.ms-excel.sheet.macroenabled.12": ".xlsm",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": ".xlsb",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.apple.numbers": ".numbers",
}
"""Types of files that are no text, and what their names end with. Source: Cloudflare's docs, Workers AI, Markdown
Conversion, supported formats. Its texts (CSV, XML, HTML) are for a model as they are."""
SUFFIXES = frozenset({*EXTENSIONS.values(), ".et"})

SIGNATURES = {
    ".pdf": re.compile(rb"(?:\xef\xbb\xbf)?\s*%PDF-"),
    ".docx": re.compile(rb"PK\x03\x04.*?word/document\.xml", re.DOTALL),
    ".xlsb": re.compile(rb"PK\x03\x04.*?xl/workbook\.bin", re.DOTALL),
    ".xlsx": re.compile(rb"PK\x03\x04.*?xl/workbook\.xml", re.DOTALL),
    ".odt": re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis\.opendocument\.text", re.DOTALL),
    ".ods": re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis\.opendocument\.spreadsheet", re.DOTALL),
}
"""How files begin that nobody has told the type of."""

PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)?(?:<!doctype html|<html)", re.IGNORECASE | re.DOTALL)

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CHARSET = re.compile(r";charset=\"?([\w.:-]+)", re.IGNORECASE)


class DocumentLoader:
    """Fetches and decodes documents, a few at once."""

    def __init__(
        self, fetcher: RemoteFetcher | None = None, *, fetches_at_once: int = 8, decodes_at_once: int = 2
    ) -> None:
        """Without a `fetcher` documents must come with the request."""
        self._fetcher = fetcher or RemoteFetcher(is_enabled=False, subject=DOCUMENT)
        self._fetches = CapacityLimiter(fetches_at_once)
        self._decodes = CapacityLimiter(decodes_at_once)

    async def load(self, document: Document) -> str | File:
        """Raises BadRequestError for what is neither a text nor of a type that Cloudflare reads."""
        if document.is_remote:
            async with self._fetches:
                data = await self._fetcher.fetch(document.source.strip(), param=document.param)
            read = partial(_read_fetched, document, data)
        else:
            read = partial(_read_sent, document)
        return await to_thread.run_sync(read, limiter=self._decodes)


def _read_fetched(document: Document, data: bytes) -> str | File:
    """A page is read without its menus and scripts; nobody has written it for a model."""
    name = document.name or unquote(urlsplit(document.source.strip()).path)
    if PAGE.match(data):
        return _file(data, ".html")
    return _read(data, document.media_type, name, document.param)


def _read_sent(document: Document) -> str | File:
    source, media_type = document.source.strip(), document.media_type
    if source[:5].lower() != "data:":
        return _read(_from_base64(source, document.param), media_type, document.name, document.param)
    header, comma, payload = source[5:].partition(",")
    if not comma:
        message = "A document's data URI must have the form data:application/pdf;base64,..."
        raise _invalid(message, document.param)
    is_base64 = header.rstrip().lower().endswith(";base64")
    data = _from_base64(payload, document.param) if is_base64 else unquote_to_bytes(payload)
    return _read(data, media_type or header, document.name, document.param)


def _from_base64(text: str, param: str) -> bytes:
    try:
        return from_base64(text)
    except ValueError as failure:
        message = "A document must be valid base64, a data URI (data:application/pdf;base64,...) or an http(s) address."
        raise _invalid(message, param) from failure


def _read(data: bytes, said: str, name: str, param: str) -> str | File:
    """`said` is a media type, with its parameters, as somebody has it; `name` may tell more."""
    media_type = said.partition(";")[0].strip().lower()
    if not data:
        raise _invalid("The document is empty.", param)
    if extension := _extension(data, media_type, name):
        return _file(data, extension)
    charset = CHARSET.search(said)
    text = _decoded(data, charset[1] if charset else "utf-8-sig")
    if text is None and media_type.startswith("text/"):
        raise _invalid("The document's text is not in UTF-8, nor in a charset that its type names.", param)
    if text is None:
        raise _unsupported(data, media_type, param)
    return text


def _extension(data: bytes, media_type: str, name: str) -> str | None:
    """None for a text, or what can't be read."""
    if media_type.startswith("text/"):
        return None
    suffix = PurePosixPath(name.lower()).suffix
    if suffix in SUFFIXES and media_type not in EXTENSIONS:
        return suffix
    found = (extension for extension, signature in SIGNATURES.items() if signature.match(data))
    return EXTENSIONS.get(media_type) or next(found, None)


def _file(data: bytes, extension: str) -> File:
    return File(data, extension, sha256(data).hexdigest())


def _decoded(data: bytes, charset: str) -> str | None:
    """None for what is no text."""
    try:
        text = data.decode("utf-16" if data.startswith(UTF_16) else charset)
    except (LookupError, ValueError):
        return None
    return None if "\0" in text else text


def _unsupported(data: bytes, media_type: str, param: str) -> BadRequestError:
    if picture := sniff(data):
        message = f"The document is a picture ({picture}): send it as one."
    else:
        known = ", ".join(extension.removeprefix(".").upper() for extension in EXTENSIONS.values())
        named = f" of the type '{media_type[:100]}'" if media_type else ""
        message = f"A document{named} can't be read: it must be a text, or {known}."
    return BadRequestError(message, param=param, code="unsupported_content")


def _invalid(message: str, param: str) -> BadRequestError:
    return BadRequestError(message, param=param, code="invalid_document")
