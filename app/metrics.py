"""Metrics: what the server counts, as plain numbers, which `exposition` writes for Prometheus.

No label holds a key, a caller or a text, and none takes more than a bounded number of values: past it they are
counted together as `other`.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from app.calls import Usage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the buckets, themselves included: from a cache's answer to a long text's."""

PARAMETER = re.compile(r"{[^}]*}")
"""In the template of a route."""

OTHER = "other"
MOST_MODELS = 500
MOST_ROUTES = 200
MOST_FAILURES = 200
"""Pairs of a kind and a code."""


@dataclass(slots=True)
class TranslationCounts:
    """Of units: what is translated in one go, mostly a sentence."""

    hits: int = 0
    """Found in the cache."""
    shared: int = 0
    """Asked for while the same was on its way."""
    misses: int = 0
    """Sent to an engine."""
    calls: int = 0
    """To engines; chat models get several units in one."""
    remedies: dict[str, int] = field(default_factory=dict)
    """What had to be done about bad translations."""

    @property
    def hit_rate(self) -> float:
        """The share of units that cost nothing, 0 to 1."""
        free = self.hits + self.shared
        return free / (free + self.misses) if free + self.misses else 0.0


@dataclass(slots=True)
class CacheCounts:
    """Of calls that may be answered from the response cache."""

    hits: int = 0
    misses: int = 0


@dataclass(slots=True)
class Histogram:
    """Of durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Of each bucket alone; the last is of those longer than all."""
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class RouteCounts:
    """Of requests to one route."""

    statuses: dict[int, int] = field(default_factory=dict)
    streams: int = 0
    seconds: Histogram = field(default_factory=Histogram)
    first_byte: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class ModelCounts:
    """What was consumed of one model. Cached tokens are part of the prompt's."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    neurons: float = 0.0
    audio_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Metrics:
    """Of one process, in whose event loop all of it is called: there are no locks.

    A scrape meets one of several workers, which tells the sums of all, by what the `others` have published.
    """

    translation: TranslationCounts = field(default_factory=TranslationCounts)
    cache: CacheCounts = field(default_factory=CacheCounts)
    requests_open: int = 0
    streams_open: int = 0
    parked: Callable[[], Sequence[tuple[str, str]]] | None = None
    """Accounts that take no calls now, and why: ids and reasons."""
    spent: Callable[[], float] | None = None
    """Neurons since midnight, UTC."""
    budget: float | None = None
    """Neurons that may be spent in a day."""
    version: str = ""
    mode: str = ""
    others: Callable[[], Sequence[bytes]] | None = None
    """What `state` says in the other workers."""
    routes: defaultdict[str, RouteCounts] = field(default_factory=lambda: defaultdict(RouteCounts))
    models: defaultdict[str, ModelCounts] = field(default_factory=lambda: defaultdict(ModelCounts))
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    upstream: Histogram = field(default_factory=Histogram)

    def request(
        self,
        route: str,
        status: int,
        seconds: float,
        first_byte_seconds: float | None,
        *,
        is_stream: bool,
        model: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Count a request that has ended.

        `route` is a template, such as `route_of` gives, never a path. `model` is the one that ran, not what the caller
        wrote, which may be anything; one that consumed nothing is not named.
        """
        counts = self.routes.get(route) or self.routes[_bounded(route, self.routes, MOST_ROUTES)]
        counts.statuses[status] = counts.statuses.get(status, 0) + 1
        if is_stream:
            counts.streams += 1
        counts.seconds.observe(seconds)
        if first_byte_seconds is not None:
            counts.first_byte.observe(first_byte_seconds)
        if model is None or usage is None:
            return
        if usage.prompt_tokens or usage.completion_tokens or usage.neurons or usage.audio_seconds:
            consumed = self.models.get(model) or self.models[_bounded(model, self.models, MOST_MODELS)]
            consumed.prompt += usage.prompt_tokens
            consumed.completion += usage.completion_tokens
            if usage.cached_tokens:
                consumed.cached += usage.cached_tokens
            if usage.neurons:
                consumed.neurons += usage.neurons
            if usage.audio_seconds:
                consumed.audio_seconds += usage.audio_seconds

    def upstream_call(self, seconds: float) -> None:
        """Count a try of a call, up to its answer or the first byte of its stream."""
        self.upstream.observe(seconds)

    def upstream_failure(self, kind: str, code: int | None) -> None:
        """Count a try that failed. Kinds are ours, and few; codes are whatever Cloudflare sent."""
        self.failures[_bounded_pair(kind, "none" if code is None else str(code), self.failures)] += 1

    def state(self) -> bytes:
        """All that can be added up, for other processes."""
        state = {
            "version": self.version,
            "open": {"requests_open": self.requests_open, "streams_open": self.streams_open},
            "parked": [*self.parked()] if self.parked else [],
            "translation": self.translation,
            "cache": self.cache,
            "routes": self.routes,
            "models": self.models,
            "upstream": self.upstream,
            "failures": [(*pair, count) for pair, count in self.failures.items()],
        }
        return orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS)

    def take_over(self, state: bytes) -> None:
        """Go on from what a process has counted that is no more. One of another version may have counted otherwise."""
        told = orjson.loads(state)
        if told["version"] == self.version:
            self._add(told)

    def of_all(self) -> "Metrics":
        """The sums of all workers, if there are others. What is spent, every process knows of all."""
        if self.others is None:
            return self
        whole = Metrics(version=self.version, mode=self.mode, spent=self.spent, budget=self.budget)
        parked: dict[tuple[str, str], None] = {}
        for told in map(orjson.loads, (self.state(), *self.others())):
            if told["version"] == self.version:
                whole._add(told)
                _add(whole, told["open"])
                parked |= dict.fromkeys((account, reason) for account, reason in told["parked"])
        whole.parked = lambda: [*parked]
        return whole

    def _add(self, told: Mapping[str, Any]) -> None:
        _add(self.translation, told["translation"])
        _add(self.cache, told["cache"])
        _add(self.upstream, told["upstream"])
        for route, counts in told["routes"].items():
            _add(self.routes[_bounded(route, self.routes, MOST_ROUTES)], counts)
        for model, counts in told["models"].items():
            _add(self.models[_bounded(model, self.models, MOST_MODELS)], counts)
        for kind, code, count in told["failures"]:
            self.failures[_bounded_pair(kind, code, self.failures)] += count


