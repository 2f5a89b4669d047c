from typing import Any

import pytest

from app.calls import FailureKind
from app.metrics import MOST_FAILURES, MOST_MODELS, MOST_ROUTES, Metrics, TranslationCounts, route_of
from tests.scraping import CHAT, all_samples, request, samples

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


def test_where_nothing_was_asked_for_nothing_was_hit() -> None:
    assert TranslationCounts().hit_rate == 0.0


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
