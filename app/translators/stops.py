"""StopCutter: ends a text at the first stop string, for models whose upstream knows no `stop`."""

from collections.abc import Sequence


def open_end(text: str, markers: Sequence[str]) -> int:
    """Where the longest end of `text` starts that may be the beginning of a marker; `len(text)` if none may."""
    firsts = {marker[0] for marker in markers}
    longest = max(map(len, markers))
    for start in range(max(0, len(text) - longest + 1), len(text)):
        if text[start] in firsts:
            end = text[start:]
            if any(marker.startswith(end) for marker in markers):
                return start
    return len(text)


class StopCutter:
    """Text in, cut anywhere; text out up to the stop string that starts first, which itself never comes out.

    Only what may be the beginning of a stop string is held back. Empty stop strings are ignored.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(filter(None, stops))
        self._firsts = {stop[0] for stop in self._stops}
        self._held = ""
        self.is_stopped = False
        """A stop string was met; whatever follows is dropped."""

    def feed(self, text: str) -> str:
        if self.is_stopped:
            return ""
        if not self._held and self._firsts.isdisjoint(text):
            return text
        text = self._held + text
        safe = open_end(text, self._stops)
        stop = self._first_stop(text)
        # A stop string that may have started before one that is here would win, so it has to be waited for.
        if stop is not None and stop <= safe:
            return self._cut(text, stop)
        self._held = text[safe:]
        return text[:safe]

    def close(self) -> str:
        """The text is over: what was held back of it."""
        held = self._held
        stop = self._first_stop(held)
        if stop is not None:
            return self._cut(held, stop)
        self._held = ""
        return held

    def _first_stop(self, text: str) -> int | None:
        return min((start for stop in self._stops if (start := text.find(stop)) >= 0), default=None)

    def _cut(self, text: str, stop: int) -> str:
        self.is_stopped = True
        self._held = ""
        return text[:stop]
