"""Where a call goes and with which headers, what callers may ask of AI Gateway, and what they are told."""

import hashlib
import json
from typing import Any

import httpx2
import pytest

from app.calls import Account, Failure, FailureKind
from app.emulator.app import create_emulator
from app.emulator.gateway import GatewayOptions
from app.emulator.options import Options
from app.emulator.transport import EmulatorTransport
from app.errors import BadRequestError
from app.upstream.failures import classify
from app.upstream.gateway import (
    Gateway,
    addressed,
    is_down,
    is_misrouted,
    is_provider_model,
    options_of,
    told,
    upstream_model,
)

K = FailureKind
ACCOUNT = Account("acct", "cf-token", "https://api.test/client/v4")
API = "https://api.test/client/v4/accounts/acct/ai/"
HOST = "https://gateway.test/v1/acct/gw/"
BASE = "https://gateway.test/v1"
REST = Gateway("gw", "aig-token", BASE)
AT_HOST = Gateway("gw", "aig-token", BASE, "host")
RUN = "run/@cf/x/y"
CHAT = "v1/chat/completions"
TOKEN = (b"authorization", b"Bearer cf-token")
GATEWAY_TOKEN = (b"cf-aig-authorization", b"Bearer aig-token")
ID = (b"cf-aig-gateway-id", b"gw")


@pytest.mark.parametrize("path", [RUN, f"{RUN}?tags=a", CHAT, "v1/embeddings", "models/search?page=1", "v1/responses"])
def test_without_a_gateway_calls_go_straight_to_workers_ai(path: str) -> None:
    options = {"cf-aig-skip-cache": "true"}
    assert addressed(ACCOUNT, path, None, options) == (API + path, [TOKEN], False, False, None)


# Gateway, path, model -> URL, headers, is it through the gateway, past it although one is set, another URL.
ADDRESSES: list[tuple[Gateway | None, str, str, str, list[tuple[bytes, bytes]], bool, bool, str | None]] = [
    (REST, RUN, "", API + RUN, [TOKEN, ID], True, False, None),
    (REST, "run", "", API + "run", [TOKEN, ID], True, False, None),
    (REST, f"{RUN}?tags=a", "", API + f"{RUN}?tags=a", [TOKEN, ID], True, False, None),
    (REST, CHAT, "@cf/x/y", API + CHAT, [TOKEN, ID], True, False, None),
    (REST, CHAT, "openai/gpt-4.1", API + CHAT, [TOKEN, ID], True, False, None),
    (REST, "v1/responses", "", API + "v1/responses", [TOKEN, ID], True, False, None),
    (REST, "models/search?page=1", "", API + "models/search?page=1", [TOKEN], False, False, None),
    (
        *(AT_HOST, RUN, "", f"{HOST}workers-ai/{RUN}", [TOKEN, GATEWAY_TOKEN], True, False),
        f"{HOST}workers-ai/@cf/x/y",
    ),
    (
        *(AT_HOST, f"{RUN}?a=b", "", f"{HOST}workers-ai/{RUN}?a=b", [TOKEN, GATEWAY_TOKEN], True, False),
        f"{HOST}workers-ai/@cf/x/y?a=b",
    ),
    (AT_HOST, CHAT, "@cf/x/y", f"{HOST}workers-ai/{CHAT}", [TOKEN, GATEWAY_TOKEN], True, False, None),
    (
        *(AT_HOST, "v1/embeddings", "", f"{HOST}workers-ai/v1/embeddings", [TOKEN, GATEWAY_TOKEN], True, False),
        None,
    ),
    (AT_HOST, "v1/responses", "", API + "v1/responses", [TOKEN], False, True, None),
    (AT_HOST, "run", "", API + "run", [TOKEN], False, True, None),
    (AT_HOST, "models/search", "", API + "models/search", [TOKEN], False, False, None),
    (AT_HOST, "tomarkdown", "", API + "tomarkdown", [TOKEN], False, False, None),
    # other providers
    (AT_HOST, CHAT, "openai/gpt-4.1", f"{HOST}compat/chat/completions", [GATEWAY_TOKEN], True, False, None),
    (AT_HOST, CHAT, "dynamic/my-route", f"{HOST}compat/chat/completions", [GATEWAY_TOKEN], True, False, None),
    (
        *(AT_HOST, CHAT, "workers-ai/@cf/x/y", f"{HOST}compat/chat/completions", [TOKEN, GATEWAY_TOKEN], True, False),
        None,
    ),
    (None, CHAT, "openai/gpt-4.1", API + CHAT, [TOKEN], True, False, None),
]


@pytest.mark.parametrize(
    ("gateway", "path", "model", "url", "headers", "is_gateway", "is_detour", "other_url"), ADDRESSES
)
def test_a_call_goes_where_its_route_says(
    gateway: Gateway | None,
    path: str,
    model: str,
    url: str,
    headers: Any,
    is_gateway: bool,
    is_detour: bool,
    other_url: Any,
) -> None:
    address = addressed(ACCOUNT, path, gateway, {}, model=model)
    assert address == (url, headers, is_gateway, is_detour, other_url)


