"""Recordings as text, through OpenAI's own client and on the bare wire."""

import base64
import socket
import struct
from collections.abc import Iterator
from io import StringIO
from typing import Any

import httpx2
import openai
import pytest
import webvtt

from app.emulator.sound_files import Coding, encoded
from app.emulator.sounds import silence
from tests.serving import DEADLINE_SECONDS, KEY, Cloudflare, Server, cloudflare, connected, flarelay, until
from tests.sounding import NAMES, recording

TURBO = "@cf/openai/whisper-large-v3-turbo"
WHISPER = "@cf/openai/whisper"
TINY = "@cf/openai/whisper-tiny-en"
NOVA = "@cf/deepgram/nova-3"
SAID = NAMES[:5]
TEXT = " ".join(SAID)
LONG = [NAMES[i % len(NAMES)] for i in range(200)]
"""200 seconds: four pieces or more."""


@pytest.fixture(scope="module")
def wav() -> bytes:
    return recording(SAID)


@pytest.fixture(scope="module")
def long_wav() -> bytes:
    return recording(LONG)


def ask(http: httpx2.Client, data: bytes, **fields: Any) -> httpx2.Response:
    form = {"model": "whisper-1"} | fields
    return http.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", data)})


@pytest.mark.parametrize("model", ["whisper-1", TURBO, WHISPER, TINY, NOVA])
def test_every_model_hears_the_words(client: openai.OpenAI, wav: bytes, model: str) -> None:
    heard = client.audio.transcriptions.create(model=model, file=("a.wav", wav))
    assert heard.text.lower().replace(".", "") == TEXT


@pytest.mark.parametrize("model", [TURBO, WHISPER, NOVA])
def test_words_come_with_their_times(client: openai.OpenAI, wav: bytes, model: str) -> None:
    heard = client.audio.transcriptions.create(
        model=model,
        file=("a.wav", wav),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert heard.words
    assert heard.segments
    assert [word.word.lower().strip(".") for word in heard.words] == SAID
    assert [word.start for word in heard.words] == pytest.approx(range(5), abs=0.03)
    assert heard.duration == pytest.approx(5, abs=0.01)
    assert heard.language == "english"
    assert all(value is not None for segment in heard.segments for value in segment.to_dict().values())
    assert {len(segment.to_dict()) for segment in heard.segments} == {10}


def test_texts_come_as_texts(client: openai.OpenAI, http: httpx2.Client, wav: bytes) -> None:
    said: Any = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav), response_format="text")
    assert said == f"{TEXT}\n"
    assert ask(http, wav, response_format="text").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("response_format", "read", "content_type"),
    [("srt", webvtt.from_srt, "text/plain"), ("vtt", webvtt.from_buffer, "text/vtt")],
)
@pytest.mark.parametrize("model", ["whisper-1", WHISPER, NOVA])
def test_subtitles_are_read_by_others(
    http: httpx2.Client, wav: bytes, tmp_path: Any, response_format: str, read: Any, content_type: str, model: str
) -> None:
    answer = ask(http, wav, response_format=response_format, model=model)
    assert answer.headers["content-type"].startswith(content_type)
    path = tmp_path / "a.srt"
    path.write_text(answer.text)
    captions = list(read(path) if response_format == "srt" else read(StringIO(answer.text)))
    assert " ".join(caption.text for caption in captions).lower().replace(".", "") == TEXT
    assert captions[0].start_in_seconds == 0


