"""What native models refuse on ai/run, each with the code and words of the service."""

from typing import Any

import pytest

from app.emulator.options import Options
from tests.emulator.asking import (
    HELLO,
    HYBRID,
    NATIVE,
    NATIVE_VISION,
    NESTED,
    PLAIN,
    Asker,
    asking,
    picture,
    refusal,
    shown,
)

pytestmark = pytest.mark.anyio

ONE_OF = "Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', "
BAD = "Bad input: Error: "
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def turn(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


def tool(**function: Any) -> dict[str, Any]:
    return {"messages": HELLO, "tools": [function]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, f"{ONE_OF}required properties at '/' are 'messages'"),
        ({"messages": []}, f"{ONE_OF}Type mismatch of '/messages', a list of 1 item or more is needed"),
        ({"messages": "Hi"}, f"{ONE_OF}Type mismatch of '/messages', a list of 1 item or more is needed"),
        ({"messages": ["Hi"]}, f"{ONE_OF}Type mismatch of '/messages/0', 'string' not in 'object'"),
        ({"messages": HELLO, "prompt": "Hi"}, f"{BAD}oneOf at '/' not met, 2 matches: prompt, messages"),
        ({"prompt": ""}, f"{BAD}'/prompt' must NOT have fewer than 1 characters"),
        ({"prompt": None}, f"{BAD}Type mismatch of '/prompt', 'null' not in 'string'"),
        ({"prompt": "x" * 131073}, f"{BAD}'/prompt' must NOT have more than 131072 characters"),
        (turn(role="user"), f"{ONE_OF}required properties at '/messages/0' are 'content'"),
        (turn(), f"{ONE_OF}required properties at '/messages/0' are 'role', 'content'"),
        (
            turn(role="assistant", content=None),
            f"{ONE_OF}Type mismatch of '/messages/0/content', 'null' not in 'string'",
        ),
        (
            turn(role="user", content=[{"type": "text", "text": "Hi"}]),
            f"{ONE_OF}Type mismatch of '/messages/0/content', 'array' not in 'string'",
        ),
        (
            turn(role="user", content="x" * 131073),
            f"{ONE_OF}'/messages/0/content' must NOT have more than 131072 characters",
        ),
        (
            turn(role="developer", content="Hi"),
            f"{ONE_OF}'/messages/0/role' must be one of 'system', 'user', 'assistant', 'tool'",
        ),
        (
            turn(role="user", content="Hi", name=None),
            f"{ONE_OF}Type mismatch of '/messages/0/name', 'null' not in 'string'",
        ),
        (
            turn(role="tool", content="Hi", tool_call_id=7),
            f"{ONE_OF}Type mismatch of '/messages/0/tool_call_id', 'integer' not in 'string'",
        ),
        (
            turn(role="assistant", content="", tool_calls=[{"function": {"name": "f", "arguments": {}}}]),
            f"{ONE_OF}Type mismatch of '/messages/0/tool_calls/0/function/arguments', 'object' not in 'string'",
        ),
        (
            turn(role="assistant", content="", tool_calls=["f"]),
            f"{ONE_OF}Type mismatch of '/messages/0/tool_calls/0/function/arguments', 'null' not in 'string'",
        ),
        ({"prompt": "Hi", "temperature": None}, f"{BAD}Type mismatch of '/temperature', 'null' not in 'number'"),
        ({"prompt": "Hi", "temperature": 5.1}, f"{BAD}'/temperature' must be <= 5"),
        ({"prompt": "Hi", "temperature": -1}, f"{BAD}'/temperature' must be >= 0"),
        ({"prompt": "Hi", "top_p": 0}, f"{BAD}'/top_p' must be >= 0.001"),
        ({"prompt": "Hi", "top_k": 51}, f"{BAD}'/top_k' must be <= 50"),
        ({"prompt": "Hi", "seed": 0}, f"{BAD}'/seed' must be >= 1"),
        ({"prompt": "Hi", "seed": 10000000000}, f"{BAD}'/seed' must be <= 9999999999"),
        ({"prompt": "Hi", "max_tokens": True}, f"{BAD}Type mismatch of '/max_tokens', 'boolean' not in 'integer'"),
        ({"prompt": "Hi", "stream": "yes"}, f"{BAD}Type mismatch of '/stream', 'string' not in 'boolean'"),
        ({"prompt": "Hi", "image": {}}, f"{BAD}Type mismatch of '/image', 'object' not in 'array', 'string'"),
        (
            {"messages": HELLO, "tools": ["f"]},
            f"{BAD}Type mismatch of '/tools/0', 'string' not in 'object'",
        ),
        (tool(name="f"), f"{BAD}required properties at '/tools/0' are 'description', 'parameters'"),
        (
            tool(type="function", function={"name": "f", "parameters": {}}),
            f"{BAD}required properties at '/tools/0/function' are 'description'",
        ),
        (
            tool(name="f", description=True, parameters={}),
            f"{BAD}Type mismatch of '/tools/0/description', 'boolean' not in 'string'",
        ),
        (
            tool(name="f", description="", parameters={}),
            f"{BAD}required properties at '/tools/0/parameters' are 'type', 'properties'",
        ),
        (
            tool(name="f", description="", parameters={"type": "object", "properties": []}),
            f"{BAD}Type mismatch of '/tools/0/parameters/properties', 'array' not in 'object'",
        ),
        (
            tool(name="f", description="", parameters={"type": "object", "properties": {"a": {"type": "string"}}}),
            f"{BAD}required properties at '/tools/0/parameters/properties/a' are 'description'",
        ),
        (
            tool(name="f", description="", parameters={"type": "object", "properties": {"a": True}}),
            f"{BAD}required properties at '/tools/0/parameters/properties/a' are 'type', 'description'",
        ),
        (
            {"prompt": "Hi", "response_format": {"type": "json_schema"}},
            f"{BAD}required properties at '/response_format' are 'json_schema'",
        ),
        (
            {
                "prompt": "Hi",
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            },
            f"{BAD}'/response_format/json_schema' is not a JSON Schema: unknown keyword 'schema'",
        ),
    ],
)
@pytest.mark.parametrize("model", [NATIVE, HYBRID])
async def test_a_body_that_misses_the_schema_is_5006(ask: Asker, model: str, body: dict[str, Any], text: str) -> None:
    assert refusal(await ask.run(model, **body)) == (400, 5006, text)


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (PLAIN, {"response_format": {"type": "json_object"}}, (400, 5025, "This model doesn't support JSON Schema.")),
        (
            NATIVE,
            {"response_format": {"type": "json_schema", "json_schema": SCHEMA}, "stream": True},
            (400, 5023, "JSON Mode doesn't support streaming"),
        ),
        (PLAIN, {"lora": "mine"}, (405, 5005, "Model doesn't support LoRA")),
    ],
)
async def test_what_a_model_can_not_do_has_its_own_code(
    ask: Asker, model: str, body: dict[str, Any], expected: tuple[int, int, str]
) -> None:
    assert refusal(await ask.run(model, messages=HELLO, **body)) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://example.com/a.png",
            (400, 5006, f"{BAD}'/messages/0/content/1/image_url/url' does not match pattern '^data:'"),
        ),
        (7, (400, 5006, f"{BAD}'/messages/0/content/1/image_url/url' does not match pattern '^data:'")),
        ("data:text/plain,Hi", (400, 8006, "Invalid data for image - reason not a base64 data URI of an image")),
        ("data:image/png;base64,A", (400, 8006, "Invalid data for image - reason invalid base64")),
        ("data:image/png;base64,AAAA", (400, 8006, "Invalid data for image - reason cannot identify image file")),
    ],
)
@pytest.mark.parametrize("model", [NATIVE_VISION, NESTED])
async def test_a_picture_must_be_one_and_a_data_uri(
    ask: Asker, model: str, url: Any, expected: tuple[int, int, str]
) -> None:
    assert refusal(await ask.run(model, messages=shown(url))) == expected


