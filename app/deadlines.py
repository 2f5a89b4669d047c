"""Deadlines: asyncio's `timeout_at` for times that are hardly ever reached, of which all share one timer.

A timer of its own for each request would cost more than trying the request does. So would asking for the running loop
again and again: up to Python 3.11 that is a system call.
"""

import asyncio
import time
from types import TracebackType

now = time.monotonic
"""The clock of deadlines, in seconds."""


class Deadlines:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.running: dict[Deadline, None] = {}
        """Those inside of which something runs."""
        self._timer: asyncio.TimerHandle | None = None
        self._checks_at = 0.0

    def at(self, when: float) -> "Deadline":
        """For a `with` around what has to end by `when`, as `now` tells it. Raises TimeoutError if it does not."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return Deadline(self, self._loop, when)

    def check_at(self, when: float) -> None:
        """Look no later for those that are over."""
        if self._timer:
            if when >= self._checks_at:
                return
            self._timer.cancel()
        assert self._loop  # noqa: S101 - there is a deadline
        self._checks_at = when
        self._timer = self._loop.call_later(max(when - now(), 0), self._check)

    def _check(self) -> None:
        self._timer = None
        latest = now()
        for deadline in sorted(self.running, key=lambda each: each.when):
            if deadline.when > latest:
                self.check_at(deadline.when)
                return
            if not deadline.is_over:
                deadline.strike()


class Deadline:
    """Cancels the task that is inside when its time has come, and turns that into TimeoutError."""

    __slots__ = ("_cancelling", "_deadlines", "_loop", "_task", "is_over", "when")

    def __init__(self, deadlines: Deadlines, loop: asyncio.AbstractEventLoop, when: float) -> None:
        self._deadlines = deadlines
        self._loop = loop
        self.when = when
        self.is_over = False

    def strike(self) -> None:
        """It is time."""
        self.is_over = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task  # noqa: S101 - what is to be cancelled runs in one
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.running[self] = None
        self._deadlines.check_at(self.when)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        del self._deadlines.running[self]
        # Who was cancelled by somebody else too has to stay so.
        if self.is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from failure
