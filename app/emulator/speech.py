"""The task text-to-speech: a text as tones, in real files, which our own hearing turns into the same words again."""

import base64
from dataclasses import replace

from app.emulator.meters import Meters
from app.emulator.replies import Reply, sliced
from app.emulator.results import fail_as_wanted, paid_bytes, paid_reply
from app.emulator.run import Run
from app.emulator.script import script_of
from app.emulator.sound_files import encoded, in_thread
from app.emulator.sounds import spoken
from app.emulator.transcription import minutes_price
from app.emulator.voice import MP3, WAV, Delivery, check_melo, delivery_of

PIECE_BYTES = 4096
"""Of a streamed answer."""


async def run_speech(run: Run, meters: Meters) -> Reply:
    if run.model.output_shape == "audio-base64":
        return await _run_melo(run, meters)
    delivery = delivery_of(run.body, run.model)
    fail_as_wanted(run)
    text = script_of(run.body["text"])[1]
    data, _ = await in_thread(_said, run, text, delivery)
    neurons = _characters_price(run, text)
    if "numeric-keys" in run.quirks:
        return paid_reply(run, meters, {str(number): byte for number, byte in enumerate(data)}, neurons)
    return _streamed(run, paid_bytes(run, meters, data, delivery.content_type, neurons))


async def _run_melo(run: Run, meters: Meters) -> Reply:
    check_melo(run.body)
    fail_as_wanted(run)
    delivery = MP3 if run.quirks & {"melotts-mp3", "melotts-binary"} else WAV
    data, seconds = await in_thread(_said, run, script_of(run.body["prompt"])[1], delivery)
    neurons = minutes_price(run, seconds)
    if "melotts-binary" in run.quirks:
        return _streamed(run, paid_bytes(run, meters, data, delivery.content_type, neurons))
    return paid_reply(run, meters, {"audio": base64.b64encode(data).decode()}, neurons)


def _said(run: Run, text: str, delivery: Delivery) -> tuple[bytes, float]:
    """A file and how many seconds it lasts."""
    if run.script.empty:
        return b"", 0.0
    pcm = spoken(text if run.script.text is None else run.script.text, delivery.sample_rate)
    data = encoded(pcm, delivery.sample_rate, delivery.coding, delivery.bit_rate)
    return data, len(pcm) / 2 / delivery.sample_rate


def _characters_price(run: Run, text: str) -> float:
    """Neurons of a text."""
    per_thousand = next((price.neurons for price in run.model.price if price.unit == "characters_1k"), 0.0)
    return round(per_thousand * len(text) / 1000, 6)


def _streamed(run: Run, reply: Reply) -> Reply:
    """In several pieces, whose length nobody knows beforehand."""
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    body = reply.body if run.script.cut_bytes else sliced(reply.body, PIECE_BYTES)
    return replace(reply, body=body, headers=headers, pause_seconds=run.script.delay_ms / 1000)
