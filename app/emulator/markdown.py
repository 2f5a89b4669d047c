"""`ai/tomarkdown`: what files say, each as a result of its own; one that can't be read is no failure of the others.

Source: Cloudflare's docs, Workers AI, Markdown Conversion. The text is really that of the file, as far as a few lines
of code can find it: PDFs of simple fonts, the XML inside office documents, and texts. Pictures are not described.
"""

import re
import zlib
from collections.abc import Callable
from html import unescape
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

from app.emulator import tokens
from app.emulator.faults import Fault, bad_input
from app.emulator.forms import FORM, parts_of
from app.emulator.requests import ReceivedRequest

FORMATS = {
    ".pdf": "application/pdf",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".htm": "text/html",
    ".xml": "application/xml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xls": "application/vnd.ms-excel",
    ".et": "application/vnd.ms-excel",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".csv": "text/csv",
    ".numbers": "application/vnd.apple.numbers",
}
"""Extension -> type."""

LARGEST = 50 * 2**20
"""Bytes that a file may unpack to."""

STREAM = re.compile(rb"stream\r?\n(.*?)\r?\n?endstream", re.DOTALL)
SHOWN = re.compile(rb"\[((?:\\.|[^\\\]])*)\]\s*TJ|(\((?:\\.|[^\\()])*\))\s*(?:Tj|['\"])|(T\*|T[dD]|ET)", re.DOTALL)
STRING = re.compile(rb"\(((?:\\.|[^\\()])*)\)", re.DOTALL)
ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}

TEXT_FILES = ("word/document.xml", "content.xml", "xl/sharedStrings.xml")
"""Where office documents keep what they say."""
PARAGRAPH = re.compile(r"</(?:w:p|text:p|text:h|si|p|div|h[1-6]|li|tr|title)>|<br\s*/?>", re.IGNORECASE)
HIDDEN = re.compile(r"<(script|style)\b.*?</\1>|<!.*?>|<\?.*?\?>", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^>]*>")


class Unreadable(Exception):  # noqa: N818 - told in a result
    """A file that is not what its name says."""


def supported() -> list[dict[str, str]]:
    return [{"extension": extension, "mimeType": media_type} for extension, media_type in FORMATS.items()]


def converted(request: ReceivedRequest, request_id: str, max_bytes: int) -> list[dict[str, Any]]:
    """A result for each file. Raises 3003, 3006 and 3030 for a body that can't be read, and 5006 without files."""
    if request.size > max_bytes:
        raise Fault(3006)
    if request.content_type != FORM or not request.size:
        raise Fault(3003)
    files = [
        (part.filename, part.data) for part in parts_of(request.headers["content-type"], request.body) if part.is_file
    ]
    if not files:
        raise bad_input("required properties at '/' are 'files'")
    return [_result(f"{request_id}-{i}", name, data) for i, (name, data) in enumerate(files)]


def _result(file_id: str, name: str, data: bytes) -> dict[str, Any]:
    extension = PurePosixPath(name.lower()).suffix
    result = {"id": file_id, "name": name, "mimeType": FORMATS.get(extension, "application/octet-stream")}
    try:
        if extension not in FORMATS:
            raise Unreadable(f"Unsupported file type: {extension or 'none'}")
        text = f"# {name}\n{READERS.get(extension, _office)(data)}"
    except Unreadable as failure:
        return result | {"format": "error", "error": str(failure)}
    return result | {"format": "markdown", "tokens": tokens.count(text), "data": text}


def _pdf(data: bytes) -> str:
    if not data.startswith(b"%PDF-"):
        raise Unreadable("Invalid PDF structure.")
    pages = [text for stream in STREAM.findall(data) if (text := _page(_inflated(stream)))]
    return "## Contents\n" + "\n".join(f"### Page {i}\n\n{text}\n" for i, text in enumerate(pages, 1))


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream, LARGEST)
    except zlib.error:
        return stream


def _page(content: bytes) -> str:
    """The strings between the operators that show them; those that move on begin a line."""
    said = []
    for array, string, moved in SHOWN.findall(content) if b"BT" in content else ():
        said.append("\n" if moved else "".join(map(_string, STRING.findall(array or string))))
    return re.sub(r"\n{2,}", "\n", "".join(said)).strip()


def _string(data: bytes) -> str:
    return ESCAPE.sub(_unescaped, data).decode("cp1252", "replace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes([int(code, 8) & 255]) if code.isdigit() else ESCAPES.get(code, code)


def _office(data: bytes) -> str:
    try:
        with ZipFile(BytesIO(data)) as archive:
            found = [each for each in archive.infolist() if each.filename in TEXT_FILES]
            if not found or found[0].file_size > LARGEST:
                raise Unreadable("Could not find the contents of the document.")
            return _marked_up(archive.read(found[0]))
    except (BadZipFile, zlib.error) as failure:
        raise Unreadable("Could not open the document.") from failure


def _marked_up(data: bytes) -> str:
    text = TAG.sub("", PARAGRAPH.sub("\n", HIDDEN.sub("", data.decode("utf-8", "replace"))))
    return re.sub(r"\s*\n\s*", "\n", unescape(text)).strip()


def _table(data: bytes) -> str:
    rows = [f"| {' | '.join(line.split(','))} |" for line in data.decode("utf-8", "replace").splitlines() if line]
    return "\n".join([*rows[:1], "| --- " * rows[0].count(" | ") + "| --- |", *rows[1:]]) if rows else ""


def _picture(_data: bytes) -> str:
    raise Unreadable("Pictures are not described here.")


READERS: dict[str, Callable[[bytes], str]] = {
    ".pdf": _pdf,
    ".csv": _table,
    **dict.fromkeys((".html", ".htm", ".xml"), _marked_up),
    **dict.fromkeys((".jpeg", ".jpg", ".png", ".webp", ".svg"), _picture),
}
"""Of all others the text is inside a ZIP archive."""
