"""Tools for models that can't call any: told in the prompt, and found in the answer, however it comes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.catalog import Model, Quirks
from app.errors import BadRequestError
from app.translators.base import Plan
from app.translators.chat import chat
from tests.translators.chats import (
    CHAT,
    HI,
    NATIVE,
    TIME,
    WEATHER,
    a_context,
    a_plan,
    a_reply,
    a_request,
    chunks,
    completed,
    nested,
    payloads,
    written,
)
from tests.translators.test_properties import CUTS, Cut, put_together, told

PLAIN = replace(NATIVE, capabilities=frozenset({"streaming"}))
PLAIN_CHAT = replace(CHAT, capabilities=frozenset({"streaming"}))
ALTERNATING = replace(PLAIN, quirks=Quirks(turns="alternating"))
THINKING = replace(PLAIN, quirks=Quirks(think_tags="untagged"))
TOOLS = nested(WEATHER, TIME)
NAMED = {"type": "function", "function": {"name": "get_weather"}}
USAGE = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}

WEATHER_LINE = '{"name":"get_weather","description":"Tells it","parameters":{"type":"object","properties":{}}}'
TIME_LINE = '{"name":"get_time","description":"","parameters":{"type":"object","properties":{}}}'
ENDING = """\
Then end your answer: the result comes in the next message, as <tool_response name="...">...</tool_response>. \
Never write a result yourself.
"""
FREEDOM = "Call a tool only where it helps. If you need none, answer as usual, without any of these tags."
FORM = """\
To call a tool, write one line of exactly this form, with the name of the tool and its arguments as JSON:
<tool_call>{"name": "...", "arguments": {...}}</tool_call>
"""


def instructed(*lines: str, several: bool = True, last: str = FREEDOM) -> str:
    how_many = "To call several, write such a line for each." if several else "Call one tool only."
    tools = "\n".join(lines or (WEATHER_LINE, TIME_LINE))
    head = "You can call tools. These are the tools, with JSON Schemas of their arguments:"
    return f"{head}\n<tools>\n{tools}\n</tools>\n\n{FORM}{how_many}\n{ENDING}{last}"


def turns_of(model: Model, /, *messages: dict[str, Any], **fields: Any) -> Any:
    return a_plan(model, *messages, **fields).calls[0].body["messages"]


def tagged(name: str = "get_weather", arguments: str = "{}") -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def call(call_id: str, name: str = "get_weather", arguments: Any = '{"city": "Bern"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(call_id: str, content: Any = "Sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def response(content: str = "Sunny", name: str = "get_weather") -> dict[str, str]:
    return {"role": "user", "content": f'<tool_response name="{name}">\n{content}\n</tool_response>'}


def answered(text: str, **fields: Any) -> dict[str, Any]:
    """The choice that comes of a model's text."""
    choice: dict[str, Any] = completed(a_plan(PLAIN, **{"tools": TOOLS} | fields), {"response": text})["choices"][0]
    return choice


def called(choice: dict[str, Any]) -> list[tuple[str, str]]:
    calls = choice["message"].get("tool_calls", ())
    return [(each["function"]["name"], each["function"]["arguments"]) for each in calls]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, instructed()),
        ({"parallel_tool_calls": False}, instructed(several=False)),
        ({"tool_choice": "required"}, instructed(last="You must call the tool get_weather or get_time now.")),
        ({"tool_choice": NAMED}, instructed(WEATHER_LINE, last="You must call the tool get_weather now.")),
        ({"tools": None, "functions": [TIME]}, instructed(TIME_LINE, several=False)),
        ({"tools": nested(TIME | {"strict": True})}, instructed(TIME_LINE)),
    ],
)
@pytest.mark.parametrize("model", [PLAIN, PLAIN_CHAT])
def test_tools_are_told_in_the_prompt(model: Model, fields: dict[str, Any], text: str) -> None:
    body = a_plan(model, {"role": "system", "content": "Be kind."}, HI, **{"tools": TOOLS} | fields).calls[0].body
    assert body["messages"] == [{"role": "system", "content": f"Be kind.\n\n{text}"}, HI]
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


def test_a_model_without_a_system_is_told_by_its_user() -> None:
    assert turns_of(ALTERNATING, tools=TOOLS) == [{"role": "user", "content": f"{instructed()}\n\nHi"}]


def test_tools_that_must_not_be_called_are_not_told() -> None:
    for model in (PLAIN, PLAIN_CHAT):
        body = a_plan(model, tools=TOOLS, tool_choice="none").calls[0].body
        assert body["messages"] == [HI]
        assert body.keys().isdisjoint({"tools", "tool_choice"})
    assert answered(tagged(), tool_choice="none")["message"]["content"] == tagged()


