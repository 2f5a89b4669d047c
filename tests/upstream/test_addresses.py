"""Where a call goes, and with which headers."""

import hashlib
from typing import Any

import pytest

from app.calls import Account
from app.upstream.addresses import addressed
from app.upstream.gateway import Gateway

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
    assert addressed(ACCOUNT, path, None, options) == (API + path, (TOKEN,), False, False, None)


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
    (REST, CHAT, "google-ai-studio/gemini", f"{HOST}compat/chat/completions", [GATEWAY_TOKEN], True, False, None),
    (REST, CHAT, "cloudflare/auto", f"{HOST}compat/chat/completions", [GATEWAY_TOKEN], True, False, None),
    (REST, CHAT, "google/gemini", API + CHAT, [TOKEN, ID], True, False, None),
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
    assert address == (url, tuple(headers), is_gateway, is_detour, other_url)


@pytest.mark.parametrize("gateway", [REST, AT_HOST])
def test_files_and_forms_go_past_the_gateway(gateway: Gateway) -> None:
    assert addressed(ACCOUNT, RUN, gateway, {}, is_raw=True) == (API + RUN, (TOKEN,), False, True, None)
    assert addressed(ACCOUNT, RUN, None, {}, is_raw=True).is_detour is False


def test_without_a_token_of_its_own_the_gateway_gets_that_of_the_account() -> None:
    headers = addressed(ACCOUNT, RUN, Gateway("gw", None, BASE, "host"), {}).headers
    assert headers == (TOKEN, (b"cf-aig-authorization", b"Bearer cf-token"))


def test_settings_are_the_defaults_of_what_callers_ask() -> None:
    gateway = Gateway("gw", None, BASE, skip_cache=True, cache_ttl_seconds=300)
    asked = {"cf-aig-skip-cache": "false", "cf-aig-event-id": "e1"}
    defaults = [(b"cf-aig-skip-cache", b"true"), (b"cf-aig-cache-ttl", b"300")]
    assert addressed(ACCOUNT, RUN, gateway, {}).headers == (TOKEN, *defaults, ID)
    assert addressed(ACCOUNT, RUN, gateway, asked).headers == (
        TOKEN,
        (b"cf-aig-skip-cache", b"false"),
        (b"cf-aig-cache-ttl", b"300"),
        (b"cf-aig-event-id", b"e1"),
        ID,
    )


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
