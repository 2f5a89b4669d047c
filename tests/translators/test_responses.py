"""Responses: what a request comes to as a chat, and how the answer comes back."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.errors import BadRequestError
from app.schemas.responses import ResponsesRequest
from app.translators.base import DocumentsWanted, Plan
from app.translators.responses import Exchange, ResponseStream, responses, to_exchange, to_param
from tests.translators.chats import CHAT, NATIVE, a_context, a_reply, payloads

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def exchange(**fields: Any) -> Exchange:
    return to_exchange(ResponsesRequest.model_validate({"model": "m", "input": "Hi"} | fields))


def plan(model: Any = CHAT, **fields: Any) -> Plan[Exchange]:
    return responses.to_plan(exchange(**fields), a_context(model))


def body(model: Any = CHAT, **fields: Any) -> dict[str, Any]:
    (call,) = plan(model, **fields).calls
    return call.body


def completion(content: str | None = "Hello", reason: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content} | message, "finish_reason": reason}
    return {"choices": [choice], "usage": USAGE}


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_output_tokens": 50}, {"max_tokens": 50}),
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
                }
            },
        ),
        ({"tools": [WEATHER], "tool_choice": "none"}, {"tool_choice": "none"}),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": False},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
        ),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ],
)
def test_fields_in_the_chats_terms(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    found = body(**asked)
    assert {key: found.get(key) for key in sent} == sent


def test_what_has_no_counterpart_is_not_sent() -> None:
    fields: dict[str, Any] = {
        "client_metadata": {"install": "secret"},
        "include": ["reasoning.encrypted_content"],
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "store": False,
        "stream_options": {"include_obfuscation": False},
        "text": {"verbosity": "low"},
        "truncation": "disabled",
        "user": "u",
        "service_tier": "auto",
    }
    made = plan(**fields)
    assert made.calls[0].body.keys() == body().keys()
    assert made.ignored == ("text.verbosity",)


def test_what_changes_nothing_is_named() -> None:
    made = plan(
        tools=[{"type": "web_search"}],
        input=[{"role": "user", "content": "Hi"}, {"type": "web_search_call"}],
        max_tool_calls=3,
        service_tier="flex",
        truncation="auto",
        reasoning={"effort": "high"},
    )
    assert made.ignored == (
        "tools[0]", "input[1]", "max_tool_calls", "service_tier", "truncation", "reasoning.effort",
    )  # fmt: skip


def test_the_conversation_before_comes_first_and_the_instructions_before_it() -> None:
    request = ResponsesRequest(model="m", input="And?", instructions="Be brief.", previous_response_id="resp_1")
    history: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": "Hi"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]},
        {"type": "file_search_call"},
    ]
    made = to_exchange(request, history)
    assert [turn["role"] for turn in made.messages] == ["system", "user", "assistant", "user"]
    assert made.items == ({"type": "message", "role": "user", "content": "And?"},)
    assert made.ignored == ("previous_response_id",)


def test_the_conversation_before_may_be_all() -> None:
    request = ResponsesRequest(model="m", previous_response_id="resp_1")
    assert to_exchange(request, [{"role": "user", "content": "Hi"}]).messages == [{"role": "user", "content": "Hi"}]


def test_a_request_says_what_it_belongs_with() -> None:
    assert exchange(prompt_cache_key="thread").prompt_cache_key == "thread"


def test_pictures_are_found_wherever_they_are() -> None:
    part = {"type": "input_image", "image_url": "https://a.example/b.png"}
    made = exchange(
        input=[
            {"role": "user", "content": [part]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": [part]},
        ]
    )
    assert [tuple(each) for each in [(p.url, p.param) for p in responses.pictures(made)]] == [
        ("https://a.example/b.png", "input"),
        ("https://a.example/b.png", "input"),
    ]


LARGE: Any = 2**70


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input", "invalid_value"),
        ({"input": [{"role": "wizard", "content": "Hi"}]}, "input", "invalid_value"),
        ({"input": [{"role": "user", "content": "Hi", "x": LARGE}]}, "input", "invalid_value"),
        ({"metadata": {"x": LARGE}}, "The request", "invalid_value"),
        ({"tools": [WEATHER | {"parameters": "none"}]}, "tools", "invalid_value"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "text.format.schema",
            "missing_required_parameter",
        ),
    ],
)
def test_what_can_not_be_done_is_refused(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        exchange(**fields)
    assert (raised.value.param, raised.value.code) == (param, code)


@pytest.mark.parametrize(
    ("field", "advice"),
    [("background", "leave"), ("conversation", "'previous_response_id'"), ("prompt", "'instructions'"), ("n", "leave")],
)
def test_a_refusal_tells_what_to_do_instead(field: str, advice: str) -> None:
    with pytest.raises(BadRequestError, match=advice) as raised:
        exchange(**{field: "true"})
    assert raised.value.param == field


@pytest.mark.parametrize(
    ("param", "own"),
    [
        ("messages[0].content[1].type", "input"),
        ("messages", "input"),
        ("response_format.json_schema", "text.format"),
        ("max_completion_tokens", "max_output_tokens"),
        ("temperature", "temperature"),
        ("messages_of_others", "messages_of_others"),
    ],
)
def test_faults_are_told_in_the_words_of_the_request(param: str, own: str) -> None:
    assert to_param(param) == own


def test_a_whole_answer() -> None:
    made = plan()
    response, usage = responses.from_replies(made, [a_reply(completion(reasoning_content="Hm"))])
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][1]["content"][0]["text"] == "Hello"
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 3)
    assert response["usage"]["total_tokens"] == 10


def test_a_budget_that_thinking_used_up_is_not_told_as_a_success() -> None:
    reply = a_reply(completion(content=None, reasoning_content="Hm hm hm"))
    response, _ = responses.from_replies(plan(max_output_tokens=3), [reply])
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def events(stream: bytes) -> list[Any]:
    return [orjson.loads(block.split(b"\ndata: ")[1]) for block in stream.split(b"\n\n")[:-1]]


def test_a_stream() -> None:
    stream = ResponseStream(plan(stream=True))
    first = stream.feed(0, payloads(chunk({"role": "assistant", "content": "Hel"})))
    second = stream.feed(
        0, payloads(chunk({"content": "lo"}), chunk({}, "stop"), {"choices": [], "usage": USAGE}, "[DONE]")
    )
    assert stream.writer.response == {}
    assert stream.finish(0) == b""
    found = events(first + second + stream.end())
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"] == stream.writer.response
    assert stream.usage.prompt_tokens == 7
    assert not stream.is_done(0)


def test_a_whole_reply_where_a_stream_was_wanted() -> None:
    stream = ResponseStream(plan(stream=True))
    found = events(stream.replay(0, a_reply(completion())) + stream.end())
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"


def test_a_failed_json_mode_is_tried_by_prompt() -> None:
    made = plan(text={"format": {"type": "json_object"}})
    changed = responses.again(made, made.calls[0], Failure(FailureKind.NO_JSON_MODE, "No."))
    assert changed
    assert "response_format" not in changed.body
    assert "JSON" in changed.body["messages"][0]["content"]


def test_a_model_without_a_field_refuses_it() -> None:
    with pytest.raises(BadRequestError):
        plan(NATIVE, top_logprobs=2)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
ANYTHING: Any = st.recursive(
    LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
)
NAMES = [
    "message", "function_call", "function_call_output", "custom_tool_call", "reasoning", "item_reference",
    "local_shell_call", "input_text", "input_image", "input_file", "output_text",
]  # fmt: skip
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(NAMES) | ANYTHING},
    optional={"text": ANYTHING, "image_url": ANYTHING, "file_data": ANYTHING},
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(NAMES) | ANYTHING,
        "role": st.sampled_from(["user", "assistant", "developer"]) | ANYTHING,
        "content": st.lists(PARTS, max_size=2) | ANYTHING,
        "output": st.lists(PARTS, max_size=2) | ANYTHING,
        **dict.fromkeys(["id", "call_id", "name", "namespace", "arguments", "input", "action", "summary"], ANYTHING),
    },
)
OFFERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "custom", "namespace"]) | ANYTHING},
    optional={
        "name": st.sampled_from(["a", "b"]) | ANYTHING,
        **dict.fromkeys(["function", "parameters", "tools", "format", "description"], ANYTHING),
    },
)
CHOICES = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "allowed_tools"])}, optional={"name": ANYTHING, "tools": ANYTHING}
)
BODIES = st.fixed_dictionaries(
    {"input": st.lists(ITEMS, min_size=1, max_size=4)},
    optional={
        "tools": st.lists(OFFERS, max_size=2),
        "tool_choice": CHOICES | st.sampled_from(["auto", "required"]),
        "text": st.fixed_dictionaries({"format": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2)}),
    },
)


@given(BODIES)
def test_any_request_is_planned_or_refused(fields: dict[str, Any]) -> None:
    """Never a crash."""
    with suppress(BadRequestError, DocumentsWanted):
        made = exchange(**fields)
        if not responses.pictures(made):
            assert responses.to_plan(made, a_context(CHAT)).calls
