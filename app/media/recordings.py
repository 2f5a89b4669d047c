"""Recordings: a file with sound in it, whatever its container, decoded, checked, and cut into pieces for a model.

Nothing holds the whole: the file is read from where it was spooled, and a piece is made when it is asked for.
"""

from collections.abc import Generator, Iterable, Iterator
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from app.calls import Sound
from app.media.silences import BLOCK, quietest, sounds

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

RATE = 16_000
"""Hz; what every model that hears works in. One channel, 16 bits a sample."""
SECOND = 2 * RATE
"""Bytes."""

CONTAINERS = (
    "wav,w64,aiff,au,caf,mp3,aac,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,amr,ac3,eac3,asf,ape,wv,tta,mpeg,"
    "mpegts,avi,flv"
)
"""FFmpeg's names of the formats that may come: none that leads to further files or addresses, as playlists do."""
OPTIONS = {"format_whitelist": CONTAINERS, "enable_drefs": "0", "protocol_whitelist": "none"}
"""FFmpeg's, of opening: the file stands alone."""

PLAIN = {
    ("wav", "pcm_s16le"): "audio/wav",
    ("mp3", "mp3float"): "audio/mpeg",
    ("flac", "flac"): "audio/flac",
    ("ogg", "opus"): "audio/ogg",
    ("ogg", "vorbis"): "audio/ogg",
    ("matroska,webm", "opus"): "audio/webm",
    ("mov,mp4,m4a,3gp,3g2,mj2", "aac"): "audio/mp4",
}
"""Container and codec, in FFmpeg's names -> the content type of a file that models may take as it is."""

RATES = range(4_000, 768_001)
"""Hz. Further down a small file could stand for days of sound."""
LONGEST_SECONDS = 24 * 3600.0
LONGEST_GAP_SECONDS = 3600.0
"""Of all gaps together: a small file must not stand for days. What is longer is no gap but another clock."""
SHORTEST_GAP_SECONDS = 0.25
MOST_BROKEN = 0.1
"""Share of packets that can't be decoded; players skip over such, and so do we up to here."""


class UnreadableError(ValueError):
    """Not a recording, or a damaged one. The message is meant for the caller."""


def pieces(
    file: IO[bytes], size: int, *, max_seconds: float, max_bytes: int, takes: frozenset[str]
) -> Generator[Sound]:
    """The recording in pieces of at most `max_seconds` (one or more), cut where it is quiet, as FLAC.

    One that is short enough, has at most `max_bytes` (its `size` is given) and a content type out of `takes` goes as
    it is. Blocks. Raises UnreadableError, possibly after some pieces.
    """
    import av  # takes a while, and not every server hears

    most = int(max_seconds * RATE) * 2
    least, latest = most // 4 * 2, max(most - SECOND, most * 3 // 8 * 2)  # what is left is long enough to be heard too
    heard = bytearray()
    at = 0
    try:
        with av.open(file, "r", options=OPTIONS, metadata_errors="replace") as container:
            for pcm in _decoded(container):
                heard += pcm
                while len(heard) > most:
                    cut = quietest(heard, least, latest)
                    yield _piece(bytes(heard[:cut]), at)
                    del heard[:cut]
                    at += cut
            kind = _content_type(container)
            if at == 0 and kind in takes and size <= max_bytes:
                file.seek(0)
                yield Sound(file.read(), kind, 0, len(heard) / SECOND, not sounds(heard))
            else:
                yield _piece(bytes(heard), at)
    except av.error.FFmpegError as failure:
        raise UnreadableError(f"It can't be read as a sound file ({failure.strerror}).") from failure


def _piece(pcm: bytes, at: int) -> Sound:
    return Sound(to_flac(pcm), "audio/flac", at / SECOND, len(pcm) / SECOND, not sounds(pcm))


