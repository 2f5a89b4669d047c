"""Deltas as a response and as the events in which it grows."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Usage
from app.errors import BadRequestError, InternalServerError
from app.schemas.responses import ResponsesRequest
from app.translators.deltas import Delta, Refusal, Text, Thought, ToolCall
from app.translators.responses_tools import to_toolbox
from app.translators.responses_writer import ResponseWriter, Wish

TOOLS = [
    {"type": "function", "name": "weather"},
    {"type": "custom", "name": "apply_patch"},
    {"type": "namespace", "name": "maps", "tools": [{"type": "function", "name": "find"}]},
]
USAGE = Usage(10, 5, cached_tokens=4, reasoning_tokens=2)


def a_writer(**fields: Any) -> ResponseWriter:
    request = ResponsesRequest.model_validate({"model": "m", "input": "Hi", "tools": TOOLS} | fields)
    return ResponseWriter(Wish(request, to_toolbox(request.tools or ()), "abc", 1_790_000_000, "m"))


def events(stream: bytes) -> list[dict[str, Any]]:
    """Each with its name above it, and numbered without a gap."""
    blocks = [block.split(b"\n") for block in stream.split(b"\n\n")[:-1]]
    found = [orjson.loads(data.removeprefix(b"data: ")) for _, data in blocks]
    assert [name.decode() for name, _ in blocks] == [f"event: {event['type']}" for event in found]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def streamed(deltas: Sequence[Delta], reason: str = "stop", **fields: Any) -> list[dict[str, Any]]:
    writer = a_writer(**fields)
    return events(b"".join([*(writer.write([delta]) for delta in deltas), writer.finish(reason, USAGE)]))


def answered(deltas: Sequence[Delta], reason: str = "stop", **fields: Any) -> dict[str, Any]:
    writer = a_writer(**fields)
    writer.write(deltas)
    writer.finish(reason, USAGE)
    return writer.response


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def accumulated(found: list[dict[str, Any]]) -> list[Any]:
    """The output as a client adds it up from the smallest pieces; strict about their order."""
    output: list[Any] = []
    for event in found:
        kind, index = event["type"].removeprefix("response."), event.get("output_index", 0)
        if kind == "output_item.added":
            assert index == len(output)
            output.append(event["item"])
            continue
        item = output[index] if output else {}
        if "item_id" in event:
            assert event["item_id"] == item["id"]
        if kind == "content_part.added":
            item.setdefault("content", []).append(event["part"])
        elif kind == "reasoning_summary_part.added":
            item["summary"].append(event["part"])
        elif kind in ("output_text.delta", "reasoning_text.delta"):
            item["content"][event["content_index"]]["text"] += event["delta"]
        elif kind == "refusal.delta":
            item["content"][event["content_index"]]["refusal"] += event["delta"]
        elif kind == "reasoning_summary_text.delta":
            item["summary"][event["summary_index"]]["text"] += event["delta"]
        elif kind == "function_call_arguments.delta":
            item["arguments"] += event["delta"]
        elif kind == "custom_tool_call_input.delta":
            item["input"] += event["delta"]
        elif kind == "output_item.done":
            assert item | {"status": event["item"]["status"]} == event["item"]
            item["status"] = event["item"]["status"]
    return output


def test_a_text() -> None:
    found = streamed([Text("Hel"), Text("lo")])
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    item = {"id": "msg_abc_0", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    at = {"item_id": "msg_abc_0", "output_index": 0, "content_index": 0}
    assert found[2]["item"] == item | {"status": "in_progress", "content": []}
    assert found[3] == found[3] | at | {"part": part | {"text": ""}}
    assert found[4] == found[4] | at | {"delta": "Hel", "logprobs": []}
    assert found[6] == found[6] | at | {"text": "Hello", "logprobs": []}
    assert found[7] == found[7] | at | {"part": part}
    assert found[8]["item"] == item
    assert found[9]["response"]["output"] == [item]


def test_a_refusal() -> None:
    found = streamed([Refusal("I can"), Refusal("'t.")])
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "content_part.added", "refusal.delta", "refusal.delta",
        "refusal.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    part = {"type": "refusal", "refusal": "I can't."}
    item = {"id": "msg_abc_0", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    at = {"item_id": "msg_abc_0", "output_index": 0, "content_index": 0}
    assert found[3] == found[3] | at | {"part": part | {"refusal": ""}}
    assert found[4] == found[4] | at | {"delta": "I can"}
    assert found[6] == found[6] | at | {"refusal": "I can't."}
    assert found[7] == found[7] | at | {"part": part}
    assert found[8]["item"] == item
    assert found[9]["response"]["output"] == [item]


def test_a_refusal_after_a_text_is_a_message_of_its_own() -> None:
    output = answered([Thought("Hm"), Text("Well."), Refusal("No.")])["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "message"]
    assert [item["content"][0]["type"] for item in output[1:]] == ["output_text", "refusal"]


def test_calls() -> None:
    deltas: list[Delta] = [
        Text("Let me see"),
        ToolCall(0, '{"ci', "call_1", "weather"),
        ToolCall(0, 'ty":1}'),
        ToolCall(1, "", "call_2", "find"),
        ToolCall(1, "{}"),
    ]
    found = streamed(deltas, "tool_calls")
    assert kinds(found)[7:] == [
        "output_item.done",
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    weather = {"id": "fc_abc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "weather"}
    find = {"id": "fc_abc_2", "type": "function_call", "status": "completed", "call_id": "call_2", "name": "find"}
    assert found[-1]["response"]["output"][1:] == [
        weather | {"arguments": '{"city":1}'},
        find | {"namespace": "maps", "arguments": "{}"},
    ]


@pytest.mark.parametrize("other", [Text("So"), Thought("Hm"), Refusal("No"), ToolCall(1, "", "call_2", "find")])
def test_a_call_is_done_before_anything_else_begins(other: Delta) -> None:
    found = streamed([ToolCall(0, '{"city":1} ', "call_1", "weather"), other, ToolCall(0, "\n")], "tool_calls")
    assert kinds(found)[2:7] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "output_item.added",
    ]  # fmt: skip
    assert accumulated(found) == found[-1]["response"]["output"]


def test_calls_that_a_model_writes_at_once_stay_open_until_they_are_whole() -> None:
    pieces = [(0, '{"ci'), (1, "{"), (0, 'ty":1}'), (1, "}")]
    deltas = [ToolCall(i, piece, f"call_{i}", "weather") for i, piece in pieces]
    output = accumulated(streamed(deltas, "tool_calls"))
    assert [item["arguments"] for item in output] == ['{"city":1}', "{}"]


def test_a_custom_tool_is_called_with_a_text() -> None:
    found = streamed([ToolCall(0, '{"input": "*** ', "call_1", "apply_patch"), ToolCall(0, 'Begin"}')], "tool_calls")
    assert kinds(found)[2:-1] == [
        "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done",
    ]  # fmt: skip
    assert found[-1]["response"]["output"] == [
        {
            "id": "ctc_abc_0",
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "apply_patch",
            "input": "*** Begin",
        }
    ]


def test_thoughts_are_told_as_they_are() -> None:
    found = streamed([Thought("Hm"), Thought("."), Text("So")])
    assert kinds(found)[2:8] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done",
    ]  # fmt: skip
    thoughts = {"id": "rs_abc_0", "type": "reasoning", "status": "completed", "summary": []}
    expected = thoughts | {"content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert found[-1]["response"]["output"][0] == expected


def test_thoughts_are_the_summary_for_those_who_want_one() -> None:
    found = streamed([Thought("Hm"), Text("So")], reasoning={"summary": "auto"})
    assert kinds(found)[2:8] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    item = found[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "Hm"}]
    assert "content" not in item


def test_log_probabilities_stand_beside_their_text() -> None:
    entry = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    found = streamed([Text("Hi", {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}]})])
    assert found[4]["logprobs"] == [entry]
    assert found[-1]["response"]["output"][0]["content"][0]["logprobs"] == [entry]


ARGUMENTS = ToolCall(0, '{"a', "call_1", "weather")


@pytest.mark.parametrize(
    ("deltas", "reason", "why", "statuses"),
    [
        ([Text("Once")], "length", "max_output_tokens", ["incomplete"]),
        ([Text("Once")], "content_filter", "content_filter", ["incomplete"]),
        ([Thought("Hm")], "length", "max_output_tokens", ["incomplete"]),
        ([Thought("Hm"), Text("Once")], "length", "max_output_tokens", ["completed", "incomplete"]),
        ([Text("a"), ARGUMENTS], "length", "max_output_tokens", ["completed", "incomplete"]),
        ([ARGUMENTS, Text("a")], "length", "max_output_tokens", ["completed", "incomplete"]),
        ([], "length", "max_output_tokens", []),
    ],
)
def test_an_answer_that_was_cut_is_incomplete(deltas: list[Delta], reason: str, why: str, statuses: list[str]) -> None:
    last = streamed(deltas, reason)[-1]
    assert last["type"] == "response.incomplete"
    response = last["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": why})
    assert [item["status"] for item in response["output"]] == statuses


@pytest.mark.parametrize("deltas", [[], [Thought("Hm")]])
def test_an_answer_without_a_word_has_an_empty_message(deltas: list[Delta]) -> None:
    found = streamed(deltas)
    message = found[-1]["response"]["output"][-1]
    assert (message["type"], message["content"][0]["text"]) == ("message", "")
    assert accumulated(found) == found[-1]["response"]["output"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InternalServerError("It broke.", status=502, code="upstream_error"), "server_error"),
        (BadRequestError("It broke.", code="context_length_exceeded"), "context_length_exceeded"),
        (BadRequestError("It broke."), "invalid_request_error"),
    ],
)
def test_an_answer_that_breaks_has_failed(error: Any, code: str) -> None:
    writer = a_writer()
    stream = writer.write([Thought("Hm"), Text("On")])
    last = events(stream + writer.fail(error))[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": "It broke."}
    assert [item["type"] for item in last["response"]["output"]] == ["reasoning"]
    assert writer.response == {}


def test_an_answer_may_break_before_it_begins() -> None:
    assert kinds(events(a_writer().fail(InternalServerError("It broke.")))) == ["created", "in_progress", "failed"]


def test_what_was_asked_is_repeated() -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "s",
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tool_choice": "required",
        "tools": TOOLS,
        "top_p": 0.9,
        "truncation": "auto",
        "user": "u",
    }
    response = answered([Text("Hi")], **asked)
    assert response == response | asked
    head = {"id": "resp_abc", "object": "response", "created_at": 1_790_000_000, "model": "m", "status": "completed"}
    assert response == response | head
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }


def test_what_was_not_asked_has_its_default() -> None:
    response = answered([Text("Hi")], tools=None)
    expected: dict[str, Any] = {
        "error": None,
        "incomplete_details": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
    }
    assert response == response | expected


TEXTS = st.text(min_size=1, max_size=4)
SAID = TEXTS.map(Text) | TEXTS.map(Thought) | TEXTS.map(Refusal)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """Texts, thoughts and calls in any order, the pieces of the calls among them."""
    calls = draw(st.integers(0, 3))
    names = st.sampled_from(["weather", "find", "apply_patch", "unknown"])
    found: list[Delta] = draw(st.lists(SAID, max_size=5))
    for index in range(calls):
        found.append(ToolCall(index, draw(st.text(max_size=3)), f"call_{index}", draw(names)))
        pieces = st.builds(ToolCall, st.integers(0, index), st.text(max_size=3))
        found += draw(st.lists(SAID | pieces, max_size=4))
    return found


@given(answers(), st.sampled_from(["stop", "tool_calls", "length", "content_filter"]), st.sampled_from([None, "auto"]))
def test_the_events_add_up_to_the_response(deltas: list[Delta], reason: str, summary: str | None) -> None:
    reasoning = {"summary": summary}
    found = streamed(deltas, reason, reasoning=reasoning)
    whole = answered(deltas, reason, reasoning=reasoning)
    assert found[-1]["response"] == whole
    assert accumulated(found) == whole["output"]
    assert kinds(found)[:2] == ["created", "in_progress"]
    assert kinds(found).count("output_item.done") == len(whole["output"])
    assert {event["response"]["id"] for event in found if "response" in event} == {"resp_abc"}
