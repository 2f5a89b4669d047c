"""Tallies: what a key, or the server, has in use, in one worker or counted with the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MINUTE_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class Tally:
    """What a key, or the server, has in use."""

    drawn: float = 0.0
    """Requests out of the bucket, which holds those of a minute and fills evenly."""
    drawn_at: float = 0.0
    running: int = 0

    def settle(self, now: float, limit: int) -> float:
        """Requests that are out of the bucket now, and not back yet. In a clock that is set back no time passes."""
        back = max(now - self.drawn_at, 0.0) * limit / MINUTE_SECONDS
        self.drawn, self.drawn_at = min(max(self.drawn - back, 0.0), limit), now
        return self.drawn

    def draw(self) -> None:
        """One request, out of the bucket as it was settled."""
        self.drawn += 1

    def begin(self) -> None:
        self.running += 1

    def end(self) -> None:
        self.running -= 1

    def running_everywhere(self) -> int:
        return self.running


class Count(Protocol):
    """A bucket, as another worker has left it."""

    @property
    def drawn(self) -> float: ...

    @property
    def drawn_at(self) -> float: ...


class Others(Protocol):
    """The other workers of the server."""

    @property
    def now(self) -> Callable[[], float]:
        """Seconds, by a clock that is the same in all of them."""

    def latest(self, name: str) -> Count:
        """The bucket of a key, as of its last request in another worker."""

    def running(self, name: str) -> int:
        """The key's requests in other workers."""

    def write(self, name: str, drawn: float, drawn_at: float, running: int) -> None:
        """For the others to know."""


class SharedTally(Tally):
    """What a key has in use in all workers. `drawn` and `drawn_at` are those of its last request here."""

    __slots__ = ("_left", "_name", "_others")

    def __init__(self, name: str, others: Others) -> None:
        super().__init__()
        self._name = name
        self._others = others
        self._left = (0.0, 0.0)
        """The bucket now, and the time of that."""

    def settle(self, _now: float, limit: int) -> float:
        now, latest = self._others.now(), self._others.latest(self._name)
        drawn, drawn_at = max((self.drawn_at, self.drawn), (latest.drawn_at, latest.drawn))[::-1]
        back = max(now - drawn_at, 0.0) * limit / MINUTE_SECONDS
        self._left = min(max(drawn - back, 0.0), limit), now
        return self._left[0]

    def draw(self) -> None:
        drawn, self.drawn_at = self._left
        self.drawn = drawn + 1
        self._write()

    def begin(self) -> None:
        super().begin()
        self._write()

    def end(self) -> None:
        super().end()
        self._write()

    def running_everywhere(self) -> int:
        return self.running + self._others.running(self._name)

    def _write(self) -> None:
        self._others.write(self._name, self.drawn, self.drawn_at, self.running)