def test_the_tools_are_counted_once() -> None:
    alone = a_plan(PLAIN).reading.prompt_tokens
    function = WEATHER | {"description": "rain " * 1000}
    counted = a_plan(PLAIN, tools=nested(function)).reading.prompt_tokens - alone
    assert 1000 < counted < 2500


def test_a_model_that_judges_has_no_use_for_tools() -> None:
    with pytest.raises(BadRequestError, match="can't call tools"):
        a_plan(replace(PLAIN, task="moderation"), tools=TOOLS)


HISTORY = (
    HI,
    assistant(call("a"), call("b", "get_time", None), content="Let me see."),
    result("b", "Noon"),
    result("a", [{"type": "text", "text": "Sunny"}]),
    assistant(call("c", "get_time", "broken")),
    result("c", "No."),
    {"role": "assistant", "content": "Sunny at noon."},
    {"role": "user", "content": "And now?"},
)


def test_calls_and_results_are_written_in_the_same_form_in_the_order_of_the_calls() -> None:
    bern = '{"city": "Bern"}'
    assert turns_of(PLAIN, *HISTORY) == [
        HI,
        {"role": "assistant", "content": f"Let me see.\n{tagged(arguments=bern)}\n{tagged('get_time')}"},
        response(),
        response("Noon", "get_time"),
        {"role": "assistant", "content": tagged("get_time", '"broken"')},
        response("No.", "get_time"),
        {"role": "assistant", "content": "Sunny at noon."},
        {"role": "user", "content": "And now?"},
    ]


def test_turns_alternate_where_the_model_wants_that() -> None:
    turns = turns_of(ALTERNATING, *HISTORY)
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 3 + ["user"]
    assert turns[2]["content"] == f"{response()['content']}\n\n{response('Noon', 'get_time')['content']}"


def test_results_whose_ids_are_taken_twice_stay_in_their_round() -> None:
    history: list[dict[str, Any]] = [
        HI,
        assistant(call("a")),
        result("a", "1"),
        assistant(call("a")),
        result("a", "2"),
        result("a", "3"),
    ]
    assert [turn["content"] for turn in turns_of(PLAIN, *history) if turn["role"] == "user"][1:] == [
        response(content)["content"] for content in "123"
    ]


def test_functions_are_written_as_tools_are() -> None:
    history: list[dict[str, Any]] = [
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "get_time", "arguments": "{}"}},
        {"role": "function", "name": "get_time", "content": "Noon"},
    ]
    turns = [HI, {"role": "assistant", "content": tagged("get_time")}, response("Noon", "get_time")]
    assert turns_of(PLAIN, *history) == turns


def test_pictures_of_a_result_follow_it() -> None:
    url = "data:image/png;base64,AAAA"
    seen = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    model = replace(PLAIN, capabilities=frozenset({"vision"}))
    context = a_context(model, pictures={url: url})
    plan = chat.to_plan(a_request(HI, assistant(call("a")), result("a", seen)), context)
    assert plan.calls[0].body["messages"][2:] == [response("Look"), {"role": "user", "content": seen[1:]}]


def test_without_emulation_calls_and_results_keep_their_roles() -> None:
    plan = chat.to_plan(a_request(*HISTORY), a_context(PLAIN, tool_emulation=False))
    roles = [turn["role"] for turn in plan.calls[0].body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (tagged(), None, [("get_weather", "{}")]),
        (f"Let me see.\n{tagged()}", "Let me see.\n", [("get_weather", "{}")]),
        (f"{tagged()}\n{tagged('get_time', '[1]')}", tagged("get_time", "[1]"), [("get_weather", "{}")]),
        (f"{tagged()}\n{tagged('get_time')}", None, [("get_weather", "{}"), ("get_time", "{}")]),
        (tagged(arguments='{"unknown": [null]}'), None, [("get_weather", '{"unknown":[null]}')]),
        (tagged("delete_all"), tagged("delete_all"), []),
        ("It rains.", "It rains.", []),
        ("As <tool_response> says", "As <tool_response> says", []),
        (f'{tagged()}\n<tool_response name="get_weather">\nRain\n</tool_response>\n', None, [("get_weather", "{}")]),
        (f"{tagged()}\n<tool_response>Rain</tool_response>\n{tagged('get_time')}", None, [("get_weather", "{}")]),
        (f"{tagged()}\nThat was it <tool_", "That was it <tool_", [("get_weather", "{}")]),
    ],
)
def test_calls_are_taken_out_of_the_text(text: str, content: str | None, calls: list[Any]) -> None:
    choice = answered(text)
    assert (choice["message"]["content"], called(choice)) == (content, calls)
    assert choice["finish_reason"] == ("tool_calls" if calls else "stop")


