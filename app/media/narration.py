"""Narration: speech made in several calls -> one file in the format that the caller asked for."""

from typing import Self

from app.media.speaking import Encoder, SpeechFormat
from app.media.speech_joining import Joiner


class Narration:
    """24 kHz, 16 bit mono PCM in, cut anywhere; a file out, as it grows. Blocks; for one thread at a time.

    Nothing is set up before there is sound: what a model delivers as asked needs no encoder.
    """

    def __init__(self, to: SpeechFormat, *, tempo: float = 1.0) -> None:
        self._to = to
        self._tempo = tempo
        self._joiner = Joiner()
        self._encoder: Encoder | None = None

    def feed(self, pcm: bytes) -> bytes:
        """What of the file is ready; perhaps nothing yet."""
        return self._begun().feed(self._joiner.feed(pcm))

    def seam(self) -> bytes:
        """The sound of one call is over, and that of another follows."""
        return self._begun().feed(self._joiner.seam())

    def close(self) -> bytes:
        """The rest of the file."""
        encoder = self._begun()
        return encoder.feed(self._joiner.close()) + encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._encoder:
            self._encoder.__exit__()

    def _begun(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder(self._to, tempo=self._tempo)
        return self._encoder
