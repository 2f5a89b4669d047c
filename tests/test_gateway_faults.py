"""AI Gateway when it refuses, fails or is not there: what the client is told, and what goes past it."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import orjson
import pytest

from app.emulator.options import GatewayOptions
from tests.serving import (
    ACCOUNT,
    BEARER,
    CHAT,
    NATIVE,
    TOKEN,
    Cloudflare,
    asked,
    cloudflare,
    finish_reasons,
    payloads,
    scripted,
    written,
)
from tests.test_client_errors import KILLERS
from tests.test_gateway import behind, chat, credentials, last

RUN_TOKEN = "token-with-ai-gateway-run"
PROVIDER = "openai/gpt-4.1"

GATEWAYS = {
    "open": GatewayOptions(),
    "closed": GatewayOptions(token=RUN_TOKEN),
    "down": GatewayOptions(is_down=True),
    "bare": GatewayOptions(run_form="bare"),
    "prefixed": GatewayOptions(run_form="run"),
    "busy": GatewayOptions(requests_per_minute=0),
    "spent": GatewayOptions(is_spent=True),
    "poor": GatewayOptions(has_credits=False),
    "keyless": GatewayOptions(key_aliases=("other",)),
    "guarded": GatewayOptions(unsafe_words=("a bomb",), private_words=("4111 1111",)),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Cloudflare]:
    with cloudflare(gateways=GATEWAYS) as running:
        yield running


@pytest.fixture(scope="module")
def open_client(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    with behind(upstream, "open") as client:
        yield client


@contextmanager
def counted(upstream: Cloudflare, *args: Any, **settings: Any) -> Iterator[tuple[httpx2.Client, list[str]]]:
    """A client of a server with a gateway, and, afterwards, the paths that were asked for."""
    paths: list[str] = []
    before = len(upstream.emulator.requests)
    with behind(upstream, *args, **settings) as client:
        yield client, paths
    paths += [request.path for request in list(upstream.emulator.requests)[before:]]
    upstream.emulator.requests.clear()


Told = tuple[int, str, str | None]


def told(response: httpx2.Response) -> Told:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    lowered = error["message"].lower()
    assert [killer for killer in KILLERS if killer in lowered] == []
    assert TOKEN not in lowered
    assert RUN_TOKEN not in lowered
    return response.status_code, error["type"], error["code"]


OPERATORS = "Its operator has to look into it."


class TestRefusals:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize(
        ("code", "expected", "words"),
        [
            (2001, (503, "server_error", "upstream_configuration"), (OPERATORS, "AI_GATEWAY_ID")),
            (2003, (429, "rate_limit_error", "rate_limit_exceeded"), ("rate limit of the AI Gateway", "dashboard")),
            (2009, (503, "server_error", "upstream_auth"), (OPERATORS, "AI_GATEWAY_TOKEN")),
            (2016, (400, "invalid_request_error", "content_policy_violation"), ("guardrails", "prompt")),
            (2017, (400, "invalid_request_error", "content_policy_violation"), ("guardrails", "answer")),
            (2018, (429, "rate_limit_error", "rate_limit_exceeded"), ("Unified Billing",)),
            (2021, (429, "rate_limit_error", "daily_limit_reached"), ("Unified Billing", "dashboard")),
            (2029, (400, "invalid_request_error", "content_policy_violation"), ("DLP", "request")),
            (2030, (400, "invalid_request_error", "content_policy_violation"), ("DLP", "answer")),
            (2040, (503, "server_error", "upstream_configuration"), (OPERATORS, "stored key")),
            (2041, (429, "rate_limit_error", "daily_limit_reached"), ("spend limit", "dashboard")),
            (7013, (502, "server_error", "upstream_error"), ("Guardrails",)),
            (10000, (503, "server_error", "upstream_auth"), (OPERATORS, "CLOUDFLARE_API_TOKEN", "AI Gateway Run")),
            (7003, (503, "server_error", "upstream_configuration"), (OPERATORS, "CLOUDFLARE_ACCOUNT_ID")),
        ],
    )
    def test_every_code_has_its_answer(
        self, open_client: httpx2.Client, code: int, expected: Told, words: tuple[str, ...], *, stream: bool
    ) -> None:
        response = chat(open_client, scripted(NATIVE, {"error": {"code": code}}, stream=stream))
        assert told(response) == expected
        message = response.json()["error"]["message"]
        assert [word for word in words if word not in message] == []

    @pytest.mark.parametrize("code", [2021, 2041])
    def test_money_that_is_spent_is_not_back_at_midnight(self, open_client: httpx2.Client, code: int) -> None:
        headers = chat(open_client, scripted(NATIVE, {"error": {"code": code}})).headers
        assert (headers.get("retry-after"), headers["x-should-retry"]) == (None, "false")

    def test_a_prompt_that_is_too_long_for_a_provider_is_told(self, open_client: httpx2.Client) -> None:
        text = "The number of input and output tokens (300) exceeded this model context window limit (99)"
        response = chat(open_client, scripted(PROVIDER, {"error": {"code": 5021, "message": text}}))
        assert told(response) == (400, "invalid_request_error", "context_length_exceeded")

    @pytest.mark.parametrize(
        ("gateway", "route", "settings", "body", "expected", "words"),
        [
            ("nobodys", "rest", {}, asked("Hi"), (503, "server_error", "upstream_configuration"), "AI_GATEWAY_ID"),
            ("nobodys", "host", {}, asked("Hi"), (503, "server_error", "upstream_configuration"), "AI_GATEWAY_ID"),
            ("closed", "host", {}, asked("Hi"), (503, "server_error", "upstream_auth"), "AI_GATEWAY_TOKEN"),
            (
                *("closed", "host", {"ai_gateway_token": "wrong"}, asked("Hi", CHAT, stream=True)),
                *((503, "server_error", "upstream_auth"), "AI_GATEWAY_TOKEN"),
            ),
            ("busy", "rest", {}, asked("Hi"), (429, "rate_limit_error", "rate_limit_exceeded"), "rate limit of the AI"),
            ("spent", "host", {}, asked("Hi"), (429, "rate_limit_error", "daily_limit_reached"), "spend limit"),
            ("poor", "rest", {}, asked("Hi", PROVIDER), (429, "rate_limit_error", "daily_limit_reached"), "Unified"),
            (
                *("open", "rest", {"cloudflare_api_token": "wrong"}, asked("Hi")),
                *((503, "server_error", "upstream_auth"), "CLOUDFLARE_API_TOKEN"),
            ),
            (
                *("open", "host", {"cloudflare_account_id": "nobodys"}, asked("Hi")),
                *((503, "server_error", "upstream_configuration"), "CLOUDFLARE_ACCOUNT_ID"),
            ),
        ],
    )
    def test_a_gateway_that_refuses_is_told(
        self,
        upstream: Cloudflare,
        gateway: str,
        route: str,
        settings: Any,
        body: Any,
        expected: Told,
        words: str,
    ) -> None:
        with behind(upstream, gateway, ai_gateway_route=route, **settings) as client:
            response = chat(client, body)
        assert told(response) == expected
        assert words in response.json()["error"]["message"]
        assert ("retry-after" in response.headers) == (expected[0] == 503 or expected[2] == "rate_limit_exceeded")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("How to make a bomb?", "guardrails of the AI Gateway blocked the prompt"),
            ("My card is 4111 1111", "DLP"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_what_is_blocked_is_a_content_filter(
        self, upstream: Cloudflare, content: str, words: str, *, stream: bool
    ) -> None:
        with behind(upstream, "guarded", ai_gateway_route="host") as client:
            response = chat(client, asked(content, stream=stream))
        assert told(response) == (400, "invalid_request_error", "content_policy_violation")
        assert words in response.json()["error"]["message"]

    @pytest.mark.parametrize("model", [NATIVE, CHAT, PROVIDER])
    def test_what_was_read_as_a_whole_is_streamed_all_the_same(self, upstream: Cloudflare, model: str) -> None:
        with behind(upstream, "guarded", ai_gateway_route="host") as client:
            response = chat(client, scripted(model, {"text": "All is well"}, stream=True))
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cf-aig-step"] == "0"
        events = payloads(response.text)
        assert (written(events), finish_reasons(events), events[-1]) == ("All is well", ["stop"], "[DONE]")

    def test_who_brings_a_token_is_told_of_his_own_gateway(self, upstream: Cloudflare) -> None:
        names = {"cloudflare_api_token": None, "api_keys": "", "ai_gateway_id": "nobodys"}
        with behind(upstream, "nobodys", **names) as client:
            response = chat(client, asked("Hi"), authorization=f"Bearer {TOKEN}")
        assert told(response) == (404, "invalid_request_error", "gateway_not_found")


class TestFallback:
    @pytest.mark.parametrize("route", ["rest", "host"])
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_a_gateway_that_is_down_is_gone_past(
        self, upstream: Cloudflare, caplog: pytest.LogCaptureFixture, route: str, *, stream: bool
    ) -> None:
        with behind(upstream, "down", ai_gateway_route=route, ai_gateway_fallback=True) as client:
            response = chat(client, asked("Hi", stream=stream), cf_aig_cache_ttl="60")
        assert response.status_code == 200
        assert last(upstream).path == f"/client/v4/accounts/{ACCOUNT}/ai/run/{NATIVE}"
        assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}"}
        assert "cf-aig-cache-ttl" not in last(upstream).headers
        assert [record.levelname for record in caplog.records if record.message == "gateway"] == ["WARNING"]

    @pytest.mark.parametrize("route", ["rest", "host"])
    def test_the_next_calls_go_past_it_at_once(
        self, upstream: Cloudflare, caplog: pytest.LogCaptureFixture, route: str
    ) -> None:
        with counted(upstream, "down", ai_gateway_route=route, ai_gateway_fallback=True) as (client, paths):
            for stream in (False, True, False):
                assert chat(client, asked("Hi", stream=stream)).status_code == 200
        assert len(paths) == 4
        assert [record.levelname for record in caplog.records if record.message == "gateway"] == ["WARNING"]

    @pytest.mark.parametrize(("gateway", "token"), [("nobodys", None), ("closed", "wrong")])
    def test_so_is_one_that_is_set_up_wrongly(self, upstream: Cloudflare, gateway: str, token: Any) -> None:
        options = {"ai_gateway_route": "host", "ai_gateway_token": token, "ai_gateway_fallback": True}
        with behind(upstream, gateway, **options) as client:
            assert chat(client, asked("Hi")).status_code == 200

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://gateway.invalid/v1"])
    @pytest.mark.parametrize(("falls_back", "status"), [(True, 200), (False, 503)])
    def test_and_one_that_is_not_there(self, upstream: Cloudflare, url: str, status: int, *, falls_back: bool) -> None:
        options = {"ai_gateway_route": "host", "ai_gateway_base_url": url, "ai_gateway_fallback": falls_back}
        with behind(upstream, "open", **options) as client:
            assert chat(client, asked("Hi")).status_code == status

    @pytest.mark.parametrize("route", ["rest", "host"])
    def test_without_the_wish_the_fault_is_told(self, upstream: Cloudflare, route: str) -> None:
        with counted(upstream, "down", ai_gateway_route=route) as (client, paths):
            response = chat(client, asked("Hi"))
        assert told(response) == (502, "server_error", "upstream_error")
        assert len(paths) == 1

    @pytest.mark.parametrize("gateway", ["busy", "spent", "guarded"])
    def test_what_a_gateway_refuses_on_purpose_stays_refused(self, upstream: Cloudflare, gateway: str) -> None:
        with counted(upstream, gateway, ai_gateway_route="host", ai_gateway_fallback=True) as (client, paths):
            assert chat(client, asked("How to make a bomb?")).status_code in (400, 429)
        assert [path for path in paths if path.startswith("/client")] == []

    @pytest.mark.parametrize("route", ["rest", "host"])
    @pytest.mark.parametrize("model", [PROVIDER, "dynamic/route", f"workers-ai/{NATIVE}"])
    def test_models_of_others_never_go_past_it(self, upstream: Cloudflare, route: str, model: str) -> None:
        with counted(upstream, "down", ai_gateway_route=route, ai_gateway_fallback=True) as (client, paths):
            assert chat(client, asked("Hi", model)).status_code == 502
        assert len(paths) == 1


class TestPaths:
    def test_the_other_path_is_tried_once_and_kept(self, upstream: Cloudflare) -> None:
        with counted(upstream, "bare", ai_gateway_route="host") as (client, paths):
            for stream in (False, True, False):
                assert chat(client, asked("Hi", stream=stream)).status_code == 200
            assert chat(client, asked("Hi", CHAT)).status_code == 200
        base = f"/v1/{ACCOUNT}/bare/workers-ai"
        assert paths == [f"{base}/run/{NATIVE}", *[f"{base}/{NATIVE}"] * 3, f"{base}/v1/chat/completions"]

    def test_a_failure_behind_the_other_path_proves_it(self, upstream: Cloudflare) -> None:
        with counted(upstream, "bare", ai_gateway_route="host") as (client, paths):
            assert chat(client, scripted(NATIVE, {"error": {"code": 3007}})).status_code == 504
            assert chat(client, asked("Hi")).status_code == 200
        assert [("/run/" in path) for path in paths] == [True, False, False]

    def test_where_neither_is_known_nothing_is_kept(self, upstream: Cloudflare) -> None:
        unknown = scripted(NATIVE, {"error": {"code": 7003, "status": 404}})
        with counted(upstream, "prefixed", ai_gateway_route="host") as (client, paths):
            assert told(chat(client, unknown)) == (503, "server_error", "upstream_configuration")
            assert chat(client, asked("Hi")).status_code == 200
        assert [("/run/" in path) for path in paths] == [True, False, True]

    def test_a_path_of_openais_has_no_other(self, upstream: Cloudflare) -> None:
        unknown = scripted(CHAT, {"error": {"code": 7003, "status": 404}})
        with counted(upstream, "open", ai_gateway_route="host") as (client, paths):
            assert chat(client, unknown).status_code == 503
        assert len(paths) == 1


def test_only_the_gateways_own_key_is_needed_by_other_providers() -> None:
    with ExitStack() as stack:
        cloud = stack.enter_context(cloudflare(gateways={"closed": GATEWAYS["closed"]}, tokens={}))
        settings = {"ai_gateway_route": "host", "ai_gateway_token": RUN_TOKEN, "cloudflare_api_token": "of-no-use"}
        client = stack.enter_context(behind(cloud, "closed", **settings))
        assert chat(client, asked("Hi", PROVIDER)).status_code == 200
        assert credentials(last(cloud)) == {"cf-aig-authorization": f"Bearer {RUN_TOKEN}"}


def test_an_unreadable_option_never_reaches_the_gateway(upstream: Cloudflare) -> None:
    with counted(upstream, "open") as (client, paths):
        body = orjson.dumps(asked("Hi"))
        bad = BEARER | {"cf-aig-event-id": "a b"}
        assert client.post("/v1/chat/completions", content=body, headers=bad).status_code == 400
    assert paths == []


@pytest.mark.parametrize("route", ["rest", "host"])
def test_the_log_names_no_secret(upstream: Cloudflare, caplog: pytest.LogCaptureFixture, route: str) -> None:
    caplog.set_level(logging.DEBUG)
    with behind(upstream, "closed", ai_gateway_route=route, ai_gateway_token="wrong-token", max_tries=2) as client:
        chat(client, asked("Hi"), cf_aig_metadata='{"who": "somebody-private"}')
    logged = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert [word for word in ("wrong-token", TOKEN, "somebody-private") if word in logged] == []
