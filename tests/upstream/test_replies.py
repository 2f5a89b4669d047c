"""How whole answers are read, through the whole of WorkersAI."""

from typing import Any

import orjson
import pytest

from app.calls import Call, Failure, FailureKind
from app.upstream.replies import LARGEST_REPLY
from tests.upstream.replaying import CALLER, OK, RUN, STREAM, answer, body_of, client, run, whole

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("answered", "body"),
    [
        ({"result": {"response": "a"}, "success": True, "errors": [], "messages": []}, {"response": "a"}),
        ({"state": "Completed", "result": {"choices": []}, "provider": "x"}, {"choices": []}),
        ({"success": True, "result": {"state": "Completed", "result": {"image": "i"}}}, {"image": "i"}),
        ({"object": "chat.completion", "choices": []}, {"object": "chat.completion", "choices": []}),
        ({"result": {"response": "a"}}, {"result": {"response": "a"}}),
        ({"success": True, "result": [{"label": "cat"}]}, [{"label": "cat"}]),
        ({"success": True, "result": "text"}, "text"),
        ({"success": True, "result": None}, None),
        ([1], [1]),
    ],
    ids=["envelope", "state", "both", "openai", "bare", "list", "text", "null", "bare-list"],
)
async def test_a_reply_comes_out_of_its_envelopes(answered: Any, body: Any) -> None:
    reply = await run(whole(answered))
    assert reply.body == body
    assert reply.raw == orjson.dumps(answered)


async def test_a_reply_may_come_in_pieces() -> None:
    response = answer(b'{"response"', b':"\xc3', b'\xa9"}', content_type="Application/JSON; charset=utf-8")
    assert (await run(response)).body == {"response": "é"}
    assert body_of(response).closed.is_set()


@pytest.mark.parametrize(
    ("headers", "neurons"),
    [({}, None), ({"cf-ai-neurons": "1.25"}, 1.25), ({"CF-AI-Neurons": "?"}, None)],
)
async def test_the_exact_charge_of_a_reply(headers: dict[str, str], neurons: float | None) -> None:
    response = whole(OK)
    response.headers.update(headers)
    assert (await run(response)).neurons == neurons


@pytest.mark.parametrize(
    ("answered", "kind"),
    [
        ({"success": False, "errors": [{"code": 5007, "message": "No such model"}]}, FailureKind.MODEL_NOT_FOUND),
        ({"error": {"message": "something"}}, FailureKind.SERVER),
        ({"error": [{"code": 2009, "message": "Unauthorized"}], "result": []}, FailureKind.AUTHENTICATION),
        ({"state": "Failed", "error": {"code": "provider_unavailable", "message": "m"}}, FailureKind.CAPACITY),
        (
            {"success": True, "result": {"state": "Failed", "error": {"code": "model_not_found", "message": "m"}}},
            FailureKind.MODEL_NOT_FOUND,
        ),
    ],
    ids=["success-false", "error", "gateway", "state-failed", "nested-state-failed"],
)
@pytest.mark.parametrize("call", [RUN, STREAM], ids=["run", "stream"])
async def test_a_200_may_be_a_failure(answered: Any, kind: FailureKind, call: Call) -> None:
    with pytest.raises(Failure) as caught:
        await client(whole(answered), max_tries=1)[0].open(call, CALLER)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>hello</html>", "text/html"),
        (b'{"response":"a"}', "text/plain"),
        (b'{"response":"a"}', None),
        (b'{"response":', "application/json"),
        (b"", "application/json"),
    ],
)
async def test_what_cannot_be_read_is_broken(body: bytes, content_type: str | None) -> None:
    response = answer(body, content_type=content_type)
    with pytest.raises(Failure) as caught:
        await run(response)
    assert caught.value.kind is FailureKind.BROKEN
    assert body_of(response).closed.is_set()


async def test_a_reply_without_end_is_given_up() -> None:
    mebibyte = b" " * 2**20
    response = answer(*[mebibyte] * (LARGEST_REPLY // 2**20), b" ", b"never read")
    with pytest.raises(Failure, match="too large") as caught:
        await run(response)
    assert caught.value.kind is FailureKind.BROKEN
    assert body_of(response).closed.is_set()


@pytest.mark.parametrize("content_type", ["image/png", "audio/mpeg", "application/octet-stream"])
async def test_a_binary_answer_is_a_reply_as_it_is(content_type: str) -> None:
    reply = await run(answer(b"\x89PNG", content_type=content_type, cf_ai_neurons="2.5"))
    assert (reply.body, reply.neurons) == (b"\x89PNG", 2.5)
