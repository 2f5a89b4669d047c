"""Anthropic's turns as those of a chat: nothing lost, and in order as far as a chat can keep it."""

from typing import Any

import pytest

from app.calls import Document
from app.errors import BadRequestError
from app.schemas.messages import MessagesRequest
from app.translators.messages_input import FAILED, SEE_BELOW, to_turns

PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}}
PIXEL_PART = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}}


def turns(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return to_turns(MessagesRequest.model_validate({"model": "m", "messages": messages} | fields))


def user(*blocks: dict[str, Any] | str | None) -> dict[str, Any]:
    return said("user", *blocks)


def assistant(*blocks: dict[str, Any] | str | None) -> dict[str, Any]:
    return said("assistant", *blocks)


def said(role: str, *blocks: dict[str, Any] | str | None) -> dict[str, Any]:
    content: Any = list(blocks)
    return {"role": role, "content": content[0] if len(content) == 1 and not isinstance(content[0], dict) else content}


def text(words: str | None) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(call_id: str | None, name: str = "look", arguments: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments, "cache_control": None}


def result(call_id: str, content: Any = "done", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content} | fields


def call(call_id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(call_id: str, content: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_texts_and_systems() -> None:
    assert turns({"role": "system", "content": "C"}, user("Hi"), assistant("Hello"), system="A") == [
        {"role": "system", "content": "A"},
        {"role": "system", "content": "C"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]


def test_a_conversation_of_the_system_alone() -> None:
    assert turns({"role": "developer", "content": "Speak."}) == [{"role": "system", "content": "Speak."}]


def test_the_system_in_the_middle_stays_there() -> None:
    assert turns(user("Hi"), said("system", "Be kind."), said("system", None), assistant("Yes"), user("So?")) == [
        {"role": "user", "content": "Hi\n<system-reminder>\nBe kind.\n</system-reminder>"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "So?"},
    ]


def test_parallel_results_come_first_and_the_rest_keeps_its_order() -> None:
    assert turns(
        user("Go"),
        assistant(text("Looking."), use("a", arguments={"x": [1, "é"]}), use("b", "list"), text("Wait.")),
        said("system", "Note."),
        user(text("One"), result("b"), text("Two")),
        user(result("a", None), text("Three")),
    ) == [
        {"role": "user", "content": "Go"},
        {
            "role": "assistant",
            "content": "Looking.\nWait.",
            "tool_calls": [call("a", arguments='{"x":[1,"é"]}'), call("b", "list")],
        },
        tool("b"),
        tool("a", ""),
        {"role": "user", "content": "<system-reminder>\nNote.\n</system-reminder>\nOne\nTwo\nThree"},
    ]


def test_ids_that_are_used_again_are_made_unique_and_results_follow_the_latest() -> None:
    made = turns(
        assistant(use("call_0")), user(result("call_0", "1")),
        assistant(use("call_0")), user(result("call_0", "2")),
        assistant(use("call_0"), use("call_0_2")), user(result("call_0", "3"), result("call_0_2", "4")),
        assistant(use(None), use("")), user(result("", "5"), result("", "6")),
    )  # fmt: skip
    ids = [each["id"] for turn in made for each in turn.get("tool_calls", ())]
    assert ids == ["call_0", "call_0_2", "call_0_3", "call_0_2_2", "toolu", "toolu_2"]
    assert [(turn["tool_call_id"], turn["content"]) for turn in made if turn["role"] == "tool"] == [
        ("call_0", "1"), ("call_0_2", "2"), ("call_0_3", "3"), ("call_0_2_2", "4"), ("toolu", "5"),
        ("toolu_2", "6"),
    ]  # fmt: skip


def test_parallel_calls_with_one_id_get_their_results_in_order() -> None:
    made = turns(assistant(use("a"), use("a", "list")), user(result("a", "1"), result("a", "2"), result("a", "3")))
    assert [each["id"] for each in made[0]["tool_calls"]] == ["a", "a_2"]
    assert made[1:] == [tool("a", "1"), tool("a_2", "2"), tool("a_2", "3")]


def test_several_turns_of_the_assistant_are_one_so_that_results_stand_behind_the_calls() -> None:
    thought = {"type": "thinking", "thinking": "Hm."}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    assert turns(
        user("Go"), assistant(thought, use("a")), assistant(hidden), assistant("Wait."),
        assistant(thought, text("And"), use("b")), user(result("a"), result("b")),
    ) == [
        {"role": "user", "content": "Go"},
        {
            "role": "assistant",
            "content": "Wait.\nAnd",
            "tool_calls": [call("a"), call("b")],
            "reasoning_content": "Hm.\nHm.",
        },
        tool("a"),
        tool("b"),
    ]  # fmt: skip


def test_results_without_a_call_keep_the_id_that_they_have() -> None:
    assert turns(user(result("gone", "1"), {"type": "tool_result", "content": "2"}))[:2] == [
        tool("gone", "1"),
        tool("toolu", "2"),
    ]


def test_a_prefilled_answer_stays_last() -> None:
    assert turns(user("JSON!"), assistant("{"))[-1] == {"role": "assistant", "content": "{"}


def test_a_call_without_a_name_and_one_of_the_users_are_kept_as_texts() -> None:
    nameless = {"type": "tool_use", "id": "a", "input": {"x": 1}}
    assert [turn["content"] for turn in turns(assistant(nameless), user(use("a", arguments={})))] == [
        '{"type":"tool_use","id":"a","input":{"x":1}}',
        '{"type":"tool_use","id":"a","name":"look","input":{}}',
    ]


@pytest.mark.parametrize("message", [user(None), user(""), assistant({"type": "redacted_thinking"}), user(text(""))])
def test_a_conversation_of_nothing_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="must hold something to answer"):
        turns(message)


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (result("a", "plain"), "plain"),
        (result("a", None), ""),
        (result("a", []), ""),
        (result("a", [text("one"), text("two"), text("")]), "one\ntwo"),
        (result("a", "bad", is_error=True), f"{FAILED}bad"),
        (result("a", {"type": "web_search_tool_result_error"}), '{"type":"web_search_tool_result_error"}'),
        (result("a", [{"type": "tool_reference", "tool_name": "t"}]), '{"type":"tool_reference","tool_name":"t"}'),
        (
            result("a", [{"type": "search_result", "title": "T", "source": "http://s", "content": [text("found")]}]),
            "[Search result: T http://s]\nfound",
        ),
        (result("a", "x" * 200_000), "x" * 200_000),
        (result("a", "data:image/png;base64,AAAA"), "data:image/png;base64,AAAA"),
    ],
)
def test_results_are_texts(block: dict[str, Any], content: str) -> None:
    assert turns(assistant(use("a")), user(block))[1:] == [tool("a", content)]


def test_pictures_in_results_are_shown_behind_all_results() -> None:
    assert turns(assistant(use("a"), use("b")), user(result("a", [text("see"), PIXEL]), result("b"), text("So?")))[
        1:
    ] == [
        tool("a", f"see\n{SEE_BELOW}"),
        tool("b"),
        {
            "role": "user",
            "content": [
                text("[The pictures in the result of the tool call a]"),
                PIXEL_PART | {"found": True},
                text("So?"),
            ],
        },
    ]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (PIXEL, PIXEL_PART),
        (
            {"type": "image", "source": {"type": "base64", "data": "iVBO"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
        ),
    ],
)
def test_pictures(block: dict[str, Any], part: dict[str, Any]) -> None:
    assert turns(user(text("What?"), block)) == [{"role": "user", "content": [text("What?"), part]}]


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Words"}, "title": "T"},
            "<document>\ntitle: T\nWords\n</document>",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [text("A"), text("B")]}, "context": "C"},
            "<document>\ncontext: C\nA\nB\n</document>",
        ),
        ({"type": "document", "source": {"type": "content", "content": "A"}}, "<document>\nA\n</document>"),
        ({"type": "document", "source": {"type": "text"}}, "<document>\n\n</document>"),
        ({"type": "novelty", "x": {"y": 1}, "cache_control": {}}, '{"type":"novelty","x":{"y":1}}'),
        ({"type": "novelty", "text": "words"}, "words"),
    ],
)
def test_other_blocks_of_the_user_become_texts(block: dict[str, Any], content: str) -> None:
    assert turns(user(block)) == [{"role": "user", "content": content}]


PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
ELSEWHERE = {"type": "url", "url": "https://host/a.pdf"}
NO_FILES = "Documents can be sent as base64, by url, or as text or content."


def a_document(document: Document) -> dict[str, Any]:
    return {"type": "document", "document": document}


def in_place(parts: Any) -> list[tuple[str, str, str]]:
    """What does not count when documents are compared."""
    return [(each.param, each.title, each.context) for part in parts if (each := part.get("document"))]


def test_documents_stay_where_they_are_in_a_turn() -> None:
    blocks = (
        {"type": "document", "source": PDF, "title": "T", "context": "C", "citations": {"enabled": True}},
        text("and"),
        {"type": "document", "source": ELSEWHERE},
    )
    [turn] = turns(user(*blocks))
    first, second = Document("JVBE", "application/pdf"), Document("https://host/a.pdf")
    assert turn == {"role": "user", "content": [a_document(first), text("and"), a_document(second)]}
    assert in_place(turn["content"]) == [
        ("messages[0].content[0].source", "T", "C"),
        ("messages[0].content[2].source", "", ""),
    ]


def test_documents_stay_in_the_result_of_a_tool() -> None:
    content = [text("Read:"), {"type": "document", "source": PDF}, PIXEL]
    [_, bad, shown] = turns(assistant(use("a")), user(result("a", content, is_error=True)))
    assert bad == {
        "role": "tool",
        "tool_call_id": "a",
        "content": [text(FAILED), text("Read:"), a_document(Document("JVBE", "application/pdf")), text(SEE_BELOW)],
    }
    assert in_place(bad["content"]) == [("messages[1].content[0].content[1].source", "", "")]
    assert shown["content"][1:] == [PIXEL_PART | {"found": True}]


