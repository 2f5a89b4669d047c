"""Gateway: the URL and the headers of a call, direct or through AI Gateway. Pure.

Sources: Cloudflare's docs, AI Gateway > Usage > REST API, Workers AI provider, Unified API; Configuration >
Authentication; Features > Caching; the glossary of headers.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from app.calls import Account, Failure, FailureKind
from app.errors import BadRequestError
from app.settings import Settings

Headers = Sequence[tuple[bytes, bytes]]

GATEWAY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

CHAT_PATH = "v1/chat/completions"
HOST_PATHS = {CHAT_PATH, "v1/embeddings"}
"""Paths of OpenAI's that the gateway host has for Workers AI."""
PATHS = HOST_PATHS | {"run", "v1/responses", "v1/messages"}
"""Those that run a model, beside `run/{model}`; others have nothing to do with AI Gateway."""

PROVIDERS = frozenset(
    {
        *("adobe-firefly", "anthropic", "aws-bedrock", "azure-openai", "cartesia", "cerebras", "cohere", "deepseek"),
        *("elevenlabs", "google-ai-studio", "google-vertex-ai", "grok", "groq", "huggingface", "mistral", "openai"),
        *("openrouter", "perplexity-ai", "replicate"),
        *("alibaba", "google", "xai"),  # as the API host names them
        "dynamic",
    }
)
"""What may stand before the first slash of a model that AI Gateway reaches elsewhere."""
PROVIDER_MODEL = re.compile(r"[a-z][a-z0-9-]*(?:/[A-Za-z0-9@_~][A-Za-z0-9@._:~+-]*)+")
"""What may be asked for in a path or a body, so nothing that could leave its place in one."""
AUTO = "cloudflare/auto"
LONGEST_NAME = 200
WORKERS_AI = "workers-ai/"


@dataclass(frozen=True)
class Gateway:
    """An AI Gateway that every account has under the same id. Raises ValueError for an id that can't be one."""

    id: str
    token: str | None = field(default=None, repr=False)
    """With the permission AI Gateway Run; None: the account's own token."""
    base_url: str = "https://gateway.ai.cloudflare.com/v1"
    """Of the gateway host, up to and without the account."""
    route: Literal["rest", "host"] = "rest"
    skip_cache: bool = False
    cache_ttl_seconds: int | None = None
    has_run: bool = True
    """The gateway host runs a model at `workers-ai/run/{model}`; else at `workers-ai/{model}`."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Gateway | None":
        if settings.ai_gateway_id is None:
            return None
        token = settings.ai_gateway_token
        return cls(
            settings.ai_gateway_id,
            token.get_secret_value() if token else None,
            settings.ai_gateway_base_url,
            settings.ai_gateway_route,
            settings.ai_gateway_skip_cache,
            settings.ai_gateway_cache_ttl_seconds,
        )

    def __post_init__(self) -> None:
        if not GATEWAY_ID.fullmatch(self.id):
            raise ValueError("The id of an AI Gateway has up to 64 letters, digits, dots, dashes and underscores.")


class Address(NamedTuple):
    """Where a call goes, and with which headers of its own."""

    url: str
    headers: list[tuple[bytes, bytes]]
    is_gateway: bool = False
    """It goes through an AI Gateway."""
    is_detour: bool = False
    """It goes past the gateway that is set, which would spoil it or has no path for it."""
    other_url: str | None = None
    """To try once if `is_misrouted` says so: reports differ on which of two paths the gateway host knows."""


def is_provider_model(name: str) -> bool:
    """Whether only AI Gateway's chat completions know the model: `openai/…`, `dynamic/…`, `workers-ai/@cf/…`."""
    provider = name.partition("/")[0]
    is_known = provider in PROVIDERS or name == AUTO or name.startswith(f"{WORKERS_AI}@")
    return is_known and len(name) <= LONGEST_NAME and PROVIDER_MODEL.fullmatch(name) is not None


