"""gpt-oss asked in OpenAI's Responses, on both paths; refusals and thoughts that are not told."""

from typing import Any

import orjson
import pytest

from app.emulator.options import Options
from app.emulator.quirks import DEFAULT_QUIRKS
from tests.emulator.asking import (
    BGE,
    CHAT,
    GPT_OSS,
    NATIVE,
    WEATHER,
    Asker,
    asking,
    events,
    picture,
    refusal,
    scripted,
)

pytestmark = pytest.mark.anyio

FLAT = {"type": "function"} | WEATHER["function"]  # type: ignore[operator]  # a dictionary
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "fine"}
THOUGHTS = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm"}],
}


def script(**fields: Any) -> str:
    return f"Hello\n!emulate {orjson.dumps(fields).decode()}"


async def responded(ask: Asker, **body: Any) -> Any:
    """The answer of the path that has no envelope, with what it costs told in a header."""
    answer = await ask.client.post("/accounts/a1/ai/v1/responses", json={"model": GPT_OSS, **body})
    assert answer.status_code == 200, answer.text
    assert float(answer.headers["cf-ai-neurons"]) > 0
    return answer.json()


async def test_a_response(ask: Asker) -> None:
    body = await responded(ask, input=script(text="Good day", reasoning="Hm, so."), max_output_tokens=50)
    assert body.keys() == {
        "id", "object", "created_at", "status", "output", "incomplete_details", "error", "usage",
    }  # fmt: skip
    assert (body["object"], body["status"], body["incomplete_details"]) == ("response", "completed", None)
    thoughts, message = body["output"]
    assert (thoughts["type"], thoughts["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "Hm, so."}])
    assert message["content"] == [{"type": "output_text", "text": "Good day", "annotations": []}]
    usage = body["usage"]
    assert usage == {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9}


async def test_the_same_by_run_comes_in_the_envelope(ask: Asker) -> None:
    result = await ask.ran(GPT_OSS, input=[{"role": "user", "content": script(text="Good day")}])
    assert result["output"][-1]["content"][0]["text"] == "Good day"


async def test_without_a_length_it_is_256_tokens(ask: Asker) -> None:
    body = await responded(ask, input=script(tokens=300, reasoning=""))
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["usage"]["output_tokens"] == 256


async def test_a_budget_spent_on_thoughts(ask: Asker) -> None:
    body = await responded(ask, input=script(reasoning="word " * 20), max_output_tokens=3)
    assert [item["type"] for item in body["output"]] == ["reasoning"]
    assert body["status"] == "incomplete"
    hidden = await responded(ask, input=script(reasoning="word " * 20, quirks=["hidden-thoughts"]), max_output_tokens=3)
    assert hidden["output"] == []
    assert hidden["usage"]["output_tokens"] == 3


async def test_calls(ask: Asker) -> None:
    items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "The weather, please."}]}]
    body = await responded(ask, input=items, tools=[FLAT], instructions="Be brief.", parallel_tool_calls=True)
    (call,) = [item for item in body["output"] if item["type"] == "function_call"]
    assert (call["name"], call["arguments"], call["status"]) == ("weather", '{"city":"city"}', "completed")
    items += [
        *body["output"],
        RESULT | {"call_id": call["call_id"], "output": [{"type": "input_text", "text": "fine"}]},
    ]
    again = await responded(ask, input=items, tools=[FLAT])
    assert again["output"][-1]["content"][0]["text"] == "The tool says: fine"
    named = await responded(ask, input="Hi", tools=[FLAT], tool_choice={"type": "function", "name": "weather"})
    assert named["output"][-1]["name"] == "weather"
    none = await responded(ask, input="The weather", tools=[FLAT], tool_choice="none")
    assert [item["type"] for item in none["output"]] == ["reasoning", "message"]


async def test_a_conversation_is_read_whole(ask: Asker) -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait"}]}
    no = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}
    before = [{"role": "developer", "content": "Hi"}, {"role": "user", "content": "Go"}, THOUGHTS]
    short = await responded(ask, input=[*before, said, CALL, RESULT])
    long = await responded(ask, input=[*before, said, CALL, CALL | {"call_id": "call_2"}, RESULT, no, CALL, RESULT])
    assert long["usage"]["input_tokens"] > short["usage"]["input_tokens"]


async def test_formats_and_efforts(ask: Asker) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"type": "json_schema", "name": "it", "schema": schema, "strict": None}
    body = await responded(ask, input="Hi", text={"format": wanted}, reasoning={"effort": "low"})
    assert body["output"][-1]["content"][0]["text"] == '{"n":1}'
    loose = await responded(ask, input="Hi", text={"format": {"type": "json_object"}})
    assert orjson.loads(loose["output"][-1]["content"][0]["text"])


