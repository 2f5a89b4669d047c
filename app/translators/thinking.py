"""How much a model shall think: OpenAI's `reasoning_effort`, and its cousins, in each model's own terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.catalog import Model, Reasoning
from app.schemas.chat import ChatCompletionRequest

COUSINS = ("reasoning", "thinking", "enable_thinking")
"""Other vendors' fields for the same wish; several may stand in one body."""

LITTLE = ("minimal", "low")


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a request's wish comes to for one model."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    suffix: str | None = None
    """Belongs behind the last user turn."""
    is_honoured: bool = True


def wanted_effort(request: ChatCompletionRequest) -> str | None:
    """The effort that the caller asks for, `none` to turn thinking off, or None for no wish.

    An explicit null turns thinking off: Cloudflare's schema tells it from absence.
    """
    if "reasoning_effort" in request.model_fields_set:
        return request.reasoning_effort or "none"
    extra = request.model_extra or {}
    match extra.get("reasoning"), extra.get("thinking"), extra.get("enable_thinking"):
        case {"effort": str(effort)}, _, _:
            return effort
        case ({"enabled": False}, _, _) | (_, {"type": "disabled"}, _) | (_, _, False):
            return "none"
    return None


def to_thinking(effort: str | None, model: Model) -> Thinking:
    """The fields that carry out `effort`; the nearest the model has, if it lacks that one."""
    effort = effort or model.default_effort
    if effort is None:
        return Thinking()
    if model.status == "unlisted":
        return Thinking({"reasoning_effort": effort})
    if model.reasoning is None:
        return Thinking(is_honoured=effort == "none")
    return _off(model.reasoning) if effort == "none" else _level(effort, model.reasoning)


def _off(reasoning: Reasoning) -> Thinking:
    if "none" in reasoning.efforts:
        return Thinking({"reasoning_effort": "none"})
    if reasoning.thinking_switch:
        return Thinking({"chat_template_kwargs": {reasoning.thinking_switch: False}})
    if reasoning.off_suffix:
        return Thinking(suffix=reasoning.off_suffix)
    least = reasoning.effort_aliases.get("none")
    return Thinking({"reasoning_effort": least} if least else {}, is_honoured=False)


def _level(effort: str, reasoning: Reasoning) -> Thinking:
    level = effort if effort in reasoning.efforts else reasoning.effort_aliases.get(effort)
    if level:
        return Thinking({"reasoning_effort": level})
    if reasoning.low_switch and effort in LITTLE:
        return Thinking({"chat_template_kwargs": {reasoning.low_switch: True}})
    return Thinking(is_honoured=False)
