"""One API and new-api in front of the server: balances, and failures for which they must keep the channel."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import (
    BEARER,
    KEY,
    NATIVE,
    NO_TLS,
    Cloudflare,
    Server,
    asked,
    cloudflare,
    connected,
    flarelay,
    scripted,
)

CHAT_URL = "/v1/chat/completions"
ALLOWANCE = 10_000.0
PREFIXES = ("/v1", "")

DISABLING_WORDS = (
    "your access was terminated",
    "violation of our policies",
    "your credit balance is too low",
    "organization has been disabled",
    "credit",
    "balance",
    "permission denied",
    "organization has been restricted",
    "api key not valid",
    "api key expired",
    "已欠费",
    "you exceeded your current quota",
    "the security token included in the request is invalid",
    "operation not allowed",
    "your account is not authorized",
)
"""Of a message, in lower case. Sources: One API, monitor/manage.go; new-api, setting/operation_setting."""
DISABLING_TYPES = ("insufficient_quota", "authentication_error", "permission_error", "forbidden")
DISABLING_CODES = ("invalid_api_key", "account_deactivated", "insufficient_quota")


@contextmanager
def channel(cloud: Cloudflare, data_dir: Path, **options: Any) -> Iterator[tuple[Server, httpx2.Client]]:
    own = {"data_dir": str(data_dir), "max_tries": 1}
    with flarelay(cloud, **(own | options)) as server, connected(server) as http:
        yield server, http


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A channel of one account, which is asked whatever it has answered before."""
    with cloudflare() as cloud, channel(cloud, tmp_path_factory.mktemp("data")) as (_, http):
        yield http


def check_keeps_channel(response: httpx2.Response) -> None:
    """By One API's rules and by new-api's."""
    error = response.json()["error"]
    assert response.status_code != 401
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["type"] not in DISABLING_TYPES
    assert error["code"] not in DISABLING_CODES
    assert not [word for word in DISABLING_WORDS if word in error["message"].lower()]


def check_is_retried(response: httpx2.Response) -> None:
    check_keeps_channel(response)
    assert response.status_code == 429 or response.status_code in (500, 502, 503)


def left(http: httpx2.Client, prefix: str = "/v1") -> float:
    """As both relays compute it."""
    subscription = http.get(f"{prefix}/dashboard/billing/subscription").raise_for_status().json()
    usage = http.get(
        f"{prefix}/dashboard/billing/usage", params={"start_date": "2026-01-01", "end_date": "2026-12-31"}
    ).raise_for_status()
    return float(subscription["hard_limit_usd"] - usage.json()["total_usage"] / 100)


def test_one_apis_test_of_a_channel_passes_with_all_limits_on(tmp_path: Path) -> None:
    prompt = "Output only your specific model name with no additional text."
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "model": NATIVE}).encode()
    options = {"api_keys": f"relay={KEY};rpm=60;concurrent=4;neurons=5000;models=@cf/meta/*", "neuron_budget": None}
    with (
        cloudflare() as cloud,
        channel(cloud, tmp_path, **options) as (server, _),
        httpx2.Client(base_url=server.url, verify=NO_TLS) as client,
    ):
        bare = client.build_request("POST", CHAT_URL, content=body, headers=BEARER)
        for name in ("accept", "accept-encoding", "user-agent"):
            del bare.headers[name]
        response = client.send(bare)
    assert response.status_code == 200
    assert isinstance(response.json()["choices"][0]["message"]["content"], str)


@pytest.mark.parametrize(
    "fault",
    [{"code": 10000, "status": 401}, {"code": 10000, "status": 403}, {"code": 9109, "status": 403}],
    ids=["401", "403", "9109"],
)
def test_row_6_a_rejected_token_of_the_server_is_not_the_callers_fault(fault: dict[str, Any], tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path) as (_, http):
        check_is_retried(http.post(CHAT_URL, json=scripted(script={"error": fault | {"message": "Permission denied"}})))
    with cloudflare() as cloud, channel(cloud, tmp_path, cloudflare_api_token="a-wrong-token") as (_, http):
        for path in (CHAT_URL, "/v1/run/" + NATIVE):
            check_is_retried(http.post(path, json=asked("Hello")))


