"""AI Gateway: what stands between a caller and the models, reached by its own host or by a header of the API's.

Source: Cloudflare's docs, AI Gateway (REST API, Workers AI provider, Unified API, authentication, caching, rate
limiting, spend limits, guardrails, DLP); codes as users met them.
"""

import re
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal, NamedTuple

import orjson

from app.catalog import Model
from app.emulator.faults import Fault, no_route
from app.emulator.forms import FORM
from app.emulator.replies import HTML, Reply, json_reply
from app.emulator.requests import ReceivedRequest
from app.emulator.run import TEXT_FIELDS, text_of, texts_of
from app.emulator.script import MARK, script_of

KNOWN: dict[int, tuple[int, str]] = {
    2001: (400, "Please configure AI Gateway in the Cloudflare dashboard"),
    2002: (400, "Provider not found"),
    2003: (429, "Rate limited"),
    2005: (400, "No routable provider for this model"),
    2008: (400, "Invalid provider"),
    2009: (401, "Unauthorized"),
    2016: (424, "Prompt blocked due to security configurations"),
    2017: (424, "Response blocked due to security configurations"),
    2018: (429, "Wholesale rate limited"),
    2019: (400, "Invalid chat completion request"),
    2021: (402, "Insufficient credits"),
    2029: (400, "Request content blocked due to DLP policy violations"),
    2030: (400, "Response content blocked due to DLP policy violations"),
    2040: (400, "No stored key with this alias"),
    2041: (429, "Spend limit exceeded: rule daily, limit 10.00 USD, window 86400 seconds"),
    7013: (503, "Guardrails are unavailable"),
}
"""Code -> status and text."""

CHAT_PATH = "v1/chat/completions"
HOST_PATH = re.compile(r"(?:/v1)?/([^/]+)/([^/]+)/(workers-ai|compat)/(.+)")
API_PATH = re.compile(r"(?:/client/v4)?/accounts/([^/]+)/ai/(run(?:/.+)?|v1/.+)")
PROVIDERS = {"anthropic", "cloudflare", "deepseek", "dynamic", "google", "google-ai-studio", "groq", "openai", "xai"}
"""What stands before the models that the emulator answers in the place of others."""
STAND_IN = ("openai", "gpt-4o-mini")
"""Who answers dynamic routes and the auto router."""
CACHED_TASKS = {
    *("text-generation", "moderation", "translation", "text-classification"),
    *("text-to-image", "image-to-text"),
}
"""Text and pictures: no vectors, no sound."""
CUSTOM_KEY_SECONDS = 300.0
"""How long an answer under a key of the caller's is kept where the gateway caches nothing."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    token: str | None = field(default=None, repr=False)
    """Of an authenticated gateway; None lets everybody in."""
    is_down: bool = False
    """Answers 503 to everything, and not in JSON."""
    cache_ttl_seconds: float | None = None
    """What the gateway keeps without being asked to; None: nothing."""
    requests_per_minute: int | None = None
    """Above it 2003; the window slides."""
    is_spent: bool = False
    """Its spend limit is reached (2041)."""
    has_credits: bool = True
    """There is money for the models of other providers, else 2021."""
    key_aliases: tuple[str, ...] = ("default",)
    """Names of stored keys; for others 2040."""
    unsafe_words: tuple[str, ...] = ()
    """What guardrails block, on the gateway host: 2016 in a prompt, 2017 in an answer."""
    private_words: tuple[str, ...] = ()
    """What DLP blocks: 2029 in a request, 2030 in an answer."""
    run_form: Literal["any", "run", "bare"] = "any"
    """Which path runs a model on the gateway host: `workers-ai/run/{model}`, `workers-ai/{model}`, or both."""
    spoils_files: bool = True
    """Forms and plain bytes arrive damaged."""


class GatewayFault(Exception):  # noqa: N818 - named as Fault
    """A refusal by the gateway itself."""

    def __init__(self, code: int, message: str | None = None, status: int | None = None) -> None:
        known_status, known_message = KNOWN[code]
        self.code = code
        self.status = status or known_status
        self.message = message or known_message
        super().__init__(self.message)

    def reply(self) -> Reply:
        error = {"code": self.code, "message": self.message}
        body: dict[str, Any] = {"success": False, "result": [], "messages": [], "error": [error]}
        body |= {"name": "AiGatewayError", "httpCode": self.status, "internalCode": self.code, "message": self.message}
        return json_reply(body, self.status)


class Entry(NamedTuple):
    """How a request came to a gateway."""

    account: str
    gateway: str
    path: str
    """Below `…/ai/`, once it is known."""
    is_host: bool
    is_compat: bool = False


class Foreign(NamedTuple):
    """A model of another provider."""

    provider: str
    name: str

    @property
    def model(self) -> Model:
        return Model(self.name, "text-generation")


Runner = Callable[[Entry, ReceivedRequest, Model | None], Awaitable[Reply]]
"""Runs a request behind the gateway. With a model, that one, which is not Cloudflare's."""


