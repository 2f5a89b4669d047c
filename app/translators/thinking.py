"""How much a model shall think: OpenAI's `reasoning_effort`, and its cousins, in each model's own terms."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from app.catalog import Model, Reasoning
from app.schemas.chat import ChatCompletionRequest
from app.values import immutable

COUSINS = ("reasoning", "thinking", "enable_thinking")
"""Other vendors' fields for the same wish; several may stand in one body."""

LITTLE = ("minimal", "low")

ON = "on"
"""The wish to think, as much as the model does by itself."""


@immutable
class Thinking:
    """What a request's wish comes to for one model."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    suffix: str | None = None
    """Belongs behind the last user turn."""
    is_honoured: bool = True
    unheard: tuple[str, ...] = ()
    """The request's fields about thinking that change nothing."""


AS_IT_DOES = Thinking()


def thinking_of(request: ChatCompletionRequest, model: Model) -> Thinking:
    """What the request's wish comes to for `model`. The first field that can be understood decides."""
    wishes = _wishes(request)
    if not wishes:
        return to_thinking(None, model)
    heard = next((each for each, effort in wishes.items() if effort), None)
    thinking = to_thinking(wishes[heard] if heard else None, model)
    unheard = tuple(each for each in wishes if each != heard or not thinking.is_honoured)
    return replace(thinking, unheard=unheard) if unheard else thinking


def _wishes(request: ChatCompletionRequest) -> dict[str, str | None]:
    """The fields about thinking in a request -> the effort that each asks for, as far as it can be understood.

    `none` turns thinking off, and so does an explicit null: Cloudflare's schema tells it from absence.
    """
    wishes: dict[str, str | None] = {}
    if "reasoning_effort" in request.model_fields_set:
        wishes["reasoning_effort"] = "none" if request.reasoning_effort is None else request.reasoning_effort
    extra = request.model_extra
    if not extra:
        return wishes
    return wishes | {cousin: _meant(extra[cousin]) for cousin in COUSINS if extra.get(cousin) is not None}


def _meant(wish: Any) -> str | None:
    match wish:
        case {"effort": str(effort)}:
            return effort
        case False | {"enabled": False} | {"type": "disabled"}:
            return "none"
        case True | {"enabled": True} | {"type": "enabled" | "adaptive"}:
            return ON
    return None


def to_thinking(effort: str | None, model: Model) -> Thinking:
    """The fields that carry out `effort`; the nearest the model has, if it lacks that one."""
    effort = effort or model.default_effort
    if effort is None:
        return AS_IT_DOES
    if effort == ON:
        return Thinking(is_honoured=model.can("reasoning"))
    if model.status == "unlisted":
        return Thinking({"reasoning_effort": effort})
    if model.reasoning is None:
        return Thinking(is_honoured=effort == "none" and not model.can("reasoning"))
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
