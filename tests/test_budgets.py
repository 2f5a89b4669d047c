"""Limits of keys and of the whole server, as clients meet them over real sockets."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from app.calls import UNLIMITED
from app.commands import run
from app.stores.key_file import add_key, list_keys
from tests.serving import (
    ACCOUNT,
    CHAT,
    DEADLINE_SECONDS,
    KEY,
    NATIVE,
    NO_TLS,
    TOKEN,
    Cloudflare,
    Server,
    asked,
    cloudflare,
    connected,
    flarelay,
    until,
)

CHAT_URL = "/v1/chat/completions"
LINGERING = 'Hello\n!emulate {"tokens": 100, "delay_ms": 50}'
SHORT = 'Hello\n!emulate {"tokens": 8}'
DURATION = re.compile(r"(\d+h)?(\d+m)?([\d.]+s)?|\d+ms")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloudflare]:
    with cloudflare() as upstream:
        yield upstream


@contextmanager
def limited(cloud: Cloudflare, limits: str, data_dir: Path, **options: Any) -> Iterator[tuple[Server, httpx2.Client]]:
    """A server with one key of these limits."""
    keys = f"mine={KEY}{limits}"
    with (
        flarelay(cloud, **({"api_keys": keys, "data_dir": str(data_dir)} | options)) as server,
        connected(server) as client,
    ):
        yield server, client


def ask(server: Server, model: str = NATIVE) -> httpx2.Response:
    """By OpenAI's own client, which raises what it makes of a refusal."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        completions = client.chat.completions.with_raw_response
        answer = completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
        return httpx2.Response(answer.status_code, headers=dict(answer.headers))


def refused(server: Server) -> openai.RateLimitError:
    with pytest.raises(openai.RateLimitError) as raised:
        ask(server)
    assert raised.value.type == "rate_limit_error"
    return raised.value


def rates(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}


def test_requests_per_minute_are_limited(cloud: Cloudflare, tmp_path: Path) -> None:
    with limited(cloud, ";rpm=2", tmp_path) as (server, _):
        first = rates(ask(server).headers)
        assert (first["x-ratelimit-limit-requests"], first["x-ratelimit-remaining-requests"]) == ("2", "1")
        assert DURATION.fullmatch(first["x-ratelimit-reset-requests"])
        assert rates(ask(server).headers)["x-ratelimit-remaining-requests"] == "0"
        error = refused(server)
        assert error.code == "rate_limit_exceeded"
        assert 1 <= int(error.response.headers["retry-after"]) <= 30
        assert rates(error.response.headers)["x-ratelimit-remaining-requests"] == "0"


