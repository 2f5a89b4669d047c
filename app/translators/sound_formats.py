"""The formats of sounds: the content type of each, and which one bytes are in."""

import re

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""OpenAI's `response_format` -> `Content-Type`."""

BEGINNINGS = {
    "opus": re.compile(rb"OggS.{0,52}?OpusHead", re.DOTALL),
    "ogg": re.compile(rb"OggS"),
    "wav": re.compile(rb"RIFF.{4}WAVE", re.DOTALL),
    "flac": re.compile(rb"fLaC"),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "mp3": re.compile(rb"ID3|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd](?:[\x10-\xef]|$)"),
}
"""The first that matches. A frame of MPEG audio and one of AAC (ADTS) both begin with eleven ones; then come the
version, the layer (0 in AAC alone) and the bit rate. Layer I is left out: it is what quiet samples look like.
Sources: ISO/IEC 11172-3, ISO/IEC 13818-7, RFC 7845 (Opus in Ogg)."""


def format_of(head: bytes) -> str | None:
    """What the first 64 bytes show: `mp3`, `aac`, `wav`, `flac`, `opus` or another `ogg`; None for anything else."""
    return next((name for name, beginning in BEGINNINGS.items() if beginning.match(head)), None)


def is_in(wanted: str, head: bytes) -> bool:
    """Whether a sound that begins so can be in a format. Nothing shows in `pcm`, so it is what is no other format."""
    found = format_of(head)
    return found == wanted or (found is None and wanted == "pcm")
