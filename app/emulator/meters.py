"""What an account has used: neurons today, requests this minute, prompts a machine still remembers."""

import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence

from app.emulator.faults import Fault, too_many_requests
from app.emulator.options import Options
from app.emulator.prompts import Part

REMEMBERED_PROMPTS = 256


class Meters:
    """Counts runs and refuses those that are beyond the options' limits."""

    def __init__(self, options: Options, now: Callable[[], float] = time.time) -> None:
        """`now` is the Unix time in seconds."""
        self._options = options
        self._now = now
        self._neurons: dict[tuple[str, int], float] = {}
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._runs: defaultdict[str, int] = defaultdict(int)
        self._prompts: OrderedDict[tuple[str, str, str], Sequence[Part]] = OrderedDict()

    def neurons_today(self, account: str) -> float:
        return self._neurons.get((account, self._today()), 0)

    def charge(self, account: str, neurons: float) -> None:
        day = self._today()
        self._neurons = {key: value for key, value in self._neurons.items() if key[1] == day}
        self._neurons[account, day] = self._neurons.get((account, day), 0) + neurons

    def check_pace(self, account: str) -> None:
        """Raises the 429 of the requests per minute."""
        limit = self._options.requests_per_minute
        if limit is None:
            return
        now, starts = self._now(), self._starts[account]
        while starts and starts[0] <= now - 60:
            starts.popleft()
        if len(starts) >= limit:
            raise too_many_requests()
        starts.append(now)

    def check_allowance(self, account: str) -> None:
        """Raises 4006 or 3036 when the neurons of the day are spent."""
        allowance = self._options.daily_neurons
        if allowance is not None and self.neurons_today(account) >= allowance:
            raise Fault(self._options.quota_code)

    def check_capacity(self, model_id: str, *, reject_if_busy: bool) -> None:
        """Raises 3040 at every k-th run of a busy model; the wording tells whether the caller wanted to wait."""
        every = self._options.busy_every.get(model_id)
        if every is None:
            return
        self._runs[model_id] += 1
        if self._runs[model_id] % every == 0:
            raise Fault(3040, None if reject_if_busy else "No more data centers to forward the request to")

    def remembered(self, key: tuple[str, str, str], prompt: Sequence[Part]) -> Sequence[Part]:
        """The leading parts of a prompt that the last one under the same key had too."""
        last = self._prompts.pop(key, ())
        self._prompts[key] = prompt
        if len(self._prompts) > REMEMBERED_PROMPTS:
            self._prompts.popitem(last=False)
        same = next((n for n, (old, new) in enumerate(zip(last, prompt, strict=False)) if old != new), None)
        return prompt[: min(len(last), len(prompt)) if same is None else same]

    def _today(self) -> int:
        return int(self._now() // 86400)
