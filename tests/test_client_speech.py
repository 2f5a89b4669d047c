"""Texts as speech, through OpenAI's own client and on the bare wire. What was said, the emulator's ear hears again."""

import base64
from typing import Any

import httpx2
import openai
import pytest

from app.emulator.hearing import heard
from app.emulator.sound_files import Raw, decoded
from app.emulator.sounds import WORDS
from tests.serving import Cloudflare, Server, answering, body, cloudflare, connected, flarelay, payloads, start, until
from tests.sounding import NAMES, seconds_in

AURA = "@cf/deepgram/aura-1"
MELO = "@cf/myshell-ai/melotts"
SPANISH = "@cf/deepgram/aura-2-es"
SAID = NAMES[:8]
TEXT = " ".join(SAID) + "."
SECONDS = 8 * 0.35 + 0.3
"""What the emulator takes for it."""
BEGINNINGS = {
    "mp3": (b"ID3", b"\xff\xf3", b"\xff\xfb"),
    "opus": (b"OggS",),
    "aac": (b"\xff\xf1",),
    "flac": (b"fLaC",),
    "wav": (b"RIFF",),
    "pcm": (b"",),
}
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
PCM = Raw("s16le", 24_000)


def words_in(data: bytes, response_format: str = "mp3") -> list[str]:
    sound = decoded(data, PCM if response_format == "pcm" else None)
    return [each.word for each in heard(sound.channels[0])]


def say(http: httpx2.Client, text: str = TEXT, model: str = "tts-1", **fields: Any) -> httpx2.Response:
    return http.post("/v1/audio/speech", json={"model": model, "input": text, "voice": "alloy"} | fields)


@pytest.mark.parametrize("model", [AURA, MELO, SPANISH])
@pytest.mark.parametrize("response_format", list(TYPES))
def test_every_format_is_truly_that_format(client: openai.OpenAI, model: str, response_format: Any) -> None:
    answer = client.audio.speech.create(model=model, voice="alloy", input=TEXT, response_format=response_format)
    data = answer.read()
    assert answer.response.headers["content-type"] == TYPES[response_format]
    assert data.startswith(BEGINNINGS[response_format])
    assert seconds_in(data, response_format) == pytest.approx(SECONDS, abs=0.15)
    assert words_in(data, response_format) == SAID


@pytest.mark.parametrize("voice", ["alloy", "asteria", "aura-asteria-en", {"id": "alloy"}, "marin"])
def test_voices_lead_to_speakers(http: httpx2.Client, upstream: Cloudflare, voice: Any) -> None:
    answer = say(http, voice=voice)
    assert "x-flarelay-ignored" not in answer.headers
    assert upstream.sent["speaker"] == ("luna" if voice == "marin" else "asteria")


def test_an_unknown_voice_is_the_models_own_and_told(http: httpx2.Client, upstream: Cloudflare) -> None:
    answer = say(http, voice="Bob", instructions="Whisper.")
    assert answer.status_code == 200
    assert upstream.sent["speaker"] == "angus"
    assert set(answer.headers["x-flarelay-ignored"].split(", ")) == {"voice", "instructions"}


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 4])
@pytest.mark.parametrize("response_format", ["mp3", "wav", "pcm"])
def test_speed_stretches_time(http: httpx2.Client, speed: float, response_format: str) -> None:
    data = say(http, speed=speed, response_format=response_format).content
    assert seconds_in(data, response_format) == pytest.approx(SECONDS / speed, abs=0.15)
    if speed <= 1.5:
        assert words_in(data, response_format)[0] == SAID[0], "at the same pitch"


def test_a_long_text_is_cut_at_sentences_and_joined(http: httpx2.Client, upstream: Cloudflare) -> None:
    sentences = [f"{NAMES[i % 50]} {NAMES[(i * 7) % 50]} {NAMES[(i * 3) % 50]}." for i in range(300)]
    upstream.emulator.requests.clear()
    data = say(http, " ".join(sentences), response_format="flac").content
    calls = list(upstream.emulator.requests)
    assert len(calls) == 3
    assert all(call.body["text"].endswith(".") and call.body["encoding"] == "linear16" for call in calls)
    assert words_in(data, "flac") == " ".join(sentences).replace(".", "").split()