def route_of(path: str, known: Collection[str]) -> str:
    """Which of the known templates the path fits, or `other`: a label that says nothing of what callers wrote.

    `known` are templates as Starlette writes them, best a set, and best without the bare form of one that begins with
    `/v1`: such a path is found under the latter. A parameter stands for any text, slashes too. Where several
    templates fit, it is the one that spells out most.
    """
    if path in known:
        return path
    if (versioned := "/v1" + path) in known:
        return versioned
    fitting = [template for template in known if "{" in template and _pattern(template).fullmatch(path)]
    return max(fitting, key=lambda template: (len(PARAMETER.sub("", template)), template), default=OTHER)


@lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str]:
    literals = [re.escape(literal) for literal in PARAMETER.split(template)]
    if literals[0].startswith("/v1/"):
        literals[0] = f"(?:/v1)?{literals[0].removeprefix('/v1')}"
    return re.compile(".+".join(literals), re.DOTALL)


def _bounded(name: str, names: Collection[str], most: int) -> str:
    """The name, if it is one of the names or may become one; there are at most that many beside `other`."""
    return name if name in names or len(names) < most else OTHER


def _bounded_pair(kind: str, code: str, pairs: Collection[tuple[str, str]]) -> tuple[str, str]:
    return (kind, code if (kind, code) in pairs or len(pairs) < MOST_FAILURES else OTHER)


def _add(counts: Any, told: Mapping[str, Any]) -> None:
    """What JSON says of the like of them."""
    for name, value in told.items():
        own = getattr(counts, name)
        if isinstance(value, list):
            setattr(counts, name, [a + b for a, b in zip(own, value, strict=True)])
        elif not isinstance(value, dict):
            setattr(counts, name, own + (value or 0))  # null for what is no number
        elif isinstance(own, dict):
            for key, number in value.items():
                key = int(key) if key.isdecimal() else key
                own[key] = own.get(key, 0) + number
        else:
            _add(own, value)
