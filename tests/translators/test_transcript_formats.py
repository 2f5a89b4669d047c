"""Transcripts as files."""

from io import BytesIO
from typing import Any

import orjson
import pytest
import webvtt
from openai.types.audio import TranscriptionDiarized, TranscriptionVerbose

from app.translators.transcript_formats import JSON, PLAIN, VTT, Speakers, written
from app.translators.transcriptions import from_reply
from app.translators.transcripts import Heard, Segment, transcript
from tests.translators.hearing import NEMOTRON, NOVA, TURBO, WHISPER, a_plan, a_sound, a_translation, golden


def file_of(plan: Any, *parts: Heard) -> tuple[bytes, str]:
    return written(plan, transcript(plan, parts))


def two_pieces(plan: Any, name: str) -> list[Heard]:
    """The same said twice, the second time after an hour."""
    return [from_reply(plan, a_sound(start), golden(name)) for start in (0, 3600)]


def said(text: str, start: float = 0, end: float = 1) -> Heard:
    return Heard(start, end, text, (Segment(text, start, end),))


def body_of(plan: Any, *parts: Heard) -> dict[str, Any]:
    content, content_type = file_of(plan, *parts)
    assert content_type == JSON
    body: dict[str, Any] = orjson.loads(content)
    return body


def test_json_is_the_text_and_begun_seconds() -> None:
    assert body_of(a_plan(), *two_pieces(a_plan(), "segments")) == {
        "text": "Hello there. Goodbye. Hello there. Goodbye.",
        "usage": {"type": "duration", "seconds": 3604},
    }


def test_text_ends_with_a_newline() -> None:
    assert file_of(a_plan(response_format="text"), said("Größe.")) == ("Größe.\n".encode(), PLAIN)


def test_srt_always_has_hours() -> None:
    plan = a_plan(response_format="srt")
    assert file_of(plan, *two_pieces(plan, "segments")) == (
        (
            b"1\n00:00:00,000 --> 00:00:01,100\nHello there.\n\n"
            b"2\n00:00:01,900 --> 00:00:02,600\nGoodbye.\n\n"
            b"3\n01:00:00,000 --> 01:00:01,100\nHello there.\n\n"
            b"4\n01:00:01,900 --> 01:00:02,600\nGoodbye.\n\n"
        ),
        PLAIN,
    )


def test_vtt_has_hours_where_there_are_some() -> None:
    plan = a_plan(response_format="vtt")
    assert file_of(plan, *two_pieces(plan, "segments")) == (
        (
            b"WEBVTT\n\n00:00.000 --> 00:01.100\nHello there.\n\n00:01.900 --> 00:02.600\nGoodbye.\n\n"
            b"01:00:00.000 --> 01:00:01.100\nHello there.\n\n01:00:01.900 --> 01:00:02.600\nGoodbye.\n\n"
        ),
        VTT,
    )


@pytest.mark.parametrize(("form", "arrow"), [("srt", "1 -> 2"), ("vtt", "1 -&gt; 2")])
def test_others_read_the_subtitles_as_they_were_meant(form: str, arrow: str) -> None:
    plan = a_plan(response_format=form)
    content, _ = file_of(plan, said("one\n\n two\r\nthree", 0, 1), said("1 --> 2\0", 1, 2), said("\n", 2, 3))
    captions = webvtt.from_buffer(BytesIO(content), format=form).captions
    assert [(caption.raw_text, caption.start, caption.end) for caption in captions] == [
        ("one\ntwo\nthree", "00:00:00.000", "00:00:01.000"),
        (arrow, "00:00:01.000", "00:00:02.000"),
    ]


def test_vtt_keeps_its_own_signs_out_of_the_text() -> None:
    content, _ = file_of(a_plan(response_format="vtt"), said('a < b & "c" > <i>'))
    assert content.endswith(b'\na &lt; b &amp; "c" &gt; &lt;i&gt;\n\n')


@pytest.mark.parametrize(("form", "content"), [("srt", b""), ("vtt", b"WEBVTT\n\n"), ("text", b"\n")])
def test_silence_makes_an_empty_file(form: str, content: bytes) -> None:
    assert file_of(a_plan(response_format=form), Heard(0, 5))[0] == content


