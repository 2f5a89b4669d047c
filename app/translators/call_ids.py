"""CallIds: one id for each tool call of a conversation, whatever ids its client or its models have given twice.

Many models begin with `call_0` again in every turn, and some give all calls of a turn the same id. Upstream, ids tie
the results to their calls, so none may stand for two.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Made(NamedTuple):
    """A call as its client tells it."""

    id: str
    name: str


class CallIds:
    """Takes the calls and the results of a conversation in their order."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}
        """An id as it was given -> the last number that was put behind it."""
        self._by_id: dict[str, _Waiting] = {}
        self._by_name: dict[str, _Waiting] = {}
        self._answered: set[str] = set()

    def made(self, calls: Sequence[Made]) -> list[str]:
        """The ids to send for the calls of one turn."""
        ids = [self._unique(call.id) for call in calls]
        for known, keys in ((self._by_id, [call.id for call in calls]), (self._by_name, [call.name for call in calls])):
            known |= {key: _Waiting() for key in keys}  # what earlier turns left without a result stays so
            for key, call_id in zip(keys, ids, strict=True):
                known[key].put(call_id)
        return ids

    def answered(self, given: str) -> str | None:
        """The call that a result belongs to: the first of its turn that has none yet, else the latest of that id.

        None if there was no such call.
        """
        return self._next(self._by_id.get(given))

    def answered_by_name(self, name: str | None) -> str | None:
        """The same for a result that tells the name only."""
        return self._next(self._by_name.get(name or ""))

    def _next(self, waiting: "_Waiting | None") -> str | None:
        if waiting is None:
            return None
        call_id = waiting.take(self._answered)
        self._answered.add(call_id)
        return call_id

    def _unique(self, given: str) -> str:
        call_id, number = given, self._numbers.get(given, 1)
        while call_id in self._used:
            number += 1
            call_id = f"{given}_{number}"
        self._numbers[given] = number
        self._used.add(call_id)
        return call_id


class _Waiting:
    """The calls of a turn that wait for results under one id, or one name."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque()

    def put(self, call_id: str) -> None:
        self._ids.append(call_id)

    def take(self, answered: set[str]) -> str:
        """The first that has no result yet; the last if all have."""
        while len(self._ids) > 1 and self._ids[0] in answered:
            self._ids.popleft()
        return self._ids[0]
