"""Models that hear: what each takes, and in which form it tells what was really said."""

import base64
from typing import Any

import httpx2
import orjson
import pytest

from app.catalog import Model
from app.emulator.options import Options
from app.emulator.quirks import DEFAULT_QUIRKS
from app.emulator.sound_files import Coding, encoded
from app.emulator.sounds import WORDS, silence, spoken, tone
from app.emulator.transcription import speaker_of
from tests.emulator.asking import Asker, asking, refusal

pytestmark = pytest.mark.anyio

WHISPER = "@cf/openai/whisper"
TINY = "@cf/openai/whisper-tiny-en"
TURBO = "@cf/openai/whisper-large-v3-turbo"
NOVA = "@cf/deepgram/nova-3"
NEMOTRON = "@cf/nvidia/nemotron-speech-streaming-en-0.6b"
LIVE = "@cf/deepgram/flux"

BAD = "Bad input: Error: "
NO_SOUND = (400, 8001, "Invalid input: failed to decode audio file")
CORRUPT = (400, 3030, "failed to process audio: corrupt or unsupported data")
ABSENT = (400, 5006, f"{BAD}required properties at '/' are 'audio'")
NO_STRING = (400, 5006, f"{BAD}Type mismatch of '/audio', 'array' not in 'string'")
NO_ARRAY = (400, 5006, f"{BAD}Type mismatch of '/audio', 'string' not in 'array'")


def wav(pcm: bytes) -> bytes:
    return encoded(pcm, 16000, Coding("wav", "pcm_s16le"))


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def script(**values: Any) -> str:
    return f"!emulate {orjson.dumps(values).decode()}"


HELLO = wav(spoken("Hello little world. Red river", 16000))  # 0-0.25, 0.35-0.6, 0.7-0.95, 1.35-1.6, 1.7-1.95; 2.05 long
SILENT = wav(silence(1, 16000))


async def asked(ask: Asker, model: str, data: bytes, kind: str = "audio/wav", **body: Any) -> httpx2.Response:
    """In the way that the model wants it."""
    if model in (WHISPER, TINY):
        return await ask.run_bytes(model, data, kind)
    if model == NOVA:
        path = f"/accounts/a1/ai/run/{NOVA}"
        return await ask.client.post(path, content=data, headers={"content-type": kind}, params=body)
    return await ask.run(model, audio=text64(data), **body)


async def told(ask: Asker, model: str, data: Any = HELLO, **body: Any) -> Any:
    response = await asked(ask, model, data, **body)
    assert response.status_code == 200, response.text
    assert (response.json()["success"], response.json()["errors"]) == (True, [])
    return response.json()["result"]


def times(words: Any) -> Any:
    """Word, start and end of each, to a hundredth of a second."""
    return [(word["word"], round(word["start"], 2), round(word["end"], 2)) for word in words]


@pytest.mark.parametrize("model", [WHISPER, TINY])
async def test_old_whisper_lists_its_words_at_the_top(ask: Asker, model: str) -> None:
    found = await told(ask, model)
    assert list(found) == ["text", "word_count", "words", "vtt"]
    assert (found["text"], found["word_count"]) == ("hello little world red river", 5)
    assert times(found["words"]) == [
        ("hello", 0, 0.25),
        ("little", 0.35, 0.6),
        ("world", 0.7, 0.95),
        ("red", 1.35, 1.6),
        ("river", 1.7, 1.95),
    ]
    assert found["vtt"] == "WEBVTT\n\n00:00.000 --> 00:01.950\nhello little world red river\n"


@pytest.mark.parametrize("kind", ["application/octet-stream", "audio/mpeg"])
async def test_old_whisper_takes_bytes_and_a_list_of_them(ask: Asker, kind: str) -> None:
    found = (await ask.run_bytes(WHISPER, HELLO, kind)).json()["result"]
    assert found == await ask.ran(WHISPER, audio=list(HELLO), unknown=1)


