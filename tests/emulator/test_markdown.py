"""`ai/tomarkdown`: the texts of files, and what is wrong with those that have none."""

from typing import Any

import httpx2
import pytest

from app.emulator.options import Options
from tests.documents import DOCX, PDF, docx, pdf, zipped
from tests.emulator.asking import Asker, asking, refusal

pytestmark = pytest.mark.anyio

PATH = "/accounts/a1/ai/tomarkdown"


async def post(ask: Asker, *files: tuple[str, bytes]) -> httpx2.Response:
    return await ask.client.post(PATH, files=[("files", file) for file in files], data={"conversionOptions": "{}"})


async def results(ask: Asker, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    response = await post(ask, *files)
    body = response.json()
    assert (response.status_code, body["success"], body["errors"], body["messages"]) == (200, True, [], [])
    found: list[dict[str, Any]] = body["result"]
    return found


@pytest.mark.parametrize("is_compressed", [True, False])
async def test_a_pdf_is_read_page_by_page(ask: Asker, is_compressed: bool) -> None:
    [result] = await results(ask, ("a.pdf", pdf("Café (one)", "C:\\two", is_compressed=is_compressed)))
    text = "# a.pdf\n## Contents\n### Page 1\n\nCafé (one)\n\n### Page 2\n\nC:\\two\n"
    expected = {"id": result["id"], "name": "a.pdf", "mimeType": PDF, "format": "markdown", "data": text}
    assert result == expected | {"tokens": result["tokens"]}
    assert result["tokens"] > 5


async def test_the_strings_of_a_page_are_put_together() -> None:
    content = b"BT [(He) -20 (llo)] TJ T* (a\\051\\n) ' 3 Tr (b) \" ET"
    data = b"%PDF-1.4\n<<>>\nstream\r\n" + content + b"\nendstream\nstream\nno text (x) Tj\nendstream"
    async with asking() as ask:
        [result] = await results(ask, ("A.PDF", data))
    assert result["data"] == "# A.PDF\n## Contents\n### Page 1\n\nHello\na)\nb\n"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.docx", docx("Fish &amp; chips"), "Fish & chips"),
        ("a.odt", zipped(content_xml="<text:h>A</text:h><text:p>B</text:p>"), "A\nB"),
        ("a.xlsx", zipped(xl__sharedStrings_xml="<sst><si><t>A</t></si><si><t>B</t></si></sst>"), "A\nB"),
        ("a.csv", b"a,b\r\n1,2\r\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("a.csv", b"", ""),
        ("a.html", b"<!doctype html><title>T</title><script>x()</script><p>A<br>B</p><!-- c -->", "T\nA\nB"),
        ("a.xml", b"<?xml version='1.0'?><a><li>B</li></a>", "B"),
    ],
)
async def test_other_files_are_read(ask: Asker, name: str, data: bytes, text: str) -> None:
    [result] = await results(ask, (name, data))
    assert (result["format"], result["data"]) == ("markdown", f"# {name}\n{text}")


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.pdf", b"hello", "Invalid PDF structure."),
        ("a.docx", b"hello", "Could not open the document."),
        ("a.docx", zipped(other_xml="A"), "Could not find the contents of the document."),
        ("a.png", b"\x89PNG", "Pictures are not described here."),
        ("a.exe", b"MZ", "Unsupported file type: .exe"),
        ("a", b"", "Unsupported file type: none"),
    ],
)
async def test_a_bad_file_is_told_apart_from_the_others(ask: Asker, name: str, data: bytes, error: str) -> None:
    bad, good = await results(ask, (name, data), ("b.docx", docx("Good")))
    assert (bad["name"], bad["format"], bad["error"]) == (name, "error", error)
    assert "data" not in bad
    assert (good["mimeType"], good["data"], bad["id"] != good["id"]) == (DOCX, "# b.docx\nGood", True)


async def test_what_is_supported_is_listed(ask: Asker) -> None:
    body = (await ask.client.get(f"{PATH}/supported")).json()
    assert body["success"] is True
    assert {"extension": ".pdf", "mimeType": PDF} in body["result"]
    assert {"extension": ".docx", "mimeType": DOCX} in body["result"]


async def test_what_is_no_form_with_files_is_refused(ask: Asker) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert refusal(await ask.client.post(PATH, json={}))[:2] == (400, 3003)
    assert refusal(await ask.client.post(PATH, headers=form))[:2] == (400, 3003)
    assert refusal(await ask.client.post(PATH, content=b"no form", headers=form))[:2] == (400, 3030)
    assert refusal(await ask.client.post(PATH, data={"a": "b"}, files={"c": (None, "d")})) == (
        400,
        5006,
        "Bad input: Error: required properties at '/' are 'files'",
    )
    async with asking(Options(max_body_bytes=10)) as small:
        assert refusal(await post(small, ("a.pdf", pdf("A"))))[:2] == (413, 3006)


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", f"{PATH}/supported")])
async def test_methods(ask: Asker, method: str, path: str) -> None:
    assert (await ask.client.request(method, path)).status_code == 405


async def test_it_takes_a_token() -> None:
    async with asking(Options(tokens={"a1": "t1"}), key="t2") as ask:
        assert refusal(await post(ask, ("a.pdf", pdf("A"))))[:2] == (401, 10000)