async def test_a_refusal_has_a_place_of_its_own(ask: Asker) -> None:
    body = await responded(ask, input=script(refusal="I can't."), text={"format": {"type": "json_object"}})
    assert body["output"][-1]["content"] == [{"type": "refusal", "refusal": "I can't."}]
    whole = await ask.chatted(GPT_OSS, messages=scripted(refusal="I can't.", reasoning=""))
    message = whole["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I can't.")
    streamed = events(await ask.chat(GPT_OSS, messages=scripted(refusal="I can't.", reasoning=""), stream=True))
    deltas = [event["choices"][0]["delta"] for event in streamed[:-1] if event["choices"]]
    assert "".join(delta.get("refusal", "") for delta in deltas) == "I can't."
    assert (await ask.ran(NATIVE, messages=scripted(refusal="I can't.")))["response"] == "I can't."


async def test_thoughts_may_not_be_told(ask: Asker) -> None:
    asked = scripted(text="", reasoning="word " * 20, quirks=["hidden-thoughts"])
    whole = await ask.chatted(GPT_OSS, messages=asked, max_tokens=3)
    assert "reasoning_content" not in whole["choices"][0]["message"]
    assert whole["usage"]["completion_tokens"] == 3
    streamed = (await ask.chat(GPT_OSS, messages=asked, max_tokens=3, stream=True)).text
    assert "reasoning_content" not in streamed


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({}, 5006, "required properties at '/' are 'input'"),
        ({"input": []}, 5006, "required properties at '/' are 'input'"),
        ({"input": 7}, 8001, "Type mismatch of '/input', 'integer' not in 'string', 'array'"),
        ({"stream": True}, 8001, "'/stream' is not supported"),
        ({"previous_response_id": "resp_1"}, 8001, "'/previous_response_id' is not supported"),
        ({"background": True}, 8001, "'/background' is not supported"),
        ({"seed": 1}, 8001, "additional property 'seed'"),
        ({"max_output_tokens": 0}, 8001, "'/max_output_tokens' must be >= 1"),
        ({"input": ["Hi"]}, 8001, "Type mismatch of '/input/0', 'string' not in 'object'"),
        ({"input": [{"type": "web_search_call"}]}, 8001, "'/input/0/type' must be one of"),
        ({"input": [{"role": "tool", "content": ""}]}, 8001, "'/input/0/role' must be one of"),
        ({"input": [{"role": "user"}]}, 8001, "Type mismatch of '/input/0/content'"),
        ({"input": [{"role": "user", "content": ["Hi"]}]}, 8001, "'/input/0/content/0/type' must be one of"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, 8001, "'/input/0/content/0/text'"),
        ({"input": [CALL | {"arguments": {}}]}, 8001, "Type mismatch of '/input/0/arguments'"),
        ({"input": [RESULT | {"call_id": None}]}, 8001, "Type mismatch of '/input/0/call_id'"),
        ({"input": [RESULT | {"output": None}]}, 8001, "Type mismatch of '/input/0/output'"),
        ({"input": [THOUGHTS | {"id": None}]}, 8001, "Type mismatch of '/input/0/id'"),
        ({"input": [THOUGHTS | {"summary": None}]}, 8001, "Type mismatch of '/input/0/summary'"),
        ({"input": [THOUGHTS | {"content": [{"type": "text"}]}]}, 8001, "'/input/0/content/0/type' must be"),
        ({"tools": [WEATHER]}, 8001, "Type mismatch of '/tools/0/name'"),
        ({"tools": [{"type": "web_search"}]}, 8001, "'/tools/0/type' must be one of 'function'"),
        ({"tools": [FLAT], "tool_choice": "auto"}, 8001, "'/tool_choice' must be 'none' or name a function"),
        ({"include": ["reasoning.encrypted_content"]}, 8001, "'/include' has no 'reasoning.encrypted_content'"),
        ({"reasoning": {"effort": "none"}}, 8001, "'/reasoning_effort' must be one of"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": picture()}]}]},
            8007,
            "is not a multimodal model",
        ),
    ],
)
async def test_what_is_not_in_the_types_is_refused(ask: Asker, body: dict[str, Any], code: int, text: str) -> None:
    asked = {"model": GPT_OSS} | ({"input": "Hi"} if body else {}) | body
    answer = await ask.client.post("/accounts/a1/ai/v1/responses", json=asked)
    status, found, message = refusal(answer)
    assert (status, found) == (400, code)
    assert text in message


@pytest.mark.parametrize("model", [CHAT, NATIVE, BGE])
async def test_only_some_models_take_it(ask: Asker, model: str) -> None:
    answer = await ask.client.post("/accounts/a1/ai/v1/responses", json={"model": model, "input": "Hi"})
    assert refusal(answer)[:2] == (400, 5007)


async def test_once_none_did() -> None:
    async with asking(Options(quirks=DEFAULT_QUIRKS | {"no-responses"})) as ask:
        answer = await ask.client.post("/accounts/a1/ai/v1/responses", json={"model": GPT_OSS, "input": "Hi"})
        assert refusal(answer)[:2] == (400, 5007)
        assert refusal(await ask.run(GPT_OSS, input="Hi"))[:2] == (400, 5006)


async def test_the_usage_may_be_missing() -> None:
    async with asking(Options(quirks=DEFAULT_QUIRKS | {"no-usage"})) as ask:
        assert "usage" not in await responded(ask, input="Hi")
