"""The task voice-activity-detection: whether someone has finished speaking. Source: Cloudflare's published types."""

from typing import Any

from app.emulator.hearing import heard
from app.emulator.meters import Meters
from app.emulator.replies import Reply
from app.emulator.results import fail_as_wanted, paid_reply
from app.emulator.run import Run
from app.emulator.sound_files import NoSoundError, Raw, Sound, decoded, in_thread
from app.emulator.sound_input import audio_of, fields_of, raw_of, undecodable
from app.emulator.transcription import minutes_price

LIKELY = 0.5
"""From this probability on, a turn is complete."""
SURE_SECONDS = 0.5
"""So long a silence behind the last word leaves no doubt."""


async def run_turn_detection(run: Run, meters: Meters) -> Reply:
    fields, data = fields_of(run), audio_of(run)
    fail_as_wanted(run)
    try:
        sound, probability = await in_thread(_judged, data, raw_of(fields, run.model))
    except NoSoundError as failure:
        raise undecodable(run.model) from failure
    result: dict[str, Any] = {"is_complete": probability >= LIKELY, "probability": probability}
    return paid_reply(run, meters, result, minutes_price(run, sound.seconds))


def _judged(data: bytes, raw: Raw | None) -> tuple[Sound, float]:
    """The sound, and how likely its turn is complete: the longer the silence at its end, the more."""
    sound = decoded(data, raw)
    words = heard(sound.channels[0])
    silent_seconds = sound.seconds - words[-1].end if words else 0.0
    return sound, round(0.01 + 0.98 * min(1.0, silent_seconds / SURE_SECONDS), 3)