async def test_turbo_has_its_words_in_segments(ask: Asker) -> None:
    recording = wav(spoken("Hello world", 16000) + silence(0.6, 16000) + spoken("red", 16000))
    found = await told(ask, TURBO, recording)
    assert found["transcription_info"] == {
        "language": "en",
        "language_probability": 0.99,
        "duration": 1.65,
        "duration_after_vad": 1.65,
    }
    assert (found["text"], found["word_count"]) == ("hello world red", 3)
    first, second = found["segments"]
    assert times(first.pop("words")) == [(" hello", 0, 0.25), (" world", 0.35, 0.6)]
    assert times(second["words"]) == [(" red", 1.3, 1.55)]
    assert first == {
        "start": pytest.approx(0, abs=0.01),
        "end": pytest.approx(0.6, abs=0.01),
        "text": " hello world",
        "temperature": 0,
        "avg_logprob": -0.2,
        "compression_ratio": 0.8,
        "no_speech_prob": 0.01,
    }
    assert found["vtt"] == ("WEBVTT\n\n00:00.000 --> 00:00.600\nhello world\n\n00:01.300 --> 00:01.550\nred\n")
    assert list(found) == ["transcription_info", "text", "word_count", "segments", "vtt"]


async def test_a_segment_has_ten_words_at_most(ask: Asker) -> None:
    found = await told(ask, TURBO, wav(spoken(" ".join(WORDS[:23]), 16000)))
    assert [len(segment["words"]) for segment in found["segments"]] == [10, 10, 3]


async def test_turbo_says_what_it_was_asked_for(ask: Asker) -> None:
    found = await told(ask, TURBO, language="fr", task="translate", vad_filter=True, beam_size=3)
    assert found["text"] == "HELLO LITTLE WORLD RED RIVER"
    assert (found["segments"][0]["text"], found["segments"][0]["words"][1]["word"]) == (f" {found['text']}", " LITTLE")
    info = found["transcription_info"]
    assert (info["language"], info["duration"]) == ("fr", 2.05)
    assert info["duration_after_vad"] == pytest.approx(1.25, abs=0.01)


async def test_a_time_beyond_an_hour_has_hours() -> None:
    model = Model("@cf/a/b", "automatic-speech-recognition", input_shape="audio-bytes", output_shape="transcript-words")
    late = encoded(silence(3661, 4000) + tone(640, 0.25, 4000), 4000, Coding("wav", "pcm_mulaw"))
    async with asking(Options(models=(model,))) as ask:
        found = (await ask.run_bytes(model.id, late)).json()["result"]
    assert found["vtt"] == f"WEBVTT\n\n01:01:01.000 --> 01:01:01.250\n{WORDS[17]}\n"


async def test_nova_answers_in_channels(ask: Asker) -> None:
    found = await told(ask, NOVA)
    (channel,) = found["results"]["channels"]
    (alternative,) = channel["alternatives"]
    assert (list(found), list(channel)) == (["results"], ["alternatives"])
    assert (alternative["transcript"], alternative["confidence"]) == ("hello little world red river", 0.98)
    assert times(alternative["words"])[3:] == [("red", 1.35, 1.6), ("river", 1.7, 1.95)]
    assert {tuple(word) for word in alternative["words"]} == {("word", "start", "end", "confidence")}


@pytest.mark.parametrize("switch", ["smart_format", "punctuate"])
async def test_nova_may_punctuate(ask: Asker, switch: str) -> None:
    alternative = (await told(ask, NOVA, **{switch: "true"}))["results"]["channels"][0]["alternatives"][0]
    assert alternative["transcript"] == "Hello little world. Red river."
    words = [(word["word"], word["punctuated_word"]) for word in alternative["words"]]
    assert words[2:4] == [("world", "world."), ("red", "Red")]
    off = (await told(ask, NOVA, **{switch: "false"}))["results"]["channels"][0]["alternatives"][0]
    assert "punctuated_word" not in off["words"][0]


async def test_nova_may_tell_speakers_and_language(ask: Asker) -> None:
    (channel,) = (await told(ask, NOVA, diarize="true", detect_language="true"))["results"]["channels"]
    assert channel["detected_language"] == "en"
    assert [word["speaker"] for word in channel["alternatives"][0]["words"]] == [0, 1, 1, 1, 1]
    assert [speaker_of(WORDS[0]), speaker_of(WORDS[-1])] == [0, 1]


async def test_nova_may_hear_each_channel(ask: Asker) -> None:
    pcm = spoken("red", 16000)
    stereo = b"".join(pcm[at : at + 2] + b"\0\0" for at in range(0, len(pcm), 2))
    raw = {"encoding": "linear16", "sample_rate": "16000", "channels": "2"}
    both = (await told(ask, NOVA, stereo, multichannel="true", **raw))["results"]["channels"]
    assert [channel["alternatives"][0]["transcript"] for channel in both] == ["red", ""]
    (one,) = (await told(ask, NOVA, stereo, **raw))["results"]["channels"]
    assert one["alternatives"][0]["transcript"] == "red"


