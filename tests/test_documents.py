"""The relay with files in a request: read before the model is asked, a few at a time, and not for nothing."""

import asyncio
from typing import Any

import httpx2
import orjson
import pytest

from app.calls import Caller, Limits
from app.errors import APIStatusError
from app.planning import DOCUMENTS_AT_ONCE
from app.relay import Relay
from app.translators.chat import chat
from tests.documents import data_uri, pdf
from tests.test_relay import CALLER, NATIVE, asking, relay
from tests.upstream.replaying import DEADLINE_SECONDS, Body, failed, whole

pytestmark = pytest.mark.anyio

ANSWER = {"success": True, "result": {"response": "It says so."}}


def read(text: str = "Words") -> httpx2.Response:
    result = [{"id": "1", "name": "document.pdf", "format": "markdown", "tokens": 1, "data": text}]
    return whole({"success": True, "result": result})


def files(*texts: str) -> list[Any]:
    return [{"type": "file", "file": {"file_data": data_uri(pdf(text))}} for text in texts]


async def completed(relays: Relay, caller: Caller = CALLER, *texts: str) -> Any:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await relays.complete(chat, NATIVE, asking(files(*texts)), caller)


async def test_the_model_is_asked_after_the_file_was_read() -> None:
    relays, transport, _ = relay(read(), whole(ANSWER), whole(ANSWER))
    for _ in range(2):
        answer = await completed(relays, CALLER, "A")
        assert answer.body["choices"][0]["message"]["content"] == "It says so."
    paths = [request.url.path.rpartition("/")[2] for request in transport.requests]
    assert paths == ["tomarkdown", *[NATIVE.rpartition("/")[2]] * 2]
    asked = [orjson.loads(request.content)["messages"] for request in transport.requests[1:]]
    assert asked == [[{"role": "user", "content": "<document>\nWords\n</document>"}]] * 2


@pytest.mark.parametrize(
    ("code", "status", "told", "param"),
    [
        (3006, 413, "request_too_large", "messages[0].content[0].file.file_data"),
        (10000, 401, "upstream_auth", None),
        (7003, 404, "upstream_configuration", None),
    ],
)
async def test_a_refusal_of_cloudflares_is_told_as_others_are(
    code: int, status: int, told: str, param: str | None
) -> None:
    relays, transport, _ = relay(failed(code, status))
    with pytest.raises(APIStatusError) as raised:
        await completed(relays, CALLER, "A")
    assert (raised.value.code, raised.value.param) == (told, param)
    assert len(transport.requests) == 1


async def test_who_may_not_use_the_model_has_nothing_converted() -> None:
    relays, transport, _ = relay()
    with pytest.raises(APIStatusError) as raised:
        await completed(relays, Caller("k", CALLER.account, limits=Limits(models=("other",))), "A")
    assert (raised.value.status, transport.requests) == (404, [])


async def test_addresses_are_refused_without_a_loader() -> None:
    relays, _, web = relay()
    part = {"type": "file", "file": {"file_data": "https://host/a.pdf"}}
    with pytest.raises(APIStatusError, match="Documents given by their address are switched off"):
        await relays.complete(chat, NATIVE, asking([part]), CALLER)
    assert web.fetched == []


async def test_a_few_are_read_at_once_and_the_first_failure_ends_all() -> None:
    gate, started, ended = asyncio.Event(), asyncio.Event(), 0

    async def slow(_: httpx2.Request) -> httpx2.Response:
        nonlocal ended
        try:
            if len(transport.requests) == DOCUMENTS_AT_ONCE:
                started.set()
            await gate.wait()
        except asyncio.CancelledError:
            ended += 1
            raise
        return read()

    async def broken(_: httpx2.Request) -> httpx2.Response:
        await started.wait()
        return httpx2.Response(400, stream=Body(b"{}"))

    relays, transport, _ = relay(broken, *[slow] * 9)
    with pytest.raises(APIStatusError) as raised:
        await completed(relays, CALLER, *"ABCDEFGH")
    assert raised.value.status < 500
    assert (len(transport.requests), ended) == (DOCUMENTS_AT_ONCE, DOCUMENTS_AT_ONCE - 1)
