from typing import Any

import pytest
from pydantic import BaseModel
from starlette.types import Message

from app.errors import BadRequestError, RequestTooLargeError
from app.routes.bodies import read_body, validated
from app.routes.streaming import ClientLeft
from app.schemas.chat import ChatCompletionRequest
from tests.routes.scripted import DISCONNECT, Client, piece


def announced(length: bytes) -> dict[str, Any]:
    return {"headers": [(b"host", b"h"), (b"content-length", length)]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([piece(b"12345")], b"12345"),
        ([piece(b"123", more=True), piece(b"45")], b"12345"),
        ([piece(b"12345", more=True), piece(b"")], b"12345"),
        ([{"type": "http.request"}], b""),
    ],
)
async def test_a_body_is_read_in_its_pieces(messages: list[Message], body: bytes) -> None:
    assert await read_body(announced(b"5"), Client(messages).receive, max_bytes=5) == body


@pytest.mark.anyio
async def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(RequestTooLargeError):
        await read_body(announced(b"6"), Client().receive, max_bytes=5)


@pytest.mark.anyio
@pytest.mark.parametrize("length", [b"5", b"nonsense", b""])
async def test_a_longer_body_than_announced_is_refused(length: bytes) -> None:
    client = Client([piece(b"123", more=True), piece(b"456", more=True)])
    with pytest.raises(RequestTooLargeError):
        await read_body(announced(length), client.receive, max_bytes=5)


@pytest.mark.anyio
async def test_a_client_may_leave_while_it_sends() -> None:
    with pytest.raises(ClientLeft):
        await read_body({"headers": []}, Client([piece(b"123", more=True), DISCONNECT]).receive, max_bytes=5)


class Shape(BaseModel):
    size: int | list[int]
    name: str = ""


@pytest.mark.parametrize(
    ("body", "param", "code", "words"),
    [
        (b"", None, "invalid_json", "not valid JSON"),
        (b'{"size":', None, "invalid_json", "not valid JSON"),
        (b"7", None, "invalid_value", "Invalid value for the body"),
        (b"{}", "size", "missing_required_parameter", "'size' is missing."),
        (b'{"size":"x"}', "size", "invalid_value", "Invalid value for 'size': "),
        (b'{"size":[1,"x"]}', "size[1]", "invalid_value", r"Invalid value for 'size\[1\]': "),
        (b'{"size":1,"name":7}', "name", "invalid_value", "valid string"),
    ],
)
def test_a_fault_is_named_by_its_place(body: bytes, param: str | None, code: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words) as raised:
        validated(Shape, body)
    assert (raised.value.param, raised.value.code) == (param, code)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ('"messages":[{"role":"user","content":[{"type":"text"},{"type":"image_url","image_url":{"url":""}}]}]',
         "messages[0].content[1].image_url.url"),
        ('"messages":[{"role":"user","content":[7]}]', "messages[0].content[0]"),
        ('"messages":[{"role":"user","content":"Hi","tool_calls":[{"function":{"name":1}}]}]',
         "messages[0].tool_calls[0].function.name"),
        ('"messages":[{"role":"user"}],"stop":[1]', "stop[0]"),
        ('"messages":[{"role":"user"}],"logit_bias":{"50256":"x"}', "logit_bias"),
    ],
)  # fmt: skip
def test_the_place_has_no_names_of_ours(change: str, param: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        validated(ChatCompletionRequest, f'{{"model":"m",{change}}}'.encode())
    assert raised.value.param == param


def test_a_fault_never_repeats_what_was_sent() -> None:
    with pytest.raises(BadRequestError) as raised:
        validated(Shape, b'{"size":"a secret"}')
    assert "secret" not in raised.value.message