@pytest.mark.parametrize("gateway", [REST, AT_HOST])
def test_files_and_forms_go_past_the_gateway(gateway: Gateway) -> None:
    assert addressed(ACCOUNT, RUN, gateway, {}, is_raw=True) == (API + RUN, [TOKEN], False, True, None)
    assert addressed(ACCOUNT, RUN, None, {}, is_raw=True).is_detour is False


def test_without_a_token_of_its_own_the_gateway_gets_that_of_the_account() -> None:
    headers = addressed(ACCOUNT, RUN, Gateway("gw", None, BASE, "host"), {}).headers
    assert headers == [TOKEN, (b"cf-aig-authorization", b"Bearer cf-token")]


@pytest.mark.parametrize("gateway_id", ["", "a/b", "a b", "a\r\nb", "a" * 65, "ü"])
def test_a_gateway_has_an_id_that_can_stand_in_a_url(gateway_id: str) -> None:
    with pytest.raises(ValueError, match="id of an AI Gateway"):
        Gateway(gateway_id)


def test_a_gateway_does_not_show_its_token() -> None:
    assert "aig-token" not in repr(REST)


def test_settings_are_the_defaults_of_what_callers_ask() -> None:
    gateway = Gateway("gw", None, BASE, skip_cache=True, cache_ttl_seconds=300)
    asked = {"cf-aig-skip-cache": "false", "cf-aig-event-id": "e1"}
    defaults = [(b"cf-aig-skip-cache", b"true"), (b"cf-aig-cache-ttl", b"300")]
    assert addressed(ACCOUNT, RUN, gateway, {}).headers == [TOKEN, *defaults, ID]
    assert addressed(ACCOUNT, RUN, gateway, asked).headers == [
        TOKEN,
        (b"cf-aig-skip-cache", b"false"),
        (b"cf-aig-cache-ttl", b"300"),
        (b"cf-aig-event-id", b"e1"),
        ID,
    ]


def test_a_cache_key_is_the_tenants_own_and_that_of_one_model() -> None:
    def key(tenant: str, path: str, model: str, asked: str = "k") -> bytes:
        address = addressed(ACCOUNT, path, REST, {"cf-aig-cache-key": asked}, tenant=tenant, model=model)
        return dict(address.headers)[b"cf-aig-cache-key"]

    assert key("alice", RUN, "m") == hashlib.sha256(b"alice\0run/@cf/x/y\0m\0k").hexdigest().encode()
    keys = {
        key("alice", RUN, "m"),
        key("alice", RUN, "m"),
        key("bob", RUN, "m"),
        key("alice", CHAT, "m"),
        key("alice", CHAT, "n"),
        key("alice", RUN, "m", "k2"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4.1", True),
        ("anthropic/claude-sonnet-4-5", True),
        ("google-ai-studio/gemini-2.5-pro", True),
        ("google-vertex-ai/google/gemini-2.5-pro", True),
        ("xai/grok-4", True),
        ("dynamic/route", True),
        ("cloudflare/auto", True),
        ("workers-ai/@cf/x/y", True),
        ("workers-ai/x", False),
        ("cloudflare/other", False),
        ("@cf/openai/gpt-oss-20b", False),
        ("@hf/x/y", False),
        ("meta-llama/llama-3", False),
        ("openai", False),
        ("gpt-4o", False),
        ("", False),
    ],
)
def test_models_of_other_providers_are_known_by_their_prefix(name: str, expected: bool) -> None:
    assert is_provider_model(name) is expected


@pytest.mark.parametrize(
    ("name", "gateway", "expected"),
    [
        ("workers-ai/@cf/x/y", AT_HOST, "workers-ai/@cf/x/y"),
        ("workers-ai/@cf/x/y", REST, "@cf/x/y"),
        ("workers-ai/@cf/x/y", None, "@cf/x/y"),
        ("openai/gpt-4.1", REST, "openai/gpt-4.1"),
        ("@cf/x/y", REST, "@cf/x/y"),
    ],
)
def test_only_the_gateway_host_reads_workers_ai_before_a_model(
    name: str, gateway: Gateway | None, expected: str
) -> None:
    assert upstream_model(name, gateway) == expected


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


def test_the_caller_is_told_what_the_gateway_did() -> None:
    headers = [
        (b"CF-AIG-Cache-Status", b"HIT"),
        (b"content-type", b"application/json"),
        (b"cf-aig-log-id", b"log1"),
        (b"cf-aig-step", b"0"),
        (b"cf-aig-authorization", b"Bearer secret"),
        (b"cf-aig-dlp", b'{"action":"FLAG"}'),
        (b"cf-ray", b"ray"),
    ]
    assert told(headers) == (
        (b"cf-aig-cache-status", b"HIT"),
        (b"cf-aig-log-id", b"log1"),
        (b"cf-aig-step", b"0"),
        (b"cf-aig-dlp", b'{"action":"FLAG"}'),
    )