def test_row_7_a_wrong_key_of_a_caller_is_told_in_openais_words(tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path) as (_, http):
        response = http.post(CHAT_URL, json=asked("Hello"), headers={"authorization": "Bearer wrong"})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (401, "invalid_request_error", "invalid_api_key")
    assert not [word for word in DISABLING_WORDS if word in error["message"].lower()]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_row_8_the_subscription(prefix: str, http: httpx2.Client) -> None:
    answer = http.get(f"{prefix}/dashboard/billing/subscription")
    assert answer.status_code == 200
    told = answer.json()
    assert isinstance(told["hard_limit_usd"], float | int)
    assert told["hard_limit_usd"] > 0
    assert isinstance(told["has_payment_method"], bool)
    assert isinstance(told["access_until"], int)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_row_9_what_was_used_leaves_a_balance(prefix: str, tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path, neuron_budget=None) as (_, http):
        before = left(http, prefix)
        charge = float(http.post(CHAT_URL, json=asked("Hello")).headers["x-flarelay-neurons"])
        assert left(http, prefix) == pytest.approx(before - charge / 1000, rel=1e-6)
        grants = http.get(f"{prefix}/dashboard/billing/credit_grants").json()
        assert grants["total_available"] == pytest.approx(left(http), rel=1e-6)
        assert grants["total_granted"] == pytest.approx(10)
        assert grants["total_used"] == pytest.approx(charge / 1000, abs=1e-6)


def test_row_9_a_spent_key_has_a_balance_all_the_same(tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path, neuron_budget=0.1) as (_, http):
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 429
        assert left(http) > 0


FAULTS: dict[str, dict[str, Any]] = {
    "quota": {"code": 4006},
    "quota, the other code": {"code": 3036},
    "capacity": {"code": 3040},
    "rate limit": {"code": None, "status": 429, "message": "rate limited"},
    "server": {"code": 8004},
    "blocked": {"code": 3023},
    "words of a vendor": {"code": 8004, "message": "Your credit balance is too low, permission denied"},
    "words with a quota": {"code": 4006, "message": "You exceeded your current quota: credit balance is too low"},
    "words of a gateway": {"code": 2021, "status": 402, "message": "Insufficient credit balance"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("path", [CHAT_URL, f"/v1/run/{NATIVE}"])
def test_what_another_channel_may_answer_is_retried_there(
    fault: dict[str, Any], path: str, relayed: httpx2.Client
) -> None:
    check_is_retried(relayed.post(path, json=scripted(script={"error": fault})))


OTHER_FAULTS: dict[str, dict[str, Any]] = {
    "plan": {"code": 5035},
    "license": {"code": 5016},
    "not allowed": {"code": 5018},
    "private": {"code": 3041, "message": "Permission denied for this private model"},
    "input": {"code": 5006, "message": "Bad input: your credit balance is too low"},
    "too large": {"code": 3006},
}


@pytest.mark.parametrize("fault", OTHER_FAULTS.values(), ids=OTHER_FAULTS.keys())
def test_no_failure_ends_a_channel(fault: dict[str, Any], relayed: httpx2.Client) -> None:
    response = relayed.post(CHAT_URL, json=scripted(script={"error": fault}))
    assert response.status_code >= 400
    check_keeps_channel(response)


@pytest.mark.parametrize(
    ("limits", "options"),
    [
        (";rpm=1", {}),
        (";neurons=0.1", {}),
        ("", {"neuron_budget": 0.1}),
    ],
    ids=["rpm", "neurons", "budget"],
)
def test_limits_of_ours_keep_the_channel(limits: str, options: dict[str, Any], tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path, api_keys=f"relay={KEY}{limits}", **options) as (_, http):
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
        response = http.post(CHAT_URL, json=asked("Hello"))
        assert response.status_code == 429
        check_is_retried(response)


def test_a_model_that_a_key_may_not_use_keeps_the_channel(tmp_path: Path) -> None:
    with cloudflare() as cloud, channel(cloud, tmp_path, api_keys=f"relay={KEY};models=gpt-*") as (_, http):
        response = http.post(CHAT_URL, json=asked("Hello"))
        assert response.status_code == 404
        check_keeps_channel(response)


class TestQuotaEndsChannel:
    def test_a_spent_budget_has_the_name_that_ends_a_channel(self, tmp_path: Path) -> None:
        options = {"quota_ends_channel": True, "neuron_budget": 0.1}
        with cloudflare() as cloud, channel(cloud, tmp_path, **options) as (_, http):
            assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
            response = http.post(CHAT_URL, json=asked("Hello"))
            error = response.json()["error"]
            assert (response.status_code, error["type"], error["code"]) == (
                429,
                "insufficient_quota",
                "insufficient_quota",
            )
            assert left(http) <= 0

    def test_so_has_a_spent_account(self, tmp_path: Path) -> None:
        with cloudflare() as cloud, channel(cloud, tmp_path, quota_ends_channel=True) as (_, http):
            response = http.post(CHAT_URL, json=scripted(script={"error": {"code": 4006}}))
            error = response.json()["error"]
            assert (response.status_code, error["type"], error["code"]) == (
                429,
                "insufficient_quota",
                "insufficient_quota",
            )

    @pytest.mark.parametrize("code", [3040, 8004])
    def test_nothing_else_ends_it(self, code: int, tmp_path: Path) -> None:
        with cloudflare() as cloud, channel(cloud, tmp_path, quota_ends_channel=True) as (_, http):
            check_is_retried(http.post(CHAT_URL, json=scripted(script={"error": {"code": code}})))
