"""What chat-completions models, and all models behind the OpenAI path, refuse."""

from typing import Any

import orjson
import pytest

from tests.emulator.asking import (
    CHAT,
    EFFORTS,
    GPT_OSS,
    HELLO,
    HYBRID,
    NATIVE,
    PLAIN,
    VISION,
    WEATHER,
    Asker,
    picture,
    refusal,
    shown,
)

pytestmark = pytest.mark.anyio

NO_MESSAGES = (
    "Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', required properties "
    "at '/' are 'messages'"
)
BAD = "Invalid input: "
ROLES = "'developer', 'system', 'user', 'assistant', 'tool', 'function'"
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def turn(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


def hello(**body: Any) -> dict[str, Any]:
    return {"messages": HELLO, **body}


def wants(**json_schema: Any) -> dict[str, Any]:
    return hello(response_format={"type": "json_schema", "json_schema": json_schema})


REFUSED = [
    (turn(role="judge", content="Hi"), f"{BAD}'/messages/0/role' must be one of {ROLES}"),
    ({"messages": ["Hi"]}, f"{BAD}Type mismatch of '/messages/0', 'string' not in 'object'"),
    (turn(role="user"), f"{BAD}Type mismatch of '/messages/0/content', 'null' not in 'string', 'array'"),
    (turn(role="user", content=7), f"{BAD}Type mismatch of '/messages/0/content', 'integer' not in 'string', 'array'"),
    (turn(role="user", content=[]), f"{BAD}'/messages/0/content' must NOT have fewer than 1 items"),
    (
        turn(role="user", content=[{"type": "video"}]),
        f"{BAD}'/messages/0/content/0/type' must be one of 'text', 'image_url', 'input_audio', 'file'",
    ),
    (turn(role="user", content=[{"type": "text"}]), f"{BAD}required properties at '/messages/0/content/0' are 'text'"),
    (turn(role="tool", content="Hi"), f"{BAD}required properties at '/messages/0' are 'tool_call_id'"),
    (
        turn(role="assistant", tool_calls=[CALL | {"function": {"name": "f", "arguments": {}}}]),
        f"{BAD}Type mismatch of '/messages/0/tool_calls/0/function/arguments', 'object' not in 'string'",
    ),
    (
        turn(role="assistant", tool_calls=[{"name": "f", "arguments": "{}"}]),
        f"{BAD}required properties at '/messages/0/tool_calls/0' are 'function'",
    ),
    (
        turn(role="assistant", tool_calls=[{"function": CALL["function"]}]),
        f"{BAD}required properties at '/messages/0/tool_calls/0' are 'id', 'type'",
    ),
    (hello(temperature=2.5), f"{BAD}'/temperature' must be <= 2"),
    (hello(top_p=1.5), f"{BAD}'/top_p' must be <= 1"),
    (hello(n=0), f"{BAD}'/n' must be >= 1"),
    (hello(stop=["a"] * 5), f"{BAD}'/stop' must be a string or up to 4 of them"),
    (hello(stop=[1]), f"{BAD}'/stop' must be a string or up to 4 of them"),
    (hello(top_logprobs=21), f"{BAD}'/top_logprobs' must be <= 20"),
    (hello(tools={}), f"{BAD}Type mismatch of '/tools', 'object' not in 'array', 'null'"),
    (hello(tools=[WEATHER["function"]]), f"{BAD}required properties at '/tools/0' are 'type', 'function'"),
    (hello(tools=["f"]), f"{BAD}required properties at '/tools/0' are 'type', 'function'"),
    (
        hello(tools=[{"type": "function", "function": {}}]),
        f"{BAD}required properties at '/tools/0/function' are 'name'",
    ),
    (
        hello(tools=[{"type": "function", "function": {"name": "f", "description": True}}]),
        f"{BAD}Type mismatch of '/tools/0/function/description', 'boolean' not in 'string'",
    ),
    (
        hello(tools=[WEATHER], tool_choice="any"),
        f"{BAD}'/tool_choice' must be one of 'none', 'auto', 'required'",
    ),
    (hello(tool_choice="required"), f"{BAD}When using `tool_choice`, `tools` must be set."),
    (
        hello(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "f"}}),
        f"{BAD}'/tool_choice' names no tool of '/tools'",
    ),
    (hello(tools=[WEATHER], tool_choice={"type": "tool"}), f"{BAD}'/tool_choice' names no tool of '/tools'"),
    (
        hello(response_format={"type": "xml"}),
        f"{BAD}'/response_format/type' must be one of 'text', 'json_object', 'json_schema'",
    ),
    (wants(type="object"), f"{BAD}required properties at '/response_format/json_schema' are 'name', 'schema'"),
    (wants(name="n"), f"{BAD}required properties at '/response_format/json_schema' are 'name', 'schema'"),
    (hello(reasoning_effort="high"), f"{BAD}'/reasoning_effort' must be one of [], found 'high'"),
]


