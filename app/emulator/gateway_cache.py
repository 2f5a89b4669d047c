"""Gateway cache: the answers that a gateway keeps, and gives again.

Source: Cloudflare's docs, AI Gateway > Features > Caching.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import orjson

from app.emulator.gateway_entries import Entry, foreign_of, model_of
from app.emulator.replies import Reply
from app.emulator.requests import ReceivedRequest

CACHED_TASKS = {
    *("text-generation", "moderation", "translation", "text-classification"),
    *("text-to-image", "image-to-text"),
}
"""Text and pictures: no vectors, no sound."""
CUSTOM_KEY_SECONDS = 300.0
"""How long an answer under a key of the caller's is kept where the gateway caches nothing."""


class Kept(NamedTuple):
    """The place in the cache of one request's answer."""

    cache: dict[bytes, tuple[float, Reply]]
    key: bytes
    ttl_seconds: float
    now: float
    skips: bool

    def read(self) -> Reply | None:
        until, reply = self.cache.get(self.key, (0.0, None))
        if reply is None or self.skips or until <= self.now:
            return None
        return replace(reply, headers=without_neurons(reply) | {"cf-aig-cache-status": "HIT"})

    def keep(self, reply: Reply) -> Reply:
        if reply.status == 200 and not reply.is_dropped:
            reply = replace(reply, body=list(reply.body))
            self.cache[self.key] = (self.now + self.ttl_seconds, reply)
        return replace(reply, headers=reply.headers | {"cf-aig-cache-status": "MISS"})


class GatewayCache:
    """The answers of all gateways."""

    def __init__(self, task_of: Callable[[str], str | None], now: Callable[[], float]) -> None:
        """`task_of` names the task of a model; `now` is the Unix time in seconds."""
        self._task_of = task_of
        self._now = now
        self._replies: dict[bytes, tuple[float, Reply]] = {}

    def place(self, entry: Entry, default_seconds: float | None, request: ReceivedRequest) -> Kept | None:
        """None where caching does not apply. `default_seconds`: for requests that ask for no time; None: not at all."""
        body = request.body
        if not isinstance(body, dict) or body.get("stream") is True:
            return None
        name = entry.path.removeprefix("run/") if entry.path.startswith("run/") else model_of(request)
        if self._task_of(name) not in CACHED_TASKS and not foreign_of(name):
            return None
        headers = request.headers
        asked = headers.get("cf-aig-cache-ttl", headers.get("cf-cache-ttl"))
        ttl = default_seconds if asked is None else float(asked)
        custom = headers.get("cf-aig-cache-key")
        if ttl is None and custom is not None:
            ttl = CUSTOM_KEY_SECONDS
        if not ttl:
            return None
        parts = [custom] if custom is not None else [entry.path, headers.get("authorization"), body]
        key = orjson.dumps([entry.account, entry.gateway, *parts])
        skips = headers.get("cf-aig-skip-cache", headers.get("cf-skip-cache")) == "true"
        return Kept(self._replies, key, ttl, self._now(), skips)


def without_neurons(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "cf-ai-neurons"}
