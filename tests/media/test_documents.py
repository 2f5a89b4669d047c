"""DocumentLoader: addresses, data URIs and bare base64 in, texts and files out."""

from contextlib import suppress
from hashlib import sha256
from urllib.parse import quote

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Document, File
from app.errors import BadRequestError
from app.media.documents import EXTENSIONS, DocumentLoader
from app.media.remote import DOCUMENT, RemoteFetcher
from tests.documents import DOCX, PDF, data_uri, docx, encoded, pdf, zipped
from tests.media.web import Web, page

pytestmark = pytest.mark.anyio

A_PDF = pdf("Hello")
A_DOCX = docx("Hello")
ODF = "application/vnd.oasis.opendocument"
HTML = b"\n<!-- made by hand -->\n<!DOCTYPE html><p>Hello</p>"


@pytest.fixture
def loader() -> DocumentLoader:
    return DocumentLoader(RemoteFetcher(allow=("127.0.0.1",), subject=DOCUMENT, max_bytes=5000))


def a_file(data: bytes, extension: str) -> File:
    return File(data, extension, sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("source", "media_type", "name", "data", "extension"),
    [
        (data_uri(A_PDF), "", "", A_PDF, ".pdf"),
        (f" DATA:{PDF};name=a.pdf;base64,{encoded(A_PDF)}\n", "", "", A_PDF, ".pdf"),
        (encoded(A_PDF), PDF, "", A_PDF, ".pdf"),
        (encoded(A_PDF).rstrip("="), "", "", A_PDF, ".pdf"),
        (data_uri(A_PDF, "application/octet-stream"), "", "", A_PDF, ".pdf"),
        (f"data:,{quote(A_PDF)}", "", "", A_PDF, ".pdf"),
        (data_uri(b"\xef\xbb\xbf \n%PDF-1.4"), "", "", b"\xef\xbb\xbf \n%PDF-1.4", ".pdf"),
        (data_uri(b"damaged"), "", "", b"damaged", ".pdf"),
        (data_uri(A_DOCX, DOCX), "", "", A_DOCX, ".docx"),
        (data_uri(A_DOCX, DOCX.upper()), "", "a.pdf", A_DOCX, ".docx"),
        (data_uri(A_DOCX, "application/zip"), "", "", A_DOCX, ".docx"),
        (encoded(A_DOCX), "", "", A_DOCX, ".docx"),
        (encoded(b"\0"), "", "Table.XLS", b"\0", ".xls"),
        (encoded(b"\0"), "application/octet-stream", "a.b.et", b"\0", ".et"),
        *((encoded(b"\0"), media_type, "", b"\0", extension) for media_type, extension in EXTENSIONS.items()),
        *(
            (encoded(data), "", "", data, extension)
            for data, extension in (
                (zipped(xl__workbook_xml=""), ".xlsx"),
                (zipped(xl__workbook_bin=""), ".xlsb"),
                (zipped(mimetype=f"{ODF}.text"), ".odt"),
                (zipped(mimetype=f"{ODF}.spreadsheet"), ".ods"),
            )
        ),
    ],
)
async def test_files_that_cloudflare_reads(
    loader: DocumentLoader, source: str, media_type: str, name: str, data: bytes, extension: str
) -> None:
    assert await loader.load(Document(source, media_type, name)) == a_file(data, extension)


@pytest.mark.parametrize(
    ("source", "media_type", "name", "text"),
    [
        (data_uri(b"a,b", "text/csv"), "", "a.csv", "a,b"),
        (data_uri(b'{"a": 1}', "application/json"), "", "", '{"a": 1}'),
        (data_uri(b"x = 1", "application/octet-stream"), "", "x.py", "x = 1"),
        (data_uri("é".encode("latin-1"), 'text/plain;charset="iso-8859-1"'), "", "", "é"),
        (data_uri("é".encode("utf-16"), "text/plain"), "", "", "é"),
        (data_uri(b"\xef\xbb\xbfa", "text/plain"), "", "", "a"),
        (data_uri(b"%PDF-", "text/plain"), "", "a.pdf", "%PDF-"),
        (data_uri(HTML, "text/html"), "", "", HTML.decode()),
        ("data:text/plain,A%20B", "", "", "A B"),
        (encoded(b"words"), "", "", "words"),
        (encoded(b"words"), "text/markdown", "a.docx", "words"),
    ],
)
async def test_texts_are_read_here(loader: DocumentLoader, source: str, media_type: str, name: str, text: str) -> None:
    assert await loader.load(Document(source, media_type, name)) == text


