"""Speech as its model made it -> the file that the caller asked for, given out while it is still being made.

1. What is made can't be taken back, so the lengths in headers stay open: 0xFFFFFFFF in WAV, as OpenAI's own have it,
   0 in FLAC, and no Xing frame in MP3.
2. OpenAI says nothing of bit rates. Ours are those at which speech can't be told from its original.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, cast

from app.media.speech_pcm import LAYOUT, RATE, SAMPLE_BYTES, bytes_of, to_frame
from app.media.speech_tempo import Stretcher

if TYPE_CHECKING:
    from av import AudioStream

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

BLOCK_BYTES = bytes_of(0.1)
"""What is encoded at once. Always as much, so the file does not depend on how the speech was cut when it came."""


class _Form(NamedTuple):
    """One format in FFmpeg's words."""

    container: str
    codec: str
    bits_per_second: int | None
    options: dict[str, str]


FORMS: dict[SpeechFormat, _Form] = {
    "mp3": _Form("mp3", "libmp3lame", 128_000, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": _Form("ogg", "libopus", 64_000, {"page_duration": "100000"}),  # microseconds; a second if left alone
    "aac": _Form("adts", "aac", 64_000, {}),
    "flac": _Form("flac", "flac", None, {"metadata_header_padding": "0"}),
    "wav": _Form("wav", "pcm_s16le", None, {}),
    "pcm": _Form("s16le", "pcm_s16le", None, {}),
}
ALWAYS = {"flush_packets": "1", "fflags": "+bitexact"}
"""Nothing waits in FFmpeg's buffer, and no file is signed with FFmpeg's version."""


class Encoder:
    """24 kHz, 16 bit mono PCM in, cut anywhere; a file out, as it grows.

    Blocks while it encodes, and is for one thread at a time. MP3, Opus and AAC can't be empty: where nothing was said
    they hold a tenth of a second of silence. Used as a context manager it is freed however that ends, but the file
    has its end from `close()` alone.
    """

    def __init__(self, to: SpeechFormat, *, tempo: float = 1.0) -> None:
        """`tempo` is OpenAI's `speed`, 0.25 to 4, at the same pitch. Raises ValueError for another."""
        import av  # takes a while, and not every server speaks

        form = self._form = FORMS[to]
        self._stretcher = None if tempo == 1 else Stretcher(tempo)
        self._waiting = bytearray()
        self._encoded = 0  # samples
        self._file = _File()
        self._container = av.open(self._file, "w", format=form.container, container_options=form.options | ALWAYS)
        self._stream = cast("AudioStream", self._container.add_stream(form.codec, rate=RATE, layout=LAYOUT))
        self._stream.codec_context.thread_count = 1
        if form.bits_per_second is not None:
            self._stream.bit_rate = form.bits_per_second
        self._container.start_encoding()
        self._is_open = True

    def feed(self, pcm: bytes) -> bytes:
        """What of the file is ready; perhaps nothing yet. Raises ValueError after `close()` or a failure."""
        if not self._is_open:
            raise ValueError("The file is closed.")
        self._waiting += pcm
        whole = len(self._waiting) // BLOCK_BYTES * BLOCK_BYTES
        blocks = bytes(self._waiting[:whole])
        del self._waiting[:whole]
        with self._freed_on_failure():
            for start in range(0, whole, BLOCK_BYTES):
                self._encode(self._stretched(blocks[start : start + BLOCK_BYTES]))
        return self._file.taken()

    def close(self) -> bytes:
        """The rest of the file; nothing if it is closed already, or failed. Half a sample at the end is dropped."""
        if not self._is_open:
            return b""
        with self._freed_on_failure():
            self._encode(self._stretched(bytes(self._waiting[: len(self._waiting) // SAMPLE_BYTES * SAMPLE_BYTES])))
            self._encode(self._stretcher.close() if self._stretcher else b"")
            if not self._encoded and self._form.bits_per_second:
                self._encode(bytes(BLOCK_BYTES))
            if self._encoded:
                self._container.mux(self._stream.encode(None))
        self._is_open = False
        self._container.close()
        return self._file.taken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open:
            self._free()

    def _stretched(self, pcm: bytes) -> bytes:
        return self._stretcher.feed(pcm) if self._stretcher and pcm else pcm

    def _encode(self, pcm: bytes) -> None:
        if pcm:
            self._container.mux(self._stream.encode(to_frame(pcm, self._encoded)))
            self._encoded += len(pcm) // SAMPLE_BYTES

    @contextmanager
    def _freed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._free()
            raise

    def _free(self) -> None:
        self._is_open = False
        with suppress(Exception):  # an encoder that failed may fail again at the end of its file, which nobody gets
            self._container.close()


class _File:
    """What FFmpeg writes to. It can't seek, so FFmpeg knows that it is a stream."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self._data)
        self._data.clear()
        return data
