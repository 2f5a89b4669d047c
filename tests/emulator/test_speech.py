"""Models that speak: what they take, and real sound in every format, in which the words can be heard again."""

import base64
from typing import Any

import httpx2
import orjson
import pytest

from app.catalog import Model
from app.emulator.hearing import heard
from app.emulator.options import Options
from app.emulator.quirks import DEFAULT_QUIRKS
from app.emulator.sound_files import Raw, decoded
from app.emulator.sounds import WORDS
from tests.emulator.asking import Asker, asking, refusal

pytestmark = pytest.mark.anyio

MELO = "@cf/myshell-ai/melotts"
AURA = "@cf/deepgram/aura-1"
AURA_EN = "@cf/deepgram/aura-2-en"
AURA_ES = "@cf/deepgram/aura-2-es"
BAD = "Bad input: Error: "
TEXT = "Hello little world. The river is red!"
SAID = ["hello", "little", "world", "the", "river", "is", "red"]
ES_SPEAKERS = ["sirio", "nestor", "carina", "celeste", "alvaro", "diana", "aquila", "selena", "estrella", "javier"]
PCM = {"encoding": "linear16", "container": "none"}


def script(**values: Any) -> str:
    return f"!emulate {orjson.dumps(values).decode()}"


def words_in(data: bytes, raw: Raw | None = None) -> list[str]:
    return [word for word, _, _ in heard(decoded(data, raw).channels[0])]


async def said(ask: Asker, model: str, **body: Any) -> httpx2.Response:
    response = await ask.run(model, **body)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(
    ("body", "content_type", "start", "raw"),
    [
        ({}, "audio/mpeg", b"ID3", None),
        ({"encoding": "mp3", "container": "none"}, "audio/mpeg", b"ID3", None),
        ({"encoding": "mp3", "bit_rate": 32000, "sample_rate": 22050}, "audio/mpeg", b"ID3", None),
        ({"encoding": "linear16"}, "audio/wav", b"RIFF", None),
        ({"encoding": "linear16", "container": "wav", "sample_rate": 48000}, "audio/wav", b"RIFF", None),
        (PCM, "audio/l16", bytes(2), Raw("s16le", 24000)),
        (PCM | {"sample_rate": 8000}, "audio/l16", bytes(2), Raw("s16le", 8000)),
        ({"encoding": "flac"}, "audio/flac", b"fLaC", None),
        ({"encoding": "flac", "sample_rate": 22050}, "audio/flac", b"fLaC", None),
        ({"encoding": "mulaw"}, "audio/wav", b"RIFF", None),
        ({"encoding": "mulaw", "container": "none"}, "audio/basic", b"\xff", Raw("mulaw", 8000)),
        ({"encoding": "alaw", "sample_rate": 16000}, "audio/wav", b"RIFF", None),
        ({"encoding": "alaw", "container": "none"}, "audio/x-alaw-basic", b"\xd5", Raw("alaw", 8000)),
        ({"encoding": "opus"}, "audio/ogg", b"OggS", None),
        ({"encoding": "opus", "container": "ogg", "bit_rate": 650000}, "audio/ogg", b"OggS", None),
        ({"encoding": "aac"}, "audio/aac", b"\xff", None),
        ({"encoding": "aac", "bit_rate": 192000}, "audio/aac", b"\xff", None),
    ],
)
async def test_every_format_says_the_words(
    ask: Asker, body: Any, content_type: str, start: bytes, raw: Raw | None
) -> None:
    response = await said(ask, AURA, text=TEXT, **body)
    assert response.headers["content-type"] == content_type
    assert response.content.startswith(start)
    assert words_in(response.content, raw) == SAID


@pytest.mark.parametrize(("model", "speaker"), [(AURA, "luna"), (AURA_EN, "zeus"), (AURA_ES, "sirio")])
async def test_every_speaker_says_the_same(ask: Asker, model: str, speaker: str) -> None:
    by_speaker = await said(ask, model, text="red", speaker=speaker, **PCM)
    assert by_speaker.content == (await said(ask, model, text="red", **PCM)).content
    assert len(by_speaker.content) == 2 * 24000 * 0.35