@pytest.mark.parametrize("count", [1, 3, 8])
async def test_samples_may_have_many_channels(ask: Asker, count: int) -> None:
    pcm = spoken("red", 16000)
    data = b"".join(pcm[at : at + 2] * count for at in range(0, len(pcm), 2))
    raw = {"encoding": "linear16", "sample_rate": "16000", "channels": str(count)}
    channels = (await told(ask, NOVA, data, multichannel="true", **raw))["results"]["channels"]
    assert [channel["alternatives"][0]["transcript"] for channel in channels] == ["red"] * count


async def test_fields_of_other_models_change_nothing(ask: Asker) -> None:
    fields: dict[str, Any] = {"encoding": [], "dtype": {}, "multichannel": True, "temperature": 1, "options": {}}
    assert await told(ask, TURBO, **fields) == await told(ask, TURBO)


async def test_nova_reads_a_header_unless_told_the_rate(ask: Asker) -> None:
    found = await told(ask, NOVA, encoding="linear16", language="en-GB", keyterm=["a", "b"], utt_split="0.8", tags="a")
    assert found["results"]["channels"][0]["alternatives"][0]["transcript"] == "hello little world red river"


async def test_nemotron_tells_text_and_duration(ask: Asker) -> None:
    expected = {"text": "hello little world red river", "duration": 2.05}
    assert await told(ask, NEMOTRON, encoding="wav", unknown=1) == expected
    pcm = spoken("Hello little world. Red river", 8000)
    assert await told(ask, NEMOTRON, pcm, encoding="linear16", sample_rate=8000, channels=1) == expected


@pytest.mark.parametrize("model", [WHISPER, TURBO, NEMOTRON])
async def test_silence_is_an_empty_text(ask: Asker, model: str) -> None:
    found = await told(ask, model, SILENT)
    assert (found["text"], found.get("word_count", 0), found.get("words", [])) == ("", 0, [])
    assert found.get("vtt", "WEBVTT\n") == "WEBVTT\n"
    assert found.get("segments", []) == []


async def test_nova_refuses_silence_unless_a_quirk_is_off() -> None:
    async with asking() as ask:
        assert refusal(await asked(ask, NOVA, SILENT)) == CORRUPT
    async with asking(Options(quirks=DEFAULT_QUIRKS - {"silence-refused"})) as ask:
        (channel,) = (await told(ask, NOVA, SILENT, smart_format="true"))["results"]["channels"]
        assert channel == {"alternatives": [{"transcript": "", "confidence": 0, "words": []}]}


@pytest.mark.parametrize(
    ("model", "expected"),
    [(WHISPER, NO_SOUND), (TINY, NO_SOUND), (TURBO, NO_SOUND), (NEMOTRON, NO_SOUND), (NOVA, CORRUPT)],
)
@pytest.mark.parametrize("data", [b"Hello", HELLO[:30]])
async def test_what_is_no_sound_is_refused(ask: Asker, model: str, data: bytes, expected: Any) -> None:
    assert refusal(await asked(ask, model, data)) == expected


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (WHISPER, {"audio": text64(HELLO)}, NO_ARRAY),
        (WHISPER, {"audio": [256]}, (400, 5006, f"{BAD}'/audio' must hold integers from 0 to 255")),
        (WHISPER, {}, ABSENT),
        (TURBO, {"audio": list(HELLO)}, NO_STRING),
        (TURBO, {"audio": "not base64!"}, (400, 5004, "Invalid data type: '/audio' is not valid base64")),
        (TURBO, {"audio": "ö"}, (400, 5004, "Invalid data type: '/audio' is not valid base64")),
        (TURBO, {"task": "translate"}, ABSENT),
        (NEMOTRON, {"audio": list(HELLO)}, NO_STRING),
        (NOVA, {"audio": {"body": text64(HELLO), "contentType": "audio/wav"}}, ABSENT),
        (NOVA, {"audio": text64(HELLO)}, ABSENT),
        (LIVE, {"audio": text64(HELLO)}, (400, 8001, f"Invalid input: {LIVE} takes WebSocket connections only")),
    ],
)
async def test_each_model_takes_sound_in_one_way(ask: Asker, model: str, body: Any, expected: Any) -> None:
    assert refusal(await ask.run(model, **body)) == expected


