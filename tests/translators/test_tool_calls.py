"""Tool calls in pieces of every make."""

from typing import Any

import pytest

from app.calls import Failure, FailureKind
from app.translators.deltas import ToolCall
from app.translators.tool_calls import ToolCallReader


def piece(arguments: Any = None, *, name: Any = None, **fields: Any) -> dict[str, Any]:
    """As OpenAI has it."""
    return fields | {"function": {"name": name, "arguments": arguments}}


def read(*pieces: Any, **fields: Any) -> list[ToolCall]:
    """The calls, each in one piece, from events of one piece each; the same must come of one event with them all."""
    streamed, whole = ToolCallReader("r", **fields), ToolCallReader("r", **fields)
    deltas = [delta for each in pieces for delta in streamed.feed([each])] + streamed.close()
    assert joined(whole.feed(list(pieces)) + whole.close()) == joined(deltas)
    return joined(deltas)


def joined(deltas: list[ToolCall]) -> list[ToolCall]:
    calls: list[ToolCall] = []
    for delta in deltas:
        if delta.call_index == len(calls):
            assert delta.name
            calls.append(delta)
        else:
            assert (delta.id, delta.name) == (None, None)
            assert delta.arguments
            known = calls[delta.call_index]
            calls[delta.call_index] = known._replace(arguments=known.arguments + delta.arguments)
    return calls


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([None, "x", {}, {"function": "x"}, {"function": {}}], [], id="no pieces at all"),
        pytest.param([{"name": "f", "arguments": {"a": 1}}], [ToolCall(0, '{"a":1}', "call_r0", "f")], id="flat"),
        pytest.param([{"name": "f", "arguments": {}}], [ToolCall(0, "{}", "call_r0", "f")], id="no arguments"),
        pytest.param([{"name": "f"}], [ToolCall(0, "{}", "call_r0", "f")], id="absent arguments"),
        pytest.param([{"name": "f", "arguments": None}], [ToolCall(0, "{}", "call_r0", "f")], id="null arguments"),
        pytest.param([{"name": "f", "arguments": [1]}], [ToolCall(0, "[1]", "call_r0", "f")], id="a list"),
        pytest.param([{"name": "f", "arguments": 0}], [ToolCall(0, "0", "call_r0", "f")], id="a number"),
        pytest.param([{"name": "f", "arguments": '{"a":1}'}], [ToolCall(0, '{"a":1}', "call_r0", "f")], id="a text"),
        pytest.param(
            [{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}],
            [ToolCall(0, "{}", "call_r0", "f"), ToolCall(1, "{}", "call_r1", "f")],
            id="two flat calls to one tool",
        ),
        pytest.param(
            [piece({"a": 1}, name="f", id="c", type="function")], [ToolCall(0, '{"a":1}', "c", "f")], id="nested"
        ),
        pytest.param([piece("{}", name="f", id=7)], [ToolCall(0, "{}", "call_r0", "f")], id="an id that is none"),
        pytest.param([piece("{}", name="f", id="")], [ToolCall(0, "{}", "call_r0", "f")], id="an empty id"),
        pytest.param(
            [
                piece("", name="f", id="c", index=0),
                piece('{"a"', index=0),
                piece(":1}", index=0, id=None, type=None),
                piece("", index=0, id=None),
                piece(None, index=0),
            ],
            [ToolCall(0, '{"a":1}', "c", "f")],
            id="in fragments, with a null piece at the end",
        ),
        pytest.param(
            [piece("", name="f", id="c"), piece('{"a"'), piece(":1}")],
            [ToolCall(0, '{"a":1}', "c", "f")],
            id="without an index",
        ),
        pytest.param(
            [piece('{"a"', index=0), piece(":1}", name="f", id="c", index=0)],
            [ToolCall(0, '{"a":1}', "c", "f")],
            id="arguments before the name",
        ),
        pytest.param(
            [piece('{"a"', id="c", index=0), piece("", name="f", index=0), piece(":1}", index=0)],
            [ToolCall(0, '{"a":1}', "c", "f")],
            id="id, then name, then the rest",
        ),
        pytest.param(
            [piece('{"a"', name="f", id="c", index=0), piece(":1}", name="f", id="c", index=0)],
            [ToolCall(0, '{"a":1}', "c", "f")],
            id="id and name in every piece",
        ),
        pytest.param(
            [piece('{"a":1}', name="f", id="c", index=0), piece(" ", name="f", id="c", index=0)],
            [ToolCall(0, '{"a":1} ', "c", "f")],
            id="white space behind the end",
        ),
        pytest.param(
            [
                piece("", name="f", id="c", index=0),
                piece("", name="g", id="c", index=1),
                piece('{"b":2}', index=1),
                piece('{"a":1}', index=0),
            ],
            [ToolCall(0, '{"a":1}', "c", "f"), ToolCall(1, '{"b":2}', "call_r1", "g")],
            id="two calls share an id, and come in turns",
        ),
        pytest.param(
            [piece("{}", name="f", id="c", index=0), piece("", name="f", id="d", index=0), piece("{ }", index=0)],
            [ToolCall(0, "{}", "c", "f"), ToolCall(1, "{ }", "d", "f")],
            id="an index is used again with another id",
        ),
        pytest.param(
            [piece("{}", name="f", index=0), piece("{}", name="g", index=0)],
            [ToolCall(0, "{}", "call_r0", "f"), ToolCall(1, "{}", "call_r1", "g")],
            id="an index is used again with another name",
        ),
        pytest.param(
            [piece("", name="f", index=0), piece("", name="g", index=0)],
            [ToolCall(0, "{}", "call_r0", "f"), ToolCall(1, "{}", "call_r1", "g")],
            id="the same without arguments",
        ),
        pytest.param(
            [piece("{}", name="f", index=0), piece("{}", name="f", index=0)],
            [ToolCall(0, "{}", "call_r0", "f"), ToolCall(1, "{}", "call_r1", "f")],
            id="an index is used again for a whole call",
        ),
        pytest.param(
            [piece("{}", name="f", id="a", index=3), piece("{}", name="f", id="b", index=7)],
            [ToolCall(0, "{}", "a", "f"), ToolCall(1, "{}", "b", "f")],
            id="indexes with gaps",
        ),
        pytest.param(
            [piece("{}", name="f", id="a", index="0"), piece("{}", name="f", id="b", index=[0])],
            [ToolCall(0, "{}", "a", "f"), ToolCall(1, "{}", "b", "f")],
            id="indexes that are none",
        ),
    ],
)
def test_pieces_are_put_together(pieces: list[Any], expected: list[ToolCall]) -> None:
    assert read(*pieces) == expected