def test_thoughts_are_no_calls() -> None:
    plan = a_plan(THINKING, tools=TOOLS)
    text = f"I could {tagged('get_time')} now\n</think>\n\n{tagged()}"
    choice = completed(plan, {"response": text})["choices"][0]
    assert called(choice) == [("get_weather", "{}")]
    assert choice["message"]["reasoning_content"] == f"I could {tagged('get_time')} now\n"


def test_one_call_is_left_where_one_was_asked_for() -> None:
    text = f"{tagged()}\n{tagged('get_time')}"
    assert called(answered(text, parallel_tool_calls=False)) == [("get_weather", "{}")]


def test_functions_are_answered_by_a_function_call() -> None:
    choice = answered(tagged(), tools=None, functions=[WEATHER])
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": "{}"}
    assert choice["finish_reason"] == "function_call"


def test_each_choice_has_calls_of_its_own() -> None:
    body = completed(a_plan(PLAIN, tools=TOOLS, n=2), {"response": tagged()}, {"response": tagged()})
    assert [called(choice) for choice in body["choices"]] == [[("get_weather", "{}")]] * 2
    assert len({choice["message"]["tool_calls"][0]["id"] for choice in body["choices"]}) == 2


def test_ids_of_the_conversation_are_not_used_again() -> None:
    text = '<tool_call>{"id": "a", "name": "get_weather", "arguments": {}}</tool_call>'
    plan = a_plan(PLAIN, HI, assistant(call("a")), result("a"), tools=TOOLS)
    assert completed(plan, {"response": text})["choices"][0]["message"]["tool_calls"][0]["id"] != "a"


@pytest.mark.parametrize("model", [PLAIN, PLAIN_CHAT])
def test_a_stop_sequence_does_not_cut_a_call(model: Model) -> None:
    plan = a_plan(model, tools=TOOLS, stop=["END", "}"])
    assert "stop" not in plan.calls[0].body
    arguments = '{"note":"the END}"}'
    reply = {"choices": [{"message": {"content": f"Well. {tagged(arguments=arguments)} No END here"}}]}
    choice = completed(plan, reply)["choices"][0]
    assert (choice["message"]["content"], called(choice)) == ("Well. No ", [("get_weather", arguments)])
    assert choice["finish_reason"] == "tool_calls"


def test_stop_sequences_go_upstream_where_no_call_can_be_cut() -> None:
    assert a_plan(PLAIN_CHAT, tools=TOOLS, tool_choice="none", stop="END").calls[0].body["stop"] == ["END"]


@pytest.mark.parametrize("end", [12, 30, -1])
def test_a_call_cut_by_the_length_is_no_call(end: int) -> None:
    text = tagged(arguments='{"city": "Bern"}').removesuffix("</tool_call>")[:end]
    reply = {"choices": [{"message": {"content": f"Hm. {text}"}, "finish_reason": "length"}]}
    choice = completed(a_plan(PLAIN_CHAT, tools=TOOLS), reply)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (f"Hm. {text}", "length")
    assert called(choice) == []
    full = {"response": text, "usage": USAGE}
    assert completed(a_plan(PLAIN, tools=TOOLS, max_tokens=9), full)["choices"][0]["finish_reason"] == "length"


def test_json_is_asked_for_beside_tools() -> None:
    model = replace(PLAIN, capabilities=frozenset({"json-mode"}))
    plan = a_plan(model, tools=TOOLS, response_format={"type": "json_object"})
    system = plan.calls[0].body["messages"][0]["content"]
    assert system.startswith(f"{instructed()}\n\nIf you call no tool: Answer with one JSON object and nothing else")
    assert "response_format" not in plan.calls[0].body
    assert called(completed(plan, {"response": tagged()})["choices"][0]) == [("get_weather", "{}")]
    assert completed(plan, {"response": '```{"a": 1}```'})["choices"][0]["message"]["content"] == '{"a":1}'
    with pytest.raises(Failure) as raised:
        completed(plan, {"response": "Rain"})
    assert raised.value.kind is FailureKind.JSON_MODE