def _decoded(container: "InputContainer") -> Iterator[bytes]:
    """The sound as PCM, with silence where its timestamps say that nothing was recorded."""
    import av

    stream = _stream(container)
    clock = _Clock((container.start_time or 0) / av.time_base)
    converter = _Converter()
    for frame in _frames(container, stream):
        if gap := clock.gap(frame):
            yield from converter.flush()
            yield from _silence(gap)
        yield from converter.feed(frame)
    yield from converter.flush()
    if clock.seconds == 0:
        raise UnreadableError("There is no sound in it.")


def _stream(container: "InputContainer") -> "av.AudioStream":
    import av

    if not container.streams.audio:
        raise UnreadableError("There is no sound in it.")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise UnreadableError("Its sound is in a form that can't be decoded.")
    if stream.rate not in RATES:
        raise UnreadableError(f"Its {stream.rate} samples per second are more or fewer than sound has.")
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    stream.codec_context.thread_type = av.codec.context.ThreadType.NONE
    return stream


def _frames(container: "InputContainer", stream: "av.AudioStream") -> "Iterator[av.AudioFrame]":
    """The frames that can be decoded. Raises UnreadableError if too many can't."""
    import av

    packets = broken = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            yield from packet.decode()
        except av.error.FFmpegError as failure:
            broken += 1
            if broken > 3 + MOST_BROKEN * packets:
                raise UnreadableError(f"It is damaged ({failure.strerror}).") from failure
    if broken > 0.5 * packets:
        raise UnreadableError("It is damaged.")


class _Clock:
    """How far the sound has come, against what the timestamps of its frames say."""

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._gaps = 0.0
        self.seconds = 0.0

    def gap(self, frame: "av.AudioFrame") -> float:
        """Seconds of silence that belong before the frame. Raises UnreadableError once it has been too long."""
        gap = 0.0 if frame.time is None else frame.time - self._origin - self.seconds
        if not SHORTEST_GAP_SECONDS < gap < LONGEST_GAP_SECONDS - self._gaps:
            self._origin += gap if abs(gap) >= SHORTEST_GAP_SECONDS else 0
            gap = 0.0
        self._gaps += gap
        self.seconds += gap + frame.samples / frame.sample_rate
        if self.seconds > LONGEST_SECONDS:
            raise UnreadableError(f"It is longer than {LONGEST_SECONDS / 3600:.0f} hours.")
        return gap


def _silence(seconds: float) -> Iterator[bytes]:
    samples = round(seconds * RATE)
    while samples:
        count = min(samples, 10 * RATE)
        yield bytes(2 * count)
        samples -= count


class _Converter:
    """Frames to PCM. Joined recordings may change their rate and channels on the way."""

    def __init__(self) -> None:
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def feed(self, frame: "av.AudioFrame") -> Iterator[bytes]:
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.flush()
            self._form, self._resampler = form, av.AudioResampler("s16", "mono", RATE)
        yield from _samples(self._resampler.resample(frame))

    def flush(self) -> Iterator[bytes]:
        """What the resampler has kept back; the next frame meets a new one."""
        if self._form:
            yield from _samples(self._resampler.resample(None))
        self._form = None


def _samples(frames: "Iterable[av.AudioFrame | None]") -> Iterator[bytes]:
    """A resampler that has nothing to do passes on what it gets, be it nothing. FFmpeg pads the frames' buffers."""
    return (bytes(memoryview(frame.planes[0])[: 2 * frame.samples]) for frame in frames if frame)


def _content_type(container: "InputContainer") -> str:
    """Empty for what no model takes: another container, codec, or more than the one stream."""
    streams = [stream for stream in container.streams if not _is_cover(stream)]
    codec = streams[0].codec_context.name if len(streams) == 1 else ""
    return PLAIN.get((container.format.name, codec), "")


def _is_cover(stream: Any) -> bool:
    """The picture on the sleeve."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def to_flac(pcm: bytes) -> bytes:
    """A whole FLAC file."""
    import av

    file = BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", options={"compression_level": "2"})
        for start in range(0, len(pcm), BLOCK * 2048):
            block = pcm[start : start + BLOCK * 2048]
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(block) // 2)
            frame.sample_rate = RATE
            frame.pts = start // 2
            frame.planes[0].update(block.ljust(frame.planes[0].buffer_size, b"\0"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
