"""Requests for speech -> calls, and replies -> sounds."""

import base64
from typing import Any

import orjson
import pytest

from app.calls import Failure, FailureKind, Reply, Usage
from app.catalog import Catalog, Model
from app.errors import BadRequestError
from app.routes.bodies import validated
from app.schemas.speech import SpeechRequest
from app.translators.base import Context, Plan
from app.translators.sound_formats import CONTENT_TYPES, format_of, is_in
from app.translators.speech import Delivery, audio_in, delta_event, done_event, from_replies, speech, usage_of

CATALOG = Catalog.load()
AURA = CATALOG.resolve("@cf/deepgram/aura-1")
ENGLISH = CATALOG.resolve("@cf/deepgram/aura-2-en")
SPANISH = CATALOG.resolve("@cf/deepgram/aura-2-es")
MELO = CATALOG.resolve("@cf/myshell-ai/melotts")
NEW = Model("@cf/new/speaker", "text-to-speech")

MP3 = {"encoding": "mp3"}
PCM = {"encoding": "linear16", "container": "none", "sample_rate": 24000}
LONG = "This is a sentence. " * 150
"""3000 characters."""


def a_plan(model: Model, **fields: Any) -> Plan[SpeechRequest]:
    request = validated(SpeechRequest, orjson.dumps({"input": "Hello there."} | fields))
    return speech.to_plan(request, Context(model, "m", id="abc", created=1790000000))


@pytest.mark.parametrize(
    ("model", "fields", "expected", "ignored"),
    [
        (AURA, {}, {"speaker": "angus"} | MP3, ()),
        (AURA, {"voice": "alloy", "input": "  Hello there.\n"}, {"speaker": "asteria"} | MP3, ()),
        (AURA, {"voice": {"id": "Onyx"}}, {"speaker": "zeus"} | MP3, ()),
        (AURA, {"voice": "LUNA"}, {"speaker": "luna"} | MP3, ()),
        (AURA, {"voice": "aura-asteria-en"}, {"speaker": "asteria"} | MP3, ()),
        (AURA, {"voice": "aura-2-thalia-en"}, {"speaker": "angus"} | MP3, ("voice",)),
        (ENGLISH, {"voice": "Aura-2-Thalia-en"}, {"speaker": "thalia"} | MP3, ()),
        (ENGLISH, {"voice": "en-US-AriaNeural"}, {"speaker": "luna"} | MP3, ("voice",)),
        (SPANISH, {"voice": "nova"}, {"speaker": "selena"} | MP3, ()),
        (
            AURA,
            {"instructions": "Whisper.", "language": "en", "user": "u", "sample_rate": 8000, "encoding": "mulaw"},
            {"speaker": "angus"} | MP3,
            ("instructions", "language", "user", "sample_rate", "encoding"),
        ),
        (AURA, {"instructions": "", "lang": "", "x": None, "stream": True}, {"speaker": "angus"} | MP3, ()),
        (AURA, {"response_format": "pcm"}, {"speaker": "angus"} | PCM, ()),
        (AURA, {"response_format": "opus"}, {"speaker": "angus", "encoding": "opus", "container": "ogg"}, ()),
        (AURA, {"speed": 1.0}, {"speaker": "angus"} | MP3, ()),
        (AURA, {"speed": 1.5}, {"speaker": "angus"} | PCM, ()),
        (MELO, {}, {"lang": "en"}, ()),
        (MELO, {"voice": "alloy"}, {"lang": "en"}, ("voice",)),
        (MELO, {"language": "ja", "x": 1}, {"lang": "jp"}, ("x",)),
        (MELO, {"lang": "fr-CA"}, {"lang": "fr"}, ()),
        (MELO, {"language": "Auto"}, {"lang": "en"}, ()),
        (NEW, {}, {}, ()),
        (NEW, {"voice": "Alloy"}, {}, ("voice",)),
        (NEW, {"voice": "Xenia"}, {"speaker": "xenia"}, ()),
        (NEW, {"voice": "aura-3-xenia-en"}, {"speaker": "xenia"}, ()),
    ],
)
def test_a_request_becomes_the_call_of_its_model(
    model: Model, fields: dict[str, Any], expected: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    plan = a_plan(model, **fields)
    (call,) = plan.calls
    text_field = "prompt" if model is MELO else "text"
    assert (call.model, call.path, call.content) == (model.id, f"run/{model.id}", None)
    assert call.body == {text_field: "Hello there."} | expected
    assert plan.ignored == ignored


def test_a_model_with_a_language_field_finds_the_language_in_the_text() -> None:
    assert a_plan(MELO, input="今天天气很好，我们去公园散步吧。").calls[0].body["lang"] == "zh"
    bonjour = "Bonjour, comment allez-vous aujourd'hui ? Je suis très content de vous voir."
    assert a_plan(MELO, input=bonjour).calls[0].body["lang"] == "fr"
    assert a_plan(MELO, input="12345").calls[0].body["lang"] == "en"


@pytest.mark.parametrize(
    "fields",
    [
        {"language": "de"},
        {"language": "?!"},
        {"language": "Klingon"},
        {"lang": "sv-SE"},
        {"language": "de", "lang": "en"},
    ],
)
def test_a_language_that_the_model_does_not_speak_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BadRequestError, match=r"'m' does not speak '.*', but en, es, fr, ja, ko, zh\.") as failure:
        a_plan(MELO, **fields)
    assert failure.value.param == next(iter(fields))


