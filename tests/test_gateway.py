"""Calls through AI Gateway: where each of them goes, with which credentials, and what comes back to the client."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx2
import orjson
import pytest

from app.emulator.options import GatewayOptions
from app.emulator.requests import ReceivedRequest
from tests.serving import (
    ACCOUNT,
    CHAT,
    DEADLINE_SECONDS,
    HYBRID,
    KEY,
    NATIVE,
    NO_TLS,
    TOKEN,
    Cloudflare,
    asked,
    cloudflare,
    connected,
    finish_reasons,
    flarelay,
    payloads,
    scripted,
    until,
    written,
)
from tests.sounding import NAMES, recording

RUN_TOKEN = "token-with-ai-gateway-run"
KEY_WITH_A_BILL = "key-of-one-test"
"""Others' requests may still be booked while it looks at the sums."""
BGE = "@cf/baai/bge-base-en-v1.5"
FLUX = "@cf/black-forest-labs/flux-1-schnell"
FLUX_2 = "@cf/black-forest-labs/flux-2-klein-9b"
WHISPER = "@cf/openai/whisper"
LLAMA_GUARD = "@cf/meta/llama-guard-3-8b"

GATEWAYS = {
    "open": GatewayOptions(cache_ttl_seconds=300),
    "closed": GatewayOptions(token=RUN_TOKEN),
    "bare": GatewayOptions(run_form="bare"),
}


def host_of(upstream: Cloudflare) -> str:
    return upstream.url.replace("/client/v4", "/v1")


@contextmanager
def behind(upstream: Cloudflare, gateway: str = "open", **settings: Any) -> Iterator[httpx2.Client]:
    """A client of a server whose calls go through a gateway."""
    names = {"ai_gateway_id": gateway, "ai_gateway_base_url": host_of(upstream), "max_tries": 1}
    names |= {"response_cache": "none"}  # or else some calls would not be made
    with flarelay(upstream, **names | settings) as server, connected(server) as client:
        yield client


@pytest.fixture(scope="module")
def upstream() -> Iterator[Cloudflare]:
    with cloudflare(gateways=GATEWAYS) as running:
        yield running


