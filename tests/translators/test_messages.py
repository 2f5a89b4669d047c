"""Messages: the calls that answer Anthropic's requests, and how the answers are told."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from app.calls import Reply
from app.catalog import Model, Reasoning
from app.errors import BadRequestError
from app.schemas.chat import Message
from app.schemas.messages import MessagesRequest
from app.translators.base import Context, Plan
from app.translators.messages import count_tokens, messages, pictures
from app.translators.messages_input import to_turns
from tests.translators.chats import ABLE, CHAT, NATIVE, OSS, a_context, a_reply, payloads
from tests.translators.test_messages_blocks import accumulated, text, thinking, use

HI = {"role": "user", "content": "Hi"}
LOOK = {"name": "look", "description": "Looks", "input_schema": {"$schema": "x", "type": "object", "properties": {}}}
SEARCH = {"type": "web_search_20260101", "name": "web_search", "max_uses": 3}
THINK = {"type": "enabled", "budget_tokens": 2048}
NO_MORE = {"type": "auto", "disable_parallel_tool_use": True}


def a_request(*said: dict[str, Any], **fields: Any) -> MessagesRequest:
    return MessagesRequest.model_validate({"model": "claude", "messages": list(said or (HI,))} | fields)


def plan(model: Model = CHAT, /, *said: dict[str, Any], **fields: Any) -> Plan[MessagesRequest]:
    context: Context = a_context(model, name="claude")
    return messages.to_plan(a_request(*said, **fields), context)


def sent(model: Model = CHAT, /, *said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    (call,) = plan(model, *said, **fields).calls
    return call.body


def test_a_plain_request() -> None:
    body = sent(CHAT, max_tokens=100, system="Be brief.", temperature=0.5, top_p=0.9, stop_sequences=["END", ""])
    assert body == {
        "model": CHAT.id,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "stream": False,
    }


def test_a_stream_is_not_ended_upstream_by_a_stop_sequence() -> None:
    """It would not be told which one it was, and often not that it was one."""
    made = plan(CHAT, stream=True, stop_sequences=["END"])
    assert "stop" not in made.calls[0].body
    assert made.reading.stops == ("END",)


def test_a_stream_asks_for_one() -> None:
    assert sent(CHAT, stream=True)["stream"] is True


def test_the_longest_answers_that_agents_ask_for_are_cut_to_the_model() -> None:
    model = Model("@cf/test/small", "text-generation", "current", capabilities=ABLE, max_output_tokens=4000)
    assert sent(model, max_tokens=128_000)["max_tokens"] == 4000


@pytest.mark.parametrize(
    ("model", "top_k", "given", "ignored"),
    [(NATIVE, 10, 10, ()), (NATIVE, 500, 50, ()), (CHAT, 10, None, ("top_k",)), (NATIVE, 0, None, ())],
)
def test_top_k_where_the_model_has_it(model: Model, top_k: int, given: int | None, ignored: tuple[str, ...]) -> None:
    made = plan(model, top_k=top_k)
    assert made.calls[0].body.get("top_k") == given
    assert made.ignored == ignored


def test_what_stays_unheard_is_named() -> None:
    made = plan(
        CHAT, tools=[SEARCH, LOOK], service_tier="auto", context_management={"edits": []}, container=None, betas=["x"],
        metadata={"user_id": "u"}, cache_control={"type": "ephemeral"},
    )  # fmt: skip
    assert made.ignored == ("tools[0]", "service_tier", "context_management", "betas")


def test_tools_are_a_chats_functions() -> None:
    bash = {"type": "bash_20250124", "name": "bash", "input_schema": {"type": "object"}}
    placeholder = {"name": "later", "defer_loading": True, "cache_control": {"type": "ephemeral"}}
    body = sent(CHAT, tools=[LOOK, bash, placeholder, LOOK | {"type": "custom", "name": "own"}])
    empty = {"type": "object", "properties": {}}
    assert body["tools"] == [
        {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": empty}},
        {"type": "function", "function": {"name": "bash", "description": "", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "later", "description": "", "parameters": empty}},
        {"type": "function", "function": {"name": "own", "description": "Looks", "parameters": empty}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", True)


def test_tools_of_the_server_alone_are_no_tools() -> None:
    assert "tools" not in sent(CHAT, tools=[SEARCH], tool_choice={"type": "any"})


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, ("auto", True)),
        ({"type": "any"}, ("required", True)),
        ({"type": "none"}, ("none", True)),
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", False)),
        ({"type": "tool", "name": "look"}, ({"type": "function", "function": {"name": "look"}}, True)),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any], wanted: tuple[Any, bool]) -> None:
    body = sent(CHAT, tools=[LOOK, LOOK | {"name": "hear"}], tool_choice=choice)
    assert (body["tool_choice"], body["parallel_tool_calls"]) == wanted


@pytest.mark.parametrize("name", ["see", "web_search", None])
def test_a_choice_that_is_no_tool_is_refused(name: str | None) -> None:
    with pytest.raises(BadRequestError, match="must be one of the tools: look, hear") as caught:
        plan(CHAT, tools=[LOOK, SEARCH, LOOK | {"name": "hear"}], tool_choice={"type": "tool", "name": name})
    assert caught.value.param == "tool_choice.name"


SWITCH = Model(
    "@cf/test/switch", "text-generation", capabilities=ABLE | {"reasoning"}, status="current",
    reasoning=Reasoning(thinking_switch="enable_thinking", is_optional=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "fields", "given", "ignored"),
    [
        (OSS, {}, {}, ()),
        (OSS, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}, ()),
        (OSS, {"thinking": {"type": "enabled", "budget_tokens": 8000}}, {"reasoning_effort": "medium"}, ()),
        (OSS, {"thinking": {"type": "enabled", "budget_tokens": 32000}}, {"reasoning_effort": "high"}, ()),
        (OSS, {"thinking": {"type": "adaptive"}}, {}, ()),
        (OSS, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, {"reasoning_effort": "low"}, ()),
        (OSS, {"output_config": {"effort": "high"}}, {"reasoning_effort": "high"}, ()),
        (SWITCH, {"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}, ()),
        (SWITCH, {"thinking": THINK}, {}, ()),
        (SWITCH, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, {}, ()),
        (CHAT, {"thinking": THINK}, {}, ("thinking",)),
        (CHAT, {"output_config": {"effort": "high"}}, {}, ("thinking",)),
        (CHAT, {"thinking": {"type": "disabled"}}, {}, ()),
    ],
)
def test_how_much_to_think(
    model: Model, fields: dict[str, Any], given: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    made = plan(model, **fields)
    body = made.calls[0].body
    assert {key: body[key] for key in ("reasoning_effort", "chat_template_kwargs", "thinking") if key in body} == given
    assert made.ignored == ignored


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ],
)
def test_an_answer_that_shall_be_json(fields: dict[str, Any]) -> None:
    assert sent(CHAT, **fields)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}},
    }


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"response_format\.type"):
        plan(CHAT, output_config={"format": {"type": "yaml"}})


def test_turns_are_messages_of_a_chat() -> None:
    request = a_request(
        HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    )
    assert TypeAdapter(list[Message]).validate_python(to_turns(request)) == to_turns(request)


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}}


def test_pictures_are_named_to_be_loaded() -> None:
    request = a_request({"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]})
    assert [picture.url for picture in pictures(request)] == ["https://host/a.png"]
    assert count_tokens(request, CHAT) > 1500


def test_tokens_are_counted_as_for_an_answer() -> None:
    fields: dict[str, Any] = {"system": "word " * 100, "tools": [LOOK]}
    assert count_tokens(a_request(**fields), CHAT) == plan(CHAT, **fields).reading.prompt_tokens > 125


def whole(made: Plan[MessagesRequest], body: Any) -> dict[str, Any]:
    return messages.from_replies(made, [body if isinstance(body, Reply) else a_reply(body)])[0]


def told(stream: bytes) -> list[dict[str, Any]]:
    blocks = [block.split(b"\n") for block in stream.split(b"\n\n")[:-1]]
    events = [orjson.loads(line.removeprefix(b"data: ")) for _, line in blocks]
    assert [line for line, _ in blocks] == [b"event: %b" % event["type"].encode() for event in events]
    return events


def streamed(made: Plan[MessagesRequest], *events: Any) -> list[dict[str, Any]]:
    stream = messages.to_stream(made)
    out = b"".join(stream.feed(0, [payload]) for payload in payloads(*events))
    return told(out + stream.finish(0) + stream.end())


def message_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client makes of a stream."""
    start, ping, *content, delta, stop = events
    assert ping == {"type": "ping"}
    assert stop == {"type": "message_stop"}
    assert delta["type"] == "message_delta"
    assert start["message"]["stop_reason"] is None
    message: dict[str, Any] = start["message"]
    message |= {"content": accumulated(content)} | delta["delta"] | {"usage": delta["usage"]}
    return message


