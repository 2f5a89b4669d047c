"""AI Gateway: what stands between a caller and the models, reached by its own host or by a header of the API's.

Source: Cloudflare's docs, AI Gateway (REST API, Workers AI provider, Unified API, authentication, caching, rate
limiting, spend limits, guardrails, DLP); codes as users met them.
"""

import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import orjson

from app.catalog import Model
from app.emulator.faults import Fault
from app.emulator.forms import FORM
from app.emulator.gateway_cache import GatewayCache, without_neurons
from app.emulator.gateway_entries import Entry, Foreign, routed
from app.emulator.gateway_faults import KNOWN, GatewayFault
from app.emulator.options import GatewayOptions
from app.emulator.replies import HTML, Reply
from app.emulator.requests import ReceivedRequest
from app.emulator.run import TEXT_FIELDS, text_of, texts_of
from app.emulator.script import MARK, script_of

Runner = Callable[[Entry, ReceivedRequest, Model | None], Awaitable[Reply]]
"""Runs a request behind the gateway. With a model, that one, which is not Cloudflare's."""


class Gateways:
    """All gateways of all accounts: what they let through and what they remember."""

    def __init__(
        self,
        options: Mapping[str, GatewayOptions] | None,
        task_of: Callable[[str], str | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`task_of` names the task of a model; `now` is the Unix time in seconds."""
        self._options = options
        self._now = now
        self._starts: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._cache = GatewayCache(task_of, now)
        self._numbers = count(1)

    async def passed(self, entry: Entry, request: ReceivedRequest, run: Runner) -> Reply:
        """The answer to a request that comes to a gateway. Raises Fault."""
        options = self._options_of(entry.gateway)
        if options and options.is_down:
            return Reply([HTML.format(status=503).encode()], 503, "text/html; charset=UTF-8")
        try:
            if options is None:
                raise GatewayFault(2001)
            reply = await self._answered(entry, options, request, run)
        except GatewayFault as fault:
            reply = fault.reply()
        return replace(reply, headers=reply.headers | self._ids(request))

    def _options_of(self, gateway_id: str) -> GatewayOptions | None:
        if self._options is None or gateway_id == "default":
            return (self._options or {}).get(gateway_id, GatewayOptions())
        return self._options.get(gateway_id)

    def _ids(self, request: ReceivedRequest) -> dict[str, str]:
        number = f"{next(self._numbers):012x}"
        ids = {
            "cf-aig-request-id": f"0193a000-0000-7000-8000-{number}",
            "cf-aig-event-id": request.headers.get("cf-aig-event-id", f"event-{number}"),
            "cf-aig-step": "0",
        }
        is_logged = request.headers.get("cf-aig-collect-log", "true") != "false"
        return ids | ({"cf-aig-log-id": f"log-{number}"} if is_logged else {})

    async def _answered(self, entry: Entry, options: GatewayOptions, request: ReceivedRequest, run: Runner) -> Reply:
        _check_token(entry, options, request)
        entry, request, foreign = routed(entry, options, request)
        self._check_pace(entry, options)
        if options.is_spent:
            raise GatewayFault(2041)
        if foreign:
            _check_keys(entry, options, request)
        _check_script(request)
        kept = self._cache.place(entry, options.cache_ttl_seconds, request)
        if kept and (hit := kept.read()):
            return hit
        unsafe = options.unsafe_words if entry.is_host else ()  # the API's host only logs what guardrails find
        _check_words(orjson.dumps(request.body) if isinstance(request.body, dict) else b"", unsafe, 2016)
        _check_words(orjson.dumps(request.body) if isinstance(request.body, dict) else b"", options.private_words, 2029)
        if unsafe or options.private_words:
            request = _unstreamed(request)
        if options.spoils_files:
            _check_spoiled(request)
        reply = await run(entry, request, foreign.model if foreign else None)
        if unsafe or options.private_words:
            reply = replace(reply, body=list(reply.body))
            _check_words(b"".join(reply.body), unsafe, 2017)
            _check_words(b"".join(reply.body), options.private_words, 2030)
        if foreign:
            reply = replace(reply, headers=without_neurons(reply) | _answerer(foreign))
        return kept.keep(reply) if kept else reply

    def _check_pace(self, entry: Entry, options: GatewayOptions) -> None:
        if options.requests_per_minute is None:
            return
        now, starts = self._now(), self._starts[entry.account, entry.gateway]
        while starts and starts[0] <= now - 60:
            starts.popleft()
        if len(starts) >= options.requests_per_minute:
            raise GatewayFault(2003)
        starts.append(now)


def _check_token(entry: Entry, options: GatewayOptions, request: ReceivedRequest) -> None:
    """The gateway host asks for its own token, and takes it as OpenAI's clients send theirs on the unified API."""
    if options.token is None or not entry.is_host:
        return
    shown = request.headers.get("cf-aig-authorization")
    if shown is None and entry.is_compat:
        shown = request.headers.get("authorization")
    if shown != f"Bearer {options.token}":
        raise GatewayFault(2009)


def _check_keys(entry: Entry, options: GatewayOptions, request: ReceivedRequest) -> None:
    """Somebody has to pay the other provider: a stored key, the caller's own, or Cloudflare for an account it knows."""
    headers = request.headers
    if entry.is_host and not headers.keys() & {"cf-aig-authorization", "authorization"}:
        raise GatewayFault(2009)
    if headers.get("cf-aig-byok-alias", options.key_aliases[0]) not in options.key_aliases:
        raise GatewayFault(2040)
    if not options.has_credits:
        raise GatewayFault(2021)


def _check_script(request: ReceivedRequest) -> None:
    """Raises what the script asks for, if that is a failure of the gateway's."""
    text = next((text for text in _texts(request.body) if MARK in text), "")
    try:
        error = script_of(text[text.find(MARK) :])[0].error if text else None
    except Fault:  # the run itself refuses a script that makes no sense
        return
    if error and error.get("code") in KNOWN:
        raise GatewayFault(error["code"], error.get("message"), error.get("status"))


def _texts(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    messages = body.get("messages", body.get("input"))
    said = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    fields = [text for name in ("prompt", *TEXT_FIELDS) for text in texts_of(body.get(name))]
    return [text_of(turn.get("content")) for turn in said[-1:]] + fields


def _check_words(data: bytes, words: tuple[str, ...], code: int) -> None:
    text = data.decode("utf-8", "replace").lower()
    if any(word.lower() in text for word in words):
        raise GatewayFault(code)


def _check_spoiled(request: ReceivedRequest) -> None:
    if request.content_type == FORM:
        raise Fault(8001)
    if not isinstance(request.body, dict) and "json" not in request.content_type:
        raise Fault(3030, "failed to process audio: corrupt or unsupported data")


def _unstreamed(request: ReceivedRequest) -> ReceivedRequest:
    """What has to be read as a whole before it may go on is asked for as a whole, and comes as JSON."""
    if not isinstance(request.body, dict):
        return request
    fields = {name: value for name, value in request.body.items() if name not in ("stream", "stream_options")}
    return replace(request, body=fields)


def _answerer(foreign: Foreign) -> dict[str, str]:
    return {"cf-aig-provider": foreign.provider, "cf-aig-model": foreign.name}
