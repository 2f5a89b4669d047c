"""Conversations as clients send them, and as models take them."""

from dataclasses import replace
from typing import Any

import pytest

from app.catalog import Quirks
from app.errors import BadRequestError
from app.translators.base import Picture
from app.translators.turns import NO_RESULT, UNSEEN, call_ids, instruct, pictures_in, to_turns
from tests.translators.chats import CHAT, HI, NATIVE, a_context, a_request

BLIND = replace(CHAT, capabilities=frozenset({"function-calling", "streaming"}))
GUARD = replace(NATIVE, quirks=Quirks(turns="alternating"))
CAT, DOG = "https://example.com/cat.png", "data:image/png;base64,ZG9n"
PICTURES = {CAT: "data:image/png;base64,Y2F0", DOG: DOG}


def turns(*messages: dict[str, Any], model: Any = CHAT) -> list[dict[str, Any]]:
    return to_turns(a_request(*messages).messages, a_context(model, pictures=PICTURES))


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content} | fields


def assistant(content: Any = "", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content} | fields


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def call(call_id: str | None = "call_1", name: str = "look", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content: Any = "found", call_id: str | None = "call_1", name: str | None = "look") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def picture(url: str = DOG) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([HI], [HI], id="plain"),
        pytest.param([system("A"), HI], [system("A"), HI], id="system"),
        pytest.param([{"role": "developer", "content": "A"}, HI], [system("A"), HI], id="developer"),
        pytest.param(
            [system("A"), HI, {"role": "developer", "content": [text("B"), text("C")]}, system(""), assistant("D")],
            [system("A\n\nB\nC"), HI, assistant("D")],
            id="several system turns become one in front",
        ),
        pytest.param([system("A")], [user("A")], id="a system turn alone is the question"),
        pytest.param([user(None)], [user("")], id="null content"),
        pytest.param([{"role": "user"}], [user("")], id="no content"),
        pytest.param([user([])], [user("")], id="an empty list"),
        pytest.param([user([text("A"), text(""), text("B")])], [user("A\nB")], id="text parts"),
        pytest.param([user([{"type": "input_text", "text": "A"}])], [user("A")], id="parts of Responses"),
        pytest.param([user([text("A") | {"image_url": None}])], [user("A")], id="a part with nulls"),
        pytest.param([user("A", name="Ada")], [user("A", name="Ada")], id="a user's name"),
        pytest.param([user("A", name=None)], [user("A")], id="no name"),
        pytest.param([HI, assistant("A", name="B")], [HI, assistant("A", name="B")], id="an agent's name"),
        pytest.param([HI, assistant(None)], [HI, assistant("")], id="an assistant's null content"),
        pytest.param([HI, assistant([text("A"), text("B")])], [HI, assistant("A\nB")], id="an assistant's parts"),
        pytest.param(
            [HI, assistant([{"type": "thinking", "thinking": "Hm"}, text("A")])],
            [HI, assistant("A")],
            id="an assistant's parts of other kinds",
        ),
        pytest.param([HI, assistant(None, refusal="No.")], [HI, assistant("No.")], id="a refusal"),
        pytest.param(
            [HI, assistant([{"type": "refusal", "refusal": "No."}])], [HI, assistant("No.")], id="a refusal as a part"
        ),
        pytest.param(
            [HI, assistant("A", reasoning_content="Hm")],
            [HI, assistant("A", reasoning="Hm")],
            id="thoughts of an earlier turn",
        ),
        pytest.param(
            [HI, assistant("A", reasoning="Hm")], [HI, assistant("A", reasoning="Hm")], id="thoughts in the other field"
        ),
        pytest.param(
            [HI, assistant(None, tool_calls=[call()]), result()],
            [HI, assistant(tool_calls=[call()]), result()],
            id="a call and its result",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call(arguments={"a": 1})]), result()],
            [HI, assistant(tool_calls=[call(arguments='{"a":1}')]), result()],
            id="arguments as an object",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call(arguments="")]), result()],
            [HI, assistant(tool_calls=[call()]), result()],
            id="empty arguments",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call(arguments=None)]), result()],
            [HI, assistant(tool_calls=[call()]), result()],
            id="null arguments",
        ),
        pytest.param([HI, assistant("A", tool_calls=[])], [HI, assistant("A")], id="no calls"),
        pytest.param(
            [HI, assistant(tool_calls=[call(None)]), result(call_id=None)],
            [HI, assistant(tool_calls=[call("000000001")]), result(call_id="000000001")],
            id="neither has an id",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call(), call("call_2", "find")]), result(call_id=None, name="find")],
            [
                HI,
                assistant(tool_calls=[call(), call("call_2", "find")]),
                result(call_id="call_2", name="find"),
                result(NO_RESULT),
            ],
            id="a result without an id is known by its name",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call()]), result(name="other")],
            [HI, assistant(tool_calls=[call()]), result()],
            id="the call knows its name better",
        ),
        pytest.param(
            [HI, assistant(tool_calls=[call()]), result([text("A"), text("B")])],
            [HI, assistant(tool_calls=[call()]), result("A\nB")],
            id="a result in parts",
        ),
        pytest.param(
            [result(), HI],
            [user("[Result of the tool look]\nfound"), HI],
            id="a result whose call was compacted away",
        ),
        pytest.param(
            [HI, result(name=None)],
            [HI, user("[Result of the tool call_1]\nfound")],
            id="the same without a name",
        ),
        pytest.param(
            [
                HI,
                assistant(None, function_call={"name": "look", "arguments": "{}"}),
                {"role": "function", "name": "look", "content": "found"},
                assistant(None, function_call={"name": "look", "arguments": '{"a":1}'}),
                {"role": "function", "name": "look", "content": "more"},
            ],
            [
                HI,
                assistant(tool_calls=[call("call_1")]),
                result(),
                assistant(tool_calls=[call("call_3", arguments='{"a":1}')]),
                result("more", call_id="call_3"),
            ],
            id="functions",
        ),
        pytest.param(
            [HI, {"role": "function", "name": "look", "content": "found"}],
            [HI, user("[Result of the tool look]\nfound")],
            id="a function's result without its call",
        ),
        pytest.param(
            [user([text("What?"), picture(CAT)])],
            [user([text("What?"), picture("data:image/png;base64,Y2F0")])],
            id="a picture",
        ),
        pytest.param(
            [user([{"type": "image_url", "image_url": CAT}])],
            [user([picture("data:image/png;base64,Y2F0")])],
            id="a picture's bare address",
        ),
        pytest.param(
            [user([picture() | {"image_url": {"url": DOG, "detail": "high"}}])], [user([picture()])], id="detail"
        ),
        pytest.param(
            [
                HI,
                assistant(tool_calls=[call(), call("call_2")]),
                result([text("A"), picture(CAT)]),
                result([picture()], call_id="call_2"),
                assistant("B"),
            ],
            [
                HI,
                assistant(tool_calls=[call(), call("call_2")]),
                result("A"),
                result("", call_id="call_2"),
                user([picture("data:image/png;base64,Y2F0")]),
                user([picture()]),
                assistant("B"),
            ],
            id="pictures of tools follow their turns",
        ),
        pytest.param(
            [HI, assistant([text("A"), picture()]), user("B")],
            [HI, assistant("A"), user([picture()]), user("B")],
            id="pictures of the assistant",
        ),
        pytest.param([system([picture()]), HI], [user([picture()]), HI], id="pictures of the system"),
    ],
)
def test_turns_are_put_in_the_form_that_models_take(
    messages: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert turns(*messages) == expected


def test_native_models_have_no_field_for_thoughts() -> None:
    assert turns(HI, assistant("A", reasoning_content="Hm"), HI, model=NATIVE) == [HI, assistant("A"), HI]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([system("A"), user("B")], [user("A\n\nB")]),
        ([HI, HI, assistant("A"), assistant("B")], [user("Hi\n\nHi"), assistant("A\n\nB")]),
        ([assistant("A"), user("B", name="Ada")], [user("B")]),
        ([HI, assistant("A", tool_calls=[call()]), result()], [HI, assistant("A"), user("found")]),
        ([system("A")], [user("A")]),
    ],
)
def test_some_models_take_only_user_and_assistant_in_turn(
    messages: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert turns(*messages, model=GUARD) == expected


@pytest.mark.parametrize(
    ("model", "messages"), [(CHAT, [system("")]), (CHAT, [{"role": "developer"}]), (GUARD, [assistant("A")])]
)
def test_a_conversation_of_nothing_is_refused(model: Any, messages: list[dict[str, Any]]) -> None:
    with pytest.raises(BadRequestError) as caught:
        turns(*messages, model=model)
    assert caught.value.param == "messages"


def sent_calls(*messages: dict[str, Any]) -> list[tuple[str, str]]:
    """The calls and the results, each by its id."""
    found: list[tuple[str, str]] = []
    for turn in turns(*messages):
        found += [("call", each["id"]) for each in turn.get("tool_calls", ())]
        if turn["role"] == "tool":
            found.append((turn["content"], turn["tool_call_id"]))
    return found


def test_ids_that_come_again_stand_for_one_call_each() -> None:
    assert sent_calls(
        HI,
        assistant(tool_calls=[call("call_0"), call("call_0", "find")]), result("1", "call_0"), result("2", "call_0"),
        assistant(tool_calls=[call("call_0")]), result("3", "call_0"),
    ) == [
        ("call", "call_0"), ("call", "call_0_2"), ("1", "call_0"), ("2", "call_0_2"),
        ("call", "call_0_3"), ("3", "call_0_3"),
    ]  # fmt: skip


def test_results_keep_the_names_of_their_calls() -> None:
    calls = assistant(tool_calls=[call(None), call(None, "find"), call(None)])
    for name in (None, "look"):
        made = turns(HI, calls, result("2", None, "find"), result("1", None, name), result("3", None, name))
        assert [(turn["content"], turn["tool_call_id"], turn["name"]) for turn in made[2:]] == [
            ("2", "000000001_2", "find"), ("1", "000000001", "look"), ("3", "000000001_3", "look"),
        ]  # fmt: skip


def test_a_call_without_a_result_gets_one() -> None:
    """Where the conversation has gone on; at its end the result may be what is asked for."""
    none = {"content": NO_RESULT}
    calls = assistant(tool_calls=[call(), call("call_2", "find")])
    assert turns(HI, calls, result(call_id="call_2")) == [
        HI, calls, result(call_id="call_2", name="find"), result() | none,
    ]  # fmt: skip
    assert turns(HI, calls, HI) == [HI, calls, result() | none, result(call_id="call_2", name="find") | none, HI]
    assert turns(HI, calls) == [HI, calls]
    late = turns(HI, assistant(tool_calls=[call()]), user("Now!"), result())
    assert [turn["role"] for turn in late] == ["user", "assistant", "user", "tool"]


def test_a_result_whose_call_is_gone_does_not_part_the_others_from_theirs() -> None:
    calls = assistant(tool_calls=[call(), call("call_2")])
    assert turns(HI, calls, result(), result("old", "gone", None), result(call_id="call_2"), HI) == [
        HI, calls, result(), result(call_id="call_2"), user("[Result of the tool gone]\nold"), HI,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["user", "system", "developer", "tool", "function"])
def test_parts_that_are_neither_text_nor_picture_are_refused(kind: str) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    with pytest.raises(BadRequestError, match="'input_audio' can't be sent to 'm'") as caught:
        turns(HI, {"role": kind, "content": [text("A"), sound]})
    assert (caught.value.param, caught.value.code) == ("messages[1].content[1].type", "unsupported_content")


def test_numbers_too_large_for_json_are_refused() -> None:
    with pytest.raises(BadRequestError, match="64-bit") as caught:
        turns(assistant(tool_calls=[call(), call("call_2", arguments={"a": 2**70})]))
    assert caught.value.param == "messages[0].tool_calls[1].function.arguments"


URI, MASKED = "data:image/png;base64,AAAA", "data:\u2060image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (user(f"See {URI}"), user(f"See {MASKED}")),
        (user(f"{URI}DATA:IMAGE/X;BASE64,"), user(f"{MASKED}DATA:\u2060IMAGE/X;BASE64,")),
        (user([text(URI)]), user(MASKED)),
        (user([text(URI), picture()]), user([text(MASKED), picture()])),
        (system(URI), user(MASKED)),
        (assistant(URI, reasoning=URI), assistant(MASKED, reasoning=MASKED)),
        (assistant(refusal=URI), assistant(MASKED)),
        (
            assistant(tool_calls=[call(arguments=f'{{"a":"{URI}"}}')]),
            assistant(tool_calls=[call(arguments=f'{{"a":"{MASKED}"}}')]),
        ),
        (result(URI), user(f"[Result of the tool look]\n{MASKED}")),
        (user("data:text/plain,A base64, or data: more"), user("data:text/plain,A base64, or data: more")),
    ],
)
def test_a_data_uri_in_a_text_is_masked(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert turns(message) == [expected]


def test_pictures_are_named_with_their_place() -> None:
    messages = a_request(
        HI, user([text("A"), picture(CAT)]), result([picture(), {"type": "image_url", "image_url": CAT}])
    ).messages
    assert pictures_in(messages) == [
        Picture(CAT, "messages[1].content[1].image_url.url"),
        Picture(DOG, "messages[2].content[0].image_url.url", is_found=True),
        Picture(CAT, "messages[2].content[1].image_url.url", is_found=True),
    ]


def test_a_model_that_can_not_see_is_told_what_its_tools_have_found() -> None:
    found = [call(), result([text("A"), picture()]), user([text("B"), picture(CAT)])]
    assert turns(HI, assistant(tool_calls=[found[0]]), *found[1:], model=BLIND)[2:] == [
        result(f"A\n{UNSEEN}"),
        user(f"B\n{UNSEEN}"),
    ]


def test_the_ids_of_all_calls_are_known() -> None:
    messages = a_request(
        HI, assistant(tool_calls=[call(), call(None)]), assistant(function_call={"name": "look"}), HI
    ).messages
    assert call_ids(messages) == {"call_1", "000000001", "call_2"}


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        (CHAT, [system("A"), HI], [system("A\n\nDo it."), HI]),
        (CHAT, [HI], [system("Do it."), HI]),
        (GUARD, [HI, assistant("A")], [user("Do it.\n\nHi"), assistant("A")]),
    ],
)
def test_an_instruction_goes_to_the_front(
    model: Any, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    changed = [dict(turn) for turn in before]
    instruct(changed, "Do it.", model)
    assert changed == after