@pytest.mark.parametrize(
    ("model", "kind", "expected"),
    [
        (TURBO, "audio/wav", NO_STRING),
        (NEMOTRON, "application/octet-stream", NO_STRING),
        (LIVE, "audio/wav", (400, 8001, f"Invalid input: {LIVE} takes WebSocket connections only")),
        (NOVA, "application/octet-stream", (400, 3003, "Invalid or incomplete request: headers or body missing")),
        (WHISPER, "text/plain", (400, 3003, "Invalid or incomplete request: headers or body missing")),
    ],
)
async def test_bytes_are_not_for_every_model(ask: Asker, model: str, kind: str, expected: Any) -> None:
    assert refusal(await ask.run_bytes(model, HELLO, kind)) == expected


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (TURBO, {"task": "sing"}, "'/task' must be one of 'transcribe', 'translate'"),
        (TURBO, {"task": 1}, "Type mismatch of '/task', 'integer' not in 'string'"),
        (TURBO, {"language": None}, "Type mismatch of '/language', 'null' not in 'string'"),
        (TURBO, {"vad_filter": "true"}, "Type mismatch of '/vad_filter', 'string' not in 'boolean'"),
        (TURBO, {"beam_size": 0}, "'/beam_size' must be >= 1"),
        (TURBO, {"no_speech_threshold": "1"}, "Type mismatch of '/no_speech_threshold', 'string' not in 'number'"),
        (TURBO, {"initial_prompt": ["a"]}, "Type mismatch of '/initial_prompt', 'array' not in 'string'"),
        (NEMOTRON, {"encoding": "mp3"}, "'/encoding' must be one of 'wav', 'flac', 'ogg', 'linear16'"),
        (NEMOTRON, {"channels": 0}, "'/channels' must be >= 1"),
        (NOVA, {"smart_format": "yes"}, "Type mismatch of '/smart_format', 'string' not in 'boolean'"),
        (NOVA, {"diarize": ["true", "true"]}, "Type mismatch of '/diarize', 'array' not in 'boolean'"),
        (NOVA, {"utt_split": "long"}, "Type mismatch of '/utt_split', 'string' not in 'number'"),
        (NOVA, {"channels": "1.5"}, "Type mismatch of '/channels', 'string' not in 'integer'"),
        (NOVA, {"mode": "fast"}, "'/mode' must be one of 'general', 'medical', 'finance'"),
        (
            NOVA,
            {"language": "English"},
            "'/language' does not match pattern '^(multi|[a-z]{2,3}(-[A-Za-z0-9]{2,8})*)$'",
        ),
        (NOVA, {"language": ["en", "de"]}, "Type mismatch of '/language', 'array' not in 'string'"),
        (NOVA, {"interim_results": "true"}, "additional properties at '/' are 'interim_results'"),
    ],
)
async def test_fields_are_checked(ask: Asker, model: str, body: Any, text: str) -> None:
    assert refusal(await asked(ask, model, HELLO, **body)) == (400, 5006, BAD + text)


@pytest.mark.parametrize(
    ("model", "neurons"), [(WHISPER, 41.14), (TURBO, 46.63), (NOVA, 472.73), (NEMOTRON, 0), (TINY, 0)]
)
async def test_minutes_are_paid(ask: Asker, model: str, neurons: float) -> None:
    response = await asked(ask, model, wav(spoken("red", 16000) + silence(2.65, 16000)))
    assert float(response.headers["cf-ai-neurons"]) == pytest.approx(neurons / 20, abs=2e-6)
    assert ask.emulator.meters.neurons_today("a1") == float(response.headers["cf-ai-neurons"])


@pytest.mark.parametrize(
    ("model", "name"), [(TURBO, "initial_prompt"), (TURBO, "prefix"), (NOVA, "extra"), (NEMOTRON, "prefix")]
)
async def test_a_script_may_come_beside_the_sound(ask: Asker, model: str, name: str) -> None:
    failed = await asked(ask, model, HELLO, **{name: script(error={"code": 3040})})
    assert refusal(failed)[:2] == (429, 3040)
    assert "One, two" not in (await asked(ask, model, HELLO, **{name: "One, two"})).text
    assert "one two" in (await asked(ask, model, HELLO, **{name: script(text="One, two")})).text
    assert "hello" not in (await asked(ask, model, HELLO, **{name: script(empty=True)})).text


async def test_what_was_sent_is_there_to_be_looked_at(ask: Asker) -> None:
    await asked(ask, TURBO, HELLO, initial_prompt="Red river")
    await asked(ask, NOVA, HELLO, keyterm="Flarelay")
    first, second = ask.emulator.requests
    assert first.body["initial_prompt"] == "Red river"
    assert (second.query, second.body) == ("keyterm=Flarelay", HELLO)
