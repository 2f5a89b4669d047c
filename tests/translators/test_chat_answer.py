"""What an answer comes to, in whichever shape it came: where it ends and why, what it cost, what was held back."""

from typing import Any

import pytest

from app.calls import Call, Failure, Usage
from app.translators.chat_reader import ChatReader
from app.translators.deltas import Text
from app.translators.tools import Offer
from tests.translators.chats import (
    CALL,
    DONE,
    FORCED,
    PARIS,
    TOOLS,
    WEATHER,
    Said,
    a_reader,
    a_reading,
    a_reply,
    fed,
    golden_reply,
    payloads,
    read_stream,
    read_whole,
    said,
)

CUT_CALL = {"id": "c", "function": {"name": "get_time", "arguments": '{"zo'}}


@pytest.mark.parametrize(
    ("reason", "calls", "completion_tokens", "expected"),
    [
        ("stop", [], 1, "stop"),
        ("length", [], 1, "length"),
        ("model_length", [], 1, "length"),
        ("max_tokens", [], 1, "length"),
        ("content_filter", [], 1, "content_filter"),
        ("tool_calls", [], 1, "stop"),
        ("function_call", [], 1, "stop"),
        ("other", [], 1, "stop"),
        ("unknown", [], 1, "stop"),
        (7, [], 1, "stop"),
        ({"no": "reason"}, [], 1, "stop"),
        (None, [], 1, "stop"),
        (None, [], 100, "length"),
        ("unknown", [], 100, "length"),
        ("stop", [], 100, "stop"),
        ("stop", [CALL], 1, "tool_calls"),
        ("tool_calls", [CALL], 1, "tool_calls"),
        (None, [CALL], 1, "tool_calls"),
        (None, [CALL], 100, "tool_calls"),
        ("length", [CALL], 1, "length"),
        ("content_filter", [CALL], 1, "content_filter"),
        ("tool_calls", [CUT_CALL], 1, "length"),
        ("stop", [CUT_CALL], 1, "length"),
        (None, [CUT_CALL], 100, "length"),
    ],
)
def test_the_finish_reason_is_true(reason: Any, calls: list[Any], completion_tokens: int, expected: str) -> None:
    choice = {"message": {"content": "x", "tool_calls": calls}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": completion_tokens}
    assert read_whole({"choices": [choice], "usage": usage}, offer=TOOLS).finish_reason == expected


def test_a_model_that_stops_with_an_error_is_a_failure() -> None:
    with pytest.raises(Failure, match="stopped with an error") as caught:
        read_whole({"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]})
    assert caught.value.is_retryable


def test_an_untagged_thought_that_never_ended_was_the_answer() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    answer = read_whole({"response": "Just four.", "usage": usage}, think_tags="untagged")
    assert answer == Said("Just four.", usage=Usage(9, 3))


def test_an_untagged_thought_that_filled_max_tokens_is_a_thought() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 109}
    expected = Said("", "Let me see", finish_reason="length", usage=Usage(9, 100, reasoning_tokens=3))
    assert read_whole({"response": "Let me see", "usage": usage}, think_tags="untagged") == expected
    events = payloads({"response": "Let me see"}, {"response": "", "usage": usage}, DONE)
    assert read_stream(events, think_tags="untagged") == expected


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([{"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}], Usage(9, 4)),
        ([{"prompt_tokens": 9, "completion_tokens": 1}, {"prompt_tokens": 9, "completion_tokens": 4}], Usage(9, 4)),
        ([{"prompt_tokens": 9, "completion_tokens": 4}, {"prompt_tokens": 0, "completion_tokens": 0}], Usage(9, 4)),
        ([{"prompt_tokens": 9, "total_tokens": 9}, {"completion_tokens": 4}], Usage(9, 4)),
        ([{"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}], Usage(9, 4)),
        ([{"prompt_tokens": 9.0, "completion_tokens": 4.0}], Usage(9, 4)),
        ([{"prompt_tokens": 9, "completion_tokens": 4}, {"neurons": 0.5}], Usage(9, 4, neurons=0.5)),
        ([{"prompt_tokens": 9, "completion_tokens": 4, "neurons": "many"}], Usage(9, 4)),
        ([{"prompt_tokens": 9}], Usage(9, 1, is_estimated=True)),
        ([{"completion_tokens": 4}], Usage(5, 4, is_estimated=True)),
        ([{"prompt_tokens": -9, "completion_tokens": "4"}], Usage(5, 1, is_estimated=True)),
        ([], Usage(5, 1, is_estimated=True)),
        ([None, "none", 4], Usage(5, 1, is_estimated=True)),
        ([{"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}], Usage(9, 4, 8)),
        (
            [
                {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}},
                {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}},
            ],
            Usage(9, 4, 8),
        ),
        (
            [{"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 80}}],
            Usage(9, 4, 9),
        ),
        ([{"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": "many"}], Usage(9, 4)),
        (
            [{"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 40}}],
            Usage(9, 4, 0, 4),
        ),
    ],
)
def test_usage_is_the_last_that_was_counted_and_else_estimated(usages: list[Any], expected: Usage) -> None:
    events = payloads({"response": "Hi"}, *({"response": "", "usage": usage} for usage in usages), DONE)
    assert read_stream(events).usage == expected


def test_neurons_come_from_the_header_if_not_from_the_usage() -> None:
    reader = a_reader()
    reader.read(a_reply({"response": "Hi", "usage": {"prompt_tokens": 9, "completion_tokens": 1}}, neurons=0.75))
    assert reader.usage == Usage(9, 1, neurons=0.75)


def test_thoughts_and_calls_count_in_an_estimate() -> None:
    message = {"content": None, "reasoning": "A thought.", "tool_calls": [CALL]}
    usage = read_whole({"choices": [{"message": message}]}, offer=TOOLS).usage
    assert usage == Usage(5, 6, reasoning_tokens=3, is_estimated=True)


def test_without_parallel_calls_the_first_one_is_kept() -> None:
    reply = golden_reply("chat-tools")
    answer = read_whole(reply, offer=Offer({"get_weather": WEATHER}, is_parallel=False))
    assert (answer.calls, answer.finish_reason) == ((("call_0", "get_weather", '{"city": "Paris"}'),), "tool_calls")


def test_ids_of_further_choices_and_of_the_history_are_not_given_again() -> None:
    reply = golden_reply("chat-tools")
    for choice, ids in ((0, ["call_abcn0", "call_abcn1"]), (1, ["call_abc1n0", "call_abc1n1"])):
        reader = a_reader(choice=choice, offer=TOOLS, used_ids=frozenset({"call_0"}))
        assert [call_id for call_id, *_ in said(reader.read(reply), reader).calls] == ids


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("offer", [Offer({}), TOOLS])
@pytest.mark.parametrize("think_tags", ["none", "tagged"])
def test_a_text_ends_at_its_stop_wherever_it_is_cut(size: int, offer: Offer, think_tags: str) -> None:
    text = "One, two, STOP three"
    events = [{"response": text[i : i + size]} for i in range(0, len(text), size)]
    answer = read_stream(payloads(*events, DONE), stops=("STOP", "never"), offer=offer, think_tags=think_tags)
    assert (answer.text, answer.finish_reason) == ("One, two, ", "stop")


def test_nothing_counts_behind_a_stop() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 109}
    later = {"content": "more", "reasoning_content": "Hm", "tool_calls": [CALL]}
    choices = [
        {"delta": {"content": "One STOP two", "tool_calls": [CALL]}},
        {"delta": later, "finish_reason": "length"},
    ]
    reader = a_reader(stops=("STOP",), offer=TOOLS)
    assert fed(reader, *payloads({"choices": choices[:1]})) == [Text("One ")]
    assert reader.is_done
    assert fed(reader, *payloads({"choices": choices[1:], "usage": usage})) == []
    assert said(reader.close(), reader) == Said(usage=Usage(9, 100))


def test_an_answer_cut_at_its_stop_is_not_full() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 100}
    assert read_whole({"response": "One STOP two", "usage": usage}, stops=("STOP",)).finish_reason == "stop"


def test_a_leaked_call_behind_a_stop_is_none() -> None:
    text = 'One STOP <tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
    answer = read_whole({"response": text}, stops=("STOP",), offer=TOOLS)
    assert (answer.text, answer.calls, answer.finish_reason) == ("One ", (), "stop")


def test_a_stream_cut_at_a_stop_is_whole() -> None:
    assert read_stream(payloads({"response": "One STOP"}), stops=("STOP",)).finish_reason == "stop"


def test_thoughts_of_harmony_are_thoughts() -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi"
    answer = read_whole({"response": text}, offer=TOOLS)
    assert (answer.text, answer.thought) == ("Hi", "Hm.")


def test_stops_are_found_in_what_is_left_at_the_end() -> None:
    answer = read_stream(payloads({"response": "One ST"}, DONE), stops=("STOP",))
    assert (answer.text, answer.finish_reason) == ("One ST", "stop")


def test_the_bare_arguments_of_a_forced_tool_are_a_call() -> None:
    answer = read_whole({"response": PARIS}, offer=FORCED)
    assert (answer.text, answer.calls) == ("", (("call_abcn0", "get_weather", PARIS),))


@pytest.mark.parametrize(
    ("message", "spent", "finish_reason"),
    [
        ({"content": None}, 100, "length"),
        ({"content": " \n", "reasoning_content": "Hm"}, 100, "length"),
        ({"content": None, "reasoning_content": "Hm"}, 99, "stop"),
        ({"content": "Yes"}, 100, "stop"),
        ({"content": None, "refusal": "No."}, 100, "stop"),
        ({"content": None, "tool_calls": [CALL]}, 100, "tool_calls"),
    ],
)
def test_a_budget_spent_on_thoughts_is_no_good_end(message: dict[str, Any], spent: int, finish_reason: str) -> None:
    """Whatever the model calls it, and whether or not it tells its thoughts."""
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": spent}}
    assert read_whole(body).finish_reason == finish_reason


def test_the_reader_needs_no_more_than_max_tokens_of_its_call() -> None:
    reader = ChatReader(a_reading(), Call("m", "run/m", {"max_tokens": 1}))
    assert reader.finish_reason == ""
    assert reader.read(a_reply({"response": "Hi", "usage": {"completion_tokens": 1}})) == [Text("Hi")]
    assert (reader.finish_reason, reader.text) == ("length", "Hi")


PLAIN_OR_NOT: list[tuple[dict[str, Any], list[Any], bool]] = [
    ({}, [], True),
    ({}, [{"response": "a"}, {"response": "", "tool_calls": [{"name": "f", "arguments": {}}]}], True),
    ({}, [{"choices": [{"delta": {"content": "a", "reasoning_content": "b"}, "finish_reason": "stop"}]}, DONE], True),
    ({"stops": ("x",)}, [{"response": "a"}], False),
    ({"offer": TOOLS}, [{"response": "a"}], False),
    ({"offer": TOOLS, "is_emulated": True}, [{"response": "a"}], False),
    ({"think_tags": "tagged"}, [], False),
    ({"think_tags": "tagged"}, [{"response": "<think>a"}], False),
    ({"think_tags": "tagged"}, [{"response": "<think>a</think>b"}], True),
    ({"think_tags": "tagged"}, [{"response": "a"}], True),
    ({"think_tags": "tagged", "stops": ("x",)}, [{"response": "a"}], False),
    ({"think_tags": "untagged"}, [{"response": "a"}], False),
    ({"think_tags": "untagged"}, [{"response": "a</think>b"}], True),
]


@pytest.mark.parametrize(("fields", "events", "is_plain"), PLAIN_OR_NOT)
def test_an_answer_is_plain_while_its_texts_go_out_as_they_come_in(
    fields: dict[str, Any], events: list[Any], is_plain: bool
) -> None:
    reader = a_reader(**fields)
    fed(reader, *payloads(*events))
    assert reader.is_plain is is_plain
    if is_plain:
        assert reader.feed(payloads({"response": "<think>x"})) == ["<think>x"]
        assert not reader.is_done
