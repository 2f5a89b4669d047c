import subprocess
import sys
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.calls import FailureKind
from app.metrics import (
    MOST_FAILURES,
    MOST_MODELS,
    MOST_PARKED,
    MOST_ROUTES,
    SECONDS,
    Metrics,
    TranslationCounts,
    route_of,
)
from app.translation.mending import Remedy

CHAT = "/v1/chat/completions"
KNOWN = {
    "/",
    CHAT,
    "/v1/images/edits",
    "/v1/models",
    "/v1/models/{id}",
    "/v1/run/{model:path}",
    "/images/{name}",
    "/translate",
    "/v1/translate",
    "/v2/translate",
    "/t/{token}/translate",
    "/{token}/translate",
    "/v1/{thread}/runs/{run}",
}


def request(metrics: Metrics, **options: Any) -> None:
    given: dict[str, Any] = {
        "route": CHAT,
        "status": 200,
        "seconds": 1.0,
        "first_byte_seconds": None,
        "model": None,
        "is_stream": False,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "neurons": None,
        "audio_seconds": 0.0,
    }
    metrics.request(**given | options)


def samples(metrics: Metrics, *families: str) -> dict[str, float]:
    """Of these families, by name and the values of the labels in the order of their names."""
    content, _ = metrics.exposition()
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            if family.name in families:
                name = " ".join([sample.name, *sample.labels.values()])
                assert name not in found
                found[name] = sample.value
    return found


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
    content, content_type = Metrics().exposition()
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


def test_where_nothing_was_asked_for_nothing_was_hit() -> None:
    assert TranslationCounts().hit_rate == 0.0


def test_counts_can_be_told_again_and_again() -> None:
    metrics = Metrics()
    before = metrics.exposition()
    metrics.translation.hits += 1
    assert samples(metrics, "flarelay_translation_units")["flarelay_translation_units_total cache"] == 1
    assert metrics.exposition() != before
    assert Metrics().exposition() == before


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for status, is_stream in ((200, True), (200, False), (429, True)):
        request(metrics, status=status, is_stream=is_stream)
    request(metrics, route="other", status=404)
    assert samples(metrics, "flarelay_requests", "flarelay_streams") == {
        f"flarelay_requests_total {CHAT} 200": 2,
        f"flarelay_requests_total {CHAT} 429": 1,
        "flarelay_requests_total other 404": 1,
        f"flarelay_streams_total {CHAT}": 2,
        "flarelay_streams_total other": 0,
    }


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


def test_an_answer_without_a_first_byte_has_no_time_to_it() -> None:
    metrics = Metrics()
    request(metrics, seconds=3.0, first_byte_seconds=None)
    counted = samples(metrics, "flarelay_request_seconds", "flarelay_first_byte_seconds")
    assert counted[f"flarelay_request_seconds_count {CHAT}"] == 1
    assert counted[f"flarelay_request_seconds_sum {CHAT}"] == 3.0
    assert counted[f"flarelay_first_byte_seconds_count {CHAT}"] == 0


def test_what_was_consumed_is_counted_by_model() -> None:
    metrics = Metrics()
    request(metrics, model="@cf/a/b", prompt_tokens=10, completion_tokens=5, cached_tokens=4, neurons=2.5)
    request(metrics, model="@cf/a/b", prompt_tokens=1, neurons=None)
    request(metrics, model="@cf/a/ears", audio_seconds=61.5)
    request(metrics, model="@cf/a/brush", neurons=0.25)
    assert samples(metrics, "flarelay_tokens", "flarelay_neurons", "flarelay_audio_seconds") == {
        "flarelay_tokens_total prompt @cf/a/b": 11,
        "flarelay_tokens_total completion @cf/a/b": 5,
        "flarelay_tokens_total cached @cf/a/b": 4,
        "flarelay_neurons_total @cf/a/b": 2.5,
        "flarelay_audio_seconds_total @cf/a/b": 0,
        "flarelay_tokens_total prompt @cf/a/ears": 0,
        "flarelay_tokens_total completion @cf/a/ears": 0,
        "flarelay_tokens_total cached @cf/a/ears": 0,
        "flarelay_neurons_total @cf/a/ears": 0,
        "flarelay_audio_seconds_total @cf/a/ears": 61.5,
        "flarelay_tokens_total prompt @cf/a/brush": 0,
        "flarelay_tokens_total completion @cf/a/brush": 0,
        "flarelay_tokens_total cached @cf/a/brush": 0,
        "flarelay_neurons_total @cf/a/brush": 0.25,
        "flarelay_audio_seconds_total @cf/a/brush": 0,
    }


