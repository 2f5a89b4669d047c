"""Sound files to hear: tones at known times between silences, in every container, and where they are again."""

import math
import struct
from array import array
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple

import av

from app.calls import Sound
from app.media.recordings import RATE, pieces

MARKS = ((0.5, 0.8), (1.5, 1.7), (2.4, 2.8))
"""Seconds: from, to."""
SECONDS = 3.0
PADDING_SECONDS = 0.06
"""What a codec may add or lose at either end."""
LOUD = 1500
ANYTHING = frozenset({"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/webm", "audio/mp4"})


class Form(NamedTuple):
    """How a file is written, in FFmpeg's names."""

    container: str
    codec: str
    rate: int = 48_000
    layout: str = "mono"
    video: bool = False
    cover: bool = False
    tags: tuple[tuple[str, str], ...] = ()


def tones(
    seconds: float = SECONDS, marks: Sequence[tuple[float, float]] = MARKS, rate: int = RATE, offset: int = 0
) -> "array[int]":
    """440 Hz at each mark, 16 bits a sample."""
    samples = array("h", [offset]) * round(seconds * rate)
    for start, end in marks:
        for i in range(round(start * rate), round(end * rate)):
            samples[i] = round(9000 * math.sin(2 * math.pi * 440 * i / rate)) + offset
    return samples


def frame_of(samples: "array[int]", rate: int, pts: int = 0) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.sample_rate, frame.pts = rate, pts
    frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def written(
    form: Form,
    samples: "array[int] | None" = None,
    *,
    delay_seconds: float = 0,
    jumps: Sequence[tuple[float, float]] = (),
) -> bytes:
    """A file of that form. `samples` are at its rate.

    Every timestamp is put off by `delay_seconds`, and those from a moment on by so many seconds more for each of
    `jumps`.
    """
    samples = tones(rate=form.rate) if samples is None else samples
    file = BytesIO()
    with av.open(file, "w", format=form.container) as container:
        container.metadata.update(dict(form.tags))
        options = {"strict": "experimental"}  # for FFmpeg's own Vorbis
        stream: Any = container.add_stream(form.codec, rate=form.rate, layout=form.layout, options=options)
        picture = _add_video(container) if form.video else _add_cover(container) if form.cover else None
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, form.layout, form.rate, context.frame_size or 1024)
        if picture:
            container.mux(picture)
        for frame in [*resampler.resample(frame_of(samples, form.rate)), *resampler.resample(None), None]:
            for packet in stream.encode(frame):
                at = float((packet.pts or 0) * packet.time_base)
                later = delay_seconds + sum(by for start, by in jumps if at >= start)
                if later:
                    packet.pts = packet.dts = (packet.pts or 0) + round(later / packet.time_base)
                container.mux(packet)
    return file.getvalue()


def _add_video(container: Any) -> list[Any]:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 16
    return [packet for frame in [*(_picture(pts) for pts in range(30)), None] for packet in stream.encode(frame)]


def _picture(pts: int) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts = pts
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def _add_cover(container: Any) -> list[Any]:
    stream = container.add_stream("png")
    stream.width = stream.height = 16
    stream.pix_fmt = "gray"
    stream.disposition = av.stream.Disposition.attached_pic
    return [*stream.encode(_picture(0).reformat(format="gray")), *stream.encode(None)]


def video_only() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.mux(_add_video(container))
    return file.getvalue()


def wav(
    samples: "array[int] | bytes",
    rate: int = RATE,
    *,
    channels: int = 1,
    chunk: bytes = b"",
    announced: int | None = None,
) -> bytes:
    """By hand, for headers that no writer would write."""
    data = samples if isinstance(samples, bytes) else samples.tobytes()
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    size = len(data) if announced is None else announced
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + chunk + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def cut(data: bytes, max_seconds: float = 60, max_bytes: int = 10**8, takes: Iterable[str] = ()) -> list[Sound]:
    return list(pieces(BytesIO(data), len(data), max_seconds=max_seconds, max_bytes=max_bytes, takes=frozenset(takes)))


def decoded(data: bytes) -> bytes:
    """The PCM of one of our FLACs, without the code under test."""
    with av.open(BytesIO(data), "r") as container:
        (stream,) = container.streams
        assert isinstance(stream, av.AudioStream)
        assert (stream.rate, stream.layout.name, stream.format.name) == (RATE, "mono", "s16")
        return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in container.decode(stream))


def heard(data: bytes) -> list[tuple[float, float]]:
    """Where in a file there are tones, and how long it is: (from, to)..., (length, length)."""
    return marks_of(b"".join(decoded(piece.data) for piece in cut(data)))


def marks_of(pcm: bytes) -> list[tuple[float, float]]:
    """Tones, between which there are at least 50 ms; the end comes last."""
    samples = memoryview(pcm).cast("h")
    loud = [i for i, sample in enumerate(samples) if abs(sample) > LOUD]
    breaks = [(left, right) for left, right in pairwise(loud) if right - left > RATE // 20]
    edges = [*loud[:1], *(edge for pair in breaks for edge in pair), *loud[-1:], len(samples), len(samples)]
    return [(start / RATE, end / RATE) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def about(marks: Sequence[tuple[float, float]], seconds: float = SECONDS) -> list[Any]:
    """What `heard` should say, give or take what codecs do."""
    import pytest

    return [pytest.approx(mark, abs=PADDING_SECONDS) for mark in [*marks, (seconds, seconds)]]
