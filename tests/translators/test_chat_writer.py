"""The bytes that clients read: a whole chat.completion, and a stream of chunks."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Call, Failure, Usage
from app.translators.base import Plan
from app.translators.chat_writer import LONGEST_PIECE, ChatStream, to_completion
from app.translators.deltas import Delta, Text, Thought, ToolCall
from tests.translators.chats import (
    CHAT,
    HI,
    NATIVE,
    OSS,
    TIME,
    WEATHER,
    a_plan,
    a_reply,
    chunks,
    completed,
    golden_events,
    golden_reply,
    nested,
    payloads,
    written,
)

LONGEST_LINE = 60 * 1024
"""Bytes. One API reads no longer ones."""

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEAD = b'data: {"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":['
TOOLS = nested(WEATHER, TIME)


def choice(delta: bytes, index: int = 0, finish_reason: bytes = b"null") -> bytes:
    return b'%b{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (HEAD, index, delta, finish_reason)


def test_a_refusal_has_a_field_of_its_own() -> None:
    plan = a_plan(CHAT, stream=True)
    long = "No." * LONGEST_PIECE
    events = payloads(
        {"choices": [{"delta": {"refusal": "I can't. "}}]},
        {"choices": [{"delta": {"refusal": long}, "finish_reason": "stop"}]},
        "[DONE]",
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(written(plan, events))]
    assert deltas[:2] == [{"role": "assistant", "content": ""}, {"refusal": "I can't. "}]
    assert "".join(delta.get("refusal", "") for delta in deltas) == f"I can't. {long}"
    body = {"choices": [{"message": {"refusal": "I can't.", "content": None}, "finish_reason": "stop"}]}
    choice = completed(a_plan(CHAT), body)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I can't."}
    assert choice["finish_reason"] == "stop"


def test_a_stream_is_written_as_every_parser_takes_it() -> None:
    plan = a_plan(CHAT, stream=True, stream_options={"include_usage": True})
    events = payloads(
        {"choices": [{"delta": {"reasoning_content": "Hm"}}]},
        {"choices": [{"delta": {"content": 'Say "Hi"\n'}}]},
        {"choices": [{"delta": {"content": "🙂\u2028"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}},
        "[DONE]",
    )
    usage = b'"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":0},'
    assert written(plan, events) == b"".join(
        [
            choice(b'{"role":"assistant","content":""}'),
            choice(b'{"reasoning_content":"Hm"}'),
            choice(b'{"content":"Say \\"Hi\\"\\n"}'),
            choice('{"content":"🙂\u2028"}'.encode()),
            choice(b"{}", finish_reason=b'"stop"'),
            HEAD + b'],"usage":{' + usage + b'"completion_tokens_details":{"reasoning_tokens":1}}}\n\n',
            b"data: [DONE]\n\n",
        ]
    )


def test_the_role_comes_alone_before_anything_else() -> None:
    stream = ChatStream(a_plan(CHAT, stream=True))
    assert stream.feed(0, payloads({"choices": [{"delta": {"role": "assistant"}}]})) == choice(
        b'{"role":"assistant","content":""}'
    )
    assert stream.feed(0, payloads({"choices": [{"delta": {"role": "assistant"}}]})) == b""


def test_an_empty_answer_is_a_stream_too() -> None:
    assert written(a_plan(NATIVE, stream=True), payloads("[DONE]")) == b"".join(
        [
            choice(b'{"role":"assistant","content":""}'),
            choice(b"{}", finish_reason=b'"stop"'),
            b"data: [DONE]\n\n",
        ]
    )


def test_events_that_came_together_leave_together() -> None:
    stream = ChatStream(a_plan(NATIVE, stream=True))
    stream.feed(0, payloads({"response": ""}))
    assert stream.feed(0, payloads({"response": "A"}, {"response": ""}, {"response": "B"})) == (
        choice(b'{"content":"A"}') + choice(b'{"content":"B"}')
    )


def test_each_choice_is_plain_by_itself() -> None:
    stream = ChatStream(a_plan(OSS, stream=True, n=2))
    assert [stream.is_plain(choice) for choice in (0, 1)] == [False, False]
    stream.feed(1, payloads({"response": "A"}))
    assert [stream.is_plain(choice) for choice in (0, 1)] == [False, True]


def test_no_line_of_a_stream_is_too_long_for_any_parser() -> None:
    stream = ChatStream(a_plan(NATIVE, stream=True))
    stream.feed(0, payloads({"response": ""}))
    lines = stream.feed(0, payloads({"response": "A"}, {"response": "x" * 100_000})).split(b"\n\n")
    assert max(map(len, lines)) < 61440
    texts = [orjson.loads(line[6:])["choices"][0]["delta"]["content"] for line in lines[:-1]]
    assert "".join(texts) == "A" + "x" * 100_000


def test_a_call_has_its_id_and_name_once() -> None:
    plan = a_plan(NATIVE, stream=True, tools=TOOLS)
    assert written(plan, golden_events("native-tools")) == b"".join(
        [
            choice(b'{"role":"assistant","content":""}'),
            choice(
                b'{"tool_calls":[{"index":0,"id":"call_1","type":"function",'
                b'"function":{"name":"get_weather","arguments":""}}]}'
            ),
            choice(b'{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\":"}}]}'),
            choice(b'{"tool_calls":[{"index":0,"function":{"arguments":"\\"Paris\\"}"}}]}'),
            choice(b"{}", finish_reason=b'"tool_calls"'),
            b"data: [DONE]\n\n",
        ]
    )


def test_a_legacy_call_is_one_function_call() -> None:
    plan = a_plan(CHAT, stream=True, functions=[WEATHER, TIME])
    assert written(plan, golden_events("chat-tools")) == b"".join(
        [
            choice(b'{"role":"assistant","content":""}'),
            choice(b'{"function_call":{"name":"get_weather","arguments":""}}'),
            choice(b'{"function_call":{"arguments":"{\\"city\\": "}}'),
            choice(b'{"function_call":{"arguments":"\\"Paris\\"}"}}'),
            choice(b"{}", finish_reason=b'"function_call"'),
            b"data: [DONE]\n\n",
        ]
    )


def test_choices_are_told_apart_by_their_index() -> None:
    plan = a_plan(CHAT, stream=True, n=2, stream_options={"include_usage": True})
    stream = ChatStream(plan)
    answer = payloads({"choices": [{"delta": {"content": "A"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    out = stream.feed(1, answer) + stream.feed(0, answer)
    out += stream.feed(1, payloads({"choices": [{"finish_reason": "length"}]})) + stream.finish(1)
    out += stream.feed(0, payloads("[DONE]")) + stream.finish(0) + stream.end()
    *told, usage = chunks(out)
    assert [(each["choices"][0]["index"], each["choices"][0]["delta"].get("content")) for each in told] == [
        (1, ""), (1, "A"), (0, ""), (0, "A"), (1, None), (0, None)
    ]  # fmt: skip
    assert [each["choices"][0]["finish_reason"] for each in told] == [None, None, None, None, "length", "stop"]
    assert usage["usage"]["total_tokens"] == 22
    assert stream.usage == Usage(18, 4)


def test_usage_is_told_only_if_asked_for() -> None:
    for options in (None, {}, {"include_usage": False}, {"include_usage": None}):
        told = chunks(written(a_plan(NATIVE, stream=True, stream_options=options), golden_events("native")))
        assert all("usage" not in each for each in told)


def test_a_whole_reply_is_replayed_as_a_stream() -> None:
    plan = a_plan(CHAT, stream=True, response_format={"type": "json_object"})
    stream = ChatStream(plan)
    assert stream.replay(0, golden_reply("chat-json")) + stream.end() == b"".join(
        [
            choice(b'{"role":"assistant","content":""}'),
            choice(b'{"content":"{\\"name\\":\\"Ada\\",\\"age\\":36}"}'),
            choice(b"{}", finish_reason=b'"stop"'),
            b"data: [DONE]\n\n",
        ]
    )


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_tool_that_was_forced_in_vain_is_a_failure_streamed_or_not(is_stream: bool) -> None:
    plan = a_plan(NATIVE, stream=is_stream, tools=TOOLS, tool_choice="required")
    with pytest.raises(Failure, match="without calling the tool"):
        ChatStream(plan).replay(0, a_reply({"response": "No."})) if is_stream else completed(plan, {"response": "No."})


def test_a_stream_is_done_with_a_choice_at_its_stop() -> None:
    stream = ChatStream(a_plan(NATIVE, stream=True, stop="END"))
    stream.feed(0, payloads({"response": "A"}))
    assert not stream.is_done(0)
    stream.feed(0, payloads({"response": "END"}))
    assert stream.is_done(0)
    assert stream.finish(0) == choice(b"{}", finish_reason=b'"stop"')


def test_a_broken_stream_has_no_end() -> None:
    stream = ChatStream(a_plan(NATIVE, stream=True))
    stream.feed(0, payloads({"response": "A"}))
    with pytest.raises(Failure, match="broke off"):
        stream.finish(0)


A = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
B = {"token": "B", "logprob": -0.25, "bytes": [66], "top_logprobs": []}


def logprobs_of(content: str, logprobs: Any) -> list[tuple[str, Any]]:
    plan = a_plan(CHAT, stream=True, logprobs=True)
    event = {"choices": [{"delta": {"content": content}, "logprobs": logprobs}]}
    told = chunks(written(plan, payloads(event, "[DONE]")))[1:-1]
    return [(each["choices"][0]["delta"]["content"], each["choices"][0]["logprobs"]) for each in told]


def test_every_token_has_a_chunk_of_its_own_with_its_logprobs() -> None:
    assert logprobs_of("AB", {"content": [A, B]}) == [("A", {"content": [A]}), ("B", {"content": [B]})]


def test_logprobs_of_tokens_that_are_not_the_text_follow_it() -> None:
    assert logprobs_of("XY", {"content": [A, B]}) == [("XY", None), ("", {"content": [A]}), ("", {"content": [B]})]
    assert logprobs_of("XY", {"content": [{}]}) == [("XY", None), ("", {"content": [{}]})]


def test_logprobs_without_tokens_change_nothing() -> None:
    assert logprobs_of("AB", {"content": []}) == [("AB", {"content": []})]


@given(ANY_TEXT, st.integers(1, 4000), st.sampled_from([Text, Thought]), st.booleans())
def test_no_line_is_too_long_and_nothing_is_lost(text: str, times: int, kind: Any, has_tokens: bool) -> None:
    text = text * times
    delta: Delta = kind(text)
    if has_tokens and kind is Text:
        delta = Text(text, {"content": [A]})
    stream = ChatStream(a_plan(CHAT, stream=True))
    lines = stream._write(0, [delta]).split(b"\n\n")[1:-1]
    assert all(len(line) < LONGEST_LINE for line in lines)
    deltas = [orjson.loads(line[6:])["choices"][0]["delta"] for line in lines]
    assert all(len(each) == 1 for each in deltas)
    assert "".join(each.get("content", "") + each.get("reasoning_content", "") for each in deltas) == text


@given(ANY_TEXT, st.integers(1, 4000), st.booleans())
def test_no_line_of_arguments_is_too_long(text: str, times: int, is_announced: bool) -> None:
    arguments = orjson.dumps({"text": text * times}).decode()
    call = ToolCall(0, arguments) if is_announced else ToolCall(0, arguments, "call_1", "get_weather")
    lines = ChatStream(a_plan(CHAT, stream=True))._write(0, [call]).split(b"\n\n")[1:-1]
    assert all(len(line) < LONGEST_LINE for line in lines)
    pieces = [orjson.loads(line[6:])["choices"][0]["delta"]["tool_calls"][0] for line in lines]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == arguments
    assert [piece.get("id") for piece in pieces] == ([None] if is_announced else ["call_1"]) + [None] * (
        len(pieces) - 1
    )


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\x7f", '"', "\\", "é", "漢", "🙂"])
def test_the_longest_piece_fits_whatever_it_is_made_of(character: str) -> None:
    plan = a_plan(CHAT, stream=True, model="m" * 300)
    for delta in (Text(character * 20000), Thought(character * 20000), ToolCall(0, character * 20000, "c", "n" * 128)):
        lines = ChatStream(plan)._write(0, [delta]).split(b"\n\n")[1:-1]
        assert len(lines) == -(-20000 // LONGEST_PIECE)
        assert all(len(line) < LONGEST_LINE for line in lines)


def test_a_whole_answer_is_a_chat_completion() -> None:
    assert completed(a_plan(OSS), golden_reply("chat")) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": "A greeting."},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 14,
            "total_tokens": 23,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 11},
        },
    }


CALLED = [
    {"id": "call_0", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}},
    {"id": "call_abcn1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
]


@pytest.mark.parametrize(
    ("fields", "body", "message", "finish_reason"),
    [
        ({}, {"response": "Hi"}, {"content": "Hi"}, "stop"),
        ({}, {"response": ""}, {"content": ""}, "stop"),
        ({}, {"response": None}, {"content": ""}, "stop"),
        ({"tools": TOOLS}, golden_reply("chat-tools"), {"content": None, "tool_calls": CALLED}, "tool_calls"),
        (
            {"functions": [WEATHER, TIME]},
            golden_reply("chat-tools"),
            {"content": None, "function_call": CALLED[0]["function"]},
            "function_call",
        ),
        (
            {"tools": TOOLS},
            {"response": "I look.", "tool_calls": [{"name": "get_time", "arguments": {}}]},
            {
                "content": "I look.",
                "tool_calls": [
                    {"id": "call_abcn0", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
                ],
            },
            "tool_calls",
        ),
        ({}, golden_reply("kimi"), {"content": "", "reasoning_content": "Let me think about"}, "length"),
    ],
)
def test_the_message_is_as_clients_want_it(
    fields: dict[str, Any], body: Any, message: dict[str, Any], finish_reason: str
) -> None:
    told = completed(a_plan(NATIVE, **fields), body)["choices"][0]
    assert told == {
        "index": 0,
        "message": {"role": "assistant"} | message,
        "logprobs": None,
        "finish_reason": finish_reason,
    }


def test_a_call_that_came_in_pieces_is_put_together() -> None:
    whole = {"message": {"tool_calls": [{"function": {"name": "get_time"}}]}, "finish_reason": "tool_calls"}
    message = completed(a_plan(CHAT, tools=TOOLS), {"choices": [whole]})["choices"][0]["message"]
    assert [call["function"] for call in message["tool_calls"]] == [{"name": "get_time", "arguments": "{}"}]


def test_several_choices_are_one_answer() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "neurons": 0.5}
    plan = a_plan(NATIVE, n=2)
    replies = [a_reply({"response": text, "usage": usage}) for text in "AB"]
    body, counted = to_completion(plan, replies)
    assert [(each["index"], each["message"]["content"]) for each in body["choices"]] == [(0, "A"), (1, "B")]
    assert counted == Usage(18, 4, neurons=1.0)
    assert body["usage"]["total_tokens"] == 22


def test_logprobs_of_a_whole_answer_are_kept() -> None:
    answer = {"message": {"content": "AB"}, "logprobs": {"content": [A, B]}, "finish_reason": "stop"}
    told = completed(a_plan(CHAT, logprobs=True), {"choices": [answer]})["choices"][0]
    assert told["logprobs"] == {"content": [A, B]}


def test_logprobs_of_a_text_in_parts_are_joined() -> None:
    text = '{"name": "get_time", "but": "no call"} and more'
    answer = {"message": {"content": text}, "logprobs": {"content": [A, B]}, "finish_reason": "stop"}
    told = completed(a_plan(CHAT, logprobs=True, tools=TOOLS), {"choices": [answer]})["choices"][0]
    assert (told["message"]["content"], told["logprobs"]) == (text, {"content": [A, B]})


def test_a_retried_call_is_read_by_its_own_length() -> None:
    plan = a_plan(NATIVE, HI, max_tokens=50)
    shorter = Plan(plan.request, plan.context, (Call("m", "run/m", {"max_tokens": 2}),), (), plan.reading)
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    assert completed(shorter, {"response": "Hi", "usage": usage})["choices"][0]["finish_reason"] == "length"