@pytest.fixture(scope="module")
def rest(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    with behind(upstream, api_keys=f"{KEY},another-key,{KEY_WITH_A_BILL}") as client:
        yield client


@pytest.fixture(scope="module")
def host(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    with behind(upstream, "closed", ai_gateway_route="host", ai_gateway_token=RUN_TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def direct(upstream: Cloudflare) -> Iterator[httpx2.Client]:
    """Of a server that knows no gateway."""
    with flarelay(upstream, response_cache="none") as server, connected(server) as client:
        yield client


def last(upstream: Cloudflare) -> ReceivedRequest:
    return upstream.emulator.requests[-1]


def credentials(request: ReceivedRequest) -> dict[str, str]:
    names = ("authorization", "cf-aig-authorization", "cf-aig-gateway-id")
    return {name: request.headers[name] for name in names if name in request.headers}


def chat(client: httpx2.Client, body: dict[str, Any], **headers: str) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/chat/completions", json=body, headers=sent)


def options_sent(upstream: Cloudflare) -> dict[str, str]:
    found = {name: value for name, value in last(upstream).headers.items() if name.startswith("cf-")}
    return {name: found[name] for name in found.keys() - {"cf-aig-gateway-id", "cf-aig-authorization"}}


KINDS = [
    ("/v1/chat/completions", asked("Hello", NATIVE), f"run/{NATIVE}"),
    ("/v1/chat/completions", asked("Hello", NATIVE, stream=True), f"run/{NATIVE}"),
    ("/v1/chat/completions", asked("Hello", CHAT), "v1/chat/completions"),
    ("/v1/chat/completions", asked("Hello", CHAT, stream=True), "v1/chat/completions"),
    ("/v1/completions", {"model": NATIVE, "prompt": "Once"}, f"run/{NATIVE}"),
    ("/v1/embeddings", {"model": BGE, "input": "Hello"}, f"run/{BGE}"),
    ("/v1/images/generations", {"model": FLUX, "prompt": "A cat", "response_format": "b64_json"}, f"run/{FLUX}"),
    ("/v1/moderations", {"model": LLAMA_GUARD, "input": "Hello"}, f"run/{LLAMA_GUARD}"),
    (f"/v1/run/{NATIVE}", {"prompt": "Hello"}, f"run/{NATIVE}"),
]


@pytest.mark.parametrize(("path", "body", "below"), KINDS)
def test_json_goes_through_the_gateway_on_cloudflares_api(
    rest: httpx2.Client, upstream: Cloudflare, path: str, body: Any, below: str
) -> None:
    response = rest.post(path, json=body)
    assert response.status_code == 200
    assert response.headers["cf-aig-step"] == "0"
    assert last(upstream).path == f"/client/v4/accounts/{ACCOUNT}/ai/{below}"
    assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}", "cf-aig-gateway-id": "open"}


@pytest.mark.parametrize(("path", "body", "below"), KINDS)
def test_json_goes_through_the_gateways_own_host(
    host: httpx2.Client, upstream: Cloudflare, path: str, body: Any, below: str
) -> None:
    response = host.post(path, json=body)
    assert response.status_code == 200
    assert response.headers["cf-aig-step"] == "0"
    assert last(upstream).path == f"/v1/{ACCOUNT}/closed/workers-ai/{below}"
    assert credentials(last(upstream)) == {
        "authorization": f"Bearer {TOKEN}",
        "cf-aig-authorization": f"Bearer {RUN_TOKEN}",
    }


def test_the_accounts_token_opens_a_gateway_that_has_none_of_its_own(upstream: Cloudflare) -> None:
    with behind(upstream, "open", ai_gateway_route="host") as client:
        assert chat(client, asked("Hello")).status_code == 200
    assert credentials(last(upstream))["cf-aig-authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("route", ["rest", "host"])
def test_files_and_forms_go_past_the_gateway_and_the_log_says_so_once(
    upstream: Cloudflare, caplog: pytest.LogCaptureFixture, route: str
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    sound = recording(NAMES[:2])
    with behind(upstream, ai_gateway_route=route) as client:
        for _ in range(2):
            heard = client.post("/v1/audio/transcriptions", data={"model": WHISPER}, files={"file": ("a.wav", sound)})
            assert heard.status_code == 200
            assert last(upstream).headers["content-type"] == "audio/wav"
            assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}"}
            made = client.post("/v1/images/generations", json={"model": FLUX_2, "prompt": "A cat"})
            assert made.status_code == 200
            assert last(upstream).content_type == "multipart/form-data"
            assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}"}
            raw = client.post(f"/v1/run/{WHISPER}", content=sound, headers={"content-type": "audio/wav"})
            assert raw.status_code == 200
            assert not [name for name in raw.headers if name.startswith("cf-aig-")]
    assert [record.message for record in caplog.records if "past the AI Gateway" in record.message] == [
        "Files and forms go to Cloudflare past the AI Gateway, which spoils them"
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_transcript_tells_of_the_gateway_too(rest: httpx2.Client, upstream: Cloudflare, *, stream: bool) -> None:
    form = {"model": "whisper-1", "stream": str(stream).lower()}
    heard = rest.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", recording(NAMES[:2]))})
    assert heard.status_code == 200
    assert last(upstream).content_type == "application/json"
    assert heard.headers["cf-aig-log-id"].startswith("log-")


@pytest.mark.parametrize("route", ["rest", "host"])
def test_the_list_of_models_is_read_past_the_gateway(upstream: Cloudflare, route: str) -> None:
    with behind(upstream, ai_gateway_route=route) as client:
        assert NATIVE in [row["id"] for row in client.get("/v1/models").json()["data"]]
    assert last(upstream).path == f"/client/v4/accounts/{ACCOUNT}/ai/models/search"
    assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}"}


class TestOptions:
    HEADERS: ClassVar = {
        "cf-aig-skip-cache": "true",
        "cf-aig-cache-ttl": "3600",
        "cf-aig-collect-log": "false",
        "cf-aig-metadata": '{"team":"a"}',
        "cf-aig-request-timeout": "9000",
        "cf-aig-max-attempts": "2",
        "cf-aig-retry-delay": "100",
        "cf-aig-backoff": "linear",
        "cf-aig-event-id": "event-1",
    }

    def test_callers_options_arrive(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        response = chat(rest, asked("Hello"), **self.HEADERS)
        assert response.status_code == 200
        assert response.headers["cf-aig-event-id"] == "event-1"
        assert "cf-aig-log-id" not in response.headers
        assert options_sent(upstream) == self.HEADERS

    def test_without_a_gateway_nobody_is_asked(self, direct: httpx2.Client, upstream: Cloudflare) -> None:
        assert chat(direct, asked("Hello"), cf_aig_cache_ttl="nonsense").status_code == 200
        assert options_sent(upstream) == {}

    def test_other_headers_of_callers_stay_here(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        foreign = {"cf-aig-gateway-id": "theirs", "cf-aig-authorization": "Bearer theirs", "cf-aig-byok-alias": "x"}
        assert chat(rest, asked("Hello"), **foreign, cf_connecting_ip="192.0.2.1").status_code == 200
        assert options_sent(upstream) == {}
        assert credentials(last(upstream)) == {"authorization": f"Bearer {TOKEN}", "cf-aig-gateway-id": "open"}

    @pytest.mark.parametrize(
        ("headers", "body", "param"),
        [
            ({"cf-aig-cache-ttl": "soon"}, {}, "cf-aig-cache-ttl"),
            ({"cf-aig-metadata": "{"}, {}, "cf-aig-metadata"),
            ({}, {"gateway": {"cacheTtl": 1}}, "cacheTtl"),
            ({}, {"gateway": {"authorization": "x"}}, "authorization"),
            ({}, {"gateway": "open"}, "gateway"),
        ],
    )
    def test_what_makes_no_sense_is_named(self, rest: httpx2.Client, headers: Any, body: Any, param: str) -> None:
        response = chat(rest, asked("Hello") | body, **headers)
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
        assert param in error["message"]

    def test_the_settings_are_the_defaults(self, upstream: Cloudflare) -> None:
        with behind(upstream, ai_gateway_skip_cache=True, ai_gateway_cache_ttl_seconds=600) as client:
            assert chat(client, asked("Hello")).status_code == 200
            assert options_sent(upstream) == {"cf-aig-skip-cache": "true", "cf-aig-cache-ttl": "600"}
            assert chat(client, asked("Hello") | {"gateway": {"skipCache": False}}).status_code == 200
            assert options_sent(upstream) == {"cf-aig-skip-cache": "false", "cf-aig-cache-ttl": "600"}

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/chat/completions", asked("Hello", NATIVE)),
            ("/v1/chat/completions", asked("Hello", CHAT, stream=True)),
            ("/v1/completions", {"model": NATIVE, "prompt": "Once"}),
            ("/v1/embeddings", {"model": BGE, "input": "Hello"}),
            ("/v1/images/generations", {"model": FLUX, "prompt": "A cat"}),
            ("/v1/moderations", {"model": LLAMA_GUARD, "input": "Hello"}),
            ("/v1/rerank", {"model": "@cf/baai/bge-reranker-base", "query": "cat", "documents": ["A cat"]}),
        ],
    )
    def test_a_body_may_ask_too(
        self, rest: httpx2.Client, direct: httpx2.Client, upstream: Cloudflare, path: str, body: Any
    ) -> None:
        body = body | {"gateway": {"skipCache": True, "cacheTtl": 60, "metadata": {"team": "b"}, "eventId": None}}
        headers = {"cf-aig-cache-ttl": "120", "cf-aig-event-id": "event-2"}
        response = rest.post(path, json=body, headers=headers)
        assert response.status_code == 200
        assert "gateway" not in response.headers.get("x-flarelay-ignored", "")
        assert "gateway" not in upstream.sent
        assert options_sent(upstream) == {
            "cf-aig-skip-cache": "true",
            "cf-aig-cache-ttl": "60",
            "cf-aig-metadata": '{"team":"b"}',
            "cf-aig-event-id": "event-2",
        }
        response = direct.post(path, json=body)
        assert response.status_code == 200
        assert "gateway" in response.headers["x-flarelay-ignored"]
        assert "gateway" not in upstream.sent
        assert options_sent(upstream) == {}

    def test_an_empty_wish_changes_nothing(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        response = chat(rest, asked("Hello") | {"gateway": None}, cf_aig_cache_ttl="60")
        assert response.status_code == 200
        assert options_sent(upstream) == {"cf-aig-cache-ttl": "60"}


class TestCache:
    def test_a_hit_is_told(self, rest: httpx2.Client) -> None:
        told = []
        for _ in range(2):
            response = chat(rest, asked("Is this asked for the first time?"))
            told.append((response.headers["cf-aig-cache-status"], bool(response.headers["cf-aig-log-id"])))
        assert told == [("MISS", True), ("HIT", True)]

    @pytest.mark.parametrize("path", ["/v1/chat/completions", f"/v1/run/{NATIVE}", f"/v1/run/{CHAT}"])
    def test_a_hit_costs_nothing(self, rest: httpx2.Client, path: str) -> None:
        def cost() -> tuple[str, float]:
            response = rest.post(path, json=asked(f"Who pays for {path}?", CHAT), headers=own).raise_for_status()
            return response.headers["cf-aig-cache-status"], float(response.headers["x-flarelay-neurons"])

        def spent() -> Any:
            return rest.get("/v1/usage", headers=own).json()["total"]["neurons"]

        own = {"authorization": f"Bearer {KEY_WITH_A_BILL}"}
        start = spent()
        first, neurons = cost()
        assert (first, neurons > 0) == ("MISS", True)
        until(lambda: spent() > start)  # a moment after the answer was sent
        before = spent()
        assert cost() == ("HIT", 0)
        assert spent() == before

    @pytest.mark.parametrize("in_body", [True, False])
    def test_a_cache_key_is_the_callers_own(self, rest: httpx2.Client, upstream: Cloudflare, *, in_body: bool) -> None:
        def ask(key: str, content: str) -> tuple[str, str]:
            name = f"mine-{in_body}"
            headers = {"authorization": f"Bearer {key}"} | ({} if in_body else {"cf-aig-cache-key": name})
            body = scripted(NATIVE, {"text": content}) | ({"gateway": {"cacheKey": name}} if in_body else {})
            response = rest.post("/v1/chat/completions", json=body, headers=headers)
            answer = response.json()["choices"][0]["message"]["content"]
            return response.headers["cf-aig-cache-status"], answer

        assert ask(KEY, "Secret of one") == ("MISS", "Secret of one")
        assert ask("another-key", "Anything") == ("MISS", "Anything")
        assert ask(KEY, "Anything else") == ("HIT", "Secret of one")
        assert f"mine-{in_body}" not in str(last(upstream).headers)

    @pytest.mark.parametrize("options", [{"cacheKey": "several"}, {"cacheTtl": 60}], ids=["key", "no-key"])
    def test_the_calls_of_one_request_have_a_key_each(self, rest: httpx2.Client, options: Any) -> None:
        prompts = [f'Go on\n!emulate {{"text": "{word}"}}' for word in ("one", "two", "three")]
        body = {"model": NATIVE, "prompt": prompts, "gateway": options}
        for _ in range(2):
            choices = rest.post("/v1/completions", json=body).json()["choices"]
            assert [choice["text"] for choice in choices] == ["one", "two", "three"]

    def test_translations_have_no_key_in_common(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        body = {"text": ["One house", "Two trees"], "source_lang": "EN", "target_lang": "DE"}
        response = rest.post("/v2/translate", json=body, headers={"cf-aig-cache-key": "k", "cf-aig-cache-ttl": "60"})
        assert response.status_code == 200
        texts = [translation["text"] for translation in response.json()["translations"]]
        assert len(set(texts)) == 2
        assert options_sent(upstream) == {"cf-aig-cache-ttl": "60"}

    def test_browsers_may_read_it(self, rest: httpx2.Client) -> None:
        response = chat(rest, asked("Hello"), origin="https://page.example")
        exposed = response.headers["access-control-expose-headers"]
        told = [name for name in response.headers if name.startswith("cf-aig-")]
        assert len(told) >= 4
        assert [name for name in told if name not in exposed.split(", ")] == []


class TestProviders:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize(
        ("model", "answered"),
        [
            ("openai/gpt-4.1", ("openai", "gpt-4.1")),
            ("anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
            ("dynamic/my-route", ("openai", "gpt-4o-mini")),
            (f"workers-ai/{NATIVE}", None),
            (f"workers-ai/{HYBRID}", None),
        ],
    )
    def test_a_chat_is_answered(
        self,
        rest: httpx2.Client,
        host: httpx2.Client,
        upstream: Cloudflare,
        model: str,
        answered: tuple[str, str] | None,
        *,
        stream: bool,
    ) -> None:
        shown = {"cf-aig-provider": answered[0], "cf-aig-model": answered[1]} if answered else {}
        for client, path, name in (
            (rest, f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions", model.removeprefix("workers-ai/")),
            (host, f"/v1/{ACCOUNT}/closed/compat/chat/completions", model),
        ):
            response = chat(client, scripted(model, {"text": "Hello there"}, stream=stream))
            assert response.status_code == 200
            assert (last(upstream).path, upstream.sent["model"]) == (path, name)
            assert response.headers["x-flarelay-model"] == model
            assert shown.items() <= response.headers.items()
            if stream:
                events = payloads(response.text)
                assert {event["model"] for event in events[:-1]} == {model}
                assert (written(events), finish_reasons(events)) == ("Hello there", ["stop"])
            else:
                body = response.json()
                assert (body["model"], body["choices"][0]["message"]["content"]) == (model, "Hello there")
            is_ours = model.startswith("workers-ai/")
            assert ("authorization" in last(upstream).headers) is (is_ours or client is rest)

    def test_who_is_known_to_the_gateways_host_only_is_asked_there(
        self, rest: httpx2.Client, upstream: Cloudflare
    ) -> None:
        model = "google-ai-studio/gemini-2.5-pro"
        response = chat(rest, scripted(model, {"text": "Hello there"}))
        assert response.json()["choices"][0]["message"]["content"] == "Hello there"
        assert last(upstream).path == f"/v1/{ACCOUNT}/open/compat/chat/completions"
        assert credentials(last(upstream)) == {"cf-aig-authorization": f"Bearer {TOKEN}"}

    def test_the_length_of_an_answer_is_the_providers_matter(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        def sent(model: str, **asked_for: int) -> dict[str, int]:
            assert chat(rest, asked("Hello", model, **asked_for)).status_code == 200
            names = ("max_tokens", "max_completion_tokens")
            return {name: upstream.sent[name] for name in names if name in upstream.sent}

        assert sent("openai/gpt-4.1") == {}
        assert sent("openai/gpt-4.1", max_tokens=5) == {"max_tokens": 5}
        assert sent("openai/gpt-4.1", max_completion_tokens=7) == {"max_completion_tokens": 7}
        assert sent(f"workers-ai/{NATIVE}").keys() == {"max_tokens"}

    def test_other_endpoints_have_workers_ai_only(self, rest: httpx2.Client, upstream: Cloudflare) -> None:
        response = rest.post("/v1/embeddings", json={"model": f"workers-ai/{BGE}", "input": "Hello"})
        assert response.status_code == 200
        assert last(upstream).path.endswith(f"/ai/run/{BGE}")
        before = len(upstream.emulator.requests)
        response = rest.post("/v1/embeddings", json={"model": "openai/text-embedding-3-small", "input": "Hello"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_model")
        assert len(upstream.emulator.requests) == before

    @pytest.mark.parametrize(
        "name", ["openai/../../../user/tokens", "openai/%2e%2e/x", "dynamic/a?b", "openai/a b", "workers-ai/@cf/../x"]
    )
    def test_a_name_never_leaves_its_place_in_a_path(
        self, rest: httpx2.Client, upstream: Cloudflare, name: str
    ) -> None:
        before = list(upstream.emulator.requests)
        for path, body in (
            ("/v1/chat/completions", asked("Hi", name)),
            ("/v1/embeddings", {"model": name, "input": "x"}),
        ):
            response = rest.post(path, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
        url = rest.base_url.copy_with(raw_path=b"/v1/run/" + name.replace("..", "%2e%2e").replace(" ", "%20").encode())
        assert rest.post(url, json={"prompt": "x"}).status_code in (404, 200)
        sent = list(upstream.emulator.requests)[len(before) :]
        assert [request.path for request in sent if "/ai/run/" not in request.path or ".." in request.path] == []

    @pytest.mark.parametrize("model", ["openai/gpt-4.1", "dynamic/route", f"workers-ai/{NATIVE}"])
    def test_without_a_gateway_it_is_said_what_to_set(self, direct: httpx2.Client, model: str) -> None:
        response = chat(direct, asked("Hello", model))
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "AI_GATEWAY_ID" in error["message"]

    def test_an_alias_may_lead_to_one(self, upstream: Cloudflare) -> None:
        with behind(upstream, model_aliases={"mine": "openai/gpt-4.1"}) as client:
            response = chat(client, asked("Hello", "mine"))
        assert (response.json()["model"], response.headers["x-flarelay-model"]) == ("mine", "openai/gpt-4.1")
        assert upstream.sent["model"] == "openai/gpt-4.1"


def test_who_brings_an_account_has_the_gateway_of_that_account(upstream: Cloudflare) -> None:
    names = {"cloudflare_account_id": None, "cloudflare_api_token": None, "api_keys": "", "ai_gateway_id": "open"}
    own = "0123456789abcdef0123456789abcdef"
    with cloudflare(tokens={own: TOKEN}, gateways=GATEWAYS) as theirs:
        settings = names | {"cloudflare_api_base_url": theirs.url}
        with flarelay(theirs, **settings) as server:
            headers = {"authorization": f"Bearer {own}:{TOKEN}"}
            url = f"{server.url}/v1/chat/completions"
            response = httpx2.post(url, json=asked("Hi"), headers=headers, timeout=DEADLINE_SECONDS, verify=NO_TLS)
        assert response.status_code == 200
        assert credentials(last(theirs)) == {"authorization": f"Bearer {TOKEN}", "cf-aig-gateway-id": "open"}


def test_what_is_sent_is_json_of_the_callers_making(rest: httpx2.Client, upstream: Cloudflare) -> None:
    raw = orjson.dumps({"prompt": "Hello", "gateway": "is a field like others here"})
    rest.post(f"/v1/run/{NATIVE}", content=raw, headers={"content-type": "application/json"})
    assert upstream.sent["gateway"] == "is a field like others here"
