"""What Workers AI answers, whole and streamed, in every shape and with every quirk that is known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.calls import Failure, FailureKind, Usage
from app.translators.chat_reader import ChatReader
from app.translators.deltas import Text, Thought
from app.translators.json_mode import Wanted
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
    a_reply,
    fed,
    golden_events,
    golden_reply,
    payloads,
    read_stream,
    read_whole,
    said,
)

GOLDEN_REPLIES: list[tuple[str, dict[str, Any], Said]] = [
    ("native", {}, Said("Bonjour.", usage=Usage(21, 4))),
    (
        "native-tools",
        {"offer": TOOLS},
        Said(
            calls=(("call_abcn0", "get_weather", PARIS), ("call_abcn1", "get_time", '{"zone":"UTC"}')),
            finish_reason="tool_calls",
            usage=Usage(80, 14),
        ),
    ),
    ("native-json", {"wanted": Wanted()}, Said('{"name":"Ada","age":36}', usage=Usage(40, 12))),
    ("native-number", {}, Said("0.50", usage=Usage(21, 3, 16, neurons=0.25))),
    ("native-text", {}, Said("Bonjour.", usage=Usage(5, 2, is_estimated=True))),
    (
        "scout-tools",
        {"offer": TOOLS},
        Said(
            calls=(("chatcmpl-tool-1", "get_weather", PARIS),),
            finish_reason="tool_calls",
            usage=Usage(80, 14),
        ),
    ),
    (
        "qwq",
        {"think_tags": "untagged"},
        Said("4", "Two and two.\n\nThat is four.\n", usage=Usage(12, 14, reasoning_tokens=7)),
    ),
    ("hybrid", {"think_tags": "tagged"}, Said("4", "2+2", usage=Usage(12, 40, reasoning_tokens=1))),
    ("hybrid-prompt", {}, Said("4", finish_reason="length", usage=Usage(12, 1))),
    (
        "chat",
        {"think_tags": "tagged"},
        Said("Hi", "A greeting.", finish_reason="length", usage=Usage(9, 14, reasoning_tokens=11)),
    ),
    (
        "chat-tools",
        {"offer": TOOLS},
        Said(
            calls=(("call_0", "get_weather", '{"city": "Paris"}'), ("call_abcn1", "get_time", "{}")),
            finish_reason="tool_calls",
            usage=Usage(90, 30),
        ),
    ),
    ("chat-json", {"wanted": Wanted()}, Said('{"name":"Ada","age":36}', usage=Usage(40, 12))),
    ("chat-json", {}, Said('{"name":"Ada","age":36}', usage=Usage(40, 12))),
    ("kimi", {}, Said("", "Let me think about", finish_reason="length", usage=Usage(9, 100, reasoning_tokens=5))),
    (
        "oss-responses",
        {"offer": TOOLS, "think_tags": "tagged"},
        Said("Hi", "A greeting.", (("call_7", "get_weather", PARIS),), "tool_calls", Usage(70, 25, 64, 20)),
    ),
    ("oss-responses-cut", {}, Said("Once upon", finish_reason="length", usage=Usage(70, 100))),
    (
        "oss-leak",
        {"offer": FORCED, "think_tags": "tagged"},
        Said(
            "",
            "I call it.",
            (("call_abcn0", "get_weather", PARIS),),
            "tool_calls",
            Usage(90, 30, reasoning_tokens=3),
        ),
    ),
    ("oss-leak", {}, Said('{"name":"get_weather","city":"Paris"}', "I call it.", usage=Usage(90, 30, 0, 3))),
    (
        "llama-leak",
        {"offer": TOOLS},
        Said(calls=(("call_abcn0", "get_weather", PARIS),), finish_reason="tool_calls", usage=Usage(80, 20)),
    ),
]


@pytest.mark.parametrize(("name", "reading", "expected"), GOLDEN_REPLIES)
def test_a_whole_reply_of_every_shape_is_read(name: str, reading: dict[str, Any], expected: Said) -> None:
    assert read_whole(golden_reply(name), **reading) == expected


GOLDEN_STREAMS: list[tuple[str, dict[str, Any], Said]] = [
    ("native", {}, Said("Bonjour 4.507", usage=Usage(21, 6, neurons=0.31))),
    ("native-usage", {}, Said("Bonjour", usage=Usage(21, 2))),
    (
        "native-tools",
        {"offer": TOOLS},
        Said(calls=(("call_1", "get_weather", PARIS),), finish_reason="tool_calls", usage=Usage(80, 14)),
    ),
    ("qwq", {"think_tags": "untagged"}, Said("4", "Two and two.", usage=Usage(12, 9, reasoning_tokens=3))),
    ("hybrid", {"think_tags": "tagged"}, Said("Hello there", usage=Usage(9, 14, neurons=0.55))),
    ("chat", {"think_tags": "tagged"}, Said("Hi 1.0", "let me", usage=Usage(9, 14, reasoning_tokens=2))),
    ("chat", {}, Said("Hi 1.0", "let me", usage=Usage(9, 14, reasoning_tokens=2))),
    (
        "chat-tools",
        {"offer": TOOLS},
        Said(
            calls=(("call_0", "get_weather", '{"city": "Paris"}'), ("call_abcn1", "get_time", "{}")),
            finish_reason="tool_calls",
            usage=Usage(90, 30),
        ),
    ),
    ("kimi", {}, Said("Hi", "Let me think", usage=Usage(9, 5, 8, 3))),
    (
        "hermes-leak",
        {"offer": TOOLS},
        Said(calls=(("call_abcn0", "get_weather", PARIS),), finish_reason="tool_calls", usage=Usage(80, 20)),
    ),
]


@pytest.mark.parametrize(("name", "reading", "expected"), GOLDEN_STREAMS)
def test_a_stream_of_every_shape_is_read(name: str, reading: dict[str, Any], expected: Said) -> None:
    assert read_stream(golden_events(name), **reading) == expected


@pytest.mark.parametrize("name", ["native", "native-tools", "qwq", "chat", "hermes-leak"])
def test_a_stream_without_its_end_is_a_failure(name: str) -> None:
    broken = [event for event in golden_events(name) if event != b"[DONE]" and b'"stop"' not in event]
    with pytest.raises(Failure, match="broke off") as caught:
        read_stream(broken, offer=TOOLS)
    assert (caught.value.kind, caught.value.status) == (FailureKind.BROKEN, 502)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ([DONE], "stop"),
        ([{"choices": [{"delta": {}, "finish_reason": "stop"}]}], "stop"),
        ([{"choices": [{"delta": {}, "finish_reason": "unknown"}]}], "stop"),
        ([{"choices": [{"delta": {}, "finish_reason": "length"}]}, DONE], "length"),
        ([{"choices": [{"delta": {}, "finish_reason": "length"}]}, {"choices": [{"finish_reason": None}]}], "length"),
        ([{"choices": [{"finish_reason": "content_filter"}]}], "content_filter"),
    ],
)
def test_done_or_any_finish_reason_ends_a_stream(ending: list[Any], expected: str) -> None:
    answer = read_stream(payloads({"choices": [{"delta": {"content": "Hi"}}]}, *ending))
    assert (answer.text, answer.finish_reason) == ("Hi", expected)


@pytest.mark.parametrize(
    "body", [None, {}, [], "", 4, {"choices": []}, {"choices": None}, {"output": []}, {"usage": {}}]
)
def test_a_reply_without_an_answer_is_a_failure(body: Any) -> None:
    with pytest.raises(Failure, match="without an answer") as caught:
        a_reader().read(a_reply(body))
    assert caught.value.is_retryable


@pytest.mark.parametrize(
    "payload",
    [
        '{"response":"x',
        "",
        "[]",
        '"x"',
        "null",
        '{"choices":{}}',
        '{"choices":"x"}',
        '{"choices":[null]}',
        '{"choices":["x"]}',
        '{"choices":[{"delta":"x"}]}',
        '{"choices":[{"message":["x"]}]}',
    ],
)
def test_an_event_that_can_not_be_understood_is_a_failure(payload: str) -> None:
    with pytest.raises(Failure, match="Cloudflare sent") as caught:
        a_reader().feed([payload.encode()])
    assert (caught.value.kind, caught.value.status) == (FailureKind.BROKEN, 502)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"p": "padding"},
        {"response": None},
        {"response": ""},
        {"response": None, "tool_calls": []},
        {"tool_calls": "none"},
        {"choices": []},
        {"choices": [], "response": "doubled"},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"delta": {"content": ""}, "logprobs": None}]},
        {"choices": [{"delta": {"content": []}}]},
        {"choices": [{"delta": {"reasoning": {"tokens": 1}}}]},
        {"choices": [{"delta": {"reasoning_content": ""}}]},
        {"usage": "none"},
        {"usage": {"prompt_tokens": 0, "total_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}},
    ],
)
def test_an_event_without_content_says_nothing(event: Any) -> None:
    reader = a_reader()
    assert fed(reader, *payloads(event)) == []
    assert reader.usage == Usage(5, 0, is_estimated=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hi", "Hi"),
        (4, "4"),
        (True, "true"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([{"a": 1}], '[{"a":1}]'),
        ([{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}], "Hi there"),
        ([{"text": "an answer of JSON"}], '[{"text":"an answer of JSON"}]'),
    ],
)
def test_content_of_any_type_becomes_text(content: Any, expected: str) -> None:
    assert read_whole({"response": content}).text == expected
    assert read_whole({"choices": [{"message": {"content": content}}]}).text == expected
    assert read_stream(payloads({"response": content}, DONE)).text == expected
    assert read_stream(payloads({"choices": [{"delta": {"content": content}}]}, DONE)).text == expected


@pytest.mark.parametrize("number", ["0.50", "1e3", "-0", "-1.250", "123456789012345678901234567890"])
def test_a_number_keeps_its_spelling(number: str) -> None:
    assert read_stream(payloads(f'{{"response":{number}}}', DONE)).text == number
    assert read_stream(payloads(f'{{"choices":[{{"delta":{{"content": {number}}}}}]}}', DONE)).text == number
    assert read_stream(
        payloads(f'{{"response":{number},"choices":[{{"delta":{{"content":{number}}}}}]}}', DONE)
    ).text == (number)


def test_a_number_without_its_source_is_written_as_json() -> None:
    assert a_reader().read(a_reply({"response": 0.5})) == [Text("0.5")]


def test_json_too_deep_to_be_written_is_a_failure() -> None:
    with pytest.raises(Failure, match="can't be passed on"):
        a_reader().feed([b'{"response":' + b"[" * 300 + b"]" * 300 + b"}"])


def test_thoughts_come_before_the_text_of_the_same_event() -> None:
    event = {"choices": [{"delta": {"content": "Hi", "reasoning_content": "Hm", "reasoning": "Hm"}}]}
    assert fed(a_reader(), *payloads(event)) == [Thought("Hm"), Text("Hi")]


def test_calls_of_a_request_that_wants_none_are_left_out() -> None:
    body = {"response": "Sunny.", "tool_calls": [{"name": "get_weather", "arguments": {}}]}
    answer = read_whole(body, offer=Offer({"get_weather": WEATHER}, "none"))
    assert (answer.text, answer.calls, answer.finish_reason) == ("Sunny.", (), "stop")


def test_a_forced_tool_that_is_not_called_is_a_failure() -> None:
    with pytest.raises(Failure, match="without calling the tool"):
        read_whole({"response": "Sunny."}, offer=FORCED)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_cut_before_its_forced_call_stays_as_it_is(reason: str) -> None:
    body = {"choices": [{"message": {"content": "I wi"}, "finish_reason": reason}]}
    assert read_whole(body, offer=FORCED).finish_reason == reason


@pytest.mark.parametrize("text", ["no JSON", "JSON Mode couldn't be met", '["no object"]'])
def test_an_answer_that_is_not_the_wanted_json_is_a_failure(text: str) -> None:
    with pytest.raises(Failure) as caught:
        read_whole({"response": text}, wanted=Wanted())
    assert caught.value.kind is FailureKind.JSON_MODE


def test_json_that_was_cut_is_not_checked_but_a_refusal_is_none_the_less() -> None:
    cut = {"choices": [{"message": {"content": '{"a":'}, "finish_reason": "length"}]}
    assert read_whole(cut, wanted=Wanted()).text == '{"a":'
    refusal = {"response": "JSON Mode couldn't be met", "usage": {"completion_tokens": 100}}
    with pytest.raises(Failure, match="valid JSON"):
        read_whole(refusal, wanted=Wanted())


def test_calls_beside_wanted_json_are_not_checked() -> None:
    answer = read_whole({"response": "I look.", "tool_calls": [CALL]}, wanted=Wanted(), offer=TOOLS)
    assert (answer.text, answer.finish_reason) == ("I look.", "tool_calls")


def test_words_about_json_mode_are_an_answer_where_no_json_is_wanted() -> None:
    text = 'The error "JSON Mode couldn\'t be met" means that the schema was too hard.'
    assert read_whole({"response": text}).text == text


A = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
B = {"token": "B", "logprob": -0.25, "bytes": [66], "top_logprobs": []}


def said_with_logprobs(deltas: list[Any]) -> list[tuple[str, Any]]:
    return [(delta.text, delta.logprobs) for delta in deltas]


@pytest.mark.parametrize("reading", [{}, {"stops": ("STOP",)}])
def test_logprobs_stay_with_their_text(reading: dict[str, Any]) -> None:
    event = {"choices": [{"delta": {"content": "AB"}, "logprobs": {"content": [A, B], "refusal": None}}]}
    assert said_with_logprobs(fed(a_reader(**reading), *payloads(event))) == [("AB", {"content": [A, B]})]


def test_logprobs_of_a_text_that_is_held_wait_for_it() -> None:
    reader = a_reader(stops=("ABC",))
    events = payloads(
        {"choices": [{"delta": {"content": "A"}, "logprobs": {"content": [A]}}]},
        {"choices": [{"delta": {"content": "BX"}, "logprobs": {"content": [B]}}]},
        {"choices": [{"delta": {"content": "Y"}}]},
    )
    assert [said_with_logprobs(fed(reader, event)) for event in events] == [
        [],
        [("ABX", {"content": [A, B]})],
        [("Y", None)],
    ]


def test_logprobs_of_a_token_without_text_are_kept() -> None:
    event = {"choices": [{"delta": {"content": ""}, "logprobs": {"content": [A]}}]}
    assert said_with_logprobs(fed(a_reader(), *payloads(event))) == [("", {"content": [A]})]


@pytest.mark.parametrize("logprobs", [True, [A], "none", {"content": None}, {"content": ["A"]}, {"tokens": ["A"]}])
def test_logprobs_in_another_form_are_left_out(logprobs: Any) -> None:
    event = {"choices": [{"delta": {"content": "A"}, "logprobs": logprobs}]}
    assert said_with_logprobs(fed(a_reader(), *payloads(event))) == [("A", None)]


def test_thoughts_before_json_stay_thoughts() -> None:
    choice = {"message": {"content": ' {"a": 1}', "reasoning_content": "Hm"}}
    answer = read_whole({"choices": [choice]}, wanted=Wanted())
    assert (answer.thought, answer.text) == ("Hm", '{"a":1}')


def test_logprobs_stay_with_json_that_was_written_anew() -> None:
    choice = {"message": {"content": ' {"a": 1}'}, "logprobs": {"content": [A, B]}}
    deltas = a_reader(wanted=Wanted()).read(a_reply({"choices": [choice]}))
    assert said_with_logprobs(deltas) == [('{"a":1}', {"content": [A, B]})]


def test_items_of_a_response_that_are_unknown_are_left_out() -> None:
    body = {
        "output": [
            None,
            {"type": "reasoning", "content": None},
            {"type": "message", "content": [None, {"type": "refusal", "refusal": "No."}, {"type": "output_text"}]},
            {"type": "message", "content": 7},
            {"type": "function_call"},
        ]
    }
    assert read_whole(body) == Said("", refusal="No.", usage=Usage(5, 1, is_estimated=True))


def test_thoughts_of_a_response_may_be_a_summary() -> None:
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "content": []}
    said = {"type": "message", "content": [{"type": "output_text", "text": "Yes"}]}
    answer = read_whole({"output": [summary, said], "status": "completed"})
    assert (answer.thought, answer.text) == ("Hm", "Yes")


@pytest.mark.parametrize(
    ("body", "finish_reason"),
    [
        ({"incomplete_details": {"reason": "max_output_tokens"}, "output": []}, "length"),
        ({"incomplete_details": {"reason": "content_filter"}, "output": None}, "content_filter"),
        ({"status": "completed", "output": [{"type": "reasoning"}], "usage": {"output_tokens": 99}}, "stop"),
        ({"status": "completed", "output": [{"type": "reasoning"}], "usage": {"output_tokens": 100}}, "length"),
    ],
)
def test_the_end_of_a_response(body: dict[str, Any], finish_reason: str) -> None:
    assert read_whole(body) == Said(finish_reason=finish_reason, usage=read_whole(body).usage)


def test_calls_of_a_response_are_left_out_where_none_are_wanted() -> None:
    body = {"output": [{"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": "{}"}]}
    assert len(read_whole(body).calls) == 1
    assert read_whole(body, offer=Offer({"get_weather": WEATHER}, "none")).calls == ()


def refusal(words: str, key: str = "message", **fields: Any) -> dict[str, Any]:
    return {"choices": [{key: {"refusal": words, "content": None} | fields}]}


@pytest.mark.parametrize("reading", [{}, {"wanted": Wanted()}, {"offer": Offer({"get_weather": WEATHER}, "named")}])
def test_a_refusal_is_no_text(reading: dict[str, Any]) -> None:
    """And an answer, also where JSON or a call was asked for."""
    usage = Usage(5, 1, is_estimated=True)
    assert read_whole(refusal("No."), **reading) == Said(refusal="No.", usage=usage)


def test_a_refusal_comes_in_pieces() -> None:
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    answer = read_stream(payloads(refusal("I ca", "delta"), refusal("n't.", "delta"), end, "[DONE]"))
    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "I can't.", "stop")


@pytest.mark.parametrize("words", [None, "", 7, ["No."]])
def test_what_is_no_refusal_is_none(words: Any) -> None:
    answer = read_whole(refusal(words, content="Yes"))
    assert (answer.text, answer.refusal) == ("Yes", "")


def test_a_text_beside_a_call_comes_with_it() -> None:
    call = {"name": "get_weather", "arguments": {"city": "Paris"}}
    events = payloads({"response": "Let me see."}, {"response": " Well:", "tool_calls": [call]}, DONE)
    assert read_stream(events) == Said(
        "Let me see. Well:",
        calls=(("call_abcn0", "get_weather", PARIS),),
        finish_reason="tool_calls",
        usage=read_stream(events).usage,
    )


class Thorough(ChatReader):
    """Takes every answer through all stages, however simple it is."""

    @property
    def _is_simple(self) -> bool:
        return False


TEXTS = some.sampled_from(["", "Hi", " \n<think>Hm</think>Hi", "<b>Hi</b>", "<thinking>", "Hm</think>Hi", " "])
REASONS = some.sampled_from([None, "", "stop", "length", "tool_calls", "unknown", "content_filter"])
BESIDE = some.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": TEXTS,
        "refusal": TEXTS,
        "tool_calls": some.sampled_from([None, [], [{"name": "get_weather", "arguments": {}}]]),
        "usage": some.sampled_from([None, {}, {"prompt_tokens": 3, "completion_tokens": 2}, {"completion_tokens": 50}]),
    },
)
NATIVE_BODIES = some.builds(lambda text, beside: {"response": text, **beside}, TEXTS | some.just(5), BESIDE)
CHAT_BODIES = some.builds(
    lambda text, beside, reason, kind, more: {
        "choices": [{kind: {"content": text, **beside}, "finish_reason": reason, **more}],
        "usage": beside.get("usage"),
    },
    TEXTS | some.none() | some.just([{"type": "text", "text": "part"}]),
    BESIDE,
    REASONS,
    some.sampled_from(["message", "delta"]),
    some.sampled_from([{}, {"logprobs": {"content": [A]}}, {"message": {"content": "other"}}]),
)


@given(NATIVE_BODIES | CHAT_BODIES, some.sampled_from(["none", "tagged", "untagged"]))
def test_a_simple_answer_is_read_as_any_other(body: dict[str, Any], think_tags: str) -> None:
    def read(kind: type[ChatReader]) -> Said | str:
        reader = a_reader(think_tags=think_tags, kind=kind)
        try:
            return said(reader.read(a_reply(body)), reader)
        except Failure as failure:
            return failure.message

    assert read(ChatReader) == read(Thorough)