@pytest.mark.parametrize("options", [{"model": "made-up"}, {"model": None, "prompt_tokens": 5, "neurons": 1.0}])
def test_a_model_that_consumed_nothing_or_has_no_name_is_not_counted(options: dict[str, Any]) -> None:
    metrics = Metrics()
    request(metrics, **options)
    assert samples(metrics, "flarelay_tokens", "flarelay_neurons", "flarelay_audio_seconds") == {}


def test_failures_are_counted_by_kind_and_code() -> None:
    metrics = Metrics()
    metrics.upstream_failure(FailureKind.QUOTA, 4006)
    metrics.upstream_failure(FailureKind.QUOTA, 4006)
    metrics.upstream_failure(FailureKind.QUOTA, 3036)
    metrics.upstream_failure(FailureKind.CONNECTION, None)
    assert samples(metrics, "flarelay_upstream_failures") == {
        "flarelay_upstream_failures_total 4006 quota": 2,
        "flarelay_upstream_failures_total 3036 quota": 1,
        "flarelay_upstream_failures_total none connection": 1,
    }


def test_past_their_number_models_and_routes_are_counted_together() -> None:
    metrics = Metrics()
    for number in range(MOST_MODELS + 7):
        request(metrics, route=f"/r{number}", model=f"m{number}", prompt_tokens=1)
    request(metrics, route="/r0", model="m0", prompt_tokens=1)
    tokens = samples(metrics, "flarelay_neurons")
    assert len(tokens) == MOST_MODELS + 1
    counted = samples(metrics, "flarelay_requests", "flarelay_tokens")
    assert counted["flarelay_tokens_total prompt other"] == 7
    assert counted["flarelay_tokens_total prompt m0"] == 2
    assert counted["flarelay_requests_total other 200"] == MOST_MODELS + 7 - MOST_ROUTES
    assert counted["flarelay_requests_total /r0 200"] == 2
    assert len(samples(metrics, "flarelay_requests")) == MOST_ROUTES + 1


def test_past_their_number_codes_of_failures_are_counted_together() -> None:
    metrics = Metrics()
    for code in range(MOST_FAILURES + 5):
        metrics.upstream_failure("server", code)
    metrics.upstream_failure("server", 0)
    metrics.upstream_failure("broken", 9)
    counted = samples(metrics, "flarelay_upstream_failures")
    assert len(counted) == MOST_FAILURES + 2
    assert counted["flarelay_upstream_failures_total 0 server"] == 2
    assert counted["flarelay_upstream_failures_total other server"] == 5
    assert counted["flarelay_upstream_failures_total other broken"] == 1


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
    content, _ = metrics.exposition()
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


def busy() -> Metrics:
    """One that has counted something of everything."""
    metrics = Metrics(version="1", parked=lambda: [("account-a", FailureKind.QUOTA), ("account-b", "server")])
    request(metrics, status=200, is_stream=True, seconds=0.3, first_byte_seconds=0.02, model="m", prompt_tokens=5)
    request(metrics, status=429, model="other-model", neurons=1.5, audio_seconds=2.0)
    metrics.upstream_call(1.0)
    metrics.upstream_failure(FailureKind.QUOTA, 4006)
    metrics.upstream_failure("connection", None)
    metrics.translation.hits += 1
    metrics.translation.calls += 2
    metrics.translation.remedies["smaller-pieces"] = 3
    metrics.cache.misses += 4
    metrics.requests_open += 2
    metrics.streams_open += 1
    return metrics