@pytest.mark.parametrize(("choice", "names"), [("required", "get_weather or get_time"), (NAMED, "get_weather")])
@pytest.mark.parametrize("model", [PLAIN, PLAIN_CHAT])
def test_a_forced_call_is_demanded_once_more(model: Model, choice: Any, names: str) -> None:
    plan = a_plan(model, tools=TOOLS, tool_choice=choice, stream=True)
    first = plan.calls[0]
    assert not first.stream
    prose = a_reply({"response": "It rains."})
    second = chat.again(plan, first, prose)
    assert second is not None
    demand = f"You must call the tool {names} now. Answer with nothing but that:\n{FORM.strip()}"
    assert second.body["messages"][0]["content"] == f"{first.body['messages'][0]['content']}\n\n{demand}"
    assert chat.again(plan, first, a_reply({"response": tagged()})) is None
    with pytest.raises(Failure, match="without calling the tool"):
        chat.from_replies(plan, [prose])


def test_a_call_streams_as_one_behind_the_text_before_it() -> None:
    plan = a_plan(PLAIN, tools=TOOLS, stream=True)
    assert plan.calls[0].stream
    events = payloads(*({"response": piece} for piece in ["See", ": <tool", tagged()[5:]]), "[DONE]")
    deltas = [chunk["choices"][0] for chunk in chunks(written(plan, events))]
    assert [delta["delta"].get("content") for delta in deltas] == ["", "See", ": ", None, None]
    [piece] = deltas[3]["delta"]["tool_calls"]
    assert (piece["index"], piece["type"], piece["function"]) == (
        0,
        "function",
        {"name": "get_weather", "arguments": "{}"},
    )
    assert piece["id"].startswith("call_")
    assert [delta["finish_reason"] for delta in deltas] == [None] * 4 + ["tool_calls"]


def test_nothing_more_is_read_once_a_result_is_made_up() -> None:
    plan = a_plan(PLAIN, tools=TOOLS, stream=True)
    stream = chat.to_stream(plan)
    stream.feed(0, payloads({"response": f"{tagged()}\n<tool_resp"}))
    assert not stream.is_done(0)
    stream.feed(0, payloads({"response": "onse>"}))
    assert stream.is_done(0)
    assert stream.feed(0, payloads({"response": tagged("get_time")})) == b""
    assert b'"finish_reason":"tool_calls"' in stream.finish(0)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | WORDS
    | st.sampled_from(["</tool_call>", "<tool_response>", '"}', "\\", "END"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(WORDS, values, max_size=3),
    max_leaves=8,
)
CALLS = st.tuples(st.sampled_from(["get_weather", "get_time"]), st.dictionaries(WORDS, VALUES, max_size=3))
MARKS = st.sampled_from(["<tool_call>", "</tool_call>", "<tool_response", "{", '{"name": "get_time"', "\n", " ", "END"])
TEXTS = WORDS | st.lists(MARKS | WORDS, max_size=4).map("".join)


def in_form(name: str, arguments: dict[str, Any]) -> str:
    return tagged(name, orjson.dumps(arguments).decode())


def streamed(plan: Plan[Any], pieces: Sequence[str]) -> bytes:
    return written(
        plan, payloads(*({"response": piece} for piece in pieces), {"response": "", "usage": USAGE}, "[DONE]")
    )


@given(st.lists(TEXTS | CALLS.map(lambda each: in_form(*each)), max_size=5), CUTS, st.sampled_from([None, ["END"]]))
def test_any_text_with_calls_streams_to_what_it_is_whole(parts: list[str], cut: Cut, stop: Any) -> None:
    text = "".join(parts)
    plan = a_plan(PLAIN, tools=TOOLS, stop=stop, stream=True, stream_options={"include_usage": True})
    whole = told(completed(plan, {"response": text, "usage": USAGE}))
    assert put_together(streamed(plan, cut(text))) == whole


@given(
    st.text("abc ,.\n{}<>", max_size=20).map(lambda text: f"a{text}\n"), st.lists(CALLS, min_size=1, max_size=4), CUTS
)
def test_every_call_comes_out_as_it_was_meant(lead: str, calls: list[Any], cut: Cut) -> None:
    plan = a_plan(PLAIN, tools=TOOLS, stream=True, stream_options={"include_usage": True})
    text = lead + "\n".join(in_form(*each) for each in calls)
    [choice] = put_together(streamed(plan, cut(text)))["choices"]
    assert choice["message"]["content"] == lead
    assert [(name, orjson.loads(arguments)) for name, arguments in called(choice)] == calls
    assert len({each["id"] for each in choice["message"]["tool_calls"]}) == len(calls)
    assert choice["finish_reason"] == "tool_calls"
