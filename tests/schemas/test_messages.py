"""Anthropic's Messages: what is taken, and what ties requests together."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.messages import MessagesRequest

MARK = {"type": "ephemeral"}
HI = {"role": "user", "content": "Hi"}


def a_request(*messages: dict[str, Any], **fields: Any) -> MessagesRequest:
    return MessagesRequest.model_validate({"model": "m", "messages": list(messages or (HI,))} | fields)


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": said} | fields


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": None, "system": None, "tools": None, "stop_sequences": None, "metadata": None},
        {"max_tokens": 256.0, "thinking": {"type": "adaptive", "display": "summarized"}},
        {"context_management": {"edits": []}, "betas": ["new"], "service_tier": "auto", "container": None},
        {"tools": [{"type": "web_search_20260101", "name": "web_search", "max_uses": 5}]},
        {"tools": [{"name": "a", "input_schema": {"$schema": "x"}, "defer_loading": True, "cache_control": MARK}]},
        {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "brand_new", "content": {"a": [1]}, "x": 1}]}]},
    ],
)
def test_what_agents_send_is_taken(fields: dict[str, Any]) -> None:
    assert a_request(**fields).model == "m"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"max_tokens": 0},
        {"temperature": 3},
        {"top_p": 2},
        {"tools": [{"name": ""}]},
        {"tool_choice": {"type": "all"}},
        {"thinking": {"type": "deep"}},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_request(**fields)


@pytest.mark.parametrize(
    ("system", "texts"),
    [
        (None, []),
        ("Be brief.", ["Be brief."]),
        ("", []),
        ([text("x-anthropic-billing-header: cc_version=2.1;"), text("A"), text("B", cache_control=MARK)], ["A", "B"]),
        ([{"type": "text"}], []),
    ],
)
def test_the_system_is_a_text_or_blocks_without_the_billing_marker(system: Any, texts: list[str]) -> None:
    assert a_request(system=system).system_texts == texts


@pytest.mark.parametrize(
    ("thinking", "shows"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
    ],
)
def test_thoughts_are_shown_where_they_are_asked_for(thinking: Any, shows: bool) -> None:
    assert a_request(thinking=thinking).shows_thoughts is shows


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": MARK},
        {"system": [text("A", cache_control=MARK)]},
        {"tools": [{"name": "a", "cache_control": MARK}]},
        {"messages": [{"role": "user", "content": [text("Hi", cache_control=MARK)]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "tool_result", "content": [text("x", cache_control=MARK)]}]}
            ]
        },
    ],
)
def test_a_mark_for_the_cache_anywhere_ties_requests_together(fields: dict[str, Any]) -> None:
    assert a_request(**fields).prompt_cache_key


def test_without_a_mark_nothing_is_tied() -> None:
    assert a_request(system="A", tools=[{"name": "a"}]).prompt_cache_key is None


def test_the_tie_holds_while_the_conversation_grows_and_the_marks_move() -> None:
    system = [text("x-anthropic-billing-header: 1"), text("You are an agent.", cache_control=MARK)]
    user = {"user_id": "session_1"}
    first = a_request({"role": "user", "content": [text("Hi", cache_control=MARK)]}, system=system, metadata=user)
    later = a_request(
        {"role": "user", "content": [text("Hi")]},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": [text("More", cache_control=MARK)]},
        system=[text("x-anthropic-billing-header: 2"), text("You are an agent.", cache_control=MARK)],
        metadata=user,
    )
    plain = a_request(HI, system=system, metadata=user)
    assert first.prompt_cache_key == later.prompt_cache_key == plain.prompt_cache_key


@pytest.mark.parametrize(
    "fields", [{"metadata": {"user_id": "b"}}, {"system": "B"}, {"messages": [{"role": "user", "content": "Bye"}]}]
)
def test_other_conversations_have_ties_of_their_own(fields: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"cache_control": MARK, "metadata": {"user_id": "a"}, "system": "A"}
    assert a_request(**plain).prompt_cache_key != a_request(**plain | fields).prompt_cache_key