@pytest.mark.parametrize(("body", "text"), REFUSED)
async def test_a_body_that_is_not_openais_is_8001_on_both_paths(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.chat(CHAT, **body)) == (400, 8001, text)
    assert refusal(await ask.run(CHAT, **body)) == (400, 8001, text)


@pytest.mark.parametrize(("body", "text"), REFUSED)
async def test_native_models_refuse_it_too_on_the_openai_path(ask: Asker, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.chat(NATIVE, **body)) == (400, 8001, text)


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": "Hi"}, {"prompt": ""}])
async def test_without_messages_it_is_5006(ask: Asker, body: dict[str, Any]) -> None:
    assert refusal(await ask.chat(CHAT, **body)) == (400, 5006, NO_MESSAGES)
    assert refusal(await ask.run(CHAT, **body)) == (400, 5006, NO_MESSAGES)


async def test_a_prompt_is_for_ai_run_only(ask: Asker) -> None:
    assert refusal(await ask.chat(CHAT, prompt="Hi")) == (400, 5006, NO_MESSAGES)
    assert (await ask.ran(CHAT, prompt="Hi"))["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            turn(role="developer", content="Hi"),
            (400, 5006, "Bad input: Error: '/messages/0/role' must be one of 'system', 'user', 'assistant', 'tool'"),
        ),
        (
            turn(role="user", content=[{"type": "text", "text": "Hi"}]),
            (400, 5006, "Bad input: Error: Type mismatch of '/messages/0/content', 'array' not in 'string'"),
        ),
        (hello(seed=0), (400, 8001, f"{BAD}'/seed' must be >= 1")),
        (hello(top_p=0), (400, 8001, f"{BAD}'/top_p' must be >= 0.001")),
        (
            hello(response_format={"type": "json_object"}),
            (400, 5025, "This model doesn't support JSON Schema."),
        ),
    ],
)
async def test_what_native_models_never_take_the_openai_path_does_not_change(
    ask: Asker, body: dict[str, Any], expected: tuple[int, int, str]
) -> None:
    assert refusal(await ask.chat(PLAIN, **body)) == expected


@pytest.mark.parametrize("model", [NATIVE, HYBRID])
async def test_json_mode_of_native_models_does_not_stream_on_the_openai_path_either(ask: Asker, model: str) -> None:
    response = await ask.chat(model, **wants(name="n", schema={"type": "object"}), stream=True)
    assert refusal(response) == (400, 5023, "JSON Mode doesn't support streaming")


async def test_a_picture_for_a_model_without_eyes_is_refused_by_the_backend(ask: Asker) -> None:
    response = await ask.chat(CHAT, messages=shown(picture()))
    status, code, text = refusal(response)
    assert (status, code) == (400, 8007)
    assert orjson.loads(text) == {
        "object": "error",
        "message": f"{CHAT} is not a multimodal model",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    }
    assert response.json()["errors"][0]["message"].startswith("AiError: AiError: {")


async def test_a_remote_picture_is_5006(ask: Asker) -> None:
    response = await ask.chat(VISION, messages=shown("https://example.com/a.png"))
    assert refusal(response)[:2] == (400, 5006)


@pytest.mark.parametrize(
    ("model", "effort", "status"),
    [
        (EFFORTS, "xhigh", 200),
        (EFFORTS, "high", 400),
        (EFFORTS, None, 200),
        (GPT_OSS, "low", 200),
        (GPT_OSS, "none", 400),
        (CHAT, None, 200),
    ],
)
async def test_a_model_takes_its_own_efforts_only(ask: Asker, model: str, effort: str | None, status: int) -> None:
    assert (await ask.chat(model, messages=HELLO, reasoning_effort=effort)).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        hello(temperature=None, stop=None, tools=None, tool_choice=None, response_format=None, max_tokens=None),
        hello(stop=["a", "b", "c", "d"], user="me", unknown=1),
        turn(role="developer", content="Hi"),
        {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        hello(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}),
        hello(
            tools=[{"type": "custom", "custom": {"name": "c"}}], tool_choice={"type": "custom", "custom": {"name": "c"}}
        ),
        wants(name="n", schema={"type": "object"}),
    ],
)
async def test_a_body_in_order_is_answered(ask: Asker, body: dict[str, Any]) -> None:
    assert (await ask.chat(CHAT, **body)).status_code == 200
