"""What is taken for a chat request, and what is not."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.chat import ChatCompletionRequest

HI = {"role": "user", "content": "Hi"}


def parse(**fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate_json(json.dumps({"model": "m", "messages": [HI]} | fields))


OPTIONAL = [name for name in ChatCompletionRequest.model_fields if name not in ("model", "messages")]


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_counts_as_absent(name: str) -> None:
    assert getattr(parse(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_tokens", 256.0, 256),
        ("max_tokens", "256", 256),
        ("max_completion_tokens", 10**9, 10**9),
        ("seed", 1.0, 1),
        ("seed", -(2**63), -(2**63)),
        ("n", 1.0, 1),
        ("temperature", 1, 1.0),
        ("stream", "true", True),
        ("stop", [], []),
        ("tools", [], []),
        ("tool_choice", "auto", "auto"),
        ("logit_bias", {"1": 5}, {"1": 5.0}),
        ("response_format", '{"type":"text"}', '{"type":"text"}'),
    ],
)
def test_loose_values_are_taken(name: str, value: Any, expected: Any) -> None:
    found = getattr(parse(**{name: value}), name)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", None),
        ("model", "m" * 301),
        ("messages", []),
        ("messages", None),
        ("messages", [{"content": "Hi"}]),
        ("messages", [{"role": "wizard", "content": "Hi"}]),
        ("messages", [{"role": "user", "content": 7}]),
        ("messages", [{"role": "user", "content": ["Hi"]}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]),
        ("messages", [{"role": "assistant", "tool_calls": [{"id": "c"}]}]),
        ("messages", [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]}]),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("max_completion_tokens", -1),
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_p", 1.1),
        ("n", 0),
        ("n", 129),
        ("stop", 7),
        ("stop", [None]),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("seed", 2**63),
        ("seed", -(2**63) - 1),
        ("seed", 0.5),
        ("top_logprobs", 21),
        ("logit_bias", {"1": "much"}),
        ("tools", {}),
        ("tools", [{"type": "function", "function": {}}]),
        ("tools", [{"type": "function", "function": {"name": ""}}]),
        ("tools", [{"type": "function", "function": {"name": "f" * 129}}]),
        ("tools", [{"type": "function", "function": {"name": "f", "description": True}}]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]),
        ("tools", [{"name": ""}]),
        ("tools", [{"name": "f", "parameters": []}]),
        ("functions", [{}]),
        ("tool_choice", 7),
        ("response_format", 7),
        ("reasoning_effort", 7),
        ("stream_options", "usage"),
    ],
)
def test_values_that_would_change_the_answer_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(**{name: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {name}


def test_fields_that_are_unknown_are_kept_at_every_level() -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    request = parse(
        top_k=5,
        messages=[{"role": "user", "content": [part], "vendor": 1}],
        tools=[{"type": "function", "function": {"name": "f", "strict": True}, "vendor": 1}],
    )
    assert request.model_extra == {"top_k": 5}
    assert request.messages == [{"role": "user", "content": [part], "vendor": 1}]
    assert request.tools == [{"type": "function", "function": {"name": "f", "strict": True}, "vendor": 1}]


@pytest.mark.parametrize(
    "message",
    [
        HI,
        {"role": "user", "content": None},
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AA"}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "image_url": None, "refusal": None}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]},
        {"role": "developer", "content": "A"},
        {"role": "assistant"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": None,
            "function_call": None,
            "refusal": None,
            "name": None,
        },
        {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": [{"id": None, "function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": None}},
        {"role": "assistant", "content": "A", "reasoning_content": None, "reasoning": "Hm"},
        {"role": "tool", "content": "A"},
        {"role": "tool", "content": [{"type": "text", "text": "A"}], "tool_call_id": None, "name": None},
        {"role": "function", "name": "f", "content": "A"},
    ],
)
def test_messages_of_every_make_are_taken(message: dict[str, Any]) -> None:
    assert parse(messages=[message]).messages == [message]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(None, ()), ("", ()), ("A", ("A",)), ([], ()), (["A", "", "B"], ("A", "B")), (["A"] * 5, ("A",) * 5)],
)
def test_stops_are_a_tuple(stop: Any, expected: tuple[str, ...]) -> None:
    assert parse(stop=stop).stops == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": None}, False),
        ({"include_usage": False, "include_obfuscation": True}, False),
        ({"include_usage": True}, True),
    ],
)
def test_usage_is_included_if_asked_for(options: Any, expected: bool) -> None:
    assert parse(stream_options=options).include_usage is expected