def upstream_model(name: str, gateway: Gateway | None) -> str:
    """The name to send. Only the gateway host knows Workers AI's models with a provider before them."""
    is_host = gateway is not None and gateway.route == "host"
    return name if is_host or not is_provider_model(name) else name.removeprefix(WORKERS_AI)


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
    bare = path.partition("?")[0]
    is_foreign = bare == CHAT_PATH and is_provider_model(model)
    is_inference = bare.startswith("run/") or bare in PATHS
    if not is_inference or (gateway is None and not is_foreign):
        return _direct(account, path)
    if is_raw and not is_foreign:
        return _direct(account, path)._replace(is_detour=True)
    headers = _option_headers(gateway, options, f"{tenant}\0{bare}\0{model}")
    if gateway is None or gateway.route == "rest":
        address = _direct(account, path)
        if gateway is not None:
            headers.append((b"cf-aig-gateway-id", gateway.id.encode()))
        return Address(address.url, address.headers + headers, is_gateway=True)
    if is_foreign:
        return _compat(account, gateway, model, headers)
    if not bare.startswith("run/") and bare not in HOST_PATHS:
        return _direct(account, path)._replace(is_detour=True)
    return _at_host(account, path, gateway, headers)


def _direct(account: Account, path: str) -> Address:
    return Address(f"{account.base_url}/accounts/{account.id}/ai/{path}", [_authorization(account)])


def _at_host(account: Account, path: str, gateway: Gateway, headers: list[tuple[bytes, bytes]]) -> Address:
    """Cloudflare's own libraries keep `run/`, its docs leave it out."""
    base = f"{gateway.base_url}/{account.id}/{gateway.id}/workers-ai/"
    other = None
    if path.startswith("run/"):
        forms = path, path.removeprefix("run/")
        path, other = forms if gateway.has_run else forms[::-1]
        other = base + other
    own = [_authorization(account), _gateway_authorization(account, gateway)]
    return Address(base + path, own + headers, is_gateway=True, other_url=other)


def _compat(account: Account, gateway: Gateway, model: str, headers: list[tuple[bytes, bytes]]) -> Address:
    """Keys of other providers are stored in the gateway or Cloudflare's: `Authorization` would take their place."""
    url = f"{gateway.base_url}/{account.id}/{gateway.id}/compat/chat/completions"
    own = [_authorization(account)] if model.startswith(WORKERS_AI) else []
    return Address(url, [*own, _gateway_authorization(account, gateway), *headers], is_gateway=True)


def apart(options: Mapping[str, str], mark: object) -> Mapping[str, str]:
    """The options for another call of the same request: under one cache key it would get the first one's answer."""
    if CACHE_KEY not in options:
        return options
    return {**options, CACHE_KEY: f"{options[CACHE_KEY]}\0{mark}"}


def _authorization(account: Account) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + account.token.encode()


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


CACHE_KEY = "cf-aig-cache-key"
MOST_METADATA = 5
LONGEST_JSON = 4096
"""Characters."""
MONTH_SECONDS = 30 * 86_400
LONGEST_TIMEOUT_MS = 3_600_000

Check = Callable[[Any], str]
"""A value, as a text from a header or of any type from a body, as the text to send. Raises ValueError."""


def _switch(value: Any) -> str:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise ValueError("has to be true or false")
    return text


def _number(value: Any, least: int, most: int, *, also: Sequence[int] = ()) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text) or not (least <= int(text) <= most or int(text) in also):
        raise ValueError(f"has to be a whole number from {least} to {most}")
    return str(int(text))


def _key_text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 1024:
        raise ValueError("has to be a text of 1 to 1024 characters")
    return value


def _event_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,128}", value):
        raise ValueError("has to be a text of 1 to 128 visible ASCII characters without spaces")
    return value


def _backoff(value: Any) -> str:
    if value not in ("constant", "linear", "exponential"):
        raise ValueError("has to be constant, linear or exponential")
    return str(value)


