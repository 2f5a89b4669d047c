"""Forms with a file, as clients write them."""

import asyncio
import base64
import gc
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import IO, Any

import orjson
import pytest
from starlette.types import Message

from app.errors import APIStatusError, BadRequestError, RequestTooLargeError
from app.routes.streaming import ClientLeft
from app.routes.uploads import FORM_OVERHEAD, LARGEST_FIELD, MOST_FIELDS, Upload, uploaded
from tests.routes.scripted import DISCONNECT, Client, piece

pytestmark = pytest.mark.anyio

SOUND = b"\0sound\r\n" * 10
BOUNDARY = "----x"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
MAX_BYTES, MAX_JSON_BYTES = 3_000_000, 2000

Part = tuple[str, str | bytes]


def form(*parts: Part) -> bytes:
    """Bytes are files."""
    written = b""
    for name, value in parts:
        written += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, bytes):
            written += b'; filename="speech.mp3"\r\nContent-Type: application/octet-stream'
        written += b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def sent(body: bytes, size: int = 65_536) -> list[Message]:
    starts = range(0, max(1, len(body)), size)
    return [piece(body[start : start + size], more=start + size < len(body)) for start in starts]


@asynccontextmanager
async def receiving(
    messages: Iterable[Message], content_type: str | None = FORM, length: int | None = None
) -> AsyncGenerator[Upload]:
    headers = [(b"host", b"h")]
    headers += [(b"content-type", content_type.encode())] if content_type is not None else []
    headers += [(b"content-length", b"%d" % length)] if length is not None else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    limits = {"max_bytes": MAX_BYTES, "max_json_bytes": MAX_JSON_BYTES}
    async with uploaded(scope, Client(messages).receive, **limits) as upload:
        yield upload


async def fields_of(*parts: Part) -> dict[str, Any]:
    async with receiving(sent(form(*parts, ("file", SOUND)))) as upload:
        assert (upload.file.read(), upload.size) == (SOUND, len(SOUND))
        return upload.fields


async def refusal(messages: Iterable[Message], content_type: str | None = FORM) -> APIStatusError:
    with pytest.raises(APIStatusError) as caught:
        async with receiving(messages, content_type):
            raise AssertionError("It should have been refused.")
    gc.collect()  # whatever was left open tells now
    return caught.value


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([], {}),
        (
            [("model", "whisper-1"), ("temperature", "0"), ("stream", "true")],
            {"model": "whisper-1", "temperature": "0", "stream": "true"},
        ),
        ([("prompt", "")], {"prompt": ""}),
        ([("prompt", "Grüße, 世界")], {"prompt": "Grüße, 世界"}),
        ([("timestamp_granularities[]", "word")], {"timestamp_granularities": ["word"]}),
        (
            [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
            {"timestamp_granularities": ["word", "segment"]},
        ),
        ([("languages[0]", "de"), ("languages[1]", "en")], {"languages": ["de", "en"]}),
        ([("keywords", "a"), ("keywords", "b")], {"keywords": ["a", "b"]}),
        ([("keywords", "a"), ("keywords[]", "b")], {"keywords": ["a", "b"]}),
        ([("keywords[]", "a"), ("keywords", "b"), ("keywords[]", "c")], {"keywords": ["a", "c", "b"]}),
        ([("chunking_strategy", "auto")], {"chunking_strategy": "auto"}),
        (
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.5")],
            {"chunking_strategy": {"type": "server_vad", "threshold": "0.5"}},
        ),
        (
            [("chunking_strategy", "auto"), ("chunking_strategy[type]", "server_vad")],
            {"chunking_strategy": {"type": "server_vad"}},
        ),
        ([("a[type]", "x"), ("a", "y")], {"a": [{"type": "x"}, "y"]}),
        ([("a[b]", "x"), ("a[b]", "y")], {"a": {"b": "y"}}),
        ([("a[b][c]", "x")], {"a[b][c]": "x"}),
        ([("[]", "x")], {"": ["x"]}),
    ],
)
async def test_fields_are_read_as_clients_write_them(parts: list[Part], fields: dict[str, Any]) -> None:
    assert await fields_of(*parts) == fields


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_it_may_come_in_any_pieces(size: int) -> None:
    async with receiving(sent(form(("file", SOUND), ("model", "m")), size)) as upload:
        assert (upload.fields, upload.file.read()) == ({"model": "m"}, SOUND)


