"""Items as the messages of a chat."""

import base64
from typing import Any

import pytest

from app.calls import Document
from app.errors import BadRequestError
from app.translators.responses_input import (
    Conversation,
    references_in,
    resolved,
    response_id_of,
    to_items,
    with_ids,
)
from app.translators.responses_tools import to_toolbox

PIXEL = "data:image/png;base64,AAAA"


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def call(call_id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(call_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"} | fields


def result(call_id: str, output: Any = "ok", kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "call_id": call_id, "output": output}


def answer(said: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}


def thoughts(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"} | fields


def data_uri(content: bytes, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def conversation(items: list[dict[str, Any]], *tools: dict[str, Any]) -> Conversation:
    talk = Conversation(to_toolbox(tools))
    for i, item in enumerate(items):
        talk.add(item, f"input[{i}]")
    return talk


OK = {"role": "tool", "tool_call_id": "1", "content": "ok"}

TALKS: list[tuple[Any, list[Any]]] = [
    ("Hi", [{"role": "user", "content": "Hi"}]),
    (None, []),
    ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
    (
        [{"role": "developer", "content": [{"type": "input_text", "text": "Be"}, {"type": "text", "text": "so"}]}],
        [{"role": "developer", "content": [text("Be"), text("so")]}],
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL, "detail": "low"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}],
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": {"url": PIXEL}}, {"type": "input_audio"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}, {"type": "input_audio"}]}],
    ),
    (
        [{"role": "user", "content": [{"type": "input_file", "file_data": data_uri(b"a,b"), "filename": "a.csv"}]}],
        [
            {
                "role": "user",
                "content": [{"type": "document", "document": Document(data_uri(b"a,b"), name="a.csv")}],
            }
        ],
    ),
    # one turn of the model, in several items
    (
        [thoughts(summary=[{"type": "summary_text", "text": "Hm"}]), answer("So"), asked("1"), asked("2"), result("1")],
        [
            {
                "role": "assistant",
                "content": [text("So")],
                "reasoning_content": "Hm",
                "tool_calls": [call("1"), call("2")],
            },
            OK,
        ],
    ),
    (
        [asked("1"), answer("Calling"), answer("More")],
        [
            {"role": "assistant", "content": [text("Calling")], "tool_calls": [call("1")]},
            {"role": "assistant", "content": [text("More")]},
        ],
    ),
    (
        [asked("1"), result("1"), asked("2")],
        [
            {"role": "assistant", "content": None, "tool_calls": [call("1")]},
            OK,
            {"role": "assistant", "content": None, "tool_calls": [call("2")]},
        ],
    ),
    (
        [
            thoughts(content=[{"type": "reasoning_text", "text": "One"}], summary=[{"text": "no"}]),
            asked("1"),
            thoughts(content=None, summary=[{"type": "summary_text", "text": "Two"}, {"text": ""}, "x"]),
            asked("2"),
        ],
        [
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "One\n\nTwo",
                "tool_calls": [call("1"), call("2")],
            }
        ],
    ),
    # thoughts that led to nothing, or can't be read
    (
        [thoughts(summary=[{"type": "summary_text", "text": "Hm"}]), {"role": "user", "content": "Go on"}, answer("A")],
        [{"role": "user", "content": "Go on"}, {"role": "assistant", "content": [text("A")]}],
    ),
    ([thoughts(), answer("A")], [{"role": "assistant", "content": [text("A")]}]),
    # what tools say
    (
        [result("1", [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": PIXEL}])],
        [OK | {"content": [text("a"), {"type": "image_url", "image_url": {"url": PIXEL}}]}],
    ),
    ([result("1", {"a": 1})], [OK | {"content": '{"a":1}'}]),
    ([{"type": "function_call_output", "output": "ok"}], [OK | {"tool_call_id": None}]),
    (
        [asked("1", arguments={"a": 1})],
        [{"role": "assistant", "content": None, "tool_calls": [call("1", "f", '{"a":1}')]}],
    ),
    ([asked("1", arguments=None)], [{"role": "assistant", "content": None, "tool_calls": [call("1")]}]),
    (
        [
            {"type": "custom_tool_call", "call_id": "1", "name": "apply_patch", "input": "*** Begin"},
            result("1", kind="custom_tool_call_output"),
        ],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call("1", "apply_patch", '{"input":"*** Begin"}')],
            },
            OK,
        ],
    ),
    (
        [
            {"type": "local_shell_call", "call_id": "1", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "1", "output": "ok"},
        ],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call("1", "local_shell", '{"type":"exec","command":["ls"]}')],
            },
            OK,
        ],
    ),
]


@pytest.mark.parametrize(("given", "messages"), TALKS)
def test_items_become_messages(given: Any, messages: list[Any]) -> None:
    talk = conversation(to_items(given))
    assert talk.messages == messages
    assert talk.ignored == []


def test_instructions_stand_in_front() -> None:
    assert Conversation(to_toolbox([]), "Be brief.").messages == [{"role": "system", "content": "Be brief."}]


def test_a_call_inside_a_namespace_has_the_chats_name() -> None:
    tools: list[dict[str, Any]] = [
        {"type": "function", "name": "f"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
    ]
    talk = conversation([asked("1", namespace="n")], *tools)
    assert talk.messages[0]["tool_calls"] == [call("1", "n__f")]


@pytest.mark.parametrize("item", [{"type": "web_search_call", "id": "ws_1"}, {"type": ["x"]}, {}])
def test_items_without_a_meaning_in_a_chat_are_named(item: dict[str, Any]) -> None:
    talk = conversation([{"role": "user", "content": "Hi"}, item])
    assert (len(talk.messages), talk.ignored) == (1, ["input[1]"])


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image", "file_id": "file_1"}, "input[0].content[0]"),
        ({"type": "input_file", "file_id": "file_1"}, "input[0].content[0]"),
    ],
)
def test_files_that_are_not_here_are_refused(part: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        conversation([{"role": "user", "content": [part]}])
    assert raised.value.param == param


KEPT = {"id": "msg_abc_0", "type": "message", "role": "assistant", "content": []}


def test_a_reference_stands_for_the_item_unless_that_is_there_anyway() -> None:
    items = [{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "msg_abc_0"}]
    assert references_in(items) == ["msg_abc_0"]
    assert resolved(items, [], {"msg_abc_0": KEPT}) == [items[0], KEPT]
    assert resolved(items, [KEPT], {}) == [items[0]]


def test_a_reference_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(BadRequestError, match="msg_1") as raised:
        resolved([{"type": "item_reference", "id": "msg_1"}], [], {})
    assert (raised.value.param, raised.value.code) == ("input[0].id", "item_not_found")


@pytest.mark.parametrize(
    ("item_id", "response_id"),
    [("msg_abc_0", "resp_abc"), ("fc_abc_i1", "resp_abc"), ("msg_68ab", None), ("x_y_z", None)],
)
def test_an_item_tells_the_answer_it_belongs_to(item_id: str, response_id: str | None) -> None:
    assert response_id_of(item_id) == response_id


def test_input_is_kept_with_ids_and_parts() -> None:
    message = {"type": "message", "status": "completed"}
    assert with_ids(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho", "id": "msg_own"},
            result("1"),
            {"type": "novelty", "id": ["odd"]},
        ],
        "abc",
    ) == [
        message | {"id": "msg_abc_i0", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        message
        | {
            "id": "msg_own",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Ho", "annotations": []}],
        },
        result("1") | {"id": "fco_abc_i2"},
        {"type": "novelty", "id": "item_abc_i3"},
    ]