async def test_the_whole_vocabulary_can_be_said(ask: Asker) -> None:
    response = await said(ask, AURA_EN, text=" ".join(WORDS))
    assert words_in(response.content) == WORDS


@pytest.mark.parametrize("lang", ["en", "es", "fr", "zh", "jp", "kr"])
async def test_melotts_answers_with_a_wav_in_json(ask: Asker, lang: str) -> None:
    result = (await said(ask, MELO, prompt=TEXT, lang=lang, speed=2)).json()["result"]
    data = base64.b64decode(result["audio"], validate=True)
    assert (list(result), data[:4], words_in(data)) == (["audio"], b"RIFF", SAID)
    assert int.from_bytes(data[24:28], "little") == 44100


async def test_melotts_may_answer_with_mp3() -> None:
    async with asking(Options(quirks=DEFAULT_QUIRKS | {"melotts-mp3"})) as ask:
        result = (await said(ask, MELO, prompt=TEXT)).json()["result"]
    data = base64.b64decode(result["audio"], validate=True)
    assert (data[:3], words_in(data)) == (b"ID3", SAID)


async def test_melotts_may_answer_with_bytes(ask: Asker) -> None:
    response = await said(ask, MELO, prompt=f"{TEXT}\n{script(quirks=['melotts-binary'])}")
    assert response.headers["content-type"] == "audio/mpeg"
    assert words_in(response.content) == SAID


async def test_bytes_may_come_as_json(ask: Asker) -> None:
    response = await said(ask, AURA, text=f"{TEXT}\n{script(quirks=['numeric-keys'])}", **PCM)
    assert response.headers["content-type"] == "application/json"
    result = response.json()["result"]
    data = bytes(result[str(number)] for number in range(len(result)))
    assert data == (await said(ask, AURA, text=TEXT, **PCM)).content


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (MELO, {"text": "red"}, "required properties at '/' are 'prompt'"),
        (MELO, {"prompt": ""}, "'/prompt' must NOT have fewer than 1 characters"),
        (MELO, {"prompt": ["red"]}, "Type mismatch of '/prompt', 'array' not in 'string'"),
        (MELO, {"prompt": "red", "lang": "ja"}, "'/lang' must be one of 'en', 'es', 'fr', 'zh', 'jp', 'kr'"),
        (AURA, {"prompt": "red"}, "required properties at '/' are 'text'"),
        (AURA, {"text": ""}, "'/text' must NOT have fewer than 1 characters"),
        (AURA, {"text": "a" * 2001}, "'/text' must NOT have more than 2000 characters"),
        (AURA, {"text": "a", "speaker": 1}, "Type mismatch of '/speaker', 'integer' not in 'string'"),
        (
            AURA_ES,
            {"text": "a", "speaker": "luna"},
            f"'/speaker' must be one of {', '.join(map(repr, ES_SPEAKERS))}",
        ),
        (
            AURA,
            {"text": "a", "encoding": "wav"},
            "'/encoding' must be one of 'mp3', 'linear16', 'flac', 'mulaw', 'alaw', 'opus', 'aac'",
        ),
        (AURA, {"text": "a", "container": "mp4"}, "'/container' must be one of 'none', 'wav', 'ogg'"),
        (AURA, {"text": "a", "container": "wav"}, "'/container' must be one of 'none' with encoding 'mp3'"),
        (
            AURA,
            {"text": "a", "encoding": "opus", "container": "none"},
            "'/container' must be one of 'ogg' with encoding 'opus'",
        ),
        (
            AURA,
            {"text": "a", "encoding": "linear16", "container": "ogg"},
            "'/container' must be one of 'wav', 'none' with encoding 'linear16'",
        ),
        (AURA, {"text": "a", "sample_rate": 44100}, "'/sample_rate' must be one of '22050' with encoding 'mp3'"),
        (
            AURA,
            {"text": "a", "encoding": "mulaw", "sample_rate": 24000},
            "'/sample_rate' must be one of '8000', '16000' with encoding 'mulaw'",
        ),
        (AURA, {"text": "a", "bit_rate": 8000}, "'/bit_rate' must be >= 32000 with encoding 'mp3'"),
        (
            AURA,
            {"text": "a", "encoding": "flac", "bit_rate": 8000},
            "'/bit_rate' is not allowed with encoding 'flac'",
        ),
    ],
)
async def test_what_is_refused(ask: Asker, model: str, body: Any, text: str) -> None:
    assert refusal(await ask.run(model, **body)) == (400, 5006, BAD + text)


