"""Caching: stands before Workers AI and answers a call that was answered before. Identical calls at once are one.

What counts is the call as it goes upstream; any difference in it, however small, makes another call.

Whose replies a caller may get:

1. By default those to his own key.
2. If replies are shared, those to all keys that the server's own accounts pay for.
3. A caller who brought an account of his own gets only what that account, with that token, was asked for: anything else
   would let those in whom Cloudflare does not.

A request with `cf-aig-skip-cache: true` gets a new reply, past this cache as well as AI Gateway's; it is kept for the
next ones. Streams are passed on as they are, and so are calls of models that the catalogue does not know: nobody has
said what those are made for.
"""

from collections.abc import Collection, Coroutine
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import orjson

from app.calls import NOWHERE, Account, Call, Caller, Failure, Reply
from app.catalog import Catalog
from app.metrics import CacheCounts
from app.stores.replies import ReplyStore
from app.upstream.charges import without_charge
from app.upstream.client import Again, WorkersAI, leave_it
from app.upstream.flights import Flights
from app.upstream.incoming import Events, Raw
from app.upstream.replies import loaded, unwrapped

KEY_FIELDS = [each.name for each in fields(Call) if each.name not in ("stream", "affinity", "content")]
"""All that makes an answer another one, also fields to come. Affinity only says where to; `content` is hashed apart."""


class Caching:
    """As WorkersAI. A reply that was there already is marked by `is_cached`, costs nothing and comes from nowhere."""

    def __init__(
        self,
        upstream: WorkersAI,
        catalog: Catalog,
        store: ReplyStore,
        *,
        tasks: Collection[str],
        is_shared: bool = False,
        counts: CacheCounts | None = None,
    ) -> None:
        """`tasks` are those of the models whose replies are kept, such as `text-embeddings`."""
        self._counts = counts or CacheCounts()
        self._upstream = upstream
        self._store = store
        self._models = frozenset(model.id for model in catalog if model.task in tasks)
        self._is_shared = is_shared
        self._flights: Flights[tuple[Call, Reply]] = Flights()

    def run(self, call: Call, caller: Caller, again: Again = leave_it) -> Coroutine[Any, Any, tuple[Call, Reply]]:
        """The call that was answered, now or then, and its reply. Raises Failure."""
        key = self._key(call, caller) if call.model in self._models and not call.stream else None
        if key is None:
            return self._upstream.run(call, caller, again)
        return self._known_or_asked(key, call, caller, again)

    async def _known_or_asked(self, key: bytes, call: Call, caller: Caller, again: Again) -> tuple[Call, Reply]:
        if caller.gateway.get("cf-aig-skip-cache") == "true":
            return await self._asked(key, call, caller, again)
        if known := _read(self._store.peek(key), call, again):
            self._counts.hits += 1
            return known
        is_first = not self._flights.is_under_way(key)
        answered, reply = await self._flights.join(key, lambda: self._found_or_asked(key, call, caller, again))
        is_free = reply.is_cached or not is_first
        self._counts.hits += is_free
        self._counts.misses += not is_free
        if is_first:
            return answered, reply
        if again(call, reply) is not None:  # it was good for whoever asked, but what this one wants is stricter
            return await self._upstream.run(call, caller, again)
        return answered, _free(reply)

    def open(
        self, call: Call, caller: Caller, again: Again = leave_it
    ) -> Coroutine[Any, Any, tuple[Call, Events | Reply]]:
        return self._upstream.open(call, caller, again)

    async def listen(self, call: Call, caller: Caller) -> Raw:
        return await self._upstream.listen(call, caller)

    async def models(self, account: Account) -> list[dict[str, Any]]:
        return await self._upstream.models(account)

    async def _found_or_asked(self, key: bytes, call: Call, caller: Caller, again: Again) -> tuple[Call, Reply]:
        known = _read(await self._store.get(key), call, again)
        return known or await self._asked(key, call, caller, again)

    async def _asked(self, key: bytes, call: Call, caller: Caller, again: Again) -> tuple[Call, Reply]:
        answered, reply = await self._upstream.run(call, caller, again)
        is_good = answered is call or again(call, reply) is None  # what was mended may still be bad
        if is_good and (value := _written(call, answered, reply)):
            self._store.put(key, value)
        return answered, reply

    def _key(self, call: Call, caller: Caller) -> bytes | None:
        """None for a call that can't be written down, nor sent."""
        content = None if call.content is None else sha256(call.content).hexdigest()
        parts = [_owner(caller, is_shared=self._is_shared), content, *(getattr(call, name) for name in KEY_FIELDS)]
        try:
            return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()
        except orjson.JSONEncodeError:
            return None


def _owner(caller: Caller, *, is_shared: bool) -> list[str]:
    """Who may get the reply. The address is part of it: what the emulator answered must not pass for Cloudflare's."""
    account = caller.account
    owner = [account.base_url, "" if is_shared else caller.name]
    return owner if account.is_ours else [*owner, account.id, sha256(account.token.encode()).hexdigest()]


def _written(call: Call, answered: Call, reply: Reply) -> bytes | None:
    """As JSON, which ends with its line, and the reply as it came. None for what can't be kept."""
    if not reply.raw or answered.content is not call.content:
        return None
    head: dict[str, Any] = {"is_json": not isinstance(reply.body, bytes)}
    if answered is not call:
        head["answered"] = {name: getattr(answered, name) for name in KEY_FIELDS}
    return orjson.dumps(head) + b"\n" + reply.raw


def _read(value: bytes | None, call: Call, again: Again) -> tuple[Call, Reply] | None:
    """None if nothing is kept, if it can't be read, or if whoever asks now would not leave it at that."""
    if value is None:
        return None
    try:
        end = value.index(b"\n")
        head, raw = orjson.loads(value[:end]), value[end + 1 :]
        body = unwrapped(loaded(raw)) if head["is_json"] else raw
    except (Failure, ValueError):
        return None
    reply = _free(Reply(body, raw))
    answered = replace(call, **head["answered"]) if "answered" in head else call
    return (answered, reply) if again(call, reply) is None else None


def _free(reply: Reply) -> Reply:
    return replace(reply, body=without_charge(reply.body), neurons=0.0, origin=NOWHERE, is_cached=True)
