"""Several accounts with faults of their own, behind one server, over real sockets."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from app.emulator.app import create_emulator
from app.emulator.options import GatewayOptions
from tests.serving import (
    BEARER,
    CHAT,
    KEY,
    NATIVE,
    Cloudflare,
    Server,
    asked,
    body,
    cloudflare,
    connected,
    flarelay,
    payloads,
    scripted,
    serving,
    start,
    until,
    written,
)

CHAT_URL = "/v1/chat/completions"
IDS = ("first", "second", "third")
TOKENS = {name: f"cloudflare-token-of-{name}" for name in IDS}
WRONG = "a-token-that-nobody-knows"
OTHER = "key-of-another-caller"
ALLOWANCE = 10_000.0
DAY_SECONDS = 86_400


@contextmanager
def behind(
    upstream: Cloudflare, *, wrong: tuple[str, ...] = (), **options: Any
) -> Iterator[tuple[Server, httpx2.Client]]:
    """A server with the three accounts; the tokens of `wrong` are not what Cloudflare knows."""
    accounts = ",".join(f"{name}:{WRONG if name in wrong else token}" for name, token in TOKENS.items())
    own = {"cloudflare_account_id": None, "cloudflare_api_token": None, "cloudflare_accounts": accounts}
    with flarelay(upstream, **(own | options)) as server, connected(server) as client:
        yield server, client


def spend(upstream: Cloudflare, *ids: str) -> None:
    for name in ids:
        upstream.emulator.meters.charge(name, ALLOWANCE)


def paid(upstream: Cloudflare, since: int = 0) -> list[str]:
    """The accounts that were asked, in order."""
    return [request.path.split("/accounts/")[1].split("/")[0] for request in [*upstream.emulator.requests][since:]]


def told_of_accounts(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    told = ((record, record.__dict__.get("fields", {})) for record in caplog.records)
    return [
        (record.levelname, record.getMessage(), fields["account"]) for record, fields in told if "account" in fields
    ]


def until_midnight() -> float:
    return DAY_SECONDS - time.time() % DAY_SECONDS


@pytest.mark.parametrize("stream", [False, True])
def test_accounts_with_faults_of_their_own_leave_the_work_to_the_third(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    with (
        cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream,
        behind(upstream, wrong=("second",)) as (_, http),
    ):
        spend(upstream, "first")
        for turn in range(12):
            response = http.post(CHAT_URL, json=asked(f'{turn}\n!emulate {{"text":"Hello"}}', stream=stream))
            assert response.status_code == 200
            if stream:
                events = payloads(response.text)
                assert (written(events), events[-1]) == ("Hello", "[DONE]")
        assert Counter(paid(upstream)) == {"first": 1, "second": 1, "third": 12}
    assert sorted(told_of_accounts(caplog)) == [
        ("ERROR", "account taken out", "second"),
        ("WARNING", "account parked", "first"),
    ]
    assert WRONG not in caplog.text
    assert not any(WRONG in str(record.__dict__) for record in caplog.records)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["rest", "host"])
def test_accounts_with_faults_behind_a_gateway_that_goes_down_leave_the_work_to_the_third(
    route: str, *, stream: bool
) -> None:
    gateways = {"mine": GatewayOptions()}
    own: dict[str, Any] = {"ai_gateway_id": "mine", "ai_gateway_route": route, "ai_gateway_fallback": True}
    with cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE, gateways=gateways) as upstream:
        own["ai_gateway_base_url"] = upstream.url.replace("/client/v4", "/v1")
        with behind(upstream, wrong=("second",), **own) as (_, http):

            def statuses() -> set[int]:
                asks = (asked(f"Hello {turn}", stream=stream) for turn in range(6))
                return {http.post(CHAT_URL, json=body).status_code for body in asks}

            spend(upstream, "first")
            assert statuses() == {200}
            gateways["mine"] = GatewayOptions(is_down=True)
            assert statuses() == {200}
            spend(upstream, "third")
            assert statuses() == {429}


@pytest.mark.parametrize("stream", [False, True])
def test_spent_accounts_are_told_as_one_limit_until_midnight(stream: bool) -> None:
    with cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream, behind(upstream) as (_, http):
        spend(upstream, *IDS)
        for _ in range(3):
            response = http.post(CHAT_URL, json=asked("Hello", stream=stream))
            assert response.status_code == 429
            error = response.json()["error"]
            assert (error["type"], error["code"], error["param"]) == ("rate_limit_error", "daily_limit_reached", None)
            assert response.headers["x-should-retry"] == "false"
            assert abs(int(response.headers["retry-after"]) - until_midnight()) < 30
        assert sorted(paid(upstream)) == sorted(IDS)


def test_nothing_is_left_once_cloudflare_says_so_of_all_accounts(tmp_path: Path) -> None:
    """Somebody else has spent it, so our books know nothing of it."""
    own: dict[str, Any] = {"neuron_budget": None, "data_dir": str(tmp_path)}
    with cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream, behind(upstream, **own) as (_, http):

        def available() -> Any:
            return http.get("/v1/dashboard/billing/credit_grants").json()["total_available"]

        spend(upstream, *IDS[:2])
        left = [http.post(CHAT_URL, json=asked("Hello")).headers["x-flarelay-remaining-neurons"]]
        assert available() > 29
        spend(upstream, *IDS[2:])
        left += [http.post(CHAT_URL, json=asked("Hello")).headers["x-flarelay-remaining-neurons"] for _ in range(2)]
        assert left == ["30000", "0", "0"]
        assert http.get("/v1/usage").json()["allowance"]["remaining"] == 0
        assert available() == pytest.approx(0.01)  # One API ends a channel at 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_operator_is_told_which_account_is_refused(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    refuse: dict[str, Any] = {"script": {"error": {"code": 7003, "status": 404}}, "stream": stream}
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        for turn in range(20):  # by now each has answered, and what is refused after that may be the request's fault
            assert http.post(CHAT_URL, json=asked(f"Hello {turn}")).status_code == 200
        assert http.post(CHAT_URL, json=scripted(**refuse)).json()["error"]["code"] == "upstream_configuration"
        asked_last = paid(upstream)[-1]
        assert asked_last != IDS[0]
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream, wrong=IDS) as (_, http):
        assert http.post(CHAT_URL, json=asked("Hello", stream=stream)).json()["error"]["code"] == "upstream_auth"
    refused = [name for _, event, name in told_of_accounts(caplog) if event.startswith("Cloudflare refuses")]
    assert refused == [asked_last, ", ".join(IDS)]


def test_the_operator_is_told_which_account_is_refused_within_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    breaks = 'error_after":{"events":2,"code":10000}'
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        for turn in range(12):
            text = http.post(CHAT_URL, json=asked(f'{turn}\n!emulate {{"tokens":5,"{breaks}}}', stream=True)).text
            assert payloads(text)[-1]["error"]["code"] == "upstream_auth"
        assert len(set(paid(upstream))) > 1
    refused = [name for _, event, name in told_of_accounts(caplog) if event.startswith("Cloudflare refuses")]
    assert refused == paid(upstream)


def test_an_account_without_room_for_one_model_goes_on_with_others() -> None:
    with cloudflare(tokens=TOKENS, busy_every={NATIVE: 2}) as upstream, behind(upstream) as (_, http):
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
        busy, answered = paid(upstream)[1:]
        assert busy != answered
        assert busy == paid(upstream)[0]
        assert http.post(CHAT_URL, json=asked("Hello")).status_code == 200
        assert busy not in paid(upstream, since=3)
        others = {http.post(CHAT_URL, json=asked(f"Hello {turn}", CHAT)).status_code for turn in range(40)}
        assert others == {200}
        assert busy in paid(upstream, since=5)


def test_accounts_that_fail_are_tried_once_each_before_anything_is_waited_for() -> None:
    error = {"code": 7009, "status": 502}
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream, max_tries=1) as (_, http):
        response = http.post(CHAT_URL, json=scripted(script={"error": error}))
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
        assert sorted(paid(upstream)) == sorted(IDS)


def test_a_client_error_is_no_reason_for_another_account() -> None:
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        response = http.post(CHAT_URL, json=scripted(script={"error": {"code": 5006}}))
        assert response.status_code == 400
        assert len(paid(upstream)) == 1


def test_an_account_that_has_room_again_soon_is_no_spent_one() -> None:
    """What is told is what can be waited for."""
    with cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE, busy_every={NATIVE: 1}) as upstream:
        with behind(upstream, wrong=("second",), max_tries=1) as (_, http):
            spend(upstream, "first")
            response = http.post(CHAT_URL, json=asked("Hello"))
        assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
        assert set(paid(upstream)) <= set(IDS)


@contextmanager
def slow_cloudflare() -> Iterator[tuple[Cloudflare, list[str]]]:
    """One that takes a while to fail, and the paths that it was asked for."""
    paths: list[str] = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            continue
        paths.append(scope["path"])
        await asyncio.sleep(0.4)
        await send(start("application/json") | {"status": 502})
        await send(body(b'{"success":false,"errors":[{"code":7009,"message":"gone"}]}'))

    with serving(upstream, lifespan="off") as cloud:
        yield Cloudflare(create_emulator(), cloud.url), paths


def test_the_tries_of_all_accounts_have_one_deadline() -> None:
    with slow_cloudflare() as (upstream, paths), behind(upstream, request_timeout_seconds=0.6) as (_, http):
        response = http.post(CHAT_URL, json=asked("Hello"))
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
        assert len(paths) == 2


def test_nothing_is_asked_twice_once_a_stream_has_begun() -> None:
    broken = {"error_after": {"events": 2, "code": 7009, "message": "gone"}, "text": "one two three four five"}
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        events = payloads(http.post(CHAT_URL, json=scripted(script=broken, stream=True)).text)
        assert "error" in events[-1]
        assert len(paid(upstream)) == 1


LONG = "The beginning of a long conversation"

TURNS = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": LONG},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And then?"},
]


@pytest.mark.parametrize(
    ("fields", "headers"),
    [({"prompt_cache_key": "mine"}, {}), ({}, {"x-session-affinity": "mine"})],
    ids=["prompt_cache_key", "x-session-affinity"],
)
def test_a_session_stays_with_one_account(fields: dict[str, Any], headers: dict[str, str]) -> None:
    keys = f"{KEY},{OTHER}"
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream, api_keys=keys) as (_, http):
        for turn in range(8):
            http.post(CHAT_URL, json=asked(f"Hello {turn}", **fields), headers=headers).raise_for_status()
        assert len(set(paid(upstream))) == 1
        other = {"authorization": f"Bearer {OTHER}"}
        http.post(CHAT_URL, json=asked("Hello", **fields), headers=headers | other).raise_for_status()
        sent = [request.headers["x-session-affinity"] for request in upstream.emulator.requests]
        assert len(set(sent[:8])) == 1
        assert sent[8] != sent[0]
        assert not any("mine" in value or KEY in value for value in sent)


def test_a_conversation_stays_with_one_account_while_it_grows() -> None:
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        for length in (2, 4, 2, 4):
            run = {"model": NATIVE, "messages": TURNS[:length]}
            http.post(CHAT_URL, json=run).raise_for_status()
        assert len(set(paid(upstream))) == 1
        assert len({request.headers["x-session-affinity"] for request in upstream.emulator.requests}) == 1


def test_sessions_are_spread_over_all_accounts() -> None:
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        for turn in range(40):
            http.post(CHAT_URL, json=asked(f"Hello {turn}")).raise_for_status()
        assert set(paid(upstream)) == set(IDS)


def test_what_has_no_session_goes_where_least_is_running() -> None:
    """Raw runs have none."""
    run = {
        "messages": [{"role": "user", "content": 'Hello\n!emulate {"text":"a b c","delay_ms":300}'}],
        "stream": True,
    }
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (server, http):
        with (
            connected(server) as second,
            connected(server) as third,
            http.stream("POST", f"/v1/run/{NATIVE}", json=run) as one,
            second.stream("POST", f"/v1/run/{NATIVE}", json=run) as two,
            third.stream("POST", f"/v1/run/{NATIVE}", json=run) as three,
        ):
            assert [each.status_code for each in (one, two, three)] == [200] * 3
            assert sorted(paid(upstream)) == sorted(IDS)
        until(lambda: upstream.emulator.open_requests == 0)


def test_a_client_that_leaves_frees_its_account() -> None:
    """Were it still counted as busy, what comes next would avoid it."""
    run = {
        "messages": [{"role": "user", "content": 'Hello\n!emulate {"text":"a b c","delay_ms":300}'}],
        "stream": True,
    }
    with cloudflare(tokens=TOKENS) as upstream, behind(upstream) as (_, http):
        for _ in range(3):
            with http.stream("POST", f"/v1/run/{NATIVE}", json=run) as response:
                next(response.iter_bytes())
            until(lambda: upstream.emulator.open_requests == 0)
        assert Counter(paid(upstream)) == dict.fromkeys(IDS, 1)


class TestFallbacks:
    FALLBACKS: ClassVar = {"mine": ["gpt-4o", CHAT]}
    ALIASES: ClassVar = {"mine": NATIVE, "gpt-4o": "@cf/qwen/qwen3-30b-a3b-fp8"}
    BUSY: ClassVar = {NATIVE: 1, "@cf/qwen/qwen3-30b-a3b-fp8": 1}

    @contextmanager
    def _behind(self, upstream: Cloudflare, **options: Any) -> Iterator[httpx2.Client]:
        own: dict[str, Any] = {"model_fallbacks": self.FALLBACKS, "model_aliases": self.ALIASES, "max_tries": 1}
        with behind(upstream, **(own | options)) as (_, http):
            yield http

    @pytest.mark.parametrize("stream", [False, True])
    def test_another_model_answers_where_there_is_no_room(self, stream: bool, tmp_path: Path) -> None:
        with (
            cloudflare(tokens=TOKENS, busy_every=self.BUSY) as upstream,
            self._behind(upstream, data_dir=str(tmp_path)) as http,
        ):
            response = http.post(CHAT_URL, json=scripted("mine", {"text": "Hello"}, stream=stream))
            assert response.status_code == 200
            assert response.headers["x-flarelay-model"] == CHAT
            if stream:
                events = payloads(response.text)
                assert {event["model"] for event in events[:-1]} == {"mine"}
                assert written(events) == "Hello"
            else:
                assert response.json()["model"] == "mine"
            assert len(paid(upstream)) == 7
            rows = http.get("/v1/usage?group_by=model").json()["data"]
            assert [row["model"] for row in rows] == [CHAT]

    def test_a_name_without_fallbacks_has_none(self) -> None:
        with cloudflare(tokens=TOKENS, busy_every=self.BUSY) as upstream, self._behind(upstream) as http:
            response = http.post(CHAT_URL, json=asked("Hello"))
            assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")

    def test_a_mistake_of_the_caller_is_told(self) -> None:
        with cloudflare(tokens=TOKENS) as upstream, self._behind(upstream) as http:
            assert http.post(CHAT_URL, json=scripted("mine", {"error": {"code": 5006}})).status_code == 400
            assert len(paid(upstream)) == 1

    def test_spent_accounts_have_nothing_for_another_model_either(self) -> None:
        with cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream, self._behind(upstream) as http:
            spend(upstream, *IDS)
            response = http.post(CHAT_URL, json=asked("Hello", "mine"))
            assert (response.status_code, response.json()["error"]["code"]) == (429, "daily_limit_reached")
            assert len(paid(upstream)) == 3

    def test_the_last_models_failure_is_told_if_none_can_answer(self) -> None:
        busy = self.BUSY | {CHAT: 1}
        with cloudflare(tokens=TOKENS, busy_every=busy) as upstream, self._behind(upstream) as http:
            response = http.post(CHAT_URL, json=asked("Hello", "mine"))
            assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
            assert len(paid(upstream)) == 9

    def test_all_models_have_one_deadline(self) -> None:
        with slow_cloudflare() as (upstream, paths), self._behind(upstream, request_timeout_seconds=0.6) as http:
            response = http.post(CHAT_URL, json=asked("Hello", "mine"))
            assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
            assert len(paths) == 2


def test_no_secret_is_told_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flarelay")
    admin = "key-of-the-admin"
    with (
        cloudflare(tokens=TOKENS, daily_neurons=ALLOWANCE) as upstream,
        behind(upstream, wrong=("second", "third"), api_keys=f"named={KEY};rpm=3", admin_key=admin) as (_, http),
    ):
        told = []
        for path, headers in [
            (CHAT_URL, BEARER),
            (CHAT_URL, {"authorization": "Bearer a-key-of-nobody"}),
            ("/v1/run/" + NATIVE, BEARER),
        ]:
            told.append(http.post(path, json=asked("Hello"), headers=headers))
        spend(upstream, "first")
        told += [http.post(CHAT_URL, json=asked("Hello")) for _ in range(3)]
        told += [
            http.get(path, headers={"authorization": f"Bearer {admin}"}) for path in ("/v1/admin/usage", "/metrics")
        ]
        told.append(http.get("/v1/usage"))
    assert [each.status_code for each in told] == [200, 401, 200, 429, 429, 429, 200, 200, 200]
    texts = [caplog.text, *(str(record.__dict__) for record in caplog.records)]
    texts += [f"{each.headers.raw}{each.text}" for each in told]
    for secret in (KEY, WRONG, admin, "a-key-of-nobody", *TOKENS.values()):
        assert not any(secret in text for text in texts)
