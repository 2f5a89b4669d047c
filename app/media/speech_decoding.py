"""Speech in whatever file a model made of it -> 24 kHz, 16 bit, mono PCM."""

from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING

from app.media.speech_pcm import FORMAT, LAYOUT, RATE, from_frames, seconds_of
from app.media.speech_wholeness import is_whole

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

LONGEST_SECONDS = 1800
"""No model speaks for half an hour at once; a small file could stand for days."""
RATES = range(4_000, 192_001)
"""Hz. Converting from others takes FFmpeg gigabytes, and a few damaged bytes are enough to ask for them."""
CONTAINERS = "wav,mp3,ogg,flac,aac,mov"
"""FFmpeg's names of the formats that may come: none that leads to further files or addresses, as playlists do."""


def to_pcm(data: bytes) -> bytes:
    """WAV, MP3, Ogg, FLAC, ADTS or MP4 as 24 kHz, 16 bit little-endian, mono PCM, without the encoder's padding.

    Blocks. Raises ValueError for what can't be decoded, breaks off, holds no sound or more than half an hour of it.
    """
    import av  # takes a while, and not every server speaks

    if not is_whole(data):
        raise ValueError("The sound breaks off.")
    options = {"format_whitelist": CONTAINERS}
    try:
        with av.open(BytesIO(data), "r", container_options=options, metadata_errors="ignore") as container:
            pcm = b"".join(_resampled(_decoded(container)))
            breaks_off = seconds_of(len(pcm)) < _told_seconds(container) - 0.001  # which resampling may take
    except (av.FFmpegError, IndexError) as failure:
        raise ValueError("The sound can't be decoded.") from failure
    if not pcm:
        raise ValueError("There is no sound in it.")
    if breaks_off:
        raise ValueError("The sound breaks off.")
    return pcm


def _decoded(container: "InputContainer") -> "Iterator[AudioFrame]":
    stream = container.streams.audio[0]
    if not stream.codec_context:  # as it is where FFmpeg does not know the codec, whatever PyAV's types say
        raise ValueError("The sound can't be decoded.")
    stream.codec_context.thread_count = 1
    seconds = 0.0
    for frame in container.decode(stream):
        if frame.sample_rate not in RATES:
            raise ValueError("The sound can't be decoded.")
        seconds += frame.samples / frame.sample_rate
        if seconds > LONGEST_SECONDS:
            raise ValueError(f"The sound is longer than {LONGEST_SECONDS // 60} minutes.")
        yield frame


def _resampled(frames: "Iterator[AudioFrame]") -> Iterator[bytes]:
    """A file may change its form on the way: where two were joined, or where its first frame tells too little."""
    from av import AudioResampler

    for _, alike in groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        resampler = AudioResampler(FORMAT, LAYOUT, RATE)
        for frame in alike:
            yield from_frames(resampler.resample(frame))
        yield from_frames(frame for frame in resampler.resample(None) if frame)


def _told_seconds(container: "InputContainer") -> float:
    """What the header of a FLAC file says, if it does: others are open, estimated, or were looked at by `is_whole`."""
    stream = container.streams.audio[0]
    if container.format.name != "flac" or stream.duration is None or stream.time_base is None:
        return 0
    return float(stream.duration * stream.time_base)
