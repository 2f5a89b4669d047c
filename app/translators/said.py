"""What stands in an answer of Workers AI, whatever its fields hold: texts, objects, lists, numbers.

Models fill fields with what they like: an object for a text, a number in quotes, null for a list. Nothing here raises.
"""

import re
from typing import Any

from app.translators.sources import said_source

BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls")
"""What else than a text there may be in a delta."""

NUMBER = re.compile(rb'"(?:response|content)"\s*:\s*(-?[0-9.eE+-]+)')


def text_alone(event: dict[str, Any]) -> str | None:
    """The text of an event with nothing else in it, as most are."""
    choices = event.get("choices")
    if event.get("usage"):
        return None
    if choices is None:
        text = None if event.get("tool_calls") else event.get("response")
    else:
        choice = object_in(choices[0]) if isinstance(choices, list) and choices else {}
        delta = choice.get("delta")
        if not isinstance(delta, dict) or choice.get("finish_reason") or choice.get("logprobs"):
            return None
        text = None if any(map(delta.get, BESIDE_TEXT)) else delta.get("content")
    return text if isinstance(text, str) else None


def text_of(content: Any, payload: bytes) -> str:
    """Content as text. JSON mode gives objects; a model that says a number gives one."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(_is_text_part(part) for part in content):
        return "".join(part["text"] for part in content)
    if isinstance(content, int | float) and not isinstance(content, bool) and (source := NUMBER.search(payload)):
        return source[1].decode()  # 0.50 is not 0.5
    return said_source(content)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("text", "output_text") and isinstance(part.get("text"), str)


def checked_logprobs(logprobs: Any) -> dict[str, Any] | None:
    """Log probabilities that can be passed on, if they are in OpenAI's form."""
    entries = object_in(logprobs).get("content")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return {"content": entries}


def object_in(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def list_in(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def whole_in(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, int | float) else 0
