"""Markdown: files to Cloudflare, texts back, and those that are remembered."""

from hashlib import sha256
from typing import Any

import orjson
import pytest

from app.calls import Account, Call, Caller, Failure, FailureKind, File, Reply
from app.emulator.forms import parts_of
from app.errors import BadRequestError
from app.upstream.client import WorkersAI
from app.upstream.markdown import Markdown, to_call
from tests.documents import pdf
from tests.upstream.replaying import ACCOUNT, CALLER, Replaying, Sleeper, failed, whole

pytestmark = pytest.mark.anyio


def a_file(data: bytes = b"%PDF-", extension: str = ".pdf") -> File:
    return File(data, extension, sha256(data).hexdigest())


class Runner:
    """Answers with what is next."""

    def __init__(self, *bodies: Any) -> None:
        self._bodies = list(bodies)
        self.calls: list[Call] = []

    async def run(self, call: Call, _caller: Caller) -> tuple[Call, Reply]:
        self.calls.append(call)
        return call, Reply(self._bodies.pop(0))


def said(text: Any, form: str = "markdown") -> list[dict[str, Any]]:
    return [{"id": "1", "name": "document.pdf", "mimeType": "application/pdf", "format": form, "data": text}]


def test_a_file_is_sent_as_a_form() -> None:
    data = pdf("Hello") + b"\r\n--form-"
    call = to_call(a_file(data))
    [part] = parts_of(call.content_type, call.content or b"")
    assert (call.path, call.model, call.stream) == ("tomarkdown", "", False)
    assert (part.name, part.filename, part.is_file, part.data == data) == ("files", "document.pdf", True, True)


@pytest.mark.parametrize("body", [said("Hello"), said("Hello", "text"), said("Hello")[0]])
async def test_the_text_comes_back(body: Any) -> None:
    assert await Markdown(Runner(body)).convert(a_file(), CALLER, param="here") == "Hello"


@pytest.mark.parametrize(
    ("error", "message"), [("Bad\n  page", "Bad page"), (None, "Cloudflare tells no reason."), ("x" * 999, "x" * 300)]
)
async def test_a_file_that_can_not_be_read_is_told_by_its_place(error: str | None, message: str) -> None:
    runner = Runner([{"format": "error", "error": error}], said("Better"))
    markdown = Markdown(runner)
    with pytest.raises(BadRequestError) as raised:
        await markdown.convert(a_file(), CALLER, param="here")
    assert raised.value.message == f"The document could not be read: {message}"
    assert (raised.value.code, raised.value.param) == ("invalid_document", "here")
    assert await markdown.convert(a_file(), CALLER, param="here") == "Better"


@pytest.mark.parametrize("body", [[], None, "text", {}, said(None), [None]])
async def test_an_answer_without_a_text_is_a_failure(body: Any) -> None:
    with pytest.raises(Failure) as raised:
        await Markdown(Runner(body)).convert(a_file(), CALLER, param="here")
    assert (raised.value.kind, raised.value.status) == (FailureKind.BROKEN, 502)


async def test_a_file_is_converted_once_for_each_caller() -> None:
    other, stranger = Caller("other", ACCOUNT), Caller("tester", Account("acc9", "t", ACCOUNT.base_url))
    runner = Runner(said("One"), said("Two"), said("Three"))
    markdown = Markdown(runner)
    texts = [
        await markdown.convert(file, caller, param="")
        for file, caller in (
            (a_file(), CALLER),
            (a_file(), CALLER),
            (a_file(), stranger),
            (a_file(), other),
            (a_file(extension=".docx"), CALLER),
            (a_file(), CALLER),
        )
    ]
    assert texts == ["One", "One", "One", "Two", "Three", "One"]
    assert len(runner.calls) == 3


async def test_what_was_not_asked_for_the_longest_makes_room() -> None:
    runner = Runner(said("aaaa"), said("bbbb"), said("cccc"), said("BBBB"), said("d" * 11), said("D" * 11))
    markdown = Markdown(runner, most_characters=10)
    order = [b"a", b"b", b"a", b"c", b"a", b"b", b"d", b"d"]
    texts = [await markdown.convert(a_file(name), CALLER, param="") for name in order]
    assert texts == ["aaaa", "bbbb", "aaaa", "cccc", "aaaa", "BBBB", "d" * 11, "D" * 11]


async def test_the_next_account_converts_what_one_can_not() -> None:
    second = Account("acc1", "token-of-acc1", ACCOUNT.base_url)
    transport = Replaying(failed(10000, 401, "Authentication error"), whole({"success": True, "result": said("Hi")}))
    markdown = Markdown(WorkersAI(transport, sleep=Sleeper()))
    assert await markdown.convert(a_file(), Caller("tester", ACCOUNT, (second,)), param="here") == "Hi"
    paths = [request.url.path.split("/accounts/")[1] for request in transport.requests]
    assert sorted(paths) == ["acc0/ai/tomarkdown", "acc1/ai/tomarkdown"]


@pytest.mark.parametrize(("code", "status", "kind"), [(3006, 413, "too_large"), (3003, 400, "bad_request")])
async def test_a_refusal_names_the_place(code: int, status: int, kind: str) -> None:
    markdown = Markdown(WorkersAI(Replaying(failed(code, status)), sleep=Sleeper()))
    with pytest.raises(Failure) as raised:
        await markdown.convert(a_file(), CALLER, param="here")
    assert (raised.value.kind, raised.value.param) == (kind, "here")
    assert orjson.dumps(raised.value.message)
