"""Origin: the address under which a client reaches this server, for links that it is to follow."""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
"""A name, an IPv4 or a bracketed IPv6 address, and a port."""


def base_url(scope: Scope, *, public_base_url: str | None, trusted_hops: bool) -> str:
    """Such as `https://example.com:8443`, without a slash at the end.

    `public_base_url` if there is one, else what the request says of itself. `X-Forwarded-Proto` and
    `X-Forwarded-Host` count only if every hop before us is trusted to overwrite what clients send: then the first
    value, from the hop next to the client, is the right one. A host that can't be one is passed over.
    """
    if public_base_url:
        return public_base_url.rstrip("/")
    headers = Headers(scope=scope)
    scheme, hosts = scope["scheme"], [headers.get("host", "")]
    if trusted_hops:
        forwarded = _first(headers.get("x-forwarded-proto", "")).lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
        hosts.insert(0, _first(headers.get("x-forwarded-host", "")))
    return f"{scheme}://{next(filter(_is_host, hosts), None) or _own_host(scope)}"


def _first(values: str) -> str:
    return values.partition(",")[0].strip()


def _is_host(text: str) -> bool:
    match = HOST.fullmatch(text)
    return match is not None and int(match[1] or 0) <= 65535


def _own_host(scope: Scope) -> str:
    """Where the connection arrived; a Unix socket has no port."""
    host, port = scope.get("server") or ("localhost", None)
    if port is None:
        return "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
