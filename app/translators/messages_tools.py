"""The tools of a Messages request as a chat's functions, and what was asked of their use."""

from collections.abc import Sequence
from typing import Any

from app.errors import BadRequestError
from app.schemas.messages import MessagesRequest, Tool, ToolChoice
from app.translators.known_tools import known_input

Function = dict[str, Any]

CHOICES = {"auto": "auto", "any": "required", "none": "none"}

OPTIONS = {
    "display_width_px": "The screen is {} pixels wide.",
    "display_height_px": "The screen is {} pixels high.",
    "max_characters": "A view shows at most {} characters.",
}
"""Fields of the tools that clients run -> what the model has to know of them."""


def tool_fields(request: MessagesRequest) -> dict[str, Any]:
    """A chat's fields. Raises BadRequestError for a tool without a name, and for the choice of none that there is."""
    functions = [function for i, tool in enumerate(request.tools or ()) if (function := _function(tool, f"tools[{i}]"))]
    if not functions:
        return {}
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": function} for function in functions]}
    if choice := request.tool_choice:
        is_named = choice["type"] == "tool"
        fields["tool_choice"] = _named(choice, functions) if is_named else CHOICES[choice["type"]]
        if choice.get("disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
    return fields


def _named(choice: ToolChoice, functions: Sequence[Function]) -> Function:
    names = [function["name"] for function in functions]
    if (name := choice.get("name")) not in names:
        message = f"'tool_choice.name' must be one of the tools: {', '.join(names)}."
        raise BadRequestError(message, param="tool_choice.name", code="invalid_value")
    return {"type": "function", "function": {"name": name}}


def ignored_tools(request: MessagesRequest) -> list[str]:
    """Where the tools stand that only Anthropic can run; and the choice that is left without any tool."""
    tools = request.tools or ()
    ignored = [f"tools[{i}]" for i, tool in enumerate(tools) if not (_is_described(tool) or known_input(tool["type"]))]
    is_forced = request.tool_choice is not None and request.tool_choice["type"] in ("any", "tool")
    return [*ignored, "tool_choice"] if is_forced and len(ignored) == len(tools) else ignored


def _is_described(tool: Tool) -> bool:
    return tool.get("type") in (None, "custom") or tool.get("input_schema") is not None


def _function(tool: Tool, where: str) -> Function | None:
    """Without the marks that only Anthropic understands, and the schema's own address."""
    name, told = tool.get("name"), None if _is_described(tool) else known_input(tool.get("type"))
    if not (_is_described(tool) or told):
        return None
    if not name:
        raise BadRequestError(f"'{where}.name' is missing.", param=f"{where}.name", code="missing_required_parameter")
    description, known = told or ("", {})
    options = [text.format(tool[option]) for option, text in OPTIONS.items() if told and tool.get(option)]  # type: ignore[literal-required]
    given = tool.get("input_schema") or known
    return {
        "name": name,
        "description": tool.get("description") or " ".join([description, *options]).strip(),
        "parameters": {key: value for key, value in given.items() if key != "$schema"} or None,
    }
