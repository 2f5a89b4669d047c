"""Alarm: a timer for deadlines that move all the time and are seldom met."""

import asyncio
from collections.abc import Callable


class Alarm:
    """One timer of the event loop, which is touched only when it runs out, not when the deadline moves."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._checks_at = 0.0

    def set(self, seconds: float | None) -> None:
        """Ring after so many seconds, and not when it was to ring before; None: never."""
        self._deadline = None if seconds is None else self._loop.time() + seconds
        if self._deadline is not None and (self._timer is None or self._checks_at > self._deadline):
            self._check_at(self._deadline)

    def cancel(self) -> None:
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._checks_at = time
        self._timer = self._loop.call_at(time, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._deadline > self._loop.time():
            self._check_at(self._deadline)
        else:
            self._deadline = None
            self._ring()
