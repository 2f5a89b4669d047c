"""Addresses: the URL and the headers of a call, direct or through AI Gateway. Pure.

Sources: Cloudflare's docs, AI Gateway > Usage > REST API, Workers AI provider, Unified API; Configuration >
Authentication; Features > Caching.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from app.calls import Account
from app.upstream.gateway import Gateway
from app.upstream.gateway_options import CACHE_KEY
from app.upstream.providers import WORKERS_AI, is_at_host_only, is_provider_model

CHAT_PATH = "v1/chat/completions"
HOST_PATHS = {CHAT_PATH, "v1/embeddings"}
"""Paths of OpenAI's that the gateway host has for Workers AI."""
PATHS = HOST_PATHS | {"run", "v1/responses", "v1/messages"}
"""Those that run a model, beside `run/{model}`; others have nothing to do with AI Gateway."""


class Address(NamedTuple):
    """Where a call goes, and with which headers of its own."""

    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    is_gateway: bool = False
    """It goes through an AI Gateway."""
    is_detour: bool = False
    """It goes past the gateway that is set, which would spoil it or has no path for it."""
    other_url: str | None = None
    """To try once if `is_misrouted` says so: reports differ on which of two paths the gateway host knows."""


def addressed(
    account: Account,
    path: str,
    gateway: Gateway | None,
    options: Mapping[str, str],
    *,
    model: str = "",
    is_raw: bool = False,
    tenant: str = "",
) -> Address:
    """Where to send a call. `path` is below `…/accounts/{id}/ai/`, `options` are those of `options_of`.

    `model` is needed for those of other providers only. `is_raw`: the body is a file or a form. `tenant` stands for who
    asks: a cache key is its own.
    """
    if gateway is None and not is_provider_model(model):
        return _direct(account, path)
    bare = path.partition("?")[0]
    is_foreign = bare == CHAT_PATH and is_provider_model(model)
    is_inference = bare.startswith("run/") or bare in PATHS
    if not is_inference or (gateway is None and not is_foreign):
        return _direct(account, path)
    if is_raw and not is_foreign:
        return _direct(account, path)._replace(is_detour=True)
    headers = _option_headers(gateway, options, f"{tenant}\0{bare}\0{model}")
    if gateway is None or (gateway.route == "rest" and not (is_foreign and is_at_host_only(model))):
        address = _direct(account, path)
        if gateway is not None:
            headers.append((b"cf-aig-gateway-id", gateway.id.encode()))
        return Address(address.url, (*address.headers, *headers), is_gateway=True)
    if is_foreign:
        return _compat(account, gateway, model, headers)
    if not bare.startswith("run/") and bare not in HOST_PATHS:
        return _direct(account, path)._replace(is_detour=True)
    return _at_host(account, path, gateway, headers)


def _direct(account: Account, path: str) -> Address:
    return _known(account.base_url, account.id, account.token, path)


@lru_cache(maxsize=1024)
def _known(base_url: str, account_id: str, token: str, path: str) -> Address:
    return Address(f"{base_url}/accounts/{account_id}/ai/{path}", (_bearer(token),))


def _bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + token.encode()


def _at_host(account: Account, path: str, gateway: Gateway, headers: list[tuple[bytes, bytes]]) -> Address:
    """Cloudflare's own libraries keep `run/`, its docs leave it out."""
    base = f"{gateway.base_url}/{account.id}/{gateway.id}/workers-ai/"
    other = None
    if path.startswith("run/"):
        forms = path, path.removeprefix("run/")
        path, other = forms if gateway.has_run else forms[::-1]
        other = base + other
    own = (_bearer(account.token), _gateway_authorization(account, gateway))
    return Address(base + path, (*own, *headers), is_gateway=True, other_url=other)


def _compat(account: Account, gateway: Gateway, model: str, headers: list[tuple[bytes, bytes]]) -> Address:
    """Keys of other providers are stored in the gateway or Cloudflare's: `Authorization` would take their place."""
    url = f"{gateway.base_url}/{account.id}/{gateway.id}/compat/chat/completions"
    own = [_bearer(account.token)] if model.startswith(WORKERS_AI) else []
    return Address(url, (*own, _gateway_authorization(account, gateway), *headers), is_gateway=True)


def _gateway_authorization(account: Account, gateway: Gateway) -> tuple[bytes, bytes]:
    return b"cf-aig-authorization", b"Bearer " + (gateway.token or account.token).encode()


def _option_headers(gateway: Gateway | None, options: Mapping[str, str], scope: str) -> list[tuple[bytes, bytes]]:
    wanted = {**_defaults(gateway), **options}
    if CACHE_KEY in wanted:
        # A custom key replaces the whole key, body and all: two tenants with the same one would read each other's
        # answers.
        text = f"{scope}\0{wanted[CACHE_KEY]}".encode("utf-8", "surrogatepass")
        wanted[CACHE_KEY] = hashlib.sha256(text).hexdigest()
    return [(name.encode(), value.encode()) for name, value in wanted.items()]


def _defaults(gateway: Gateway | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if gateway and gateway.skip_cache:
        found["cf-aig-skip-cache"] = "true"
    if gateway and gateway.cache_ttl_seconds is not None:
        found["cf-aig-cache-ttl"] = str(gateway.cache_ttl_seconds)
    return found