def test_where_only_texts_can_stand_a_document_leaves_its_mark() -> None:
    block = {"type": "document", "source": PDF}
    assert turns(user("Hi"), assistant(block, PIXEL), said("system", block)) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "[a document]\n[a picture]"},
        {"role": "user", "content": "<system-reminder>\n[a document]\n</system-reminder>"},
    ]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "Pictures can be sent as base64 or by url."),
        ({"type": "image"}, "Pictures can be sent as base64 or by url."),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, NO_FILES),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}}, NO_FILES),
        ({"type": "document"}, NO_FILES),
    ],
)
def test_what_can_not_be_said_is_refused_with_its_place(block: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        turns(user("Hi"), user(text("A"), block))
    assert failure.value.message == f"messages[1].content[1].source: {message}"
    assert failure.value.param == "messages[1].content[1].source"


def test_thoughts_are_fed_back_and_hidden_ones_left_out() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    assert turns(assistant(thought, hidden, text("Yes"), use("a")), user(result("a"))) == [
        {"role": "assistant", "content": "Yes", "tool_calls": [call("a")], "reasoning_content": "Hm."},
        tool("a"),
    ]


def test_turns_with_nothing_in_them_are_left_out() -> None:
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    assert turns(user("Hi"), assistant(hidden), assistant(None), user(None), user(text(None)), user("So?")) == [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "So?"},
    ]


def test_a_picture_of_the_assistant_leaves_its_mark() -> None:
    assert turns(assistant(text("Look:"), PIXEL)) == [{"role": "assistant", "content": "Look:\n[a picture]"}]


def test_arguments_that_are_a_text_already_stay_as_they_are() -> None:
    (turn,) = turns(assistant(use("a", arguments='{"x": 1}')))
    assert turn["tool_calls"] == [call("a", arguments='{"x": 1}')]


def test_what_a_server_tool_did_is_kept_as_text() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    (turn,) = turns(assistant(block))
    assert turn["content"] == '{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}}'


def test_a_session_of_hundreds_of_turns_keeps_them_all() -> None:
    session = [user("Start")]
    for number in range(300):
        session += [assistant(use("call_0"), use("call_1")), user(result("call_0", f"a{number}"), result("call_1"))]
    made = turns(*session)
    assert len(made) == 1 + 300 * 3
    ids = [each["id"] for turn in made for each in turn.get("tool_calls", ())]
    assert len(set(ids)) == 600
    assert [turn["tool_call_id"] for turn in made if turn["role"] == "tool"] == ids
