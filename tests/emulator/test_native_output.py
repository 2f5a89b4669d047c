"""Every form of a native answer, whole and streamed."""

from typing import Any

import pytest

from app.emulator.options import Options
from tests.emulator.asking import HELLO, NATIVE, NESTED, UNTAGGED, Asker, asking, scripted

pytestmark = pytest.mark.anyio

CALLS = [{"name": "weather", "arguments": {"city": "Rome"}}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "neurons": 0.747755}


async def whole(ask: Asker, model: str = NATIVE, **script: Any) -> Any:
    return await ask.ran(model, messages=scripted(**script))


async def stream(ask: Asker, model: str = NATIVE, **script: Any) -> list[Any]:
    """The events without padding, which has a test of its own."""
    script["quirks"] = [*script.get("quirks", ()), "-padding"]
    return await ask.run_events(model, messages=scripted(**script))


async def test_a_text(ask: Asker) -> None:
    assert await whole(ask, text="One two three") == {"response": "One two three", "tool_calls": [], "usage": USAGE}


async def test_a_stream_of_text(ask: Asker) -> None:
    assert await stream(ask, text="One two three") == [
        {"response": "One"},
        {"response": " two"},
        {"response": " three"},
        {"response": "", "usage": USAGE},
        "[DONE]",
    ]


async def test_padding_is_on_every_event_with_text_and_varies(ask: Asker) -> None:
    found = await ask.run_events(NATIVE, messages=scripted(text="One two three"))
    assert [event.get("p") for event in found[:-1]] == ["a", "abcdefgh", "abcdefghijklmno", None]


async def test_tool_calls_have_neither_id_nor_type(ask: Asker) -> None:
    result = await whole(ask, tool_calls=CALLS)
    assert result["response"] is None
    assert result["tool_calls"] == [{"name": "weather", "arguments": {"city": "Rome"}}]


async def test_tool_calls_are_nested_with_some_models(ask: Asker) -> None:
    call = (await whole(ask, NESTED, tool_calls=CALLS))["tool_calls"][0]
    assert call == {"id": "call_000000010", "type": "function", "function": CALLS[0]}


async def test_a_stream_of_tool_calls_is_in_pieces_and_closes_with_nulls(ask: Asker) -> None:
    name = {"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "weather"}}
    nulls = {"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": ""}}
    assert (await stream(ask, tool_calls=CALLS))[:-2] == [
        {"response": None, "tool_calls": [name]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        {"tool_calls": [nulls]},
    ]


async def test_a_tool_call_without_arguments_streams_an_empty_text(ask: Asker) -> None:
    found = await stream(ask, tool_calls=[{"name": "now", "arguments": ""}], quirks=["-null-finaliser"])
    assert found[1] == {"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}


@pytest.mark.parametrize(
    ("quirk", "script", "expected"),
    [
        ("numeric-response", {"text": "1.50"}, {"response": 1.5, "tool_calls": []}),
        ("numeric-response", {"text": "1 2"}, {"response": "1 2", "tool_calls": []}),
        (
            "string-arguments",
            {"tool_calls": CALLS},
            {"response": None, "tool_calls": [{"name": "weather", "arguments": '{"city":"Rome"}'}]},
        ),
        (
            "nested-tool-calls",
            {"tool_calls": CALLS},
            {"response": None, "tool_calls": [{"id": "call_000000010", "type": "function", "function": CALLS[0]}]},
        ),
    ],
)
async def test_a_quirk_of_whole_answers(ask: Asker, quirk: str, script: dict[str, Any], expected: Any) -> None:
    assert await whole(ask, quirks=[quirk, "no-usage"], **script) == expected


async def test_a_result_may_be_a_bare_text(ask: Asker) -> None:
    assert await whole(ask, text="One", quirks=["string-result"]) == "One"


async def test_a_number_keeps_its_digits(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=scripted(text="1.50", quirks=["numeric-response"]))
    assert '"response":1.50,' in response.text


@pytest.mark.parametrize(
    ("quirk", "script", "expected"),
    [
        ("null-response", {"text": "One"}, [{"response": "One"}, {"response": None}, {}]),
        ("numeric-response", {"text": "7 up"}, [{"response": 7}, {"response": " up"}]),
        (
            "flat-tool-frames",
            {"tool_calls": CALLS},
            [{"tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}]}],
        ),
        (
            "missing-index",
            {"tool_calls": [{"name": "now", "arguments": {}}], "quirks": ["-null-finaliser"]},
            [
                {
                    "response": None,
                    "tool_calls": [{"id": "call_000000010", "type": "function", "function": {"name": "now"}}],
                },
                {"tool_calls": [{"function": {"arguments": "{}"}}]},
            ],
        ),
        (
            "arguments-first",
            {"tool_calls": [{"name": "now", "arguments": {}}], "quirks": ["-null-finaliser"]},
            [
                {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
                {
                    "response": None,
                    "tool_calls": [
                        {"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "now"}}
                    ],
                },
            ],
        ),
        (
            "null-ids",
            {"tool_calls": [{"name": "now", "arguments": {}}], "quirks": ["-null-finaliser"]},
            [
                {
                    "response": None,
                    "tool_calls": [
                        {"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "now"}}
                    ],
                },
                {"tool_calls": [{"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": "{}"}}]},
            ],
        ),
    ],
)
async def test_a_quirk_of_streams(ask: Asker, quirk: str, script: dict[str, Any], expected: list[Any]) -> None:
    quirks = [quirk, "no-usage", *script.get("quirks", ())]
    assert await stream(ask, **{**script, "quirks": quirks}) == [*expected, "[DONE]"]


async def test_usage_may_grow_from_event_to_event(ask: Asker) -> None:
    found = await stream(ask, text="One two", quirks=["repeat-usage"])
    assert [event["usage"]["completion_tokens"] for event in found[:-1]] == [1, 2, 2]


async def test_native_models_think_in_their_text_without_an_opening_tag(ask: Asker) -> None:
    result = await whole(ask, UNTAGGED, text="Yes", reasoning="Hm.")
    assert result["response"] == "Hm.\n</think>\n\nYes"


async def test_scripted_thoughts_of_a_model_that_does_not_think_stand_between_tags(ask: Asker) -> None:
    result = await whole(ask, NATIVE, text="Yes", reasoning="Hm.")
    assert result["response"] == "<think>\nHm.\n</think>\n\nYes"


async def test_json_mode_gives_an_object(ask: Asker) -> None:
    wanted = {"type": "json_schema", "json_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    result = await ask.ran(NATIVE, messages=HELLO, response_format=wanted)
    assert result["response"] == {"city": "city"}


async def test_json_mode_may_give_text_after_all() -> None:
    async with asking(Options(quirks=frozenset({"stringified-json-mode-object"}))) as ask:
        result = await ask.ran(NATIVE, messages=scripted(text='{"a":1}'), response_format={"type": "json_object"})
        assert result["response"] == '{"a":1}'


async def test_json_mode_may_fail_in_words(ask: Asker) -> None:
    messages = scripted(quirks=["json-mode-unmet"])
    result = await ask.ran(NATIVE, messages=messages, response_format={"type": "json_object"})
    assert result["response"] == "JSON Mode couldn't be met"
