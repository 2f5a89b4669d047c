"""Speech, faster or slower, at the pitch that it had."""

from collections.abc import Iterator
from contextlib import suppress
from math import ceil, log2
from typing import TYPE_CHECKING

from app.media.speech_pcm import FORMAT, LAYOUT, RATE, SAMPLE_BYTES, bytes_of, from_frames, to_frame

if TYPE_CHECKING:
    from av import AudioFrame

SLOWEST, FASTEST = 0.25, 4.0
"""OpenAI's bounds of `speed`."""
TAIL_SECONDS = 0.5
"""FFmpeg's filter loses some of the last window (1/24 of a second) or adds to it; silence behind the speech makes up
for that, and what is too much of it is cut off."""


class Stretcher:
    """24 kHz, 16 bit mono PCM at another tempo: whole samples in, whole samples out, `1 / tempo` times as many.

    Raises ValueError for a tempo outside of 0.25 to 4.
    """

    def __init__(self, tempo: float) -> None:
        if not SLOWEST <= tempo <= FASTEST:
            raise ValueError(f"The tempo must be from {SLOWEST} to {FASTEST}.")
        from av.filter import Graph

        self._tempo = tempo
        self._taken = self._given = 0  # bytes
        self._graph = Graph()
        steps = max(1, ceil(abs(log2(tempo))))  # FFmpeg stretches no more than twofold, and skips above double tempo
        self._graph.link_nodes(
            self._graph.add_abuffer(sample_rate=RATE, format=FORMAT, layout=LAYOUT),
            *(self._graph.add("atempo", f"{tempo ** (1 / steps):.9f}") for _ in range(steps)),
            self._graph.add("abuffersink"),
        ).configure()

    def feed(self, pcm: bytes) -> bytes:
        """What has become of it, and of what came before; perhaps nothing yet."""
        self._push(pcm)
        self._taken += len(pcm)
        stretched = from_frames(self._pulled())
        self._given += len(stretched)
        return stretched

    def close(self) -> bytes:
        """The rest."""
        missing = round(self._taken / SAMPLE_BYTES / self._tempo) * SAMPLE_BYTES - self._given
        self._push(bytes(bytes_of(TAIL_SECONDS)))
        self._graph.push(None)
        return from_frames(self._pulled())[: max(0, missing)]

    def _push(self, pcm: bytes) -> None:
        self._graph.push(to_frame(pcm, self._taken // SAMPLE_BYTES))

    def _pulled(self) -> "Iterator[AudioFrame]":
        from av import AudioFrame
        from av.error import BlockingIOError as NothingYet
        from av.error import EOFError as NothingMore

        with suppress(NothingYet, NothingMore):
            while isinstance(frame := self._graph.pull(), AudioFrame):
                yield frame
