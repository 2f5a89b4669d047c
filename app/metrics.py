"""Metrics: what the server counts, as plain numbers. The library that writes them is loaded when they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


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


@dataclass(slots=True, eq=False)
class Metrics:
    """Of one process."""

    translation: TranslationCounts = field(default_factory=TranslationCounts)

    def exposition(self) -> tuple[bytes, str]:
        """In Prometheus' text format, and the content type of that."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self.translation
        units = CounterMetricFamily(
            "flarelay_translation_units", "Units of text asked for, by where they came from.", labels=["source"]
        )
        for source, value in (("cache", counts.hits), ("shared", counts.shared), ("engine", counts.misses)):
            units.add_metric([source], value)
        yield units
        yield CounterMetricFamily("flarelay_translation_calls", "Calls to engines.", value=counts.calls)
        yield GaugeMetricFamily(
            "flarelay_translation_hit_ratio", "Share of units that needed no engine.", value=counts.hit_rate
        )
        remedies = CounterMetricFamily(
            "flarelay_translation_remedies", "What was done about bad translations.", labels=["remedy"]
        )
        for remedy, value in counts.remedies.items():
            remedies.add_metric([remedy], value)
        yield remedies
