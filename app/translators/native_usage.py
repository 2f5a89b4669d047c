"""What a native answer says that it consumed, whichever model gave it."""

from typing import Any

import orjson

from app.calls import Usage


def usage_in(body: bytes) -> Usage | None:
    """The usage in an answer's JSON, in or out of its envelope, or in one of its events; None if it tells none."""
    if b'"usage"' not in body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    usage = _usage(value) or (_usage(value.get("result")) if isinstance(value, dict) else None)
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    neurons = usage.get("neurons")
    return Usage(
        _whole(usage.get("prompt_tokens") or usage.get("input_tokens")),
        _whole(usage.get("completion_tokens") or usage.get("output_tokens")),
        _whole(details.get("cached_tokens") if isinstance(details, dict) else 0),
        neurons=float(neurons) if isinstance(neurons, int | float) else None,
    )


def _usage(value: Any) -> dict[str, Any] | None:
    usage = value.get("usage") if isinstance(value, dict) else None
    return usage if isinstance(usage, dict) and usage else None


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
