"""Metrics: what the server counts, as plain numbers. The library that writes them is loaded when they are asked for.

No label holds a key, a caller or a text, and none takes more than a bounded number of values: past it they are
counted together as `other`.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the buckets, themselves included: from a cache's answer to a long text's."""
BUCKETS = [*map(str, SECONDS), "+Inf"]

PARAMETER = re.compile(r"{[^}]*}")
"""In the template of a route."""

OTHER = "other"
MOST_MODELS = 500
MOST_ROUTES = 200
MOST_FAILURES = 200
"""Pairs of a kind and a code."""
MOST_PARKED = 100
SHOWN_OF_ACCOUNT = 6
"""Characters: enough to tell one's own accounts apart, too few to be an id."""


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

    counts: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    """Of each bucket alone; Prometheus wants them with all before."""
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds, and how many were no longer than that."""
        return list(zip(BUCKETS, accumulate(self.counts), strict=True))


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
    _routes: defaultdict[str, RouteCounts] = field(default_factory=lambda: defaultdict(RouteCounts))
    _models: defaultdict[str, ModelCounts] = field(default_factory=lambda: defaultdict(ModelCounts))
    _failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    _upstream: Histogram = field(default_factory=Histogram)

    def request(
        self,
        route: str,
        status: int,
        seconds: float,
        first_byte_seconds: float | None,
        model: str | None,
        is_stream: bool,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int,
        neurons: float | None,
        audio_seconds: float,
    ) -> None:
        """Count a request that has ended.

        `route` is a template, such as `route_of` gives, never a path. `model` is the one that ran, not what the caller
        wrote, which may be anything; one that consumed nothing is not named.
        """
        counts = self._routes.get(route) or self._routes[_bounded(route, self._routes, MOST_ROUTES)]
        counts.statuses[status] = counts.statuses.get(status, 0) + 1
        counts.streams += is_stream
        whole, first = counts.seconds, counts.first_byte  # `observe` written out, as at each request
        whole.counts[bisect_left(SECONDS, seconds)] += 1
        whole.sum += seconds
        if first_byte_seconds is not None:
            first.counts[bisect_left(SECONDS, first_byte_seconds)] += 1
            first.sum += first_byte_seconds
        if model is not None and (prompt_tokens or completion_tokens or neurons or audio_seconds):
            consumed = self._models.get(model) or self._models[_bounded(model, self._models, MOST_MODELS)]
            consumed.prompt += prompt_tokens
            consumed.completion += completion_tokens
            consumed.cached += cached_tokens
            consumed.neurons += neurons or 0.0
            consumed.audio_seconds += audio_seconds

    def upstream_call(self, seconds: float) -> None:
        """Count a try of a call, up to its answer or the first byte of its stream."""
        self._upstream.observe(seconds)

    def upstream_failure(self, kind: str, code: int | None) -> None:
        """Count a try that failed. Kinds are ours, and few; codes are whatever Cloudflare sent."""
        self._failures[_bounded_pair(kind, "none" if code is None else str(code), self._failures)] += 1

    def exposition(self) -> tuple[bytes, str]:
        """In Prometheus' text format, and the content type of that."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._of_all(self.others()) if self.others else self)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> "Iterator[Metric]":
        for families in (self._of_server, self._of_requests, self._of_models, self._of_upstream, self._of_translation):
            yield from families()

    def state(self) -> bytes:
        """All that can be added up, for other processes."""
        state = {
            "version": self.version,
            "open": {"requests_open": self.requests_open, "streams_open": self.streams_open},
            "parked": [*self.parked()] if self.parked else [],
            "translation": self.translation,
            "cache": self.cache,
            "routes": self._routes,
            "models": self._models,
            "upstream": self._upstream,
            "failures": [(*pair, count) for pair, count in self._failures.items()],
        }
        return orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS)

    def take_over(self, state: bytes) -> None:
        """Go on from what a process has counted that is no more. One of another version may have counted otherwise."""
        told = orjson.loads(state)
        if told["version"] == self.version:
            self._add(told)

    def _of_all(self, states: Sequence[bytes]) -> "Metrics":
        """The sums. What is spent, every process knows of all."""
        whole = Metrics(version=self.version, mode=self.mode, spent=self.spent, budget=self.budget)
        parked: dict[tuple[str, str], None] = {}
        for told in map(orjson.loads, (self.state(), *states)):
            if told["version"] == self.version:
                whole._add(told)
                _add(whole, told["open"])
                parked |= dict.fromkeys((account, reason) for account, reason in told["parked"])
        whole.parked = lambda: [*parked]
        return whole

    def _add(self, told: Mapping[str, Any]) -> None:
        _add(self.translation, told["translation"])
        _add(self.cache, told["cache"])
        _add(self._upstream, told["upstream"])
        for route, counts in told["routes"].items():
            _add(self._routes[_bounded(route, self._routes, MOST_ROUTES)], counts)
        for model, counts in told["models"].items():
            _add(self._models[_bounded(model, self._models, MOST_MODELS)], counts)
        for kind, code, count in told["failures"]:
            self._failures[_bounded_pair(kind, code, self._failures)] += count

    def _of_server(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily("flarelay_info", "Which server this is.", labels=["version", "mode"])
        info.add_metric([self.version, self.mode], 1)
        yield info
        yield GaugeMetricFamily("flarelay_requests_open", "Requests being answered.", value=self.requests_open)
        yield GaugeMetricFamily("flarelay_streams_open", "Streams being sent.", value=self.streams_open)
        results = _counter("flarelay_response_cache", "Calls, by whether the cache had the answer.", "result")
        results.add_metric(["hit"], self.cache.hits)
        results.add_metric(["miss"], self.cache.misses)
        yield results

    def _of_requests(self) -> "Iterator[Metric]":
        requests = _counter("flarelay_requests", "Requests, by route and status.", "route", "status")
        streams = _counter("flarelay_streams", "Requests for streams.", "route")
        seconds = _histogram("flarelay_request_seconds", "Time until an answer's last byte.", "route")
        first_byte = _histogram("flarelay_first_byte_seconds", "Time until an answer's first byte.", "route")
        for route, counts in self._routes.items():
            for status, count in counts.statuses.items():
                requests.add_metric([route, str(status)], count)
            streams.add_metric([route], counts.streams)
            seconds.add_metric([route], counts.seconds.buckets(), counts.seconds.sum)
            first_byte.add_metric([route], counts.first_byte.buckets(), counts.first_byte.sum)
        yield from (requests, streams, seconds, first_byte)

    def _of_models(self) -> "Iterator[Metric]":
        tokens = _counter("flarelay_tokens", "Tokens; the cached ones are among the prompt's.", "kind", "model")
        neurons = _counter("flarelay_neurons", "Neurons, in part estimated.", "model")
        audio = _counter("flarelay_audio_seconds", "Seconds of sound heard or spoken.", "model")
        for model, counts in self._models.items():
            tokens.add_metric(["prompt", model], counts.prompt)
            tokens.add_metric(["completion", model], counts.completion)
            tokens.add_metric(["cached", model], counts.cached)
            neurons.add_metric([model], counts.neurons)
            audio.add_metric([model], counts.audio_seconds)
        yield from (tokens, neurons, audio)

    def _of_upstream(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        calls = _histogram("flarelay_upstream_seconds", "Time until Cloudflare answered.")
        calls.add_metric([], self._upstream.buckets(), self._upstream.sum)
        yield calls
        failures = _counter("flarelay_upstream_failures", "Failed tries, by Cloudflare's code.", "kind", "code")
        for pair, count in self._failures.items():
            failures.add_metric(pair, count)
        yield failures
        parked = GaugeMetricFamily(
            "flarelay_accounts_parked", "Accounts that take no calls now.", labels=["account", "reason"]
        )
        for labels, number in self._parked().items():
            parked.add_metric(labels, number)
        yield parked
        for name, meaning, value in (
            ("flarelay_neurons_today", "Neurons since midnight, UTC.", self.spent and self.spent()),
            ("flarelay_neuron_budget", "Neurons that may be spent in a day.", self.budget),
        ):
            yield GaugeMetricFamily(name, meaning, value=value)

    def _parked(self) -> Counter[tuple[str, str]]:
        """How many: two accounts may begin alike."""
        found: Counter[tuple[str, str]] = Counter()
        for account, reason in self.parked() if self.parked else ():
            pair = (account[:SHOWN_OF_ACCOUNT], str(reason))
            found[pair if pair in found or len(found) < MOST_PARKED else (OTHER, OTHER)] += 1
        return found

    def _of_translation(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self.translation
        units = _counter("flarelay_translation_units", "Units of text asked for, by where they came from.", "source")
        for source, value in (("cache", counts.hits), ("shared", counts.shared), ("engine", counts.misses)):
            units.add_metric([source], value)
        yield units
        yield CounterMetricFamily("flarelay_translation_calls", "Calls to engines.", value=counts.calls)
        yield GaugeMetricFamily(
            "flarelay_translation_hit_ratio", "Share of units that needed no engine.", value=counts.hit_rate
        )
        remedies = _counter("flarelay_translation_remedies", "What was done about bad translations.", "remedy")
        for remedy, value in counts.remedies.items():
            remedies.add_metric([remedy], value)
        yield remedies


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


def _counter(name: str, meaning: str, *labels: str) -> "CounterMetricFamily":
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, meaning, labels=labels)


def _histogram(name: str, meaning: str, *labels: str) -> "HistogramMetricFamily":
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(name, meaning, labels=labels)