def test_several_calls_make_one_sound_in_raw_form_too(http: httpx2.Client) -> None:
    text = "hello world. " * 300
    data = say(http, text, response_format="pcm").content
    assert words_in(data, "pcm") == text.replace(".", "").split()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The weather is nice today.", "en"),
        ("El tiempo está muy bueno hoy.", "es"),
        ("Il fait très beau aujourd'hui, mon ami.", "fr"),
        ("今天天气很好。", "zh"),
        ("今日はとてもいい天気です。", "jp"),
        ("오늘은 날씨가 아주 좋습니다.", "kr"),
    ],
)
def test_melotts_is_told_the_language(http: httpx2.Client, upstream: Cloudflare, text: str, language: str) -> None:
    assert say(http, text, MELO).status_code == 200
    assert upstream.sent == {"prompt": text, "lang": language}


@pytest.mark.parametrize("quirk", ["melotts-mp3", "melotts-binary", "numeric-keys"])
@pytest.mark.parametrize("response_format", ["mp3", "wav"])
def test_whatever_a_model_answers_is_delivered_as_asked(quirk: str, response_format: str) -> None:
    model = AURA if quirk == "numeric-keys" else MELO
    with cloudflare(quirks=frozenset({quirk})) as upstream, flarelay(upstream) as server, connected(server) as http:
        data = say(http, model=model, response_format=response_format).content
    assert data.startswith(BEGINNINGS[response_format])
    assert words_in(data) == SAID


def test_sound_comes_in_events(http: httpx2.Client) -> None:
    text = f'{TEXT}\n!emulate {{"delay_ms": 10}}'
    answer = say(http, text, stream_format="sse", response_format="pcm")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = payloads("\n\n".join(block.split("\n", 1)[1] for block in answer.text.split("\n\n")[:-1]) + "\n\n")
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(events) > 3
    assert words_in(audio, "pcm") == SAID
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] >= events[-1]["usage"]["input_tokens"] > 0


def test_sound_is_sent_as_it_comes(http: httpx2.Client) -> None:
    """The emulator pauses between the pieces of its answer, so what is here early did not wait for the end."""
    text = TEXT + '\n!emulate {"delay_ms": 20}'
    with http.stream("POST", "/v1/audio/speech", json={"model": AURA, "input": text, "voice": "alloy"}) as answer:
        pieces = [len(piece) for piece in answer.iter_raw()]
    assert len(pieces) > 3


def test_neurons_are_told(http: httpx2.Client) -> None:
    assert float(say(http).headers["x-flarelay-neurons"]) == pytest.approx(1363.64 * len(TEXT) / 1000, rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "  \n"}, "input"),
        ({"input": "a" * 100_001}, "input"),
        ({"speed": 5}, "speed"),
        ({"response_format": "mp4"}, "response_format"),
        ({"model": "gpt-4"}, "model"),
        ({"model": MELO, "language": "de"}, "language"),
    ],
)
def test_what_cannot_be_done_is_told(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/audio/speech", json={"model": "tts-1", "input": TEXT, "voice": "alloy"} | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_failure_before_the_sound_has_its_status(http: httpx2.Client) -> None:
    assert say(http, 'Hello\n!emulate {"error": {"code": 5006}}').status_code == 400


@pytest.mark.parametrize("fields", [{}, {"response_format": "wav", "speed": 2}])
def test_sound_that_breaks_off_breaks_the_connection(http: httpx2.Client, fields: dict[str, Any]) -> None:
    text = " ".join(WORDS) + '\n!emulate {"drop": true}'
    with pytest.raises(httpx2.RemoteProtocolError):
        say(http, text, AURA, **fields)


def test_events_that_break_off_say_so(http: httpx2.Client) -> None:
    text = " ".join(WORDS) + '\n!emulate {"drop": true}'
    answer = say(http, text, AURA, stream_format="sse").text
    assert '"error"' in answer
    assert "speech.audio.done" not in answer


@pytest.mark.parametrize(
    "sends",
    [
        (start("audio/mpeg"), body(b"")),
        (start("application/json"), body(b'{"result":{"audio":""},"success":true,"errors":[]}')),
        (start("application/json"), body(b'{"result":{"audio":"????"},"success":true,"errors":[]}')),
        (start("audio/wav"), body(b"RIFF\x00\x00\x00\x00WAVEgarbage")),
        (start("application/json"), body(b"{")),
    ],
)
def test_what_is_no_sound_is_never_handed_out(sends: Any) -> None:
    with answering(*sends) as http:
        answer = say(http, model=MELO)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"]


def test_nothing_goes_on_when_the_client_leaves(upstream: Cloudflare, server: Server, http: httpx2.Client) -> None:
    text = TEXT * 20 + '\n!emulate {"delay_ms": 100}'
    with http.stream("POST", "/v1/audio/speech", json={"model": AURA, "input": text, "voice": "alloy"}) as answer:
        next(answer.iter_raw())
    until(lambda: not upstream.emulator.open_requests)
    until(lambda: not server.tasks())
