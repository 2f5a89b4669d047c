"""What a script and the quirks of bytes do to a stream or a whole answer on its way out."""

from typing import Any

import httpx2
import orjson
import pytest

from tests.emulator.asking import CHAT, NATIVE, Asker, events, refusal, scripted

pytestmark = pytest.mark.anyio

OFF = {"chat_template_kwargs": {"enable_thinking": False}}


async def streamed(ask: Asker, model: str = NATIVE, **script: Any) -> httpx2.Response:
    script["quirks"] = [*script.get("quirks", ()), "-padding", "no-usage"]
    return await ask.run(model, messages=scripted(**script), stream=True)


@pytest.mark.parametrize(
    ("quirks", "body"),
    [
        ([], b'data: {"response":"One"}\n\ndata: [DONE]\n\n'),
        (["no-done"], b'data: {"response":"One"}\n\n'),
        (["double-done"], b'data: {"response":"One"}\n\ndata: [DONE]\n\ndata: [DONE]\n\n'),
        (["crlf"], b'data: {"response":"One"}\r\n\r\ndata: [DONE]\r\n\r\n'),
        (["no-space"], b'data:{"response":"One"}\n\ndata:[DONE]\n\n'),
        (["comments"], b': keep-alive\n\ndata: {"response":"One"}\n\ndata: [DONE]\n\n'),
        (["broken-frame"], b'data: {"response":"One"}\n\ndata: {"response":"bro\n\ndata: [DONE]\n\n'),
    ],
)
async def test_the_bytes_of_a_stream(ask: Asker, quirks: list[str], body: bytes) -> None:
    response = await streamed(ask, text="One", quirks=quirks)
    assert (response.content, response.headers["content-type"]) == (body, "text/event-stream")


async def test_a_stream_may_not_say_that_it_is_one(ask: Asker) -> None:
    response = await streamed(ask, text="One", quirks=["no-content-type"])
    assert "content-type" not in response.headers
    assert response.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (0, []),
        (1, [{"response": "One"}]),
        (2, [{"response": "One"}, {"response": " two"}]),
        (True, [{"response": "One"}, {"response": " two"}, {"response": " three"}]),
        (False, [{"response": "One"}, {"response": " two"}, {"response": " three"}, "[DONE]"]),
    ],
)
async def test_a_stream_may_end_early(ask: Asker, cut: Any, expected: list[Any]) -> None:
    assert events(await streamed(ask, text="One two three", cut=cut)) == expected


async def test_a_cut_chat_stream_has_no_finish_reason(ask: Asker) -> None:
    found = await ask.run_events(CHAT, messages=scripted(text="One", cut=True), **OFF)
    assert [event["choices"][0]["finish_reason"] for event in found] == [None, None]


BUSY = "AiError: Capacity temporarily exceeded, please try again. (00000001-0404-4429-9304-"


@pytest.mark.parametrize(
    ("after", "keys", "code"),
    [
        (1, {"errors"}, 3040),
        ({"events": 1, "form": "errors", "code": 3046}, {"errors"}, 3046),
        ({"events": 1, "form": "success"}, {"errors", "success", "result", "messages"}, 3040),
    ],
)
async def test_a_stream_may_fail_on_its_way(ask: Asker, after: Any, keys: set[str], code: int) -> None:
    first, last = events(await streamed(ask, text="One two", error_after=after))
    assert (first, set(last), last["errors"][0]["code"]) == ({"response": "One"}, keys, code)


async def test_a_failure_in_a_stream_may_look_like_openais(ask: Asker) -> None:
    (only,) = events(await streamed(ask, error_after={"form": "error"}))
    assert only["error"]["message"].startswith(BUSY)
    (only,) = events(await streamed(ask, error_after={"form": "error", "message": "Broken"}))
    assert only["error"]["message"].startswith("AiError: Broken (")


@pytest.mark.parametrize("size", [1, 7, 100000])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_body_may_come_in_slices_of_any_size(ask: Asker, size: int, stream: bool) -> None:
    messages = scripted(text="Zwölf 你好 🙂", cut_bytes=size)
    path = f"/accounts/a1/ai/run/{NATIVE}"
    async with ask.client.stream("POST", path, json={"messages": messages, "stream": stream}) as response:
        slices = [piece async for piece in response.aiter_raw()]
    assert {len(piece) for piece in slices[:-1]} <= {size}
    assert 0 < len(slices[-1]) <= size
    assert "🙂" in b"".join(slices).decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_may_break(ask: Asker, stream: bool) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask.run(NATIVE, messages=scripted(text="One", drop=True), stream=stream)