@pytest.mark.parametrize("calls", [None, {}, "x", 7, {"name": "f", "arguments": {}}])
def test_what_is_no_list_holds_no_calls(calls: Any) -> None:
    reader = ToolCallReader("r")
    assert reader.feed(calls) == []
    assert not reader


def test_deltas_come_out_as_soon_as_the_name_is_known() -> None:
    reader = ToolCallReader("r")
    assert reader.feed([piece('{"a"', index=0)]) == []
    assert reader.feed([piece(":", name="f", index=0)]) == [ToolCall(0, '{"a":', "call_r0", "f")]
    assert reader.feed([piece("1}", index=0), piece("", index=0)]) == [ToolCall(0, "1}")]
    assert reader.close() == []


def test_a_call_without_a_name_is_a_failure() -> None:
    reader = ToolCallReader("r")
    reader.feed([piece("{}", index=0)])
    with pytest.raises(Failure, match="without naming it") as caught:
        reader.close()
    assert caught.value.kind is FailureKind.BROKEN


def test_arguments_too_deep_to_be_written_are_a_failure() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(Failure, match="can't be passed on"):
        ToolCallReader("r").feed([{"name": "f", "arguments": deep}])


def test_ids_are_not_used_twice() -> None:
    pieces = [piece("{}", name="f", id="call_0"), piece("{}", name="f", id="a"), piece("{}", name="f", id="a")]
    assert [call.id for call in read(*pieces, used_ids={"call_0"})] == ["call_r0", "a", "call_r2"]
    assert [call.id for call in read(*pieces, keeps_ids=False)] == ["call_r0", "call_r1", "call_r2"]


@pytest.mark.parametrize(
    "further",
    [
        [piece("{}", name="g", id="b", index=1)],
        [piece("", name="g", id="b", index=1)],
        [piece('{"cut', name="g", id="b", index=1)],
        [piece('{"unnamed', index=1)],
        [{"name": "g", "arguments": {}}],
    ],
)
def test_one_call_alone_is_the_first(further: list[Any]) -> None:
    reader = ToolCallReader("r", is_parallel=False)
    deltas = reader.feed([piece('{"a":1}', name="f", id="a", index=0), *further])
    assert deltas + reader.close() == [ToolCall(0, '{"a":1}', "a", "f")]
    assert not reader.is_cut


@pytest.mark.parametrize(
    ("arguments", "is_cut"), [("{}", False), ('{"a":1}', False), ("", False), ('{"a', True), ('{"a":1}}', True)]
)
def test_arguments_that_end_in_the_middle_are_cut(arguments: str, is_cut: bool) -> None:
    reader = ToolCallReader("r")
    reader.feed([{"name": "f", "arguments": {}}, {"name": "g", "arguments": arguments}])
    reader.close()
    assert reader.is_cut is is_cut


def test_what_was_written_can_be_estimated() -> None:
    reader = ToolCallReader("r")
    reader.feed([{"name": "f", "arguments": {"a": 1}}, piece("{}", index=0)])
    assert reader.text == 'f{"a":1}{}'