def test_a_long_text_becomes_a_call_for_each_piece_in_samples() -> None:
    plan = a_plan(AURA, input=LONG, response_format="flac", stream_format="sse")
    texts = [call.body["text"] for call in plan.calls]
    assert [len(text) for text in texts] == [1999, 999]
    assert " ".join(texts) == LONG.strip()
    assert all(
        call.body == {"text": text, "speaker": "angus"} | PCM for call, text in zip(plan.calls, texts, strict=True)
    )
    assert plan.reading == Delivery("flac", "pcm", 1, "sse", 2998)


def test_a_piece_of_nothing_but_space_is_no_call() -> None:
    plan = a_plan(AURA, input="One." + " " * 5000 + "Two.")
    assert [call.body["text"] for call in plan.calls] == ["One.", "Two."]


@pytest.mark.parametrize(
    ("model", "fields", "delivery"),
    [
        (AURA, {}, Delivery("mp3", "mp3", 1, "audio", 12)),
        (AURA, {"response_format": "aac", "speed": 0.5}, Delivery("aac", "pcm", 0.5, "audio", 12)),
        (MELO, {"response_format": "wav", "speed": 2}, Delivery("wav", None, 2, "audio", 12)),
        (NEW, {"stream_format": "sse"}, Delivery("mp3", None, 1, "sse", 12)),
    ],
)
def test_what_becomes_of_the_sounds_is_told(model: Model, fields: dict[str, Any], delivery: Delivery) -> None:
    assert a_plan(model, **fields).reading == delivery


def near(neurons: float) -> Any:
    return pytest.approx(neurons)


def test_usage_is_characters_or_minutes_by_the_price_list() -> None:
    assert usage_of(a_plan(AURA), 2.5) == Usage(
        3, neurons=near(0.012 * 1363.64), is_estimated=True, audio_seconds=2.5, is_priced=True
    )
    assert usage_of(a_plan(AURA, input=LONG)).neurons == near(2.998 * 1363.64)
    assert usage_of(a_plan(MELO), 90) == Usage(
        3, neurons=near(1.5 * 18.63), is_estimated=True, audio_seconds=90, is_priced=True
    )
    assert usage_of(a_plan(MELO)).neurons is None
    assert usage_of(a_plan(NEW), 90).neurons is None


def test_replies_are_sounds_and_their_own_charge_goes_before_the_list() -> None:
    plan = a_plan(AURA, input=LONG)
    sounds, usage = from_replies(plan, [Reply(b"one", neurons=2), Reply({"audio": "dHdv"}, neurons=3)])
    assert (sounds, usage.neurons) == ([b"one", b"two"], 5)
    assert from_replies(plan, [Reply(b"one", neurons=2), Reply(b"two")])[1].neurons == near(2.998 * 1363.64)


@pytest.mark.parametrize(
    "body",
    [
        b"ID3",
        {"audio": "SUQz"},
        {"audio": "SU\nQz"},
        {"audio": "data:audio/mpeg;base64,SUQz"},
        {"0": 73, "1": 68, "2": 51},
        {"2": 51, "0": 73, "1": 68},
        [73, 68, 51],
    ],
)
def test_a_sound_is_read_whatever_form_it_comes_in(body: Any) -> None:
    assert audio_in(body) == b"ID3"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "without a sound"),
        ({}, "without a sound"),
        ([], "without a sound"),
        (None, "without a sound"),
        ("SUQz", "without a sound"),
        ({"audio": None}, "without a sound"),
        ({"audio": ""}, "without a sound"),
        ({"audio": "SUQ*"}, "can't be read"),
        ({"audio": "é"}, "can't be read"),
        ({"error": "x"}, "can't be read"),
        ({"0": 73, "2": 68}, "can't be read"),
        ({"0": 256}, "can't be read"),
        ([73, -1], "can't be read"),
        ([True], "can't be read"),
        ([1.0], "can't be read"),
    ],
)
def test_what_is_no_sound_is_a_failure(body: Any, told: str) -> None:
    with pytest.raises(Failure, match=told) as failure:
        audio_in(body)
    assert (failure.value.kind, failure.value.status) == (FailureKind.BROKEN, 502)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xf3\x44\xc4", "mp3"),
        (b"\xff\xe3\x18\xc4", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\xff\xf9\x50\x80", "aac"),
        (b"\xff\xe9\x50\x80", None),
        (b"RIFF\x24\x00\n\x00WAVEfmt ", "wav"),
        (b"RIFF\x24\x00\n\x00WEBP", None),
        (b"OggS\x00\x02" + b"\0\n" * 11 + b"OpusHead", "opus"),
        (b"OggS\x00\x02" + b"\0" * 22 + b"\x01vorbis", "ogg"),
        (b"OggS" + b"\0" * 60 + b"OpusHead", "ogg"),
        (b"fLaC\x00", "flac"),
        (b"\xff\xff\xff\xff", None),
        (b"\xff\xfb\xff\xff", None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_a_format_shows_in_the_first_bytes(head: bytes, expected: str | None) -> None:
    assert format_of(head) == expected


def test_samples_are_what_is_no_other_format() -> None:
    assert is_in("pcm", b"\0\0\xff\xff")
    assert is_in("mp3", b"ID3\x04")
    assert not is_in("pcm", b"ID3\x04")
    assert not is_in("wav", b"\0\0\xff\xff")
    assert not is_in("opus", b"fLaC")


def test_every_format_has_a_content_type() -> None:
    assert CONTENT_TYPES == {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
    }


def test_events_are_openais() -> None:
    data = bytes(range(256))
    encoded = base64.b64encode(data)
    assert delta_event(data) == (
        b'event: speech.audio.delta\ndata: {"type":"speech.audio.delta","audio":"' + encoded + b'"}\n\n'
    )
    assert done_event(Usage(14, 101)) == (
        b'event: speech.audio.done\ndata: {"type":"speech.audio.done",'
        b'"usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n'
    )