def all_samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    content, _ = metrics.exposition()
    families = text_string_to_metric_families(content.decode())
    return {
        (sample.name, *map(str, sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_scrape_tells_the_sums_of_all_workers() -> None:
    alone, one_of_three = all_samples(busy()), busy()
    one_of_three.others = lambda: [busy().state(), busy().state()]
    same = ("flarelay_info", "flarelay_accounts_parked", "flarelay_translation_hit_ratio")
    expected = {name: value if name[0] in same else value * 3 for name, value in alone.items()}
    assert all_samples(one_of_three) == pytest.approx(expected)
    assert all_samples(busy()) == pytest.approx(alone)
    assert len(alone) > 80


def test_accounts_that_only_some_workers_have_parked_are_told_once() -> None:
    metrics = Metrics(parked=lambda: [("one", "quota")])
    metrics.others = lambda: [Metrics(parked=lambda: [("one", "quota"), ("two", "server")]).state(), Metrics().state()]
    assert samples(metrics, "flarelay_accounts_parked") == {
        "flarelay_accounts_parked one quota": 1,
        "flarelay_accounts_parked two server": 1,
    }


def test_what_a_dead_worker_has_counted_is_gone_on_from() -> None:
    heir = Metrics(version="1")
    heir.take_over(busy().state())
    gone = {"flarelay_requests_open", "flarelay_streams_open", "flarelay_accounts_parked"}
    expected = {name: value for name, value in all_samples(busy()).items() if name[0] not in gone}
    found = all_samples(heir)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (heir.requests_open, heir.streams_open) == (0, 0)


def test_a_worker_of_another_version_is_not_understood() -> None:
    metrics = Metrics(version="2")
    before = all_samples(metrics)
    metrics.take_over(busy().state())
    metrics.others = lambda: [busy().state()]
    assert all_samples(metrics) == before


def test_what_is_no_number_adds_nothing() -> None:
    broken = Metrics()
    request(broken, model="m", neurons=float("nan"))
    whole = Metrics(others=lambda: [broken.state()])
    assert samples(whole, "flarelay_neurons") == {"flarelay_neurons_total m": 0}


def test_the_library_is_loaded_only_to_tell() -> None:
    lines = (
        "import sys",
        "from app.metrics import Metrics",
        "metrics = Metrics()",
        "metrics.request('/', 200, 1.0, None, 'm', False, 1, 1, 0, None, 0)",
        "metrics.upstream_failure('server', 1)",
        "print('prometheus_client' in sys.modules)",
        "metrics.exposition()",
        "print('prometheus_client' in sys.modules)",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)  # noqa: S603 - our own lines
    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        (CHAT, CHAT),
        ("/chat/completions", CHAT),
        ("/v1/models", "/v1/models"),
        ("/models", "/v1/models"),
        ("/v1/models/@cf/author/name", "/v1/models/{id}"),
        ("/models/gpt-4o", "/v1/models/{id}"),
        ("/v1/run/@cf/author/name", "/v1/run/{model:path}"),
        ("/run/@cf/author/name", "/v1/run/{model:path}"),
        ("/images/edits", "/v1/images/edits"),
        ("/images/secret.png", "/images/{name}"),
        ("/translate", "/translate"),
        ("/v1/translate", "/v1/translate"),
        ("/v2/translate", "/v2/translate"),
        ("/secret/translate", "/{token}/translate"),
        ("/{token}/translate", "/{token}/translate"),
        ("/t/secret/translate", "/t/{token}/translate"),
        ("/secret/v2/translate", "/{token}/translate"),
        ("/v1/thread_1/runs/run_1", "/v1/{thread}/runs/{run}"),
        ("/images/", "other"),
        ("/v1/thread_1/steps/run_1", "other"),
        ("/wp-login.php", "other"),
        ("/secret", "other"),
        ("//translate", "other"),
        ("", "other"),
    ],
)
def test_a_path_becomes_the_template_it_fits(path: str, route: str) -> None:
    assert route_of(path, KNOWN) == route
    assert route_of(path, list(KNOWN)) == route