def completion(message: dict[str, Any], reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason} | fields], "usage": usage}


def test_a_whole_message() -> None:
    assert whole(plan(CHAT, max_tokens=100), completion({"content": "Hello"})) == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 6, "output_tokens": 4
        },
    }  # fmt: skip


CALL = {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}}


@pytest.mark.parametrize(
    ("fields", "body", "content", "reason"),
    [
        ({}, completion({"content": "So"}, "length"), [text("So")], ("max_tokens", None)),
        ({}, completion({"content": "No"}, "content_filter"), [text("No")], ("refusal", None)),
        ({}, completion({"refusal": "No", "content": None}), [text("No")], ("refusal", None)),
        ({}, completion({"refusal": "No"}, "length"), [text("No")], ("max_tokens", None)),
        ({}, completion({"content": ""}), [], ("end_turn", None)),
        ({"tools": [LOOK]}, completion({"tool_calls": [CALL]}), [use(0, "look", {"x": 1})], ("tool_use", None)),
        (
            {"thinking": THINK},
            completion({"reasoning_content": "Hm", "content": "Yes"}),
            [thinking("Hm"), text("Yes")],
            ("end_turn", None),
        ),
        ({}, completion({"reasoning_content": "Hm", "content": "Yes"}), [text("Yes")], ("end_turn", None)),
        ({}, completion({"reasoning_content": "Hm", "content": None}, "length"), [], ("max_tokens", None)),
        ({"max_tokens": 4}, completion({"reasoning_content": "Hm"}), [], ("max_tokens", None)),
        ({"stop_sequences": ["END"]}, completion({"content": "a END b"}), [text("a ")], ("stop_sequence", "END")),
        ({"stop_sequences": ["END"]}, completion({"content": "a"}), [text("a")], ("end_turn", None)),
        (
            {"stop_sequences": ["END"]},
            completion({"content": "a"}, stop_reason="END"),
            [text("a")],
            ("stop_sequence", "END"),
        ),
        (
            {"stop_sequences": ["END"]},
            completion({"content": "a"}, "length", stop_reason="END"),
            [text("a")],
            ("max_tokens", None),
        ),
    ],
)
def test_answers_and_why_they_end(
    fields: dict[str, Any], body: dict[str, Any], content: Any, reason: tuple[str, str | None]
) -> None:
    made = plan(CHAT, **fields)
    message = whole(made, body)
    assert message["content"] == content
    assert (message["stop_reason"], message["stop_sequence"]) == reason
    assert message_of(streamed(made, *chunked(body))) == message
    replayed = messages.to_stream(made)
    assert message_of(told(replayed.replay(0, a_reply(body)) + replayed.end())) == message


