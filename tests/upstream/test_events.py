"""Whatever the line ends, and wherever the bytes are cut, the same data comes out."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.upstream.events import LARGEST_EVENT, EventDecoder

MIB = 2**20

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
prefixes = st.sampled_from(["data:", "data: ", "data:  ", "data : ", ": ", ":", "event: ", "id: ", "retry: ", ""])
lines = st.one_of(st.just(""), st.builds(str.__add__, prefixes, texts))
ends = st.sampled_from(["\n", "\n\n", "\r\n", "\r\n\r\n", "\r", "\r\r"])
streams = st.lists(st.tuples(lines, ends).map("".join), max_size=12).map(lambda parts: "".join(parts).encode())


def decoded(*pieces: bytes) -> list[bytes]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def by_the_standard(stream: bytes) -> list[bytes]:
    """Line by line, as the standard tells it, with the unfinished event at the end."""
    events, data = [], list[bytes]()
    for line in [*re.split(rb"\r\n|\n|\r", stream), b""]:
        if line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line:
            events.append(b"\n".join(data))
            data = []
    return [event for event in events if event]


@given(streams)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n")
@example(b"\n\ndata: a\n\n\n\ndata: b")
def test_the_data_of_every_event_comes_out(stream: bytes) -> None:
    assert decoded(stream) == by_the_standard(stream)


@given(streams, st.data())
def test_cuts_change_nothing(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decoded(*pieces) == decoded(stream)


@given(streams)
def test_single_bytes_change_nothing(stream: bytes) -> None:
    assert decoded(*(stream[i : i + 1] for i in range(len(stream)))) == decoded(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"response":"a"}\n\ndata: [DONE]\n\n', [b'{"response":"a"}', b"[DONE]"]),
        (b"data:no space\n\n", [b"no space"]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
        (b"data: one\ndata: two\ndata:\n\n", [b"one\ntwo\n"]),
        (b"event: message\nid: 7\ndata: x\nretry: 5\n\n", [b"x"]),
        (b": keep-alive\n\ndata: x\n\n", [b"x"]),
        (b": keep-alive\ndata: x\n\n", [b"x"]),
        (b"data:\n\ndata: \n\n", []),
        ("data: a\u2028b\u2029c\x85d\x0be\x1cf\n\n".encode(), ["a\u2028b\u2029c\x85d\x0be\x1cf".encode()]),
    ],
)
def test_the_forms_of_an_event(stream: bytes, events: list[bytes]) -> None:
    decoder = EventDecoder()
    assert decoder.feed(stream) == events
    assert decoder.close() == []


def test_an_event_comes_out_with_the_byte_that_completes_it() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r\n\r") == []
    assert decoder.feed(b"\n") == [b"b"]


@pytest.mark.parametrize("tail", [b'data: {"resp', b'data: {"resp\n', b'data: {"resp\r\n', b'data: {"resp\n\r'])
def test_an_unfinished_event_comes_out_at_the_end_once(tail: bytes) -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n\n" + tail) == [b"a"]
    assert decoder.close() == [b'{"resp']
    assert decoder.close() == []


def test_an_event_may_be_as_large_as_the_limit_and_no_larger() -> None:
    decoder = EventDecoder()
    for _ in range(LARGEST_EVENT // MIB):
        assert decoder.feed(b"x" * MIB) == []
    with pytest.raises(ValueError, match="no end"):
        decoder.feed(b"x")


def test_many_events_may_be_larger_than_the_limit_together() -> None:
    decoder = EventDecoder()
    event = b"data: " + b"x" * MIB + b"\n\n"
    for _ in range(LARGEST_EVENT // MIB + 1):
        assert decoder.feed(event) == [b"x" * MIB]
