"""ChoiceStream: what the event streams of chats and of completions have in common, a reader for each choice."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from app.calls import Reply, Usage
from app.translators.chat_reader import ChatReader
from app.translators.deltas import Delta, Text


class ChoiceStream(ABC):
    """An `Incremental` over the choices of one request; how they are written is its heirs' business."""

    def __init__(self, readers: Sequence[ChatReader]) -> None:
        self._readers = readers

    @property
    def usage(self) -> Usage:
        """Of all choices; each is a call of its own, and its prompt is counted again."""
        return sum((reader.usage for reader in self._readers), Usage())

    def feed(self, choice: int, payloads: Sequence[bytes]) -> bytes:
        everything = self._readers[choice].feed(payloads)
        if len(everything) == 1 and isinstance(alone := everything[0], str):  # a token, as it comes
            return self._say(choice, (alone,))
        out: list[bytes] = []
        texts: list[str] = []
        for said in everything:
            if isinstance(said, str):
                texts.append(said)
                continue
            if texts:
                out.append(self._say(choice, texts))
                texts = []
            out.append(self._write(choice, said))
        if texts:
            out.append(self._say(choice, texts))
        return b"".join(out)

    def replay(self, choice: int, reply: Reply) -> bytes:
        return self._close(choice, self._readers[choice].read(reply))

    def finish(self, choice: int) -> bytes:
        return self._close(choice, self._readers[choice].close())

    def is_done(self, choice: int) -> bool:
        return self._readers[choice].is_done

    def is_plain(self, choice: int = 0) -> bool:
        return self._readers[choice].is_plain

    def _close(self, choice: int, deltas: list[Delta]) -> bytes:
        return self._write(choice, deltas) + self._ending(choice, self._readers[choice].finish_reason)

    def _say(self, choice: int, texts: Sequence[str]) -> bytes:
        """The events of texts that came together."""
        return self._write(choice, [Text(text) for text in texts])

    @abstractmethod
    def end(self) -> bytes:
        """What closes the whole stream."""

    @abstractmethod
    def _write(self, choice: int, deltas: Sequence[Delta]) -> bytes:
        """The events of these deltas."""

    @abstractmethod
    def _ending(self, choice: int, finish_reason: str) -> bytes:
        """The event that ends a choice."""