def test_concurrent_requests_are_limited_until_a_client_leaves(cloud: Cloudflare, tmp_path: Path) -> None:
    with limited(cloud, ";concurrent=1", tmp_path) as (server, http):
        with http.stream("POST", CHAT_URL, json=asked(LINGERING, stream=True)) as response:
            pieces = response.iter_bytes()
            next(pieces)
            error = refused(server)
            assert error.code == "rate_limit_exceeded"
            assert error.response.headers["retry-after"] == "1"
        with connected(server) as second:
            until(lambda: second.post(CHAT_URL, json=asked("Hello")).status_code == 200)
        assert ask(server).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT_URL, asked("Hello", "no-such-model")),
        (CHAT_URL, {"model": NATIVE}),
        ("/v1/embeddings", {"model": NATIVE, "input": "a"}),
        (f"/v1/run/{NATIVE}", {"prompt": "Hello"}),
        ("/v2/translate", {"text": ["a good day"], "target_lang": "FR"}),
        ("/v1/audio/transcriptions", {}),
    ],
)
def test_a_request_that_has_ended_runs_no_more_however_it_ended(
    cloud: Cloudflare, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    with limited(cloud, ";concurrent=1", tmp_path) as (server, http):
        for _ in range(3):
            assert http.post(path, json=body).status_code != 429
        assert ask(server).status_code == 200


def test_the_neurons_of_a_key_are_limited(cloud: Cloudflare, tmp_path: Path) -> None:
    with limited(cloud, ";neurons=20", tmp_path) as (server, http):
        answers = []
        while (answer := http.post(CHAT_URL, json=asked(SHORT))).status_code == 200:
            answers.append(answer)
            assert len(answers) < 100
        spent = sum(float(each.headers["x-flarelay-neurons"]) for each in answers)
        assert 18 < spent < 22
        error = refused(server)
        assert error.code == "daily_limit_reached"
        assert abs(int(error.response.headers["retry-after"]) - (86_400 - time.time() % 86_400)) < 30
        assert error.response.headers["x-ratelimit-limit-neurons"] == "20"
        assert error.response.headers["x-ratelimit-remaining-neurons"] in ("0", "1")
        told = http.get("/v1/usage").json()
        assert told["allowance"]["limit"] == pytest.approx(max(20, spent), rel=1e-3)
        assert told["total"]["neurons"] == pytest.approx(spent, rel=1e-3)


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        (CHAT_URL, "gpt-4o", 200),
        (CHAT_URL, NATIVE, 200),
        (CHAT_URL, CHAT, 404),
        ("/v1/run/", NATIVE, 200),
        ("/v1/run/", CHAT, 404),
    ],
)
def test_a_key_may_be_for_some_models_only(
    cloud: Cloudflare, tmp_path: Path, path: str, model: str, status: int
) -> None:
    with limited(cloud, ";models=gpt-*|@cf/meta/*", tmp_path) as (_, http):
        asked_before = len(cloud.emulator.requests)
        response = http.post(path + model if path == "/v1/run/" else path, json=asked("Hello", model))
        assert response.status_code == status
        if status == 404:
            error = response.json()["error"]
            assert (error["type"], error["code"], error["param"]) == (
                "invalid_request_error",
                "model_not_found",
                "model",
            )
            assert len(cloud.emulator.requests) == asked_before


def test_the_budget_is_not_overspent_by_many_at_once(tmp_path: Path) -> None:
    with cloudflare(kept_requests=1000) as cloud, limited(cloud, "", tmp_path, neuron_budget=100) as (server, _):

        def statuses(_: int) -> list[int]:
            with connected(server) as http:
                return [http.post(CHAT_URL, json=asked(SHORT)).status_code for _ in range(25)]

        with ThreadPoolExecutor(4) as pool:
            found = [status for each in pool.map(statuses, range(4)) for status in each]
        assert set(found) == {200, 429}
        assert 90 < cloud.emulator.meters.neurons_today(ACCOUNT) <= 100
        count = len(cloud.emulator.requests)
        assert count == found.count(200)
        error = refused(server)
        assert (error.code, error.response.headers["x-should-retry"]) == ("daily_limit_reached", "false")
        assert int(error.response.headers["x-flarelay-remaining-neurons"]) < 10
        assert len(cloud.emulator.requests) == count


def test_the_free_allowance_of_each_account_is_the_default_budget(cloud: Cloudflare, tmp_path: Path) -> None:
    accounts = f"{ACCOUNT}:{TOKEN},other:token"
    one = {"neuron_budget": None}
    two = one | {"cloudflare_account_id": None, "cloudflare_api_token": None, "cloudflare_accounts": accounts}
    for options, budget in ((one, 10_000), (two, 20_000)):
        with limited(cloud, "", tmp_path / str(budget), **options) as (server, http):
            assert ask(server).headers["x-flarelay-remaining-neurons"] == str(budget)
            assert http.get("/v1/usage").json()["allowance"]["limit"] == budget