@pytest.mark.parametrize(("model", "kind"), [(AURA, "audio/wav"), (MELO, "application/octet-stream")])
async def test_bytes_are_refused(ask: Asker, model: str, kind: str) -> None:
    assert refusal(await ask.run_bytes(model, b"red", kind))[:2] == (400, 3003)


async def test_fields_of_others_change_nothing(ask: Asker) -> None:
    usual = (await said(ask, AURA, text="red", **PCM)).content
    body = {"voice": "alloy", "speed": 2, "instructions": "Sing", "prompt": "blue"}
    assert (await said(ask, AURA, text="red", **body, **PCM)).content == usual


async def test_a_voice_nobody_knows_may_be_asked_of_a_new_model() -> None:
    model = Model("@cf/new/voice", "text-to-speech", input_shape="speech", output_shape="audio-binary")
    async with asking(Options(models=(model,))) as ask:
        response = await said(ask, model.id, text=TEXT, speaker="anyone")
        assert (words_in(response.content), response.headers["cf-ai-neurons"]) == (SAID, "0.000000")


@pytest.mark.parametrize(
    ("model", "body", "neurons"),
    [
        (AURA, {"text": "a" * 500}, 681.82),
        (AURA_EN, {"text": "a" * 100}, 272.727),
        (AURA_EN, {"text": "a" * 100 + "\n" + script(text="b")}, 272.727),
        (MELO, {"prompt": "red " * 20}, 18.63 * 7 / 60),
    ],
)
async def test_characters_or_minutes_are_paid(ask: Asker, model: str, body: Any, neurons: float) -> None:
    response = await said(ask, model, **body)
    assert float(response.headers["cf-ai-neurons"]) == pytest.approx(neurons, abs=2e-6)
    assert ask.emulator.meters.neurons_today("a1") == float(response.headers["cf-ai-neurons"])


async def test_a_file_comes_in_pieces(ask: Asker) -> None:
    path, body = f"/accounts/a1/ai/run/{AURA}", {"text": f"{TEXT}\n{script(delay_ms=1)}", **PCM}
    async with ask.client.stream("POST", path, json=body) as response:
        assert "content-length" not in response.headers
        pieces = [piece async for piece in response.aiter_raw()]
    assert {len(piece) for piece in pieces[:-1]} == {4096}
    assert words_in(b"".join(pieces), Raw("s16le", 24000)) == SAID


async def test_a_script_says_how_large_the_pieces_are(ask: Asker) -> None:
    path, body = f"/accounts/a1/ai/run/{AURA}", {"text": f"red\n{script(cut_bytes=1000)}", **PCM}
    async with ask.client.stream("POST", path, json=body) as response:
        sizes = [len(piece) async for piece in response.aiter_raw()]
    assert sizes == [1000] * 16 + [800]


@pytest.mark.parametrize(("model", "name"), [(AURA, "text"), (MELO, "prompt")])
async def test_a_script_may_say_something_else(ask: Asker, model: str, name: str) -> None:
    def data(response: httpx2.Response) -> bytes:
        return response.content if model == AURA else base64.b64decode(response.json()["result"]["audio"])

    assert words_in(data(await said(ask, model, **{name: "red " + "\n" + script(text="blue bird")}))) == [
        "blue",
        "bird",
    ]
    assert data(await said(ask, model, **{name: script(empty=True)})) == b""
    assert refusal(await ask.run(model, **{name: script(error={"code": 3040})}))[:2] == (429, 3040)


async def test_a_file_may_break_off(ask: Asker) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await ask.run(AURA, text=f"red\n{script(drop=True)}")


async def test_a_text_without_words_is_silence(ask: Asker) -> None:
    data = (await said(ask, AURA, text="...")).content
    assert words_in(data) == []
    assert decoded(data).seconds == pytest.approx(0.1, abs=0.01)
