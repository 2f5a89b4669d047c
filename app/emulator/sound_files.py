"""Sound files: PCM into bytes of a format, and bytes of any format into what is needed to hear them."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar, TypeVarTuple, cast

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

# PyAV is imported by the functions that use it: the server should be ready sooner than it is.
if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.audio.resampler import AudioResampler
    from av.container import InputContainer

HEARING_RATE = 16000
"""Samples a second that are listened to."""
QUIET, UP, DOWN = b"_ud"
"""What a sample is: next to nothing, or above or below zero."""
THREADS = 2

_WHITELIST = "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,aac,aiff,caf,amr,au"
"""No playlists: they would have PyAV open whatever file or address they name."""
_HIGH_BYTE = 1 if sys.byteorder == "little" else 0
_SIGNS = bytes([QUIET, QUIET, *[UP] * 126, *[DOWN] * 126, QUIET, QUIET])
"""High byte of a sample -> what it is; quiet is less than 512 of 32767."""
_FRAME_SAMPLES = 4096

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class NoSoundError(Exception):
    """What can't be decoded."""


class Raw(NamedTuple):
    """What bytes without a header are: PyAV's name of the format, and the rest that is not in them."""

    format: str
    sample_rate: int
    channels: int = 1


class Coding(NamedTuple):
    """PyAV's names of a format and a codec."""

    format: str
    codec: str


class Sound(NamedTuple):
    """Decoded sound: one byte for each of 16,000 samples a second, which is QUIET, UP or DOWN."""

    channels: list[bytes]

    @property
    def seconds(self) -> float:
        return len(self.channels[0]) / HEARING_RATE


async def in_thread(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Coding holds no more than a few of the threads that serve everything."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, *arguments, limiter=limiter)


_limiter: RunVar[CapacityLimiter] = RunVar("_limiter")


def decoded(data: bytes, raw: Raw | None = None, *, is_mono: bool = True) -> Sound:
    """Blocks. Raises NoSoundError for what is no sound, is damaged, or is empty."""
    import av

    try:
        with _opened(data, raw) as container:
            layout = "mono" if is_mono else container.streams.audio[0].layout.name
            channels = _levels(container, av.AudioResampler("s16", layout, HEARING_RATE))
    except (av.FFmpegError, IndexError) as failure:
        raise NoSoundError from failure
    if not channels or not channels[0]:
        raise NoSoundError
    return Sound([bytes(levels) for levels in channels])


def encoded(pcm: bytes, sample_rate: int, coding: Coding, bit_rate: int | None = None) -> bytes:
    """Blocks. `pcm` has 16 bit in the machine's byte order, mono."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", coding.format) as container:
        stream = cast("AudioStream", container.add_stream(coding.codec, sample_rate, layout="mono"))
        if bit_rate:
            stream.bit_rate = bit_rate
        for frame in _frames(pcm, sample_rate):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _opened(data: bytes, raw: Raw | None) -> "InputContainer":
    import av

    file = io.BytesIO(data)
    if raw is None:
        return av.open(file, "r", container_options={"format_whitelist": _WHITELIST})
    layout = {1: "mono", 2: "stereo"}.get(raw.channels, f"{raw.channels}c")
    options = {"sample_rate": str(raw.sample_rate), "ch_layout": layout}
    return av.open(file, "r", format=raw.format, container_options=options)


def _levels(container: "InputContainer", resampler: "AudioResampler") -> list[bytearray]:
    """One for each channel."""
    channels: list[bytearray] = []
    for frame in _resampled(container, resampler):
        count = frame.layout.nb_channels
        high = bytes(frame.planes[0])[_HIGH_BYTE : 2 * count * frame.samples : 2].translate(_SIGNS)
        channels = channels or [bytearray() for _ in range(count)]
        for number, levels in enumerate(channels):
            levels += high[number::count]
    return channels


def _resampled(container: "InputContainer", resampler: "AudioResampler") -> Iterator["AudioFrame"]:
    for frame in container.decode(container.streams.audio[0]):
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _frames(pcm: bytes, sample_rate: int) -> Iterator["AudioFrame"]:
    import av

    for start in range(0, len(pcm), 2 * _FRAME_SAMPLES):
        piece = pcm[start : start + 2 * _FRAME_SAMPLES]
        frame = av.AudioFrame("s16", "mono", len(piece) // 2)
        frame.planes[0].update(piece)
        frame.sample_rate = sample_rate
        frame.pts = start // 2
        yield frame