def test_no_account_costs_money_while_another_is_free(tmp_path: Path) -> None:
    """They could pay: Cloudflare refuses nothing here."""
    tokens = {"one": "token-of-account-one", "two": "token-of-account-two"}
    own: dict[str, Any] = {"cloudflare_account_id": None, "cloudflare_api_token": None, "neuron_budget": None}
    own |= {"cloudflare_accounts": ",".join(map(":".join, tokens.items())), "admin_key": "key-of-the-admin"}
    statuses: list[int] = []
    with cloudflare(tokens=tokens) as upstream, limited(upstream, "", tmp_path, **own) as (_, http):
        while statuses[-1:] != [429]:
            wish = asked(f'{len(statuses)}\n!emulate {{"tokens": 4000}}', prompt_cache_key="one", max_tokens=4000)
            statuses.append(http.post(CHAT_URL, json=wish).status_code)  # 819 neurons each
        report = http.get("/v1/admin/usage", headers={"authorization": "Bearer key-of-the-admin"}).json()
        paid = [upstream.emulator.meters.neurons_today(name) for name in tokens]
    assert statuses == [200] * 24 + [429]
    assert max(paid) < 10_000 + 820
    assert [(each["limit"], each["spent"]) for each in report["accounts"]] == [(10_000, pytest.approx(n)) for n in paid]


def test_who_brings_an_account_of_his_own_has_no_budget(cloud: Cloudflare, tmp_path: Path) -> None:
    options = {"cloudflare_api_token": None, "api_keys": "", "neuron_budget": None, "data_dir": str(tmp_path)}
    with flarelay(cloud, **options) as server, connected(server, authorization=f"Bearer {TOKEN}") as http:
        response = http.post(CHAT_URL, json=asked("Hello"))
        assert response.status_code == 200
        assert "x-flarelay-remaining-neurons" not in response.headers
        assert http.get("/v1/usage").json()["allowance"]["limit"] is None


def test_the_emulator_has_no_budget(tmp_path: Path) -> None:
    with flarelay(data_dir=str(tmp_path)) as server, connected(server) as http:
        response = http.post(CHAT_URL, json=asked('!emulate {"text":"a"}'))
        assert response.status_code == 200
        assert "x-flarelay-remaining-neurons" not in response.headers


def test_keys_come_and_go_while_the_server_runs(
    cloud: Cloudflare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with limited(cloud, "", tmp_path) as (server, _):
        assert run(["keys", "add", "late", "rpm=100"]) == 0
        key = capsys.readouterr().out.strip()
        assert [entry.name for entry in list_keys(tmp_path / "keys.toml")] == ["late"]
        with connected(server, authorization=f"Bearer {key}") as http:

            def status() -> int:
                return http.post(CHAT_URL, json=asked("Hello")).status_code

            until(lambda: status() == 200, seconds=2)
            assert http.get("/v1/usage").status_code == 200
            assert run(["keys", "remove", "late"]) == 0
            until(lambda: status() == 401, seconds=2)
    assert key not in capsys.readouterr().err


def test_web_pages_may_read_what_is_left(cloud: Cloudflare, tmp_path: Path) -> None:
    with limited(cloud, ";rpm=5;neurons=100", tmp_path, neuron_budget=None) as (_, http):
        response = http.post(CHAT_URL, json=asked("Hello"), headers={"origin": "https://page.example"})
        exposed = set(response.headers["access-control-expose-headers"].split(", "))
        told = {*rates(response.headers), "x-flarelay-remaining-neurons", "x-flarelay-neurons"}
        assert len(told) == 8
        assert told <= exposed & set(response.headers)


def test_a_link_to_a_chat_is_limited_as_any_request(cloud: Cloudflare, tmp_path: Path) -> None:
    with (
        limited(cloud, ";rpm=1", tmp_path, chat_links=True) as (server, _),
        httpx2.Client(base_url=server.url, verify=NO_TLS) as http,
    ):
        link = {"model": NATIVE, "prompt": "Hello", "key": KEY}
        assert [http.get(CHAT_URL, params=link).status_code for _ in range(2)] == [200, 429]


def test_the_first_key_closes_the_door(cloud: Cloudflare, tmp_path: Path) -> None:
    with flarelay(cloud, data_dir=str(tmp_path), api_keys="") as server, connected(server, authorization="") as http:
        assert http.get("/v1/models").status_code == 200
        key = add_key(tmp_path / "keys.toml", "first", UNLIMITED)
        until(lambda: http.get("/v1/models").status_code == 401)
        assert http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