def test_streams_end_with_the_whole_text(client: openai.OpenAI, long_wav: bytes) -> None:
    events = list(client.audio.transcriptions.create(model="whisper-1", file=("a.wav", long_wav), stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) > 3, "a piece at a time"
    assert [event.type for event in events][-1] == "transcript.text.done"
    assert "".join(deltas) == " ".join(LONG) == events[-1].text  # type: ignore[union-attr]


def test_speakers_are_told_apart(client: openai.OpenAI) -> None:
    said = [NAMES[0], NAMES[1], NAMES[-1], NAMES[-2]]
    heard: Any = client.audio.transcriptions.create(
        model=NOVA, file=("a.wav", recording(said)), response_format="diarized_json", chunking_strategy="auto"
    )
    assert heard.segments[0].speaker == "A"
    assert {segment.speaker for segment in heard.segments} == {"A", "B"}


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's client, of the whole endpoint
def test_speech_is_translated_into_english(client: openai.OpenAI, wav: bytes) -> None:
    assert client.audio.translations.create(model="whisper-1", file=("a.wav", wav)).text == TEXT.upper()


def test_a_long_recording_is_stitched_exactly(http: httpx2.Client, upstream: Cloudflare, long_wav: bytes) -> None:
    upstream.emulator.requests.clear()
    heard = ask(http, long_wav, **{"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]})
    body = heard.json()
    assert len(upstream.emulator.requests) >= 4
    assert [word["word"] for word in body["words"]] == LONG
    assert [word["start"] for word in body["words"]] == pytest.approx(range(200), abs=0.03)
    assert [segment["id"] for segment in body["segments"]] == list(range(len(body["segments"])))
    assert "".join(segment["text"] for segment in body["segments"]).split() == LONG
    assert body["duration"] == pytest.approx(200, abs=0.01)
    assert float(heard.headers["x-flarelay-neurons"]) == pytest.approx(46.63 * 200 / 60, rel=0.01)


def test_pieces_in_order_know_what_was_said(upstream: Cloudflare, long_wav: bytes) -> None:
    with flarelay(upstream, transcription_pieces_at_once=1) as server, connected(server) as http:
        assert ask(http, long_wav, prompt="Names: Ada").json()["text"] == " ".join(LONG)
    prompts = [request.body.get("initial_prompt", "") for request in list(upstream.emulator.requests)[-4:]]
    assert all(prompt.startswith("Names: Ada") for prompt in prompts)
    assert LONG[40] in prompts[-1] or len(prompts[-1]) > len("Names: Ada")


def test_chunked_forms_are_read(http: httpx2.Client, wav: bytes) -> None:
    """Open WebUI streams its forms: no content-length."""
    whole = httpx2.Request("POST", "http://x", data={"model": "whisper-1"}, files={"file": ("a.wav", wav)})

    def chunks() -> Iterator[bytes]:
        content = whole.read()
        yield from (content[start : start + 1000] for start in range(0, len(content), 1000))

    headers = {"content-type": whole.headers["content-type"]}
    answer = http.post("/v1/audio/transcriptions", content=chunks(), headers=headers)
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert answer.json()["text"] == TEXT


def test_json_with_base64_is_read(http: httpx2.Client, wav: bytes) -> None:
    sound = {"data": base64.b64encode(wav).decode(), "format": "wav"}
    answer = http.post("/v1/audio/transcriptions", json={"model": "whisper-1", "input_audio": sound})
    assert answer.json()["text"] == TEXT


def test_what_a_model_takes_for_silence_is_an_empty_text(http: httpx2.Client, upstream: Cloudflare) -> None:
    """nova-3 refuses it as corrupt, which it is not: it has been decoded before."""
    rustling = struct.pack("<32000h", *(100 * (-1) ** i for i in range(32_000)))
    upstream.emulator.requests.clear()
    answer = ask(http, encoded(rustling, 16_000, Coding("wav", "pcm_s16le")), model=NOVA)
    assert answer.json() == {"text": "", "usage": {"type": "duration", "seconds": 2}}
    assert len(upstream.emulator.requests) == 1


def test_silence_is_an_empty_text(http: httpx2.Client) -> None:
    quiet = encoded(silence(2, 16_000), 16_000, Coding("wav", "pcm_s16le"))
    assert ask(http, quiet, model=NOVA).json()["text"] == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_audio"),
        (b"\x00" * 5000, "invalid_audio"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.wav\n", "invalid_audio"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "invalid_audio"),
    ],
)
def test_what_is_no_recording_is_refused(http: httpx2.Client, data: bytes, code: str) -> None:
    error = ask(http, data).json()["error"]
    assert (error["param"], error["code"]) == ("file", code)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "@cf/deepgram/flux"}, "model"),
        ({"model": "gpt-4"}, "model"),
        ({"response_format": "yaml"}, "response_format"),
        ({"language": "klingon"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"model": TINY, "language": "fr"}, "language"),
    ],
)
def test_what_cannot_be_done_is_told(http: httpx2.Client, wav: bytes, fields: dict[str, str], param: str) -> None:
    answer = ask(http, wav, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_large_upload_is_refused(upstream: Cloudflare, wav: bytes) -> None:
    with flarelay(upstream, max_upload_bytes=1000) as server, connected(server) as http:
        assert ask(http, wav).status_code == 413


@pytest.fixture(scope="module")
def failing() -> Iterator[tuple[Cloudflare, Server]]:
    """Cloudflare has no capacity for every second piece."""
    own = {"max_tries": 1, "transcription_pieces_at_once": 1}
    with cloudflare(busy_every={TURBO: 2}) as upstream, flarelay(upstream, **own) as server:
        yield upstream, server


def test_a_failure_behind_the_first_piece_is_no_transcript(failing: tuple[Cloudflare, Server], long_wav: bytes) -> None:
    with connected(failing[1]) as http:
        answer = ask(http, long_wav)
    assert answer.status_code == 503
    assert "text" not in answer.json()


def test_a_stream_that_fails_does_not_look_whole(failing: tuple[Cloudflare, Server], long_wav: bytes) -> None:
    with connected(failing[1]) as http:
        events = ask(http, long_wav, stream="true").text
    assert "transcript.text.delta" in events
    assert '"error"' in events
    assert "transcript.text.done" not in events


def test_nothing_goes_on_when_the_client_leaves(long_wav: bytes) -> None:
    form = httpx2.Request(
        "POST", "http://x/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", long_wav)}
    )
    fields = {"host": "x", "authorization": f"Bearer {KEY}"} | dict(form.headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with cloudflare(latency_seconds=DEADLINE_SECONDS) as upstream, flarelay(upstream) as server:
        with socket.create_connection(server.socket.getsockname(), DEADLINE_SECONDS) as connection:
            connection.sendall(f"POST {form.url.path} HTTP/1.1\r\n{head}\r\n".encode() + form.read())
            until(lambda: upstream.emulator.open_requests == 4)
        until(lambda: not upstream.emulator.open_requests)
        assert upstream.emulator.cancelled_requests == 4
        until(lambda: not server.tasks())


def test_the_key_is_asked_for_before_anything_is_read(server: Server, wav: bytes) -> None:
    with connected(server, authorization="Bearer wrong") as http:
        assert ask(http, wav).status_code == 401