async def test_the_content_types_case_does_not_matter() -> None:
    async with receiving(sent(form(("file", SOUND))), f"Multipart/Form-Data; boundary={BOUNDARY}") as upload:
        assert upload.file.read() == SOUND


@pytest.mark.parametrize("parts", [[], [("file", "a name")], [("audio", SOUND)], [("file", SOUND), ("file", "text")]])
async def test_without_a_file_it_is_refused(parts: list[Part]) -> None:
    failure = await refusal(sent(form(("model", "m"), *parts)))
    assert isinstance(failure, BadRequestError)
    assert (failure.param, failure.code) == ("file", "missing_required_parameter")


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (form(("file", SOUND), ("file", SOUND)), FORM, "Too many files"),
        (form(*[("a", "b")] * (MOST_FIELDS + 1), ("file", SOUND)), FORM, "Too many fields"),
        (form(("prompt", "x" * (LARGEST_FIELD + 1)), ("file", SOUND)), FORM, "exceeded maximum size"),
        (form(("file", SOUND)), "multipart/form-data", "boundary"),
        (form(("file", SOUND)), "multipart/form-data; boundary=other", "can't be read"),
        (form(("file", SOUND))[:-30], FORM, "ends early"),
        (form(("file", b"x" * 2_000_000))[:-30], FORM, "ends early"),
        (b"", FORM, "ends early"),
        (b"nonsense", FORM, "can't be read"),
        (form(("file", SOUND)).replace(b'name="file"; ', b""), FORM, "name"),
        (form(("file", SOUND)), f"multipart/mixed; boundary={BOUNDARY}", "must be a form"),
        (b"model=m&file=x", "application/x-www-form-urlencoded", "must be a form"),
        (SOUND, "audio/mpeg", "must be a form"),
        (SOUND, None, "must be a form"),
        (b"", None, "must be a form"),
        (b"", "application/json", "must be a form"),
        (form(("file", SOUND)), "", "must be a form"),
    ],
)
async def test_what_is_no_form_is_refused(body: bytes, content_type: str | None, words: str) -> None:
    failure = await refusal(sent(body), content_type)
    assert isinstance(failure, BadRequestError)
    assert (failure.code, words in failure.message) == ("invalid_form", True), failure.message


async def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(RequestTooLargeError):
        async with receiving([], length=MAX_BYTES + FORM_OVERHEAD + 1):
            raise AssertionError("It should have been refused.")


async def test_a_longer_body_than_announced_is_refused() -> None:
    endless = [piece(form(("file", b"x" * (MAX_BYTES + FORM_OVERHEAD))), more=True)]
    assert isinstance(await refusal(endless), RequestTooLargeError)


async def test_pieces_that_are_too_much_together_are_refused_before_the_last() -> None:
    messages = sent(form(("file", b"x" * (2 * MAX_BYTES + FORM_OVERHEAD))))
    assert isinstance(await refusal(messages[:-10]), RequestTooLargeError)


async def test_a_file_over_the_limit_is_refused_though_the_body_is_not() -> None:
    assert isinstance(await refusal(sent(form(("file", b"x" * (MAX_BYTES + 1))))), RequestTooLargeError)
    async with receiving(sent(form(("file", b"x" * MAX_BYTES)))) as upload:
        assert upload.size == MAX_BYTES


@pytest.mark.parametrize("size", [10, 2_000_000])
async def test_a_client_may_leave_while_it_sends(size: int) -> None:
    begun = sent(form(("file", b"x" * size))[:-20])
    with pytest.raises(ClientLeft):
        async with receiving([*begun[:-1], {**begun[-1], "more_body": True}, DISCONNECT]):
            raise AssertionError("It never came whole.")
    gc.collect()


