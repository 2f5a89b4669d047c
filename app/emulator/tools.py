"""Which of the offered tools a model calls, and with which arguments."""

import re
from dataclasses import dataclass, replace
from typing import Any

from app.emulator.run import Run, is_tool_result
from app.emulator.samples import json_text, sample
from app.emulator.tool_prompts import is_pressed, told_tools


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str
    """JSON, unless the script or the token limit wanted otherwise."""


def called(run: Run) -> list[ToolCall]:
    """The script's calls; else those that were forced or whose name the user wrote."""
    is_answered = is_tool_result(run.turns[-1])
    if run.script.tool_calls is not None:
        return _numbered(run, [(call.get("name", ""), call.get("arguments", {})) for call in run.script.tool_calls])
    tools = {tool["name"]: tool for tool in _offered(run)}
    forced = forced_name(run)
    if forced in tools:
        names = [forced]
    elif is_answered:
        names = []
    else:
        names = [name for name in tools if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", run.question)]
        is_required = choice_mode(run) == "required" or is_pressed(run)
        if not names and is_required and "prose-for-required" not in run.quirks:
            names = list(tools)[:1]
    if run.body.get("parallel_tool_calls") is False and run.takes_openai:
        names = names[:1]
    return _numbered(run, [(name, sample(tools[name].get("parameters") or {"type": "object"})) for name in names])


def choice_mode(run: Run) -> str:
    """`none`, `auto`, `required` or `named`."""
    choice = run.body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        return str((choice.get("allowed_tools") or {}).get("mode", "named"))
    return str(choice)


def forced_name(run: Run) -> str:
    """The tool that `tool_choice` names."""
    choice = run.body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") == "allowed_tools":
        return ""
    return str(choice[choice["type"]]["name"])


def _offered(run: Run) -> list[dict[str, Any]]:
    """The tools without their wrapping, as far as the model and the request allow them."""
    if "function-calling" not in run.model.capabilities:
        return told_tools(run)
    if choice_mode(run) == "none":
        return []
    tools = [tool.get(tool.get("type", "function"), tool) for tool in run.body.get("tools") or []]
    choice = run.body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = [tool.get("function", {}).get("name") for tool in choice["allowed_tools"].get("tools", [])]
        return [tool for tool in tools if tool["name"] in allowed]
    return tools


def _numbered(run: Run, calls: list[tuple[str, Any]]) -> list[ToolCall]:
    texts = [(name, value if isinstance(value, str) else json_text(value)) for name, value in calls]
    found = [ToolCall(f"call_{run.id[:8]}{number}", *text) for number, text in enumerate(texts)]
    return [replace(call, id=found[0].id) for call in found] if "same-tool-ids" in run.quirks else found