def chunked(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The same answer as a stream of a letter each."""
    choice = body["choices"][0]
    message, rest = choice["message"], {key: value for key, value in choice.items() if key != "message"}
    deltas: list[dict[str, Any]] = [
        {key: letter} for key in ("reasoning_content", "content", "refusal") for letter in message.get(key) or ""
    ]
    deltas += [{"tool_calls": [call | {"index": 0}]} for call in message.get("tool_calls", ())]
    return [
        *({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas),
        {"choices": [rest | {"delta": {}}]},
        {"choices": [], "usage": body["usage"]},
    ]


def test_a_stream_begins_with_the_estimate_before_anything_is_said() -> None:
    made = plan(CHAT, stream=True)
    stream = messages.to_stream(made)
    start, ping = told(stream.feed(0, payloads({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})))
    assert start["message"]["usage"] == {
        "input_tokens": made.reading.prompt_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }  # fmt: skip
    assert start["message"]["content"] == []
    assert ping == {"type": "ping"}


PLAIN = replace(CHAT, capabilities=frozenset({"streaming", "reasoning"}))
TAGGED = '<tool_call>{"name": "look", "arguments": {"x": 1}}</tool_call>'
NO_CALL = '<tool_call>{"name": "look", "arguments": {"x"</tool_call>'


@pytest.mark.parametrize(
    ("said", "fields", "content", "reason"),
    [
        (TAGGED, {}, [use(0, "look", {"x": 1})], "tool_use"),
        (f"So. {TAGGED}", {}, [text("So. "), use(0, "look", {"x": 1})], "tool_use"),
        (f"{TAGGED}\n{TAGGED} end", {}, [use(0, "look", {"x": 1}), use(1, "look", {"x": 1}), text("end")], "tool_use"),
        (f"{TAGGED}{TAGGED}", {"tool_choice": NO_MORE}, [use(0, "look", {"x": 1})], "tool_use"),
        (f"{TAGGED} END {TAGGED}", {"stop_sequences": ["END"]}, [use(0, "look", {"x": 1})], "tool_use"),
        (f"a END {TAGGED}", {"stop_sequences": ["END"]}, [text("a ")], "stop_sequence"),
        (TAGGED, {"stop_sequences": ["arguments"]}, [use(0, "look", {"x": 1})], "tool_use"),
        (TAGGED, {"tool_choice": {"type": "any"}}, [use(0, "look", {"x": 1})], "tool_use"),
        (TAGGED, {"tool_choice": {"type": "tool", "name": "look"}}, [use(0, "look", {"x": 1})], "tool_use"),
        (TAGGED, {"tool_choice": {"type": "none"}}, [text(TAGGED)], "end_turn"),
        (TAGGED, {"tools": None}, [text(TAGGED)], "end_turn"),
        (NO_CALL, {}, [text(NO_CALL)], "end_turn"),
        (TAGGED.replace("look", "hear"), {}, [text(TAGGED.replace("look", "hear"))], "end_turn"),
        ("No.", {}, [text("No.")], "end_turn"),
    ],
)
def test_tools_of_models_that_have_none(
    said: str, fields: dict[str, Any], content: list[dict[str, Any]], reason: str
) -> None:
    made = plan(PLAIN, **{"tools": [LOOK], "thinking": THINK} | fields)
    body = completion({"reasoning_content": f"I might {TAGGED}", "content": said})
    message = whole(made, body)
    assert message["content"] == [thinking(f"I might {TAGGED}"), *content]
    assert message["stop_reason"] == reason
    assert message_of(streamed(made, *chunked(body))) == message


def test_choices_that_nobody_asked_for_do_no_harm() -> None:
    body = completion({"content": "Yes"}) | {"usage": None}
    body["choices"] += ["nonsense", None]
    assert whole(plan(CHAT, stop_sequences=["END"]), body)["content"] == [text("Yes")]


@pytest.mark.parametrize("stops", [["b", "ab"], ["ab", "b"]])
def test_the_stop_sequence_that_was_met_first_is_told(stops: list[str]) -> None:
    message = whole(plan(NATIVE, stop_sequences=stops), {"response": "xxab"})
    assert (message["content"], message["stop_sequence"]) == ([text("xx")], "ab")
