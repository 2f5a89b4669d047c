"""Whether someone has finished speaking."""

import base64
from array import array
from typing import Any

import pytest

from app.emulator.sound_files import Coding, encoded
from app.emulator.sounds import silence, spoken
from tests.emulator.asking import Asker, refusal

pytestmark = pytest.mark.anyio

TURN = "@cf/pipecat-ai/smart-turn-v2"
BAD = "Bad input: Error: "
DONE = spoken("Hello world.", 16000) + silence(0.2, 16000)
GOING_ON = spoken("Hello world", 16000)


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wav(pcm: bytes) -> str:
    return text64(encoded(pcm, 16000, Coding("wav", "pcm_s16le")))


@pytest.mark.parametrize(
    ("pcm", "is_complete", "probability"),
    [(DONE, True, 0.99), (GOING_ON, False, 0.206), (silence(1, 16000), False, 0.01)],
)
async def test_a_turn_ends_in_silence(ask: Asker, pcm: bytes, is_complete: bool, probability: float) -> None:
    expected = {"is_complete": is_complete, "probability": pytest.approx(probability, abs=0.03)}
    assert await ask.ran(TURN, audio=wav(pcm)) == expected
    assert await ask.ran(TURN, audio=wav(pcm), dtype="uint8") == expected


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "f"), ("float64", "d")])
async def test_samples_may_come_by_themselves(ask: Asker, dtype: str, kind: str) -> None:
    samples = array(kind, [sample / 32768 for sample in array("h", DONE)])
    found = await ask.ran(TURN, audio=text64(samples.tobytes()), dtype=dtype)
    assert found == {"is_complete": True, "probability": pytest.approx(0.99)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, 5006, f"{BAD}required properties at '/' are 'audio'")),
        ({"audio": [1]}, (400, 5006, f"{BAD}Type mismatch of '/audio', 'array' not in 'string'")),
        ({"audio": "7"}, (400, 5004, "Invalid data type: '/audio' is not valid base64")),
        ({"audio": "7777"}, (400, 8001, "Invalid input: failed to decode audio file")),
        ({"audio": "", "dtype": "float32"}, (400, 8001, "Invalid input: failed to decode audio file")),
        ({"audio": "", "dtype": "int"}, (400, 5006, f"{BAD}'/dtype' must be one of 'uint8', 'float32', 'float64'")),
    ],
)
async def test_what_is_refused(ask: Asker, body: dict[str, Any], expected: Any) -> None:
    assert refusal(await ask.run(TURN, **body)) == expected


async def test_bytes_are_refused(ask: Asker) -> None:
    response = await ask.run_bytes(TURN, base64.b64decode(wav(DONE)), "audio/wav")
    assert refusal(response) == (400, 5006, f"{BAD}Type mismatch of '/audio', 'array' not in 'string'")


async def test_a_minute_has_its_price(ask: Asker) -> None:
    response = await ask.run(TURN, audio=wav(silence(6, 16000)))
    assert float(response.headers["cf-ai-neurons"]) == pytest.approx(3.07227, abs=1e-5)