def test_verbose_json_has_all_that_clients_read() -> None:
    plan = a_plan(response_format="verbose_json")
    body = body_of(plan, *two_pieces(plan, "segments"))
    assert body | {"segments": body["segments"][2:3]} == {
        "task": "transcribe",
        "language": "english",
        "duration": 3603.2,
        "text": "Hello there. Goodbye. Hello there. Goodbye.",
        "segments": [
            {
                "id": 2,
                "seek": 360000,
                "start": 3600.0,
                "end": 3601.1,
                "text": " Hello there.",
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": -0.2,
                "compression_ratio": 0.8,
                "no_speech_prob": 0.01,
            }
        ],
        "usage": {"type": "duration", "seconds": 3604},
    }
    assert [segment["id"] for segment in body["segments"]] == [0, 1, 2, 3]
    assert TranscriptionVerbose.model_validate(body, strict=True).duration == 3603.2


@pytest.mark.parametrize(
    ("granularities", "expected"),
    [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_granularities_choose_what_is_told(granularities: list[str], expected: set[str]) -> None:
    plan = a_plan(response_format="verbose_json", timestamp_granularities=granularities)
    body = body_of(plan, from_reply(plan, a_sound(), golden("segments")))
    assert {"segments", "words"} & body.keys() == expected
    words = [("Hello", 0.0, 0.5), ("there.", 0.5, 1.1), ("Goodbye.", 1.9, 2.6)]
    assert [tuple(word.values()) for word in body.get("words", [])] == (words if "word" in granularities else [])


@pytest.mark.parametrize(
    ("model", "fields", "text", "told", "expected"),
    [
        (TURBO, {}, "Hallo.", "de", "german"),
        (TURBO, {"language": "ja"}, "はい。", None, "japanese"),
        (TURBO, {"language": "en"}, "Hallo.", "de", "german"),
        (NEMOTRON, {}, "Hello.", None, "english"),
        (WHISPER, {}, "これはペンです。", None, "japanese"),
        (WHISPER, {}, "", None, "unknown"),
        (TURBO, {}, "Hm.", "xx", "xx"),
    ],
)
def test_the_language_is_spelt_out(
    model: Any, fields: dict[str, Any], text: str, told: str | None, expected: str
) -> None:
    plan = a_plan(model, response_format="verbose_json", **fields)
    assert body_of(plan, Heard(0, 1, text, language=told))["language"] == expected


def test_a_translation_is_english() -> None:
    body = body_of(a_translation(response_format="verbose_json"), Heard(0, 1, "Hello.", language="de"))
    assert (body["task"], body["language"]) == ("translate", "english")


def test_text_without_spaces_gets_none() -> None:
    body = body_of(a_plan(response_format="verbose_json"), said("今日は。"))
    assert body["segments"][0]["text"] == "今日は。"


def test_speakers_are_letters_in_order_of_appearance() -> None:
    plan = a_plan(NOVA, response_format="diarized_json")
    body = body_of(plan, from_reply(plan, a_sound(), golden("speakers")))
    assert body["segments"][1] == {
        "id": "seg_1",
        "type": "transcript.text.segment",
        "start": 1.0,
        "end": 1.2,
        "text": "Hi.",
        "speaker": "B",
    }
    assert [segment["speaker"] for segment in body["segments"]] == ["A", "B", "A"]
    rest = {name: value for name, value in body.items() if name != "segments"}
    text = "Hello there. Hi. How are you?"
    usage = {"type": "duration", "seconds": 4}
    assert rest == {"task": "transcribe", "duration": 3.2, "text": text, "usage": usage}
    assert TranscriptionDiarized.model_validate(body, strict=True).duration == 3.2


def test_there_are_letters_for_everybody() -> None:
    speakers = Speakers()
    letters = [speakers.letter(f"{i}") for i in range(703)]
    assert (letters[0], letters[25], letters[26], letters[51], letters[52]) == ("A", "Z", "AA", "AZ", "BA")
    assert (letters[701], letters[702], speakers.letter("1")) == ("ZZ", "AAA", "B")
