"""Models that can't call tools, told them in the prompt: they call them in the form that they were told."""

from typing import Any

import orjson
import pytest

from tests.emulator.asking import NATIVE, PLAIN, WEATHER, Asker, scripted

pytestmark = pytest.mark.anyio

NOW = {"name": "now", "description": "One\u2028two", "parameters": {"type": "object", "properties": {}}}
CALLS = [{"name": "weather", "arguments": {"city": "Rome"}}, {"name": "now", "arguments": {}}]
RESULT = {"role": "user", "content": '<tool_response name="now">\nIt is\nnoon\n</tool_response>'}


def told(*messages: dict[str, Any], form: str = "tool_call", end: str = "") -> list[dict[str, Any]]:
    tools = "\n".join(orjson.dumps(tool).decode() for tool in (WEATHER["function"], NOW))
    example = f'<{form}>{{"name": "...", "arguments": {{...}}}}</{form}>'
    system = f"Be kind.\n<tools>\n{tools}\n</tools>\n\nWrite\n{example}\n{end}"
    return [{"role": "system", "content": system}, *messages]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def said(ask: Asker, *messages: dict[str, Any], **how: str) -> Any:
    result = await ask.ran(PLAIN, messages=told(*messages, **how))
    assert not result["tool_calls"]
    return result["response"]


async def test_the_calls_of_a_script_are_written_behind_its_text(ask: Asker) -> None:
    rome, now = '{"name": "weather", "arguments": {"city":"Rome"}}', '{"name": "now", "arguments": {}}'
    calls = f"<tool_call>{rome}</tool_call>\n<tool_call>{now}</tool_call>"
    assert await said(ask, *scripted(tool_calls=CALLS)) == calls
    assert await said(ask, *scripted(tool_calls=CALLS, text="So:")) == f"So:\n{calls}"
    assert await said(ask, *scripted(tool_calls=CALLS[1:]), form="call") == f"<call>{now}</call>"


async def test_without_a_form_it_is_the_object_alone(ask: Asker) -> None:
    assert await said(ask, user("Call now"), form="?") == '{"name": "now", "arguments": {}}'


@pytest.mark.parametrize(
    ("messages", "end", "called"),
    [
        ([user("Hello")], "", False),
        ([user("Hello")], "You must call the tool weather or now now.", True),
        ([user("What is the weather?")], "", True),
        ([user("What is the weather?"), RESULT], "", False),
    ],
)
async def test_which_tools_are_called(ask: Asker, messages: list[Any], end: str, called: bool) -> None:
    call = '<tool_call>{"name": "weather", "arguments": {"city":"city"}}</tool_call>'
    assert (await said(ask, *messages, end=end) == call) is called


async def test_the_result_of_a_tool_is_no_turn_of_the_user(ask: Asker) -> None:
    assert await said(ask, *scripted(tool_calls=CALLS), RESULT) == "The tool says: It is\nnoon"
    assert await said(ask, *scripted(tool_calls=CALLS, text="I see."), RESULT) == "I see."


@pytest.mark.parametrize("tools", ["all of them", '{"type": "function"}', "[1]"])
async def test_what_else_stands_between_those_tags_is_no_tool(ask: Asker, tools: str) -> None:
    messages = [user(f"<tools>\n{tools}\n</tools>")]
    assert "You said: <tools>" in (await ask.ran(PLAIN, messages=messages))["response"]


async def test_a_model_with_tools_of_its_own_takes_no_tools_from_a_prompt(ask: Asker) -> None:
    result = await ask.ran(NATIVE, messages=told(user("What is the weather?")))
    assert result["response"].endswith("You said: What is the weather?")