@pytest.mark.parametrize(("size", "is_on_disk"), [(100, False), (2_000_000, True)])
async def test_a_large_file_lies_on_disk_and_is_closed_afterwards(size: int, is_on_disk: bool) -> None:
    async with receiving(sent(form(("file", b"x" * size)))) as upload:
        file: IO[bytes] = upload.file
        assert file._rolled is is_on_disk  # type: ignore[attr-defined]  # SpooledTemporaryFile has no public word for it
        assert (file.tell(), upload.size) == (0, size)
        assert file.read() == b"x" * size
    assert file.closed


async def test_it_is_closed_if_what_is_made_of_it_fails() -> None:
    files: list[IO[bytes]] = []

    async def run() -> None:
        async with receiving(sent(form(("file", b"x" * 2_000_000)))) as upload:
            files.append(upload.file)
            raise KeyError

    with pytest.raises(KeyError):
        await run()
    assert files[0].closed


async def test_it_is_closed_however_often_the_request_is_cancelled() -> None:
    files: list[IO[bytes]] = []
    is_ready = asyncio.Event()

    async def run() -> None:
        async with receiving(sent(form(("file", b"x" * 2_000_000)))) as upload:
            files.append(upload.file)
            is_ready.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(30):
        task = asyncio.create_task(run())
        await is_ready.wait()
        task.cancel()
        await asyncio.wait([task])
    assert files[0].closed


BASE64 = base64.b64encode(SOUND).decode()


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
@pytest.mark.parametrize(
    "sound",
    [
        {"input_audio": {"data": BASE64, "format": "mp3"}},
        {"input_audio": {"data": f"data:audio/mpeg;base64,{BASE64}"}},
        {"file": BASE64},
        {"file": f"data:audio/mpeg;base64,{BASE64}"},
    ],
)
async def test_json_holds_the_file_as_base64(sound: dict[str, Any], content_type: str | None) -> None:
    body = orjson.dumps({"model": "m", "temperature": 0, "languages": ["de"]} | sound)
    async with receiving(sent(body), content_type) as upload:
        assert upload.fields == {"model": "m", "temperature": 0, "languages": ["de"]}
        assert (upload.file.read(), upload.size) == (SOUND, len(SOUND))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"[1, 2]", None, "invalid_value"),
        (b'"text"', None, "invalid_value"),
        (b"null", None, "invalid_value"),
        (b"{", None, "invalid_form"),
        (b"{}", "file", "missing_required_parameter"),
        (b'{"input_audio": "text"}', "file", "missing_required_parameter"),
        (b'{"input_audio": {}}', "file", "missing_required_parameter"),
        (b'{"input_audio": {"data": 1}}', "file", "missing_required_parameter"),
        (b'{"file": {"data": "x"}}', "file", "missing_required_parameter"),
        (b'{"input_audio": {"data": "!!!!"}}', "input_audio", "invalid_value"),
        (b'{"input_audio": {"data": "abc"}}', "input_audio", "invalid_value"),
        ('{"input_audio": {"data": "größe"}}'.encode(), "input_audio", "invalid_value"),
    ],
)
async def test_broken_json_is_refused(body: bytes, param: str | None, code: str) -> None:
    failure = await refusal(sent(body), "application/json")
    assert isinstance(failure, BadRequestError)
    assert (failure.param, failure.code) == (param, code)


async def test_json_that_is_too_large_is_refused() -> None:
    assert isinstance(await refusal(sent(b" " * (MAX_JSON_BYTES + 1)), "application/json"), RequestTooLargeError)


async def test_a_client_may_leave_while_it_sends_json() -> None:
    with pytest.raises(ClientLeft):
        async with receiving([piece(b"{", more=True), DISCONNECT], "application/json"):
            raise AssertionError("It never came whole.")