def entry_of(request: ReceivedRequest) -> Entry | None:
    """None for a request that meets no gateway."""
    if found := HOST_PATH.fullmatch(request.path):
        account, gateway, provider, path = found.groups()
        return Entry(account, gateway, path, True, provider == "compat")
    found = API_PATH.fullmatch(request.path)
    gateway_id = request.headers.get("cf-aig-gateway-id")
    if found and gateway_id is None and found[2] == CHAT_PATH and _foreign(_model_of(request)):
        gateway_id = "default"
    return Entry(found[1], gateway_id, found[2], False) if found and gateway_id is not None else None


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
        self._task_of = task_of
        self._now = now
        self._starts: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._cache: dict[bytes, tuple[float, Reply]] = {}
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
        entry, request, foreign = _routed(entry, options, request)
        self._check_pace(entry, options)
        if options.is_spent:
            raise GatewayFault(2041)
        if foreign:
            _check_keys(entry, options, request)
        _check_script(request)
        kept = self._kept(entry, options, request)
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
            reply = replace(reply, headers=_without_neurons(reply) | _answerer(foreign))
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

    def _kept(self, entry: Entry, options: GatewayOptions, request: ReceivedRequest) -> "Kept | None":
        """None where caching does not apply."""
        body = request.body
        if not isinstance(body, dict) or body.get("stream") is True:
            return None
        name = entry.path.removeprefix("run/") if entry.path.startswith("run/") else _model_of(request)
        if self._task_of(name) not in CACHED_TASKS and not _foreign(name):
            return None
        headers = request.headers
        asked = headers.get("cf-aig-cache-ttl", headers.get("cf-cache-ttl"))
        ttl = options.cache_ttl_seconds if asked is None else float(asked)
        custom = headers.get("cf-aig-cache-key")
        if ttl is None and custom is not None:
            ttl = CUSTOM_KEY_SECONDS
        if not ttl:
            return None
        parts = [custom] if custom is not None else [entry.path, headers.get("authorization"), body]
        key = orjson.dumps([entry.account, entry.gateway, *parts])
        skips = headers.get("cf-aig-skip-cache", headers.get("cf-skip-cache")) == "true"
        return Kept(self._cache, key, ttl, self._now(), skips)


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
        return replace(reply, headers=_without_neurons(reply) | {"cf-aig-cache-status": "HIT"})

    def keep(self, reply: Reply) -> Reply:
        if reply.status == 200 and not reply.is_dropped:
            reply = replace(reply, body=list(reply.body))
            self.cache[self.key] = (self.now + self.ttl_seconds, reply)
        return replace(reply, headers=reply.headers | {"cf-aig-cache-status": "MISS"})


def _check_token(entry: Entry, options: GatewayOptions, request: ReceivedRequest) -> None:
    """The gateway host asks for its own token, and takes it as OpenAI's clients send theirs on the unified API."""
    if options.token is None or not entry.is_host:
        return
    shown = request.headers.get("cf-aig-authorization")
    if shown is None and entry.is_compat:
        shown = request.headers.get("authorization")
    if shown != f"Bearer {options.token}":
        raise GatewayFault(2009)


def _routed(
    entry: Entry, options: GatewayOptions, request: ReceivedRequest
) -> tuple[Entry, ReceivedRequest, Foreign | None]:
    if entry.is_compat:
        return _routed_by_model(entry, request)
    if not entry.is_host:
        return entry, request, _foreign(_model_of(request)) if entry.path == CHAT_PATH else None
    if entry.path in (CHAT_PATH, "v1/embeddings"):
        return entry, request, None
    form = "run" if entry.path.startswith("run/") else "bare"
    if options.run_form not in ("any", form):
        raise no_route(request.path)
    return entry._replace(path=f"run/{entry.path.removeprefix('run/')}"), request, None


def _routed_by_model(entry: Entry, request: ReceivedRequest) -> tuple[Entry, ReceivedRequest, Foreign | None]:
    if entry.path != "chat/completions":
        raise no_route(request.path)
    if not isinstance(request.body, dict):
        raise GatewayFault(2019)
    entry, name = entry._replace(path=CHAT_PATH), _model_of(request)
    if name.startswith("workers-ai/"):
        return entry, replace(request, body=request.body | {"model": name.removeprefix("workers-ai/")}), None
    if name.startswith("@"):
        raise GatewayFault(2008)
    foreign = _foreign(name)
    if foreign is None:
        raise GatewayFault(2005)
    return entry, request, foreign


def _model_of(request: ReceivedRequest) -> str:
    name = request.body.get("model") if isinstance(request.body, dict) else None
    return name if isinstance(name, str) else ""


def _foreign(name: str) -> Foreign | None:
    provider, _, model = name.partition("/")
    if provider not in PROVIDERS or not model:
        return None
    return Foreign(*STAND_IN) if provider in ("dynamic", "cloudflare") else Foreign(provider, model)


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


def _without_neurons(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "cf-ai-neurons"}


def _answerer(foreign: Foreign) -> dict[str, str]:
    return {"cf-aig-provider": foreign.provider, "cf-aig-model": foreign.name}
