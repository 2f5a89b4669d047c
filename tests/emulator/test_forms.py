"""Forms as clients send them, and what is none."""

import logging
from typing import Any

import httpx2
import pytest

from app.emulator.faults import Fault
from app.emulator.forms import form_of

TYPE = "multipart/form-data; boundary=x"
TEXT = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nHi\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.png"\r\nContent-Type: image/png\r\n\r\n\x89P\r\n'
EMPTY = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\r\n'
END = b"--x--\r\n"


@pytest.mark.parametrize(
    ("content_type", "data", "fields"),
    [
        (TYPE, TEXT + END, {"prompt": "Hi"}),
        ('Multipart/Form-Data; charset=utf-8; boundary="x"', TEXT + END, {"prompt": "Hi"}),
        (TYPE, TEXT + FILE + END, {"prompt": "Hi", "f": b"\x89P"}),
        (TYPE, EMPTY + FILE + END, {"prompt": "", "f": b"\x89P"}),
        (TYPE, EMPTY + TEXT + END.rstrip(), {"prompt": "Hi"}),
        (TYPE, TEXT.replace(b"Hi", b"\xff") + END, {"prompt": "\ufffd"}),
        (TYPE, END, {}),
    ],
)
def test_a_form_is_read(content_type: str, data: bytes, fields: dict[str, Any]) -> None:
    assert form_of(content_type, data) == fields


def test_a_large_file_is_read_whole() -> None:
    large = b"\0\r\n-" * 2**20
    request = httpx2.Request("POST", "http://emulator", files={"a": large}, data={"b": "ä"})
    assert form_of(request.headers["content-type"], request.read()) == {"a": large, "b": "ä"}


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("multipart/form-data", TEXT + END, "Missing boundary in multipart."),
        ("multipart/form-data; boundary=", TEXT + END, "Missing boundary in multipart."),
        ("multipart/form-data; boundary=y", TEXT + END, "Invalid multipart body."),
        (TYPE, TEXT, "Invalid multipart body."),
        (TYPE, FILE[:-4], "Invalid multipart body."),
        (TYPE, b"{}", "Invalid multipart body."),
        (TYPE, TEXT.replace(b' name="prompt"', b"") + END, "Invalid multipart body."),
    ],
)
def test_what_is_no_form_is_refused(
    content_type: str, data: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(Fault) as failure:
        form_of(content_type, data)
    assert (failure.value.code, failure.value.status, failure.value.message) == (3030, 400, text)
