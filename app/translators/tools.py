"""The tools that a request offers, in the form that a model takes them, and what was asked of their use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest, Function, Tool

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools on offer and the freedom to use them."""

    functions: Mapping[str, Function]
    choice: Literal["none", "auto", "required", "named"] = "auto"
    is_parallel: bool = True
    is_legacy: bool = False
    """Asked by `functions`, which the answer repays with `function_call`."""
    ignored: tuple[str, ...] = ()
    """Where in the request tools stand that no model here can use, such as `tools[1]`."""

    @property
    def is_open(self) -> bool:
        return bool(self.functions) and self.choice != "none"

    @property
    def is_forced(self) -> bool:
        return self.is_open and self.choice in ("required", "named")


def to_offer(request: ChatCompletionRequest) -> Offer:
    """What the request offers. Raises BadRequestError for a choice that names none of the tools."""
    is_legacy = not request.tools and bool(request.functions)
    found = [(f"tools[{i}]", _function(tool)) for i, tool in enumerate(request.tools or ())]
    functions = {function["name"]: function for _, function in found if function}
    if is_legacy:
        functions = {function["name"]: function for function in request.functions or ()}
    ignored = tuple(where for where, function in found if not function)
    if not functions:
        return Offer({}, ignored=ignored)
    param = "function_call" if is_legacy else "tool_choice"
    choice = request.function_call if is_legacy else request.tool_choice
    names, how = _choice(choice, functions, param)
    is_parallel = request.parallel_tool_calls is not False
    return Offer({name: functions[name] for name in names}, how, is_parallel, is_legacy, ignored)


def _function(tool: Tool) -> Function | None:
    """The function inside; None for a tool of another kind, such as a vendor's own web search."""
    if "function" in tool:
        return tool["function"]
    if "name" in tool and tool.get("type", "function") == "function":  # Cloudflare's flat shape
        return {"name": tool["name"], "description": tool.get("description"), "parameters": tool.get("parameters")}
    return None


def _choice(
    choice: str | Mapping[str, Any] | None, functions: Mapping[str, Function], param: str
) -> tuple[list[str], Literal["none", "auto", "required", "named"]]:
    """The tools that may be used, and how freely."""
    match choice:
        case None | "auto":
            return list(functions), "auto"
        case "none":
            return list(functions), "none"
        case "required" | "any" if len(functions) > 1:
            return list(functions), "required"
        case "required" | "any":  # the named form is enforced upstream, `required` is only advice
            return list(functions), "named"
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(allowed)}}:
            names = [name for name in map(_name, allowed) if name in functions]
            if names:
                return _choice(mode, {name: functions[name] for name in names}, param)
        case {}:
            name = _name(choice)
            if name in functions:
                return [name], "named"
    raise BadRequestError(
        f"{param} must be 'none', 'auto', 'required' or name one of the tools: {', '.join(functions)}.",
        param=param,
        code="invalid_value",
    )


def _name(choice: Any) -> str:
    match choice:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
    return ""


def nested(offer: Offer) -> list[Schema]:
    """The tools in OpenAI's shape, which the chat-completions models insist on."""
    return [
        {
            "type": "function",
            "function": {key: value for key, value in function.items() if value is not None}
            | {"description": function.get("description") or "", "parameters": function.get("parameters") or _EMPTY},
        }
        for function in offer.functions.values()
    ]


def strict(offer: Offer) -> list[Schema]:
    """The same with what Cloudflare's published native schema requires: a type and a description everywhere.

    Source: Cloudflare's docs, Workers AI, function calling.
    """
    tools = nested(offer)
    for tool in tools:
        function = tool["function"]
        parameters = _Resolver(function["parameters"]).resolve(function["parameters"])
        function["parameters"] = {"type": "object", "properties": {}} | parameters
        function.pop("strict", None)
    return tools


_EMPTY: Schema = {"type": "object", "properties": {}}


class _Resolver:
    """A schema without references, a type and a description on every property."""

    most_references = 200  # a schema may hold itself, and then there is no end

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._references = 0

    def resolve(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self.resolve(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(reference := schema.get("$ref"), str):
            self._references += 1
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.resolve(
                _target(reference, self._root) | rest if self._references < self.most_references else rest
            )
        resolved = {key: self.resolve(value) for key, value in schema.items() if key not in ("$defs", "definitions")}
        if isinstance(properties := resolved.get("properties"), dict):
            resolved["properties"] = {name: _described(its) for name, its in properties.items()}
        return resolved


def _described(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return {"type": "string", "description": ""}
    kinds = [schema.get("type")] + [each.get("type") for each in schema.get("anyOf", ()) if isinstance(each, dict)]
    flat = [kind for each in kinds for kind in (each if isinstance(each, list) else [each])]
    kind = next((kind for kind in flat if isinstance(kind, str) and kind != "null"), "string")
    return schema | {"type": kind, "description": schema.get("description") or ""}


def _target(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
