"""Requests to count, and the counts as a scrape tells them."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from app.calls import Usage
from app.exposition import exposition
from app.metrics import Metrics

CHAT = "/v1/chat/completions"

CONSUMED = ("prompt_tokens", "completion_tokens", "cached_tokens", "neurons", "audio_seconds")


def request(metrics: Metrics, **options: Any) -> None:
    given: dict[str, Any] = {
        "route": CHAT,
        "status": 200,
        "seconds": 1.0,
        "first_byte_seconds": None,
        "model": None,
        "is_stream": False,
    }
    consumed = {name: options.pop(name) for name in CONSUMED if name in options}
    metrics.request(**given | options, usage=Usage(**consumed))


def samples(metrics: Metrics, *families: str) -> dict[str, float]:
    """Of these families, by name and the values of the labels in the order of their names."""
    content, _ = exposition(metrics)
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            if family.name in families:
                name = " ".join([sample.name, *sample.labels.values()])
                assert name not in found
                found[name] = sample.value
    return found


def all_samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    content, _ = exposition(metrics)
    families = text_string_to_metric_families(content.decode())
    return {
        (sample.name, *map(str, sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