@pytest.mark.parametrize(
    ("source", "media_type", "message", "code"),
    [
        ("data:application/pdf;base64", "", "must have the form data:application/pdf;base64,...", "invalid_document"),
        ("data:application/pdf;base64,*", "", "must be valid base64", "invalid_document"),
        ("file:///etc/passwd", "", "must be valid base64, a data URI", "invalid_document"),
        ("", PDF, "is empty", "invalid_document"),
        (data_uri(b""), "", "is empty", "invalid_document"),
        (data_uri(b"\xff", "text/plain"), "", "text is not in UTF-8", "invalid_document"),
        (data_uri(b"a", "text/plain;charset=klingon"), "", "text is not in UTF-8", "invalid_document"),
        (data_uri(b"\x89PNG\r\n\x1a\n", "image/png"), "", "is a picture (image/png)", "unsupported_content"),
        (
            data_uri(b"\0\1", "video/mp4"),
            "",
            "of the type 'video/mp4' can't be read: it must be",
            "unsupported_content",
        ),
        (encoded(b"PK\3\4\0"), "", "A document can't be read: it must be a text, or PDF, DOCX", "unsupported_content"),
    ],
)
async def test_all_else_is_refused(
    loader: DocumentLoader, source: str, media_type: str, message: str, code: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        await loader.load(Document(source, media_type, param="here"))
    assert message in raised.value.message
    assert (raised.value.code, raised.value.param) == (code, "here")


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("/a.pdf?download", A_PDF, a_file(A_PDF, ".pdf")),
        ("/a", A_PDF, a_file(A_PDF, ".pdf")),
        ("/a%2Exls", b"\0", a_file(b"\0", ".xls")),
        ("/a.txt", b"words", "words"),
        ("/login.pdf", HTML, a_file(HTML, ".html")),
    ],
)
async def test_documents_elsewhere_are_fetched(
    loader: DocumentLoader, web: Web, path: str, data: bytes, expected: str | File
) -> None:
    web.pages[path] = page(data)
    assert await loader.load(Document(f" {web.url(path)}\n".replace("http", "HTTP"))) == expected
    assert "a document in a user's request" in web.requests[0]
    assert "application/pdf" in web.requests[0]


async def test_what_can_not_be_fetched_is_told_by_its_place(loader: DocumentLoader, web: Web) -> None:
    web.pages["/large"] = page(b"a" * 5001)
    for url, message in {
        web.url("/large"): "The document could not be fetched: it is larger than 5,000 bytes.",
        "HTTP://10.0.0.1/a.pdf": "The document could not be fetched: its host is unknown, private",
    }.items():
        with pytest.raises(BadRequestError) as raised:
            await loader.load(Document(url, param="here"))
        assert raised.value.message.startswith(message)
        assert (raised.value.code, raised.value.param) == ("invalid_document_url", "here")


SOURCES = st.text() | st.builds("data:{},{}".format, st.text(), st.text()) | st.binary().map(data_uri)


@given(SOURCES, st.sampled_from(["", "text/plain; charset=utf-7", *EXTENSIONS]) | st.text(), st.text())
def test_any_source_is_read_or_refused(source: str, media_type: str, name: str) -> None:
    """Never a crash."""
    with suppress(BadRequestError):
        assert isinstance(anyio.run(DocumentLoader().load, Document(source, media_type, name)), str | File)


async def test_without_a_fetcher_addresses_are_refused() -> None:
    with pytest.raises(BadRequestError, match="Documents given by their address are switched off on this server"):
        await DocumentLoader().load(Document("https://a.example/b.pdf"))
