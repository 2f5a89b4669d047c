"""Files for tests, as small as they can be."""

import base64
import io
import zipfile
import zlib

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def pdf(*pages: str, is_compressed: bool = True) -> bytes:
    """A PDF that any reader opens, with one line on each page."""
    numbers = range(len(pages))
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in numbers)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for i, text in enumerate(pages):
        shown = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252")
        content = b"BT /F1 12 Tf 72 720 Td (" + shown + b") Tj ET"
        content = zlib.compress(content) if is_compressed else content
        fonts = "/Resources << /Font << /F1 3 0 R >> >>"
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {fonts} /Contents {5 + 2 * i} 0 R >>"
        filters = b" /Filter /FlateDecode" if is_compressed else b""
        head = b"<< /Length %d%b >>" % (len(content), filters)
        objects += [page.encode(), head + b"\nstream\n" + content + b"\nendstream"]
    return _with_index(objects)


def _with_index(objects: list[bytes]) -> bytes:
    data, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    index = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + index + trailer


def zipped(**files: str) -> bytes:
    """An archive; `__` in a name stands for `/`, `_` before its last word for a dot."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            path, _, extension = name.replace("__", "/").rpartition("_")
            archive.writestr(f"{path}.{extension}" if path else extension, text)
    return packed.getvalue()


def docx(text: str) -> bytes:
    return zipped(word__document_xml=f"<?xml version='1.0'?><w:document><w:p><w:t>{text}</w:t></w:p></w:document>")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_uri(data: bytes, media_type: str = PDF) -> str:
    return f"data:{media_type};base64,{encoded(data)}"
