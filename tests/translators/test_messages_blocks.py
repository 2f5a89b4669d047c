"""Deltas as Anthropic's blocks: what comes out as events is what stands in the whole."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.translators.deltas import Delta, Text, Thought, ToolCall
from app.translators.messages_blocks import LONGEST_PIECE, Blocks, Event


def events_of(deltas: Iterable[Delta], *, shows_thoughts: bool = True) -> tuple[list[Event], list[dict[str, Any]]]:
    blocks = Blocks("abc", shows_thoughts)
    return [*blocks.feed(deltas), *blocks.close()], blocks.content()


def accumulated(events: Iterable[Event]) -> list[dict[str, Any]]:
    """As Anthropic's clients do it, who trust in the order."""
    content: list[dict[str, Any]] = []
    source, is_open = "", False
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(content)
            content.append(dict(event["content_block"]))
            source, is_open = "", True
            continue
        assert is_open
        assert event["index"] == len(content) - 1
        if event["type"] == "content_block_stop":
            is_open = False
            if content[-1]["type"] == "tool_use":
                content[-1]["input"] = loaded(source)
            continue
        delta = dict(event["delta"])
        kind = delta.pop("type")
        if kind == "input_json_delta":
            source += delta["partial_json"]
        elif kind == "signature_delta":
            content[-1]["signature"] = delta["signature"]
        else:
            ((name, piece),) = delta.items()
            content[-1][name] += piece
    assert not is_open
    return content


def loaded(source: str) -> Any:
    try:
        return orjson.loads(source) or {}
    except orjson.JSONDecodeError:
        return {}


def thinking(words: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": "flarelay-abc"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(number: int, name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_abcn{number}", "name": name, "input": arguments}


def first(number: int, name: str, arguments: str = "") -> ToolCall:
    return ToolCall(number, arguments, f"call_{number}", name)


@pytest.mark.parametrize(
    ("deltas", "content"),
    [
        ([], []),
        ([Text("")], []),
        ([Text(" \n"), Text("\n")], []),
        ([Text("\n\n"), Text("Hi"), Text(" ")], [text("\n\nHi ")]),
        ([Thought("Hm"), Thought("."), Text("Yes")], [thinking("Hm."), text("Yes")]),
        ([Thought(" "), Text("Yes")], [text("Yes")]),
        ([Text("So"), Thought("Hm"), Text("Yes")], [text("So"), thinking("Hm"), text("Yes")]),
        ([Text(" "), first(0, "a", "{}")], [use(0, "a", {})]),
        ([first(0, "a"), ToolCall(0, '{"x":'), ToolCall(0, "1}")], [use(0, "a", {"x": 1})]),
        ([first(0, "a", '{"x":1}'), first(1, "b", "{}")], [use(0, "a", {"x": 1}), use(1, "b", {})]),
        (
            [first(0, "a", '{"x":'), first(1, "b", '{"y":2}'), Text("!"), ToolCall(0, "1}")],
            [use(0, "a", {"x": 1}), use(1, "b", {"y": 2}), text("!")],
        ),
        ([first(0, "a", '{"x":"cut of')], [use(0, "a", {})]),
        ([first(0, "a", "null")], [use(0, "a", {})]),
    ],
)
def test_blocks(deltas: list[Delta], content: list[dict[str, Any]]) -> None:
    events, whole = events_of(deltas)
    assert whole == content
    assert accumulated(events) == content


def test_thoughts_that_nobody_asked_for_are_left_out() -> None:
    assert events_of([Thought("Hm"), Text("Yes")], shows_thoughts=False)[1] == [text("Yes")]


def test_the_first_block_goes_out_as_it_comes() -> None:
    blocks = Blocks("abc", shows_thoughts=True)
    assert [event["type"] for event in blocks.feed([Text("Hi")])] == ["content_block_start", "content_block_delta"]
    assert list(blocks.feed([Text(" you")])) == [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " you"}}
    ]
    assert [event["type"] for event in blocks.feed([first(0, "a")])] == ["content_block_stop", "content_block_start"]
    assert list(blocks.feed([first(1, "b", "{}")])) == []
    assert [event["type"] for event in blocks.feed([ToolCall(0, "{}")])] == [
        "content_block_delta", "content_block_stop", "content_block_start", "content_block_delta"
    ]  # fmt: skip


@pytest.mark.parametrize("source", ['{"x":{}}', '{"x":{}}\n', '{"x":{} }\n \n'])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_call_is_over_with_its_json_once_another_one_has_begun(source: str, size: int) -> None:
    blocks = Blocks("abc", shows_thoughts=True)
    pieces = [source[start : start + size] for start in range(0, len(source), size)]
    begun = [*blocks.feed([first(0, "a"), *(ToolCall(0, piece) for piece in pieces)])]
    assert begun[-1]["type"] == "content_block_delta"
    behind = [*blocks.feed([first(1, "b", "{")]), *blocks.feed([ToolCall(1, "}")])]
    assert [event["type"] for event in behind] == [
        "content_block_stop", "content_block_start", "content_block_delta", "content_block_delta"
    ]  # fmt: skip


def test_a_call_that_looks_over_and_is_not_holds_the_next_one_back() -> None:
    blocks = Blocks("abc", shows_thoughts=True)
    assert len([*blocks.feed([first(0, "a", '{"x":{}')])]) == 2
    for piece in ("{", "}"):
        assert list(blocks.feed([first(1, "b", piece)])) == []
    over = [*blocks.feed([ToolCall(0, "}")])]
    assert [event["index"] for event in over] == [0, 0, 1, 1]


def test_long_texts_are_told_in_pieces() -> None:
    events, whole = events_of([Text("é" * (2 * LONGEST_PIECE + 1))])
    assert [len(event["delta"]["text"]) for event in events[1:-1]] == [LONGEST_PIECE, LONGEST_PIECE, 1]
    assert accumulated(events) == whole


CALLS = st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.text(max_size=5), max_size=3), max_size=4)


@given(
    said=st.lists(st.text(max_size=5), max_size=4),
    thoughts=st.lists(st.text(max_size=5), max_size=3),
    calls=CALLS,
    data=st.data(),
)
def test_the_events_add_up_to_the_whole_however_they_overlap(
    said: list[str], thoughts: list[str], calls: list[dict[str, Any]], data: st.DataObject
) -> None:
    waiting: list[list[Delta]] = [[*map(Thought, thoughts), *map(Text, said)]]
    for number, arguments in enumerate(calls):
        source = orjson.dumps(arguments).decode()
        cut = data.draw(st.integers(0, len(source)))
        waiting.append([first(number, "a", source[:cut]), ToolCall(number, source[cut:])])
    deltas: list[Delta] = []
    while any(waiting):
        deltas.append(data.draw(st.sampled_from([each for each in waiting if each])).pop(0))
    events, whole = events_of(deltas)
    assert accumulated(events) == whole
    uses = {block["id"]: block["input"] for block in whole if block["type"] == "tool_use"}
    assert uses == {f"toolu_abcn{number}": arguments for number, arguments in enumerate(calls)}
    shown = "".join(block["text"] for block in whole if block["type"] == "text")
    assert "".join(shown.split()) == "".join("".join(said).split())