def _object(value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("has to be a JSON object")
    return found


def _json_text(value: dict[str, Any]) -> str:
    """In ASCII, for a header."""
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > LONGEST_JSON:
        raise ValueError(f"has to be shorter than {LONGEST_JSON} characters")
    return text


def _metadata(value: Any) -> str:
    """The first five entries: AI Gateway keeps no more. Keys below `cf.` are Cloudflare's own."""
    entries = {key: each for key, each in _object(value).items() if not key.startswith("cf.")}
    if not all(isinstance(each, str | bool | int) or _is_finite(each) for each in entries.values()):
        raise ValueError("may hold texts, numbers and booleans only")
    return _json_text(dict(list(entries.items())[:MOST_METADATA]))


def _cost(value: Any) -> str:
    costs = _object(value)
    if not costs or not all(_is_finite(each) and each >= 0 for each in costs.values()):
        raise ValueError("has to name costs as numbers of 0 or more")
    return _json_text(costs)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


CHECKS: dict[str, Check] = {
    "skip-cache": _switch,
    "cache-ttl": partial(_number, least=60, most=MONTH_SECONDS, also=(0,)),
    "cache-key": _key_text,
    "collect-log": _switch,
    "collect-log-payload": _switch,
    "metadata": _metadata,
    "request-timeout": partial(_number, least=1, most=LONGEST_TIMEOUT_MS),
    "max-attempts": partial(_number, least=1, most=5),
    "retry-delay": partial(_number, least=0, most=5000),
    "backoff": _backoff,
    "event-id": _event_id,
    "custom-cost": _cost,
}
"""What callers may ask of AI Gateway, without `cf-aig-`; seconds for `cache-ttl`, else milliseconds."""
OLD_NAMES = {b"cf-skip-cache": "skip-cache", b"cf-cache-ttl": "cache-ttl"}
BODY_NAMES = {"request-timeout-ms": "request-timeout", "retry-delay-ms": "retry-delay"}
"""As the Workers binding calls them."""
_HEADER_NAMES = {f"cf-aig-{name}".encode(): name for name in CHECKS} | OLD_NAMES


def options_of(headers: Headers, body_options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What a request asks of AI Gateway: names of headers, in lower case, and checked values.

    Headers that callers may not set are passed over. `body_options` are named as in the Workers binding (`skipCache`,
    `cacheTtl`, `retries: {maxAttempts}`, ...) or as the headers, and come before those. Raises BadRequestError.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(b"cf-") and name in _HEADER_NAMES:
            option = _HEADER_NAMES[name]
            found[f"cf-aig-{option}"] = _checked(option, value.decode("utf-8", "replace"), name.decode())
    if body_options:
        found |= _of_body(body_options)
    return found


def _of_body(options: Mapping[str, Any]) -> dict[str, str]:
    retries = options.get("retries")
    flat = dict(options)
    if isinstance(retries, Mapping):
        del flat["retries"]
        flat |= retries
    found = {}
    for key, value in flat.items():
        kebab = re.sub(r"([A-Z])", r"-\1", key).lower().replace("_", "-").removeprefix("cf-aig-")
        name = BODY_NAMES.get(kebab, kebab)
        if name not in CHECKS:
            raise BadRequestError(f"'{key[:100]}' is no option of AI Gateway that requests may set.", param=key[:100])
        if value is not None:
            found[f"cf-aig-{name}"] = _checked(name, value, key)
    return found


def _checked(option: str, value: Any, shown: str) -> str:
    try:
        return CHECKS[option](value)
    except ValueError as failure:
        raise BadRequestError(f"'{shown}' {failure}.", param=shown) from failure


TOLD = frozenset(
    {
        *(b"cf-aig-cache-status", b"cf-aig-cache-ttl", b"cf-aig-log-id", b"cf-aig-event-id", b"cf-aig-request-id"),
        *(b"cf-aig-step", b"cf-aig-model", b"cf-aig-provider", b"cf-aig-dlp", b"cf-aig-run-id"),
        *(b"cf-aig-routed-model", b"cf-aig-routing-reason", b"cf-aig-routing-decision-id"),
    }
)


def told(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """What AI Gateway says about a call, for the caller to see; names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers if name[:7].lower() == b"cf-aig-")
    return tuple((name, value) for name, value in lowered if name in TOLD)


UNKNOWN_GATEWAY, BAD_GATEWAY_TOKEN, SCANNER_DOWN = 2001, 2009, 7013
DOWN_STATUSES = {500, 502, 503, 520, 521, 522, 523, 525, 526, 530}
"""Of an answer without a code of Cloudflare's: a page of its edge."""
MISROUTED = {2008, 7000, 7003}


def is_down(failure: Failure) -> bool:
    """Whether it is the gateway that failed, and a direct call makes sense.

    Not so what a gateway refuses on purpose (rate and spend limits, guardrails, DLP), nor a model's own failure.
    """
    if failure.code in (UNKNOWN_GATEWAY, BAD_GATEWAY_TOKEN, SCANNER_DOWN):
        return True
    if failure.code is not None:
        return False
    if failure.kind in (FailureKind.CONNECTION, FailureKind.TIMEOUT) and not failure.status:
        return failure.is_retryable  # nothing was sent, so nothing is paid twice
    return failure.status in DOWN_STATUSES and failure.kind in (FailureKind.SERVER, FailureKind.TIMEOUT)


def is_misrouted(failure: Failure) -> bool:
    """Whether the gateway host did not know the path: `Address.other_url` may be right."""
    return failure.code in MISROUTED and failure.status in (400, 404)
