"""What stands in an answer of Workers AI, whatever its fields hold: texts, objects, lists, numbers.

Models fill fields with what they like: an object for a text, a number in quotes, null for a list. Nothing here raises.
"""

import re
from typing import Any

from app.translators.sources import said_source

BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls")
"""What else than a text there may be in a delta."""

NUMBER = re.compile(rb'"(?:response|content)"\s*:\s*(-?[0-9.eE+-]+)')


def text_alone(event: Any) -> str | None:
    """The text of an event with nothing else in it, as most are. None too for what `ChatReader.feed` has to look at."""
    try:
        if "choices" in event:
            choice = event["choices"][0]
            delta = choice["delta"]
            text = delta["content"]
            if choice.get("finish_reason") or choice.get("logprobs"):
                return None
            if len(delta) > 1 and any(map(delta.get, BESIDE_TEXT)):
                return None
        else:
            text = event["response"]
            if event.get("tool_calls"):
                return None
        return text if type(text) is str and not event.get("usage") else None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def whole_alone(body: Any) -> tuple[str, Any] | None:
    """The text of a whole answer with nothing else in it, and its finish_reason, as far as it has one."""
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    if choices is None:
        text = None if body.get("tool_calls") or body.get("output") else body.get("response")
        return (text, None) if text and isinstance(text, str) else None
    choice = object_in(choices[0]) if isinstance(choices, list) and choices else {}
    message = choice.get("message")
    if not isinstance(message, dict) or choice.get("delta") or choice.get("logprobs"):
        return None
    text = None if any(map(message.get, BESIDE_TEXT)) else message.get("content")
    return (text, choice.get("finish_reason")) if text and isinstance(text, str) else None


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
    if type(value) is int:  # nearly always
        return max(0, value)
    return max(0, int(value)) if isinstance(value, (int, float)) else 0
