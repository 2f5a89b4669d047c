"""A form, `multipart/form-data`, as fields: texts, and the bytes of files."""

from typing import Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from app.emulator.faults import Fault

FORM = "multipart/form-data"


class Part(NamedTuple):
    name: str
    data: bytes
    filename: str = ""
    is_file: bool = False


def form_of(content_type: str, data: bytes) -> dict[str, Any]:
    """Of several parts with one name the last counts. Raises as `parts_of`."""
    parts = parts_of(content_type, data)
    return {part.name: part.data if part.is_file else _text(part.data) for part in parts}


def parts_of(content_type: str, data: bytes) -> list[Part]:
    """In their order, files as well. Raises 3030 for a type without boundary and for a form that is broken or stops in
    the middle."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Fault(3030, "Missing boundary in multipart.")
    parts: list[Part] = []
    ends: list[bool] = []

    def keep_text(field: Field) -> None:
        parts.append(Part(_text(field.field_name), field.value or b""))

    def keep_file(file: File) -> None:
        file.file_object.seek(0)
        parts.append(Part(_text(file.field_name), file.file_object.read(), _text(file.file_name), is_file=True))
        file.close()

    in_memory = {"MAX_MEMORY_FILE_SIZE": float("inf")}
    try:
        parser = FormParser(FORM, keep_text, keep_file, lambda: ends.append(True), boundary, config=in_memory)
        parser.write(data)
        parser.finalize()
    except FormParserError as failure:
        raise _broken() from failure
    if not ends:
        raise _broken()
    return parts


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _broken() -> Fault:
    return Fault(3030, "Invalid multipart body.")
