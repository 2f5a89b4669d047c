"""What models answer -> what was heard, in its place."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.translators.transcript_readers import READERS, Place
from app.translators.transcripts import Heard, Segment, Word
from tests.translators.hearing import a_sound, golden

PLACE = Place(0.0, 3.2)


def read(shape: str, body: Any, place: Place = PLACE) -> Heard:
    return READERS[f"transcript-{shape}"](body, place)


def spans(heard: Heard) -> list[tuple[str, float, float]]:
    return [(each.text, each.start, each.end) for each in heard.segments]


def a_word(text: str, start: Any, end: Any, **more: Any) -> dict[str, Any]:
    return {"word": text, "start": start, "end": end} | more


def test_words_make_segments_at_sentences_and_pauses() -> None:
    heard = read("words", golden("words").body, Place(60.0, 63.2))
    assert heard == Heard(
        60.0,
        63.2,
        "Hello there. Goodbye.",
        (Segment("Hello there.", 60.0, 61.1, seek=6000), Segment("Goodbye.", 61.9, 62.6, seek=6000)),
        (Word("Hello", 60.0, 60.5), Word("there.", 60.5, 61.1), Word("Goodbye.", 61.9, 62.6)),
    )


def test_subtitles_make_segments_where_there_are_no_words() -> None:
    heard = read("words", golden("vtt").body)
    assert spans(heard) == [("Hello there.", 0.0, 1.1), ("Goodbye.", 1.9, 2.6)]
    assert heard.words == ()


def test_segments_are_read_with_their_words_and_numbers() -> None:
    heard = read("segments", golden("segments").body, Place(60.0, 63.2))
    assert heard == Heard(
        60.0,
        63.2,
        "Hello there. Goodbye.",
        (
            Segment("Hello there.", 60.0, 61.1, None, 6000, 0.0, -0.2, 0.8, 0.01),
            Segment("Goodbye.", 61.9, 62.6, None, 6000, 0.2, -0.4, 0.8, 0.02),
        ),
        (Word("Hello", 60.0, 60.5), Word("there.", 60.5, 61.1), Word("Goodbye.", 61.9, 62.6)),
        "en",
    )


def test_a_channel_is_read() -> None:
    heard = read("channels", golden("channels").body)
    assert heard == Heard(
        0.0,
        3.2,
        "hello there",
        (Segment("hello there", 0.08, 0.8),),
        (Word("hello", 0.08, 0.4), Word("there", 0.4, 0.8)),
    )


def test_speakers_part_segments() -> None:
    heard = read("channels", golden("speakers").body)
    assert [(each.speaker, each.text) for each in heard.segments] == [
        ("1", "Hello there."),
        ("0", "Hi."),
        ("1", "How are you?"),
    ]
    assert heard.text == "Hello there. Hi. How are you?"
    assert (heard.language, heard.words[-1]) == ("en", Word("you?", 1.6, 1.9, "1"))


def test_channels_are_speakers_put_together_by_time() -> None:
    heard = read("channels", golden("multichannel").body)
    assert [(each.speaker, *span) for each, span in zip(heard.segments, spans(heard), strict=True)] == [
        ("0", "Hello there.", 0.1, 1.2),
        ("1", "Hi.", 0.9, 1.1),
    ]
    assert [word.text for word in heard.words] == ["Hello", "there.", "Hi."]
    assert (heard.text, heard.language) == ("Hello there. Hi.", None)


def test_a_text_without_times_lasts_as_long_as_its_piece() -> None:
    assert spans(read("text", golden("text").body, Place(60.0, 63.2))) == [("Hello there.", 60.0, 63.2)]


ONE = {"channels": [{"alternatives": [{"transcript": "Hi."}]}]}


@pytest.mark.parametrize(
    ("shape", "body", "expected"),
    [
        ("words", {"text": ""}, []),
        ("words", {"text": None, "words": []}, []),
        ("words", {"text": " Hi. "}, [("Hi.", 0.0, 3.2)]),
        ("words", {"text": "Hi.", "vtt": "WEBVTT\n\n"}, [("Hi.", 0.0, 3.2)]),
        ("words", {"text": "Hi.", "words": [{"word": "Hi."}]}, [("Hi.", 0.0, 3.2)]),
        ("words", {"words": [a_word("Hi.", 0, 1)]}, [("Hi.", 0.0, 1.0)]),
        ("words", {"text": "", "words": [a_word("Hi.", 0, 1), a_word(" ", 1, 2)]}, [("Hi.", 0.0, 1.0)]),
        ("words", {"text": "a b", "words": [a_word("a", 0, 1), a_word("b", 1.9, 2)]}, [("a", 0, 1), ("b", 1.9, 2)]),
        ("segments", {"text": "Hi.", "segments": []}, [("Hi.", 0.0, 3.2)]),
        ("segments", {"text": "Hi.", "vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nHi.\n"}, [("Hi.", 1.0, 2.0)]),
        ("segments", {"text": "Hi.", "segments": [{"text": " ", "start": 0}]}, [("Hi.", 0.0, 3.2)]),
        ("segments", {"segments": [{"text": "Hi.", "start": 1}, {"text": "Ho."}]}, [("Hi.", 1, 1), ("Ho.", 1, 1)]),
        ("segments", {"segments": [{"text": "Hi."}]}, [("Hi.", 0.0, 0.0)]),
        ("segments", {"segments": [{"words": [a_word(" Hi", 1, 2), a_word("!", 2, 3)]}]}, [("Hi!", 1.0, 3.0)]),
        ("segments", {"text": "Hi.", "transcription_info": 1}, [("Hi.", 0.0, 3.2)]),
        ("segments", {"text": "Hi.", "transcription_info": {"language": " "}}, [("Hi.", 0.0, 3.2)]),
        ("channels", {"results": ONE}, [("Hi.", 0.0, 3.2)]),
        ("channels", {"results": {"channels": [{"alternatives": []}]}}, []),
        ("channels", {"results": {"channels": [{}, ONE["channels"][0]]}}, [("Hi.", 0.0, 3.2)]),
        ("text", {"text": ""}, []),
    ],
)
def test_what_is_missing_is_made_up_for(shape: str, body: Any, expected: list[tuple[str, float, float]]) -> None:
    heard = read(shape, body)
    assert spans(heard) == expected
    assert heard.text == " ".join(text for text, _, _ in expected)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (-1, 1, (10.0, 11.0)),
        (1, 99, (11.0, 13.0)),
        (2, 1, (12.0, 12.0)),
        (5, 6, (13.0, 13.0)),
        ("1.5", "2.25", (11.5, 12.25)),
        (1, None, (11.0, 11.0)),
        (1, float("nan"), (11.0, 11.0)),
        (1, "soon", (11.0, 11.0)),
        (1, 10**400, (11.0, 11.0)),
        (True, False, (10.0, 10.0)),
        (1.00049, 2.0006, (11.0, 12.001)),
    ],
)
def test_no_time_leaves_its_piece(start: Any, end: Any, expected: tuple[float, float]) -> None:
    body = {"segments": [{"text": "Hi.", "start": start, "end": end}]}
    assert spans(read("segments", body, Place.of(a_sound(10, 3)))) == [("Hi.", *expected)]


def test_words_out_of_order_are_put_in_order() -> None:
    words = [a_word("a", 1, 2), a_word("b", 0.5, 0.7), a_word("c", None, 3)]
    assert read("words", {"text": "a b c", "words": words}).words == (
        Word("a", 1.0, 2.0),
        Word("b", 1.0, 1.0),
        Word("c", 1.0, 3.0),
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([" Half", "-baked", " cake", "."], "Half-baked cake."),
        (["Half-baked", "cake."], "Half-baked cake."),
        (["今日", "は", "。"], "今日は。"),
        (["Half", " baked"], "Half baked"),
        (["e.g.", "this"], "e.g. this"),
    ],
)
def test_words_are_parted_as_the_model_parts_them(words: list[str], expected: str) -> None:
    rows = [a_word(text, i / 10, (i + 1) / 10) for i, text in enumerate(words)]
    assert [each.text for each in read("words", {"text": expected, "words": rows}).segments] == [expected]
    assert read("words", {"words": rows}).text == expected


def test_segments_made_from_words_fit_a_subtitle() -> None:
    slow = [a_word(f"w{i}", i * 1.5, i * 1.5 + 1.4) for i in range(20)]
    heard = read("words", {"text": "", "words": slow}, Place(0, 60))
    assert [each.end - each.start <= 12 for each in heard.segments] == [True] * 3
    quick = [a_word("abcdefghi", i / 10, i / 10 + 0.1) for i in range(20)]
    heard = read("words", {"text": "", "words": quick}, Place(0, 60))
    assert [len(each.text) for each in heard.segments] == [79, 79, 39]


@pytest.mark.parametrize(
    ("vtt", "expected"),
    [
        (
            "WEBVTT\r\n\r\n1\r\n01:00:01,000 --> 01:00:02.500 align:start\r\n<v Ann>Tom &amp;\r\nAnn</v>\r\n",
            [("Tom &\nAnn", 3601.0, 3602.5)],
        ),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\n\n\n00:01.000 --> 00:02.000\nHi.\n\n", [("Hi.", 1.0, 2.0)]),
        ("WEBVTT\n\n0:: --> 00:01.000\nHi.", [("Hi.", 0.0, 1.0)]),
    ],
)
def test_subtitles_are_read(vtt: str, expected: list[tuple[str, float, float]]) -> None:
    assert spans(read("words", {"text": "x", "vtt": vtt}, Place(0.0, 4000.0))) == expected


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("words", None),
        ("words", "Hello."),
        ("words", {}),
        ("words", {"text": 5}),
        ("words", {"text": "Hi.", "words": "Hi."}),
        ("words", {"text": "Hi.", "words": ["Hi."]}),
        ("words", {"text": "Hi.", "words": [{"word": 1, "start": 0}]}),
        ("segments", []),
        ("segments", {"segments": [{"start": 0}]}),
        ("segments", {"segments": {"text": "Hi."}}),
        ("segments", {"segments": [{"text": "Hi.", "words": [1]}]}),
        ("channels", {}),
        ("channels", {"results": []}),
        ("channels", {"results": {"channels": []}}),
        ("channels", {"results": {"channels": [{"alternatives": [{}]}]}}),
        ("text", {"duration": 3.2}),
        ("text", b"Hello."),
    ],
)
def test_what_can_not_be_read_is_a_failure(shape: str, body: Any) -> None:
    with pytest.raises(Failure) as failure:
        read(shape, body)
    assert (failure.value.kind, failure.value.status) == (FailureKind.BROKEN, 502)


TIMES = st.none() | st.floats() | st.integers() | st.text(max_size=4) | st.floats(0, 100).map(str)
WORDS = st.fixed_dictionaries(
    {"word": st.text(max_size=6)}, optional={"start": TIMES, "end": TIMES, "speaker": st.integers(0, 3)}
)
ROWS = st.lists(WORDS, max_size=8)
BODIES = st.one_of(
    st.fixed_dictionaries({"text": st.text(max_size=20), "words": ROWS}).map(lambda body: ("words", body)),
    st.fixed_dictionaries({"text": st.text(max_size=20), "vtt": st.text(":.0123456789->\nab", max_size=60)}).map(
        lambda body: ("words", body)
    ),
    st.fixed_dictionaries(
        {
            "text": st.text(max_size=20),
            "segments": st.lists(
                st.fixed_dictionaries({"text": st.text(max_size=9), "start": TIMES, "end": TIMES, "words": ROWS})
            ),
        }
    ).map(lambda body: ("segments", body)),
    st.lists(ROWS, min_size=1, max_size=3).map(
        lambda each: (
            "channels",
            {"results": {"channels": [{"alternatives": [{"transcript": "", "words": rows}]} for rows in each]}},
        )
    ),
)


@settings(deadline=None)
@given(BODIES, st.floats(0, 1e5), st.floats(0, 2000))
def test_whatever_is_answered_times_are_in_order_and_in_their_piece(
    answer: tuple[str, Any], start: float, duration: float
) -> None:
    place = Place.of(a_sound(start, duration))
    heard = read(*answer, place)
    words = [(each.text, each.start, each.end) for each in heard.words]
    for timed in (words, spans(heard)):
        assert all(place.start <= start <= end <= place.end for _, start, end in timed)
        assert all(first[1] <= second[1] for first, second in pairwise(timed))
        assert all(text.strip() for text, _, _ in timed)
    assert heard.text == heard.text.strip()
