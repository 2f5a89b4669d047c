"""MessageReader: a chat's answer, of which it is also known which stop sequence has ended it."""

from typing import Any

from app.calls import Call
from app.translators.chat_reader import ChatReader
from app.translators.deltas import Delta
from app.translators.reading import Reading
from app.translators.stops import StopCutter


class NotedCutter(StopCutter):
    """A StopCutter that tells what it met."""

    met: str | None = None

    def _cut(self, text: str, stop: int) -> str:
        self.met = next(each for each in self._stops if text.startswith(each, stop))
        return super()._cut(text, stop)


class MessageReader(ChatReader):
    """The answer to one call, or why it stopped."""

    def __init__(self, reading: Reading, call: Call) -> None:
        super().__init__(reading, call)
        self._cutter = NotedCutter(reading.stops)
        if self._stops:
            self._stops = self._cutter
        self._told: str | None = None

    @property
    def stop_sequence(self) -> str | None:
        """The one that ended the answer: met here, or by the model, as vLLM tells in `stop_reason`."""
        return self._cutter.met or (self._told if self.finish_reason == "stop" else None)

    def _event(self, event: dict[str, Any], payload: bytes) -> list[Delta]:
        deltas = super()._event(event, payload)
        for choice in (event.get("choices") or ())[:1]:  # nobody has looked at others
            if choice.get("stop_reason") in self._reading.stops:
                self._told = choice["stop_reason"]
        return deltas
