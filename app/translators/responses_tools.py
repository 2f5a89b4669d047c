"""The tools of a Responses request as functions of a chat, and the way back for the calls of them.

Functions inside a namespace stand beside the others. A custom tool, whose input is any text, becomes a function with
that text as its only argument. OpenAI's own tools (web search and the like) don't exist here and are left out: Codex
offers them always, and does without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.errors import BadRequestError
from app.schemas.responses import Item
from app.values import immutable

LONGEST_NAME = 128


@immutable
class Named:
    """How the client knows a function of the chat."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(slots=True)
class Toolbox:
    """The functions of a chat, and what they are to the client."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, Named] = field(default_factory=dict)
    """The chat's name of each -> the client's."""
    ignored: list[str] = field(default_factory=list)
    """Where tools stand that can't be offered."""

    def named(self, flat: str) -> Named:
        return self.names.get(flat) or Named(flat)

    def flat(self, name: Any, namespace: Any = None) -> str:
        """The chat's name for a function, also for one of another request's."""
        found = (flat for flat, named in self.names.items() if (named.name, named.namespace) == (name, namespace))
        return next(found, str(name))

    def put(self, tool: Mapping[str, Any], where: str, namespace: str | None = None) -> None:
        kind, inner = tool.get("type", "function"), tool.get("tools")
        if kind == "namespace" and isinstance(inner, list) and namespace is None:
            for i, each in enumerate(inner):
                self._put_checked(each, f"{where}.tools[{i}]", str(tool.get("name")))
        elif kind == "function":
            nested = tool.get("function")
            self._add(nested if isinstance(nested, dict) else tool, where, namespace)
        elif kind == "custom":
            self._add(_as_function(tool), where, namespace, is_custom=True)
        else:
            self.ignored.append(where)

    def _put_checked(self, tool: Any, where: str, namespace: str) -> None:
        if not isinstance(tool, dict):
            raise BadRequestError(f"{where} must be an object.", param=where, code="invalid_value")
        self.put(tool, where, namespace)

    def _add(self, tool: Mapping[str, Any], where: str, namespace: str | None, *, is_custom: bool = False) -> None:
        name = tool.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            message = f"{where}.name must be a text of 1 to {LONGEST_NAME} characters."
            raise BadRequestError(message, param=f"{where}.name", code="invalid_value")
        flat = f"{namespace}__{name}"[-LONGEST_NAME:] if namespace and name in self.names else name
        self.names[flat] = Named(name, namespace, is_custom)
        function = {key: tool[key] for key in ("description", "parameters", "strict") if tool.get(key) is not None}
        self.functions.append({"type": "function", "function": {"name": flat} | function})


def to_toolbox(tools: Sequence[Mapping[str, Any]]) -> Toolbox:
    """Raises BadRequestError for a tool without a name."""
    box = Toolbox()
    for i, tool in enumerate(tools):
        box.put(tool, f"tools[{i}]")
    return box


def to_choice(choice: str | dict[str, Any] | None, box: Toolbox) -> str | dict[str, Any] | None:
    """`tool_choice` in the chat's terms."""
    if not isinstance(choice, dict):
        return choice
    tools = choice.get("tools")
    if choice.get("type") != "allowed_tools" or not isinstance(tools, list):
        return _one(choice, box)
    allowed = [_one(tool, box) for tool in tools if isinstance(tool, dict)]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": allowed}}


def _one(choice: Mapping[str, Any], box: Toolbox) -> dict[str, Any]:
    inner = choice.get("function")
    named = inner if isinstance(inner, dict) else choice
    return {"type": "function", "function": {"name": box.flat(named.get("name"), choice.get("namespace"))}}


def call_item(named: Named, item_id: str, call_id: str) -> Item:
    """A call before it has arguments, as the client sees it."""
    item: Item = {"id": item_id, "type": "function_call", "status": "in_progress", "call_id": call_id}
    if named.is_custom:
        item["type"] = "custom_tool_call"
    item["name"] = named.name
    if named.namespace is not None:
        item["namespace"] = named.namespace
    return item | ({"input": ""} if named.is_custom else {"arguments": ""})


def custom_input(arguments: str) -> str:
    """The text in a custom tool's arguments; the arguments themselves if they are not what was asked for."""
    try:
        match orjson.loads(arguments):
            case {"input": str(text)} | str(text):
                return text
    except orjson.JSONDecodeError:
        return arguments
    return arguments


def _as_function(tool: Mapping[str, Any]) -> dict[str, Any]:
    description = str(tool.get("description") or "")
    match tool.get("format"):
        case {"type": "grammar", "definition": str(definition), **rest}:
            description += f"\n\nIts input must follow this {rest.get('syntax', 'lark')} grammar:\n{definition}"
    text = {"type": "string", "description": "The whole input of the tool, as it is."}
    parameters = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    return {"name": tool.get("name"), "description": description, "parameters": parameters}
