"""Deadlines: asyncio's `timeout_at` for times that are hardly ever reached, of which all share one timer.

A timer of its own for each request would cost more than trying the request does.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float) -> "Deadline":
        """For a `with` around what has to end by `when`, in the loop's time. Raises TimeoutError if it does not."""
        return Deadline(self, when)

    def begin(self, deadline: "Deadline") -> None:
        self._running[deadline] = None
        if self._timer is None or deadline.when < self._timer.when():
            self._check_at(deadline.when)

    def end(self, deadline: "Deadline") -> None:
        del self._running[deadline]

    def _check_at(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._check)

    def _check(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for deadline in sorted(self._running, key=lambda each: each.when):
            if deadline.when > now:
                self._check_at(deadline.when)
                return
            if not deadline.is_over:
                deadline.strike()


class Deadline:
    """Cancels the task that is inside when its time has come, and turns that into TimeoutError."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "is_over", "when")

    def __init__(self, deadlines: Deadlines, when: float) -> None:
        self._deadlines = deadlines
        self.when = when
        self.is_over = False

    def strike(self) -> None:
        """It is time."""
        self.is_over = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101 - what is to be cancelled runs in one
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        # Who was cancelled by somebody else too has to stay so.
        if self.is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from failure
