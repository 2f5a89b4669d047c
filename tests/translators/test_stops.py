"""Stop strings in a text that comes in pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.translators.stops import StopCutter

SHORT_TEXT = st.text("ab<", max_size=40)
STOPS = st.lists(st.text("ab<", max_size=5), max_size=4)


def cut(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    cutter = StopCutter(stops)
    return [*(cutter.feed(piece) for piece in pieces), cutter.close()], cutter.is_stopped


@pytest.mark.parametrize(
    ("stops", "pieces", "expected", "is_stopped"),
    [
        (["END"], ["Hello", " world"], ["Hello", " world", ""], False),
        (["END"], ["Hello END more", " and more"], ["Hello ", "", ""], True),
        (["END"], ["Hello E", "ND more"], ["Hello ", "", ""], True),
        (["END"], ["Hello E", "lse"], ["Hello ", "Else", ""], False),
        (["END"], ["the EN"], ["the ", "EN"], False),
        (["\n\n"], ["a\n", "b\n", "\nc"], ["a", "\nb", "", ""], True),
        (["b", "ab"], ["xab"], ["x", ""], True),
        (["abcX", "c"], ["ab", "c", "X"], ["", "", "", ""], True),
        (["abcX", "c"], ["abcd"], ["ab", ""], True),
        (["abcX", "c"], ["abc"], ["", "ab"], True),
        (["", ""], ["all of it"], ["all of it", ""], False),
        ([], ["all of it"], ["all of it", ""], False),
        (["🦊"], ["a🦊b"], ["a", ""], True),
    ],
)
def test_text_ends_at_the_first_stop_string(
    stops: list[str], pieces: list[str], expected: list[str], is_stopped: bool
) -> None:
    assert cut(pieces, stops) == (expected, is_stopped)


@settings(deadline=None)
@given(st.lists(SHORT_TEXT), STOPS)
def test_pieces_end_where_the_whole_would(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    found = [whole.find(stop) for stop in stops if stop and stop in whole]
    assert "".join(cut(pieces, stops)[0]) == (whole[: min(found)] if found else whole)
    assert cut(pieces, stops)[1] == bool(found)


@settings(deadline=None)
@given(st.lists(SHORT_TEXT), STOPS)
def test_no_more_is_held_back_than_may_be_the_beginning_of_a_stop(pieces: list[str], stops: list[str]) -> None:
    cutter = StopCutter(stops)
    fed = out = ""
    for piece in pieces:
        fed += piece
        out += cutter.feed(piece)
        if cutter.is_stopped:
            break
        held = fed[len(out) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)
