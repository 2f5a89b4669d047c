import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.calls import FailureKind
from app.exposition import MOST_PARKED, exposition
from app.metrics import SECONDS, Metrics, TranslationCounts
from app.translation.mending import Remedy
from tests.scraping import CHAT, request, samples


def test_every_count_of_translations_is_told() -> None:
    counts = TranslationCounts(hits=6, shared=1, misses=3, calls=2)
    counts.remedies[Remedy.BETWEEN_MASKS] = 4
    counts.remedies['of "another"\nkind'] = 5
    assert samples(
        Metrics(counts),
        "flarelay_translation_units",
        "flarelay_translation_calls",
        "flarelay_translation_hit_ratio",
        "flarelay_translation_remedies",
    ) == {
        "flarelay_translation_units_total cache": 6,
        "flarelay_translation_units_total shared": 1,
        "flarelay_translation_units_total engine": 3,
        "flarelay_translation_calls_total": 2,
        "flarelay_translation_hit_ratio": 0.7,
        "flarelay_translation_remedies_total between-masks": 4,
        'flarelay_translation_remedies_total of "another"\nkind': 5,
    }


def test_every_family_says_what_it_is() -> None:
    content, content_type = exposition(Metrics())
    assert content_type.startswith("text/plain; version=")
    families = list(text_string_to_metric_families(content.decode()))
    assert [(family.name, family.type) for family in families] == [
        ("flarelay_info", "gauge"),
        ("flarelay_requests_open", "gauge"),
        ("flarelay_streams_open", "gauge"),
        ("flarelay_response_cache", "counter"),
        ("flarelay_requests", "counter"),
        ("flarelay_streams", "counter"),
        ("flarelay_request_seconds", "histogram"),
        ("flarelay_first_byte_seconds", "histogram"),
        ("flarelay_tokens", "counter"),
        ("flarelay_neurons", "counter"),
        ("flarelay_audio_seconds", "counter"),
        ("flarelay_upstream_seconds", "histogram"),
        ("flarelay_upstream_failures", "counter"),
        ("flarelay_accounts_parked", "gauge"),
        ("flarelay_neurons_today", "gauge"),
        ("flarelay_neuron_budget", "gauge"),
        ("flarelay_translation_units", "counter"),
        ("flarelay_translation_calls", "counter"),
        ("flarelay_translation_hit_ratio", "gauge"),
        ("flarelay_translation_remedies", "counter"),
    ]
    assert all(family.documentation for family in families)


def test_counts_can_be_told_again_and_again() -> None:
    metrics = Metrics()
    before = exposition(metrics)
    metrics.translation.hits += 1
    assert samples(metrics, "flarelay_translation_units")["flarelay_translation_units_total cache"] == 1
    assert exposition(metrics) != before
    assert exposition(Metrics()) == before


@pytest.mark.parametrize("family", ["request_seconds", "first_byte_seconds", "upstream_seconds"])
def test_the_buckets_of_a_duration_hold_those_of_the_shorter_ones(family: str) -> None:
    metrics = Metrics()
    labels = "" if family == "upstream_seconds" else f" {CHAT}"
    for seconds in (0.001, 0.005, 0.0051, 1.0, 600.0, 601.0):
        if family == "upstream_seconds":
            metrics.upstream_call(seconds)
        else:
            request(metrics, seconds=seconds, first_byte_seconds=seconds)
    counted = samples(metrics, f"flarelay_{family}")
    buckets = [counted.pop(f"flarelay_{family}_bucket {bound}{labels}") for bound in [*SECONDS, "+Inf"]]
    assert buckets == [2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 6]
    assert counted == {
        f"flarelay_{family}_count{labels}": 6,
        f"flarelay_{family}_sum{labels}": pytest.approx(1202.0111),
    }


def test_labels_can_be_any_text() -> None:
    metrics = Metrics()
    request(metrics, model='a "b"\n\\c}', neurons=3.0)
    assert samples(metrics, "flarelay_neurons") == {'flarelay_neurons_total a "b"\n\\c}': 3}


def test_of_parked_accounts_only_the_beginning_of_the_id_is_told() -> None:
    metrics = Metrics(
        parked=lambda: [
            ("0123456789abcdef", FailureKind.QUOTA),
            ("0123456789fedcba", FailureKind.QUOTA),
            ("0123456789fedcba", FailureKind.AUTHENTICATION),
            ("fedcba9876543210", FailureKind.QUOTA),
        ]
    )
    content, _ = exposition(metrics)
    assert samples(metrics, "flarelay_accounts_parked") == {
        "flarelay_accounts_parked 012345 quota": 2,
        "flarelay_accounts_parked 012345 authentication": 1,
        "flarelay_accounts_parked fedcba quota": 1,
    }
    assert b"0123456" not in content
    assert b"fedcba9" not in content


def test_past_their_number_parked_accounts_are_counted_together() -> None:
    metrics = Metrics()
    metrics.parked = lambda: [(f"{number:06}", "quota") for number in range(MOST_PARKED + 3)]
    counted = samples(metrics, "flarelay_accounts_parked")
    assert len(counted) == MOST_PARKED + 1
    assert counted["flarelay_accounts_parked other other"] == 3


def test_the_state_of_the_server_is_told() -> None:
    metrics = Metrics(version="1.2.3", mode="managed", budget=10_000)
    metrics.spent = lambda: 0.0
    metrics.requests_open += 3
    metrics.streams_open += 2
    metrics.cache.hits += 5
    metrics.cache.misses += 4
    assert samples(
        metrics,
        "flarelay_info",
        "flarelay_requests_open",
        "flarelay_streams_open",
        "flarelay_response_cache",
        "flarelay_neurons_today",
        "flarelay_neuron_budget",
    ) == {
        "flarelay_info managed 1.2.3": 1,
        "flarelay_requests_open": 3,
        "flarelay_streams_open": 2,
        "flarelay_response_cache_total hit": 5,
        "flarelay_response_cache_total miss": 4,
        "flarelay_neurons_today": 0,
        "flarelay_neuron_budget": 10_000,
    }


def test_what_is_not_known_is_not_told() -> None:
    families = ("flarelay_accounts_parked", "flarelay_neurons_today", "flarelay_neuron_budget")
    assert samples(Metrics(), *families) == {}


def test_the_library_is_loaded_only_to_tell() -> None:
    lines = (
        "import sys",
        "from app.calls import Usage",
        "from app.metrics import Metrics",
        "from app.routes.metrics import route",
        "metrics = Metrics()",
        "route(metrics)",
        "metrics.request('/', 200, 1.0, None, is_stream=False, model='m', usage=Usage(1, 1))",
        "metrics.upstream_failure('server', 1)",
        "print('prometheus_client' in sys.modules)",
        "from app.exposition import exposition",
        "exposition(metrics)",
        "print('prometheus_client' in sys.modules)",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)  # noqa: S603 - our own lines
    assert run.stdout.split() == ["False", "True"]
