"""Transcripts as events, and stitching: whatever the pieces, nothing is lost or doubled."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Reply, Sound, Usage
from app.translators.transcript_events import TranscriptEvents
from app.translators.transcript_formats import written
from app.translators.transcriptions import from_reply
from app.translators.transcripts import Heard, Segment, Word, in_order, joined, transcript
from tests.translators.hearing import NOVA, TURBO, a_plan, a_sound, golden


def events_of(content: bytes) -> list[dict[str, Any]]:
    """Each with the name before it, which is its type."""
    events = []
    for block in content.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def test_each_part_is_a_delta_and_the_whole_comes_last() -> None:
    plan = a_plan(TURBO, stream="true")
    events = TranscriptEvents(plan)
    content = b""
    for start, text in ((0, "Hello there."), (60, ""), (70, "今日は。"), (80, "Yes."), (90, "No.")):
        content += events.feed(Heard(start, start + 10, text, usage=Usage(audio_seconds=10)))
    assert events_of(content + events.end()) == [
        {"type": "transcript.text.delta", "delta": "Hello there."},
        {"type": "transcript.text.delta", "delta": "今日は。"},
        {"type": "transcript.text.delta", "delta": "Yes."},
        {"type": "transcript.text.delta", "delta": " No."},
        {
            "type": "transcript.text.done",
            "text": "Hello there.今日は。Yes. No.",
            "usage": {"type": "duration", "seconds": 100},
        },
    ]
    assert events.usage == Usage(audio_seconds=50)


def test_speakers_come_segment_by_segment() -> None:
    plan = a_plan(NOVA, stream="true", response_format="diarized_json")
    events = TranscriptEvents(plan)
    parts = [from_reply(plan, a_sound(start), golden("speakers")) for start in (0, 3.2)]
    told = events_of(b"".join(map(events.feed, parts)))
    assert [event["type"].rpartition(".")[2] for event in told] == ["delta", *["segment"] * 3] * 2
    whole = orjson.loads(written(plan, transcript(plan, parts))[0])
    assert [event for event in told if "id" in event] == whole["segments"]


def test_nothing_heard_is_an_empty_text() -> None:
    done = {"type": "transcript.text.done", "text": "", "usage": {"type": "duration", "seconds": 0}}
    assert events_of(TranscriptEvents(a_plan()).end()) == [done]


def test_the_language_is_the_one_that_is_heard_most() -> None:
    parts = [Heard(0, 10, "a", language="de"), Heard(10, 40, "b", language="en"), Heard(40, 99, "", language="fr")]
    assert transcript(a_plan(), parts).known_language == "en"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a", "b"], "a b"),
        (["a", "", "", "b"], "a b"),
        (["", "a"], "a"),
        (["今日は。", "いい"], "今日は。いい"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["안녕", "하세요"], "안녕 하세요"),
        ([], ""),
    ],
)
def test_texts_are_joined_as_their_script_is_written(texts: list[str], expected: str) -> None:
    assert joined(texts) == expected


def test_times_that_go_back_are_moved() -> None:
    words = [Word("a", 1, 2), Word("b", 0.5, 0.6), Word("c", 3, 2), Word("d", 3, 4)]
    assert in_order(words) == (Word("a", 1, 2), Word("b", 1, 1), Word("c", 3, 3), Word("d", 3, 4))


TEXTS = st.text("ab .?今。\n-> ", max_size=12)
SEGMENTS = st.lists(
    st.builds(lambda text, start, end: {"text": text, "start": start, "end": end}, TEXTS, st.floats(), st.floats())
)
PIECES = st.lists(
    st.tuples(
        st.floats(0, 90),
        st.none() | st.builds(lambda text, segments: {"text": text, "segments": segments}, TEXTS, SEGMENTS),
    )
)


@settings(deadline=None)
@given(PIECES)
def test_whatever_the_pieces_the_deltas_are_the_text_and_times_go_forward(
    pieces: list[tuple[float, dict[str, Any] | None]],
) -> None:
    plan = a_plan(TURBO, response_format="verbose_json", language="en")
    events = TranscriptEvents(plan)
    parts, content, start = list[Heard](), b"", 0.0
    for duration, body in pieces:
        sound = Sound(b"", "audio/flac", start, duration, body is None)
        parts.append(from_reply(plan, sound, None if body is None else Reply(body)))
        content += events.feed(parts[-1])
        start += duration
    *deltas, done = events_of(content + events.end())
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == transcript(plan, parts).text
    body_ = orjson.loads(written(plan, transcript(plan, parts))[0])
    assert body_["text"] == done["text"]
    assert [segment["id"] for segment in body_["segments"]] == list(range(len(body_["segments"])))
    assert all(segment["start"] <= segment["end"] for segment in body_["segments"])
    assert all(first["start"] <= second["start"] for first, second in pairwise(body_["segments"]))
    assert sum(len(part.segments) for part in parts) == len(body_["segments"])
    assert body_["duration"] == pytest.approx(start, abs=0.001)
    said = "".join(part.text for part in parts)
    assert [each for each in done["text"] if not each.isspace()] == [each for each in said if not each.isspace()]


def test_segments_of_all_parts_go_on_counting() -> None:
    parts = [Heard(i, i + 1, "a", (Segment("a", i, i + 1),)) for i in range(3)]
    assert [each.start for each in transcript(a_plan(), parts).segments] == [0, 1, 2]
