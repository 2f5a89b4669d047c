"""What `/metrics` tells of a server that has met faults, over real sockets."""

from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import BEARER, KEY, NATIVE, asked, cloudflare, until
from tests.test_accounts import ALLOWANCE, CHAT_URL, TOKENS, WRONG, behind, spend

ENDLESS = 'Hello\n!emulate {"tokens": 2000, "delay_ms": 50}'


def scraped(http: httpx2.Client) -> tuple[str, dict[tuple[str, frozenset[tuple[str, str]]], float]]:
    """The text, and the values by name and labels."""
    text = http.get("/metrics", headers={"authorization": ""}).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return text, {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def test_faults_times_and_consumption_are_told_and_no_secrets(tmp_path: Path) -> None:
    own: dict[str, Any] = {"api_keys": f"alice={KEY};rpm=1000", "data_dir": str(tmp_path)}
    with (
        cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream,
        behind(upstream, wrong=("second",), **own) as (_, http),
    ):
        spend(upstream, "first")
        for turn in range(12):
            assert http.post(CHAT_URL, json=asked(f"Hello {turn}", stream=turn % 2 == 0)).status_code == 200
        assert http.post(CHAT_URL, json=asked("Hello", model="gpt-none")).status_code == 404

        def told(name: str, **labels: str) -> float:
            return scraped(http)[1].get((f"flarelay_{name}", frozenset(labels.items())), 0)

        with http.stream("POST", CHAT_URL, json=asked(ENDLESS, stream=True), headers=BEARER) as stream:
            assert stream.status_code == 200
            pieces = stream.iter_bytes()  # which closes the stream when it is let go
            assert next(pieces).startswith(b"data: ")
            assert told("streams_open") == 1
        until(lambda: told("streams_open") == 0)
        tries = len([request for request in upstream.emulator.requests if request.method == "POST"])
        assert told("upstream_seconds_count") == tries
        assert told("upstream_seconds_sum") > 0
        assert told("requests_total", route=CHAT_URL, status="200") == 12
        assert told("requests_total", route=CHAT_URL, status="499") == 1  # the client has left
        assert told("requests_total", route=CHAT_URL, status="404") == 1
        assert told("request_seconds_count", route=CHAT_URL) == 14
        assert told("first_byte_seconds_count", route=CHAT_URL) == 14
        assert told("upstream_failures_total", kind="quota", code="4006") == 1
        assert told("upstream_failures_total", kind="authentication", code="10000") == 1
        assert told("accounts_parked", account="first", reason="quota") == 1
        assert told("accounts_parked", account="second", reason="authentication") == 1
        assert told("tokens_total", kind="completion", model=NATIVE) > 100
        spent = http.get("/v1/usage").json()["total"]["neurons"]
        assert told("neurons_total", model=NATIVE) == told("neurons_today") > 0
        assert abs(told("neurons_today") - spent) < 1e-6 * spent
        text, _ = scraped(http)
    for secret in (KEY, WRONG, "alice", "gpt-none", *TOKENS.values()):
        assert secret not in text