async def test_a_part_of_an_unknown_kind_is_5006(ask: Asker) -> None:
    messages = [{"role": "user", "content": [{"type": "input_audio"}]}]
    text = f"{ONE_OF}'/messages/0/content/0/type' must be one of 'text', 'image_url'"
    assert refusal(await ask.run(NATIVE_VISION, messages=messages)) == (400, 5006, text)


@pytest.mark.parametrize("is_part", [True, False])
async def test_a_picture_in_a_text_is_8006(ask: Asker, is_part: bool) -> None:
    text = f"What is {picture()}?"
    messages = [{"role": "user", "content": [{"type": "text", "text": text}] if is_part else text}]
    response = await ask.run(NATIVE_VISION, messages=messages)
    assert refusal(response) == (400, 8006, "Invalid data for image - reason invalid base64")


async def test_a_picture_in_a_text_passes_where_that_fault_is_off() -> None:
    async with asking(Options(quirks=frozenset())) as ask:
        assert (await ask.ran(NATIVE, prompt=picture()))["response"].startswith("This is the emulator")


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "Hi"},
        {"messages": [{"role": "system", "content": ""}, *HELLO]},
        {"prompt": "Hi", "seed": 9999999999, "temperature": 5, "top_p": 1, "unknown": None},
        tool(name="f", description="", parameters={"type": "object", "properties": {}}),
        {"prompt": "Hi", "response_format": {"type": "text"}},
        {"prompt": "Hi", "lora": "mine"},
        turn(role="assistant", content="", tool_calls=[{"name": "f", "arguments": "{}"}]),
    ],
)
async def test_a_body_in_order_is_answered(ask: Asker, body: dict[str, Any]) -> None:
    assert (await ask.run(NATIVE, **body)).status_code == 200


async def test_a_part_may_stand_without_a_list_around_it(ask: Asker) -> None:
    messages = [{"role": "user", "content": {"type": "text", "text": "By itself"}}]
    assert (await ask.ran(NESTED, messages=messages))["response"].endswith("You said: By itself")
