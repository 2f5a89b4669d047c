"""What callers may ask of AI Gateway."""

import json
from typing import Any

import pytest

from app.errors import BadRequestError
from app.upstream.gateway_options import options_of

MANY = {str(number): number for number in range(7)}
VALUES: list[tuple[str, Any, str]] = [
    ("skip-cache", "TRUE", "true"),
    ("skip-cache", False, "false"),
    ("cache-ttl", "60", "60"),
    ("cache-ttl", 2592000, "2592000"),
    ("cache-ttl", "0", "0"),
    ("cache-key", "any text ü", "any text ü"),
    ("collect-log", "false", "false"),
    ("collect-log-payload", True, "true"),
    ("metadata", '{"user":"ü","n":1,"f":1.5,"ok":true}', '{"user":"\\u00fc","n":1,"f":1.5,"ok":true}'),
    ("metadata", {"cf.zone": "x", "team": "a"}, '{"team":"a"}'),
    ("metadata", MANY, json.dumps(dict(list(MANY.items())[:5]), separators=(",", ":"))),
    ("request-timeout", 8000, "8000"),
    ("max-attempts", "5", "5"),
    ("retry-delay", "0", "0"),
    ("backoff", "exponential", "exponential"),
    ("event-id", "e-1:x", "e-1:x"),
    ("custom-cost", '{"total_cost":0.5}', '{"total_cost":0.5}'),
    ("custom-cost", {"per_token_in": 0, "per_token_out": 1e-6}, '{"per_token_in":0,"per_token_out":1e-06}'),
]


@pytest.mark.parametrize(("name", "value", "expected"), VALUES)
def test_what_callers_ask_is_passed_on(name: str, value: Any, expected: str) -> None:
    full = f"cf-aig-{name}"
    assert options_of([], {name: value}) == {full: expected}
    if isinstance(value, str):
        assert options_of([(full.encode(), value.encode())]) == {full: expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("skip-cache", "yes"),
        ("skip-cache", 1),
        ("cache-ttl", "59"),
        ("cache-ttl", "2592001"),
        ("cache-ttl", "-1"),
        ("cache-ttl", 60.5),
        ("cache-ttl", True),
        ("cache-ttl", "9" * 5000),
        ("cache-key", ""),
        ("cache-key", "k" * 1025),
        ("cache-key", 5),
        ("collect-log", ""),
        ("metadata", "not JSON"),
        ("metadata", "[" * 100_000),
        ("metadata", "[1]"),
        ("metadata", {"nested": {"a": 1}}),
        ("metadata", {"nothing": None}),
        ("metadata", '{"infinite": Infinity}'),
        ("metadata", {"long": "x" * 5000}),
        ("request-timeout", "0"),
        ("request-timeout", "3600001"),
        ("max-attempts", "6"),
        ("max-attempts", "0"),
        ("retry-delay", "5001"),
        ("backoff", "quadratic"),
        ("event-id", ""),
        ("event-id", "a b"),
        ("event-id", "a\r\nb"),
        ("event-id", 7),
        ("custom-cost", {}),
        ("custom-cost", {"total_cost": -1}),
        ("custom-cost", {"total_cost": "1"}),
        ("custom-cost", {"total_cost": True}),
        ("custom-cost", '{"total_cost": NaN}'),
    ],
)
def test_what_does_not_fit_is_a_400_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        options_of([], {name: value})
    assert caught.value.param == name
    if isinstance(value, str):
        with pytest.raises(BadRequestError) as caught:
            options_of([(f"cf-aig-{name}".encode(), value.encode())])
        assert caught.value.param == f"cf-aig-{name}"
        assert caught.value.message.startswith(f"'cf-aig-{name}' ")


def test_the_old_names_are_understood() -> None:
    headers = [(b"cf-skip-cache", b"true"), (b"cf-cache-ttl", b"120")]
    assert options_of(headers) == {"cf-aig-skip-cache": "true", "cf-aig-cache-ttl": "120"}


@pytest.mark.parametrize(
    "name",
    [
        *("cf-aig-authorization", "cf-aig-gateway-id", "cf-aig-byok-alias", "cf-aig-no-wholesale", "cf-aig-zdr"),
        *("cf-connecting-ip", "authorization", "host", "cf-aig-", "cf-aig-run-id"),
    ],
)
def test_other_headers_are_not_passed_on(name: str) -> None:
    assert options_of([(name.encode(), b"true")]) == {}


def test_a_body_may_speak_as_the_workers_binding_does() -> None:
    body = {
        "skipCache": True,
        "cacheTtl": 3600,
        "cacheKey": "k",
        "collectLog": False,
        "eventId": "e1",
        "requestTimeoutMs": 900,
        "metadata": None,
        "retries": {"maxAttempts": 2, "retryDelayMs": 100, "backoff": "linear"},
    }
    assert options_of([(b"cf-aig-event-id", b"other"), (b"cf-aig-skip-cache", b"true")], body) == {
        "cf-aig-event-id": "e1",
        "cf-aig-skip-cache": "true",
        "cf-aig-cache-ttl": "3600",
        "cf-aig-cache-key": "k",
        "cf-aig-collect-log": "false",
        "cf-aig-request-timeout": "900",
        "cf-aig-max-attempts": "2",
        "cf-aig-retry-delay": "100",
        "cf-aig-backoff": "linear",
    }
    assert options_of([], {"cf-aig-cache-ttl": 60}) == options_of([], {"cache_ttl": 60}) == {"cf-aig-cache-ttl": "60"}


@pytest.mark.parametrize("key", ["id", "authorization", "gateway-id", "retries", "Byok_Alias"])
def test_a_body_may_not_ask_for_more(key: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        options_of([], {key: "x"})
    assert caught.value.param == key