async def test_stream_true_may_be_answered_with_json(ask: Asker) -> None:
    response = await streamed(ask, CHAT, text="One", quirks=["json-for-stream"])
    assert response.json()["result"]["choices"][0]["message"]["content"] == "One"
    response = await streamed(ask, CHAT, text="One", quirks=["empty-json-for-stream"])
    assert response.json()["result"] == {}


async def test_without_stream_such_a_model_answers(ask: Asker) -> None:
    result = await ask.ran(CHAT, messages=scripted(text="One", quirks=["empty-json-for-stream"]))
    assert result["choices"][0]["message"]["content"] == "One"


@pytest.mark.parametrize(
    ("quirk", "expected"),
    [
        ("unenveloped", {"response": "One", "tool_calls": []}),
        (
            "state-envelope",
            {
                "result": {
                    "state": "Completed",
                    "result": {"response": "One", "tool_calls": []},
                    "gatewayMetadata": {"keySource": "Unified"},
                },
                "success": True,
                "errors": [],
                "messages": [],
            },
        ),
    ],
)
async def test_an_answer_may_be_wrapped_otherwise(ask: Asker, quirk: str, expected: Any) -> None:
    response = await ask.run(NATIVE, messages=scripted(text="One", quirks=[quirk, "no-usage"]))
    assert response.json() == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 3040}, (429, 3040, "Capacity temporarily exceeded, please try again.")),
        ({"code": 3046, "status": 500}, (500, 3046, "Request timeout")),
        ({"status": 503, "message": "Mine"}, (503, None, "Mine")),
        ({"code": 9999}, (400, 9999, "Unknown error")),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_script_may_ask_for_any_failure(
    ask: Asker, stream: bool, error: dict[str, Any], expected: tuple[int, int | None, str]
) -> None:
    response = await ask.run(NATIVE, messages=scripted(error=error), stream=stream)
    assert refusal(response) == expected
    assert (response.json()["success"], response.json()["result"], response.json()["messages"]) == (False, {}, [])


async def test_a_failure_may_say_when_to_come_back(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(error={"code": 3040, "retry_after": 7}))
    assert response.headers["retry-after"] == "7"


async def test_a_failure_may_have_status_200(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(quirks=["success-false-200"]))
    assert refusal(response)[:2] == (200, 3040)
    response = await ask.run(NATIVE, messages=scripted(quirks=["success-false-200"], error={"code": 5007}))
    assert refusal(response)[:2] == (200, 5007)


async def test_a_failure_may_look_like_openais_with_status_200(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(quirks=["error-200"]))
    assert response.status_code == 200
    assert response.json()["error"]["message"].startswith(BUSY)


@pytest.mark.parametrize(("error", "status"), [(None, 502), ({"status": 522}, 522)])
async def test_a_failure_may_be_a_page(ask: Asker, error: Any, status: int) -> None:
    response = await ask.run(NATIVE, messages=scripted(quirks=["html-error"], error=error))
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=UTF-8")
    assert response.text.startswith("<html>")


async def test_codes_may_be_texts(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(quirks=["string-code"], error={"code": 3040}))
    assert refusal(response)[:2] == (429, "3040")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("!emulate {text}", "what follows it must be JSON"),
        ('!emulate {"txt":1,"a":2}', "unknown a, txt; known are cut, cut_bytes, delay_ms"),
        ("!emulate [1]", "unknown (not an object)"),
        ('!emulate {"quirks":["x"]}', "No such quirk: x"),
        ('!emulate {"quirks":["-x"]}', "No such quirk: x"),
    ],
)
async def test_a_script_that_makes_no_sense_is_refused_with_a_hint(ask: Asker, line: str, words: str) -> None:
    status, code, text = refusal(await ask.run(NATIVE, prompt=line))
    assert (status, code) == (400, 5006)
    assert words in text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('!emulate {"text":"A"}', "A"),
        ('Before\n!emulate {"text":"A"} after', "A"),
        ('Before\n!emulate {\n  "text":"A"\n}\nafter', "A"),
        ('Not at its start !emulate {"text":"A"}', 'You said: Not at its start !emulate {"text":"A"}'),
        ("Before\n!emulate {}\nafter", "You said: Before\n\nafter"),
    ],
)
async def test_where_a_script_stands(ask: Asker, text: str, answer: str) -> None:
    assert (await ask.ran(NATIVE, prompt=text))["response"].endswith(answer)


async def test_a_script_costs_no_tokens(ask: Asker) -> None:
    result = await ask.ran(NATIVE, messages=scripted(text="x " * 1000))
    assert result["usage"]["prompt_tokens"] == 5


async def test_pauses_come_before_the_first_byte_and_before_each_event(ask: Asker) -> None:
    messages = scripted(text="One two", first_delay_ms=1, delay_ms=1)
    response = await ask.run(NATIVE, messages=messages, stream=True)
    assert orjson.loads(response.text.split("\n")[0][6:])["response"] == "One"
