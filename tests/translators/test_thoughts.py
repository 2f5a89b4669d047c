"""Thoughts in tags at the head of an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translators.deltas import Text, Thought
from app.translators.thoughts import ThoughtSplitter, split_thoughts

PARTS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<THINKING>", "</thinking>", "<", "</", "think>", "\n", " ", "a", "İ", "b<"]
    )
)


def stream(pieces: list[str], finish_reason: str | None = "stop", *, untagged: bool = False) -> list[Text | Thought]:
    splitter = ThoughtSplitter(untagged)
    deltas = [delta for piece in pieces for delta in splitter.feed(piece)]
    assert "" not in [delta.text for delta in deltas]
    return deltas + splitter.close(finish_reason)


def joined(deltas: list[Text | Thought]) -> list[Text | Thought]:
    """With neighbours of one kind made one."""
    out: list[Text | Thought] = []
    for delta in deltas:
        if out and type(out[-1]) is type(delta):
            out[-1] = type(delta)(out[-1].text + delta.text)
        else:
            out.append(delta)
    return out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello.", [Text("Hello.")]),
        ("<think>Hm.</think>Hello.", [Thought("Hm."), Text("Hello.")]),
        ("<think>\nHm.\n</think>\n\nHello.\n", [Thought("Hm.\n"), Text("Hello.\n")]),
        ("<think>\r\n Hm.</think>\r\n Hello.", [Thought(" Hm."), Text(" Hello.")]),
        ("\n <think>Hm.</think>Hello.", [Thought("Hm."), Text("Hello.")]),
        ("<thinking>Is it </think>?</thinking>No.", [Thought("Is it </think>?"), Text("No.")]),
        ("<THINK>Hm.</Think>Hello.", [Thought("Hm."), Text("Hello.")]),
        ("<think>\n\n</think>\n\nHello.", [Text("Hello.")]),
        ("<think>a < b, </thin></think>Yes.", [Thought("a < b, </thin>"), Text("Yes.")]),
        ("<think>Hm.</think><think>no tag any more</think>", [Thought("Hm."), Text("<think>no tag any more</think>")]),
        ("Write <think> first.</think>", [Text("Write <think> first.</think>")]),
        ("<thinker>x", [Text("<thinker>x")]),
        ("<think", [Text("<think")]),
        (" \n", [Text(" \n")]),
        ("  Hello", [Text("  Hello")]),
        ("<think>Never done", [Thought("Never done")]),
        ("<think>Never done </thi", [Thought("Never done </thi")]),
        ("<think>", []),
        ("<think>Hm.</think>\n", [Thought("Hm.")]),
        ("", []),
    ],
)
def test_tagged_thoughts_are_told_from_the_answer_wherever_the_text_is_cut(
    text: str, expected: list[Text | Thought]
) -> None:
    assert joined(split_thoughts(text, "stop", untagged=False)) == expected
    assert joined(stream([*text])) == expected


@pytest.mark.parametrize(
    ("text", "finish_reason", "expected"),
    [
        ("Hm.</think>Hello.", "stop", [Thought("Hm."), Text("Hello.")]),
        ("\nHm.\n</think>\n\nHello.", "stop", [Thought("Hm.\n"), Text("Hello.")]),
        ("<think>\nHm.</think>\nHello.", "stop", [Thought("Hm."), Text("Hello.")]),
        ("<thinking>Hm.</thinking>Hello.", "stop", [Thought("Hm."), Text("Hello.")]),
        ("Hm.</think>", "length", [Thought("Hm.")]),
        ("Hm. Is <think> a tag?", "length", [Thought("Hm. Is <think> a tag?")]),
        ("Hm.</thi", "length", [Thought("Hm.</thi")]),
        ("<thi", "length", [Thought("<thi")]),
        ("\nThe answer is 4 < 5.\n", "stop", [Text("\nThe answer is 4 < 5.\n")]),
        ("<think>\nThe answer is 4.", None, [Text("The answer is 4.")]),
        ("<thi", "stop", [Text("<thi")]),
        ("", "stop", []),
        ("<think>\n", "stop", []),
    ],
)
def test_an_untagged_text_is_a_thought_up_to_the_closing_tag(
    text: str, finish_reason: str | None, expected: list[Text | Thought]
) -> None:
    assert joined(split_thoughts(text, finish_reason, untagged=True)) == expected


def test_a_stream_without_a_closing_tag_shows_the_answer_as_a_thought_and_then_as_text() -> None:
    assert stream(["The answer", " is 4."], untagged=True) == [
        Thought("The answer"),
        Thought(" is 4."),
        Text("The answer is 4."),
    ]


def test_pieces_come_out_at_once_and_only_what_may_be_a_tag_is_held_back() -> None:
    splitter = ThoughtSplitter(False)
    pieces = ["<thi", "nk>", "\n", "One", " <", "b> <", "/think", ">", "\n", "Two", " <", "three"]
    assert [splitter.feed(piece) for piece in pieces] == [
        [],
        [],
        [],
        [Thought("One")],
        [Thought(" ")],
        [Thought("<b> ")],
        [],
        [],
        [],
        [Text("Two")],
        [Text(" <")],
        [Text("three")],
    ]
    assert splitter.close("stop") == []


def test_an_empty_piece_is_nothing() -> None:
    assert stream(["", "<think>a", "", "</think>b", ""]) == [Thought("a"), Text("b")]


@settings(deadline=None)
@given(PARTS, st.booleans(), st.sampled_from(["stop", "length", None]), st.data())
def test_cutting_a_text_differently_changes_nothing(
    parts: list[str], untagged: bool, finish_reason: str | None, data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = stream([text], finish_reason, untagged=untagged)
    assert joined(stream(pieces, finish_reason, untagged=untagged)) == joined(whole)


@settings(deadline=None)
@given(st.text())
def test_a_text_without_tags_passes_unchanged(text: str) -> None:
    assert "".join(delta.text for delta in stream([*text])) == text
    assert all(isinstance(delta, Text) for delta in stream([*text]))
