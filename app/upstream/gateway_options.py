"""Gateway options: what callers may ask of AI Gateway, in headers and in a body. Pure.

Sources: Cloudflare's docs, AI Gateway > Features > Caching; Usage > Workers AI provider; the glossary of headers.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from app.errors import BadRequestError

Headers = Sequence[tuple[bytes, bytes]]

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


def apart(options: Mapping[str, str], mark: object) -> Mapping[str, str]:
    """The options for another call of the same request: under one cache key it would get the first one's answer."""
    if CACHE_KEY not in options:
        return options
    return {**options, CACHE_KEY: f"{options[CACHE_KEY]}\0{mark}"}
