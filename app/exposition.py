"""Exposition: the server's counts in Prometheus' text format. Imported when it is asked for: the library is large."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from app.metrics import OTHER, SECONDS, Histogram, Metrics

BUCKETS = [*map(str, SECONDS), "+Inf"]

MOST_PARKED = 100
SHOWN_OF_ACCOUNT = 6
"""Characters: enough to tell one's own accounts apart, too few to be an id."""


def exposition(metrics: Metrics) -> tuple[bytes, str]:
    """The counts of all workers, and the content type of that."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(metrics.of_all()))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class Families:
    """What Prometheus calls a collector, of one set of counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for families in (_of_server, _of_requests, _of_models, _of_upstream, _of_translation):
            yield from families(self._metrics)


def _of_server(metrics: Metrics) -> Iterator[Metric]:
    info = GaugeMetricFamily("flarelay_info", "Which server this is.", labels=["version", "mode"])
    info.add_metric([metrics.version, metrics.mode], 1)
    yield info
    yield GaugeMetricFamily("flarelay_requests_open", "Requests being answered.", value=metrics.requests_open)
    yield GaugeMetricFamily("flarelay_streams_open", "Streams being sent.", value=metrics.streams_open)
    results = _counter("flarelay_response_cache", "Calls, by whether the cache had the answer.", "result")
    results.add_metric(["hit"], metrics.cache.hits)
    results.add_metric(["miss"], metrics.cache.misses)
    yield results


def _of_requests(metrics: Metrics) -> Iterator[Metric]:
    requests = _counter("flarelay_requests", "Requests, by route and status.", "route", "status")
    streams = _counter("flarelay_streams", "Requests for streams.", "route")
    seconds = _histogram("flarelay_request_seconds", "Time until an answer's last byte.", "route")
    first_byte = _histogram("flarelay_first_byte_seconds", "Time until an answer's first byte.", "route")
    for route, counts in metrics.routes.items():
        for status, count in counts.statuses.items():
            requests.add_metric([route, str(status)], count)
        streams.add_metric([route], counts.streams)
        seconds.add_metric([route], *_told(counts.seconds))
        first_byte.add_metric([route], *_told(counts.first_byte))
    yield from (requests, streams, seconds, first_byte)


def _of_models(metrics: Metrics) -> Iterator[Metric]:
    tokens = _counter("flarelay_tokens", "Tokens; the cached ones are among the prompt's.", "kind", "model")
    neurons = _counter("flarelay_neurons", "Neurons, in part estimated.", "model")
    audio = _counter("flarelay_audio_seconds", "Seconds of sound heard or spoken.", "model")
    for model, counts in metrics.models.items():
        tokens.add_metric(["prompt", model], counts.prompt)
        tokens.add_metric(["completion", model], counts.completion)
        tokens.add_metric(["cached", model], counts.cached)
        neurons.add_metric([model], counts.neurons)
        audio.add_metric([model], counts.audio_seconds)
    yield from (tokens, neurons, audio)


def _of_upstream(metrics: Metrics) -> Iterator[Metric]:
    calls = _histogram("flarelay_upstream_seconds", "Time until Cloudflare answered.")
    calls.add_metric([], *_told(metrics.upstream))
    yield calls
    failures = _counter("flarelay_upstream_failures", "Failed tries, by Cloudflare's code.", "kind", "code")
    for pair, count in metrics.failures.items():
        failures.add_metric(pair, count)
    yield failures
    parked = GaugeMetricFamily(
        "flarelay_accounts_parked", "Accounts that take no calls now.", labels=["account", "reason"]
    )
    for labels, number in _parked(metrics).items():
        parked.add_metric(labels, number)
    yield parked
    for name, meaning, value in (
        ("flarelay_neurons_today", "Neurons since midnight, UTC.", metrics.spent and metrics.spent()),
        ("flarelay_neuron_budget", "Neurons that may be spent in a day.", metrics.budget),
    ):
        yield GaugeMetricFamily(name, meaning, value=value)


def _parked(metrics: Metrics) -> Counter[tuple[str, str]]:
    """How many: two accounts may begin alike."""
    found: Counter[tuple[str, str]] = Counter()
    for account, reason in metrics.parked() if metrics.parked else ():
        pair = (account[:SHOWN_OF_ACCOUNT], str(reason))
        found[pair if pair in found or len(found) < MOST_PARKED else (OTHER, OTHER)] += 1
    return found


def _of_translation(metrics: Metrics) -> Iterator[Metric]:
    counts = metrics.translation
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


def _counter(name: str, meaning: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, meaning, labels=labels)


def _histogram(name: str, meaning: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, meaning, labels=labels)


def _told(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Upper bounds with how many were no longer than that, and the sum."""
    return list(zip(BUCKETS, accumulate(histogram.counts), strict=True)), histogram.sum
