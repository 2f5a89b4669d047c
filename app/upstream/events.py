"""EventDecoder: bytes -> the data of server-sent events, wherever the bytes are cut.

Made for what Workers AI sends: only `data` counts, names and ids are dropped, and so are events without data. Beyond
the standard (https://html.spec.whatwg.org/multipage/server-sent-events.html) an event that the end of the stream
leaves unfinished is still given out: if it is cut, its reader must get to know.
"""

LARGEST_EVENT = 16 * 2**20
"""Bytes. A stream without an end of line would fill the memory."""

FIELD = b"data: "
END = b"\n\n"
NEXT = END + FIELD
LEAST = len(FIELD + END)


class EndlessEvent(ValueError):  # noqa: N818 - the name says what is wrong
    """An event has grown past LARGEST_EVENT."""


class EventDecoder:
    """`feed` bytes, get the data of the events that they complete; `close` for the rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises EndlessEvent."""
        if self._rest:
            data = self._rest + data
        elif data.count(b"\n") == 2 and data.startswith(FIELD) and data.endswith(END) and b"\r" not in data:
            return [data[len(FIELD) : -len(END)]] if len(data) > LEAST else []  # a token, as it comes
        if b"\r" in data:
            data = _without_returns(data)
        whole, end, self._rest = data.rpartition(b"\n\n")
        if len(self._rest) > LARGEST_EVENT:
            raise EndlessEvent("An event has no end.")
        if not end:
            return []
        if whole.startswith(FIELD):
            events = whole[len(FIELD) :].split(NEXT)
            if whole.count(b"\n") == 2 * len(events) - 2 and all(events):  # each is one line of data, as nearly always
                return events
        return [event for block in whole.split(b"\n\n") if (event := _data(block))]

    def close(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        event = _data(rest.rstrip(b"\r\n"))
        return [event] if event else []


def _without_returns(data: bytes) -> bytes:
    """Every end of line as a line feed. A return at the very end waits for what may follow it."""
    tail = b"\r" if data.endswith(b"\r") else b""
    return data[: len(data) - len(tail)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + tail


def _data(block: bytes) -> bytes:
    """The data of one event; empty if it has none, as with comments."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:] for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line[1:] if line.startswith(b" ") else line for line in lines)