def failed(kind: FailureKind, status: int = 0, code: int | None = None, is_retryable: bool = False) -> Failure:
    return Failure(kind, "Some text", status=status, code=code, is_retryable=is_retryable)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (failed(K.CONFIGURATION, 400, 2001), True),
        (failed(K.AUTHENTICATION, 401, 2009), True),
        (failed(K.SERVER, 503, 7013), True),
        (failed(K.SERVER, 503), True),
        (failed(K.TIMEOUT, 522), True),
        (failed(K.CONNECTION, is_retryable=True), True),
        (failed(K.TIMEOUT, is_retryable=True), True),
        (failed(K.TIMEOUT), False),
        (failed(K.TIMEOUT, 504), False),
        (failed(K.RATE_LIMIT, 429, 2003), False),
        (failed(K.QUOTA, 429, 2041), False),
        (failed(K.CONTENT_FILTER, 424, 2016), False),
        (failed(K.CONTENT_FILTER, 400, 2029), False),
        (failed(K.CAPACITY, 503, 3050), False),
        (failed(K.SERVER, 500, 8008), False),
        (failed(K.AUTHENTICATION, 401, 10000), False),
        (failed(K.CAPACITY, 503), False),
        (failed(K.BAD_REQUEST, 400), False),
    ],
)
def test_a_gateway_is_down_when_it_fails_itself_and_not_when_it_refuses(failure: Failure, expected: bool) -> None:
    assert is_down(failure) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (failed(K.CONFIGURATION, 404, 7003), True),
        (failed(K.CONFIGURATION, 400, 7000), True),
        (failed(K.BAD_REQUEST, 400, 2008), True),
        (failed(K.CONFIGURATION, 400, 2001), False),
        (failed(K.BAD_REQUEST, 200, 2008), False),
        (failed(K.CONFIGURATION, 404), False),
    ],
)
def test_a_path_that_the_gateway_does_not_know_is_told_from_other_failures(failure: Failure, expected: bool) -> None:
    assert is_misrouted(failure) is expected


EMULATED = Account("acct", "cf-token", "http://emulator/client/v4")
CF_MODEL = "@cf/zai-org/glm-4.7-flash"


async def asked(
    route: Any, path: str, model: str, *, is_right: bool = True, uses_other: bool = False, **options: Any
) -> httpx2.Response:
    """The emulator's answer at the address of a call."""
    gateway = Gateway("gw", "aig-token" if is_right else "wrong", "http://emulator/v1", route)
    address = addressed(EMULATED, path, gateway, {"cf-aig-event-id": "e1"}, model=model)
    body = {"model": upstream_model(model, gateway), "messages": [{"role": "user", "content": "Hello"}]}
    emulator = create_emulator(
        Options(tokens={"acct": "cf-token"}, gateways={"gw": GatewayOptions(token="aig-token", **options)})
    )
    url = address.other_url if uses_other and address.other_url else address.url
    async with httpx2.AsyncClient(transport=EmulatorTransport(emulator)) as client:
        return await client.post(url, json=body, headers=address.headers)


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["rest", "host"])
@pytest.mark.parametrize(
    ("path", "model"),
    [
        (f"run/{CF_MODEL}", ""),
        (CHAT, CF_MODEL),
        (CHAT, f"workers-ai/{CF_MODEL}"),
        (CHAT, "openai/gpt-4.1"),
        (CHAT, "dynamic/route"),
    ],
)
async def test_an_authenticated_gateway_lets_every_call_in(route: str, path: str, model: str) -> None:
    response = await asked(route, path, model)
    assert response.status_code == 200
    assert (b"cf-aig-event-id", b"e1") in told(response.headers.raw)


@pytest.mark.anyio
async def test_the_other_path_helps_where_the_first_is_not_known() -> None:
    wrong = await asked("host", f"run/{CF_MODEL}", "", run_form="bare")
    assert is_misrouted(classify(wrong.status_code, wrong.headers, wrong.content))
    right = await asked("host", f"run/{CF_MODEL}", "", run_form="bare", uses_other=True)
    assert right.status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["rest", "host"])
async def test_a_gateway_that_is_down_is_known_as_such(route: str) -> None:
    response = await asked(route, CHAT, CF_MODEL, is_down=True)
    assert is_down(classify(response.status_code, response.headers, response.content))


@pytest.mark.anyio
async def test_a_wrong_gateway_token_is_known_as_such() -> None:
    response = await asked("host", CHAT, CF_MODEL, is_right=False)
    failure = classify(response.status_code, response.headers, response.content)
    assert (is_down(failure), "AI_GATEWAY_TOKEN" in failure.message) == (True, True)


@pytest.mark.anyio
async def test_a_gateway_that_refuses_on_purpose_is_not_down() -> None:
    response = await asked("host", CHAT, CF_MODEL, is_spent=True)
    failure = classify(response.status_code, response.headers, response.content)
    assert (failure.kind, is_down(failure)) == (K.QUOTA, False)
