"""The tools that a request offers, in the form that a model takes them, and what was asked of their use."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest, Function, Tool
from app.values import immutable

Schema = dict[str, Any]


@immutable
class Offer:
    """The tools on offer and the freedom to use them."""

    functions: Mapping[str, Function]
    choice: Literal["none", "auto", "required", "named"] = "auto"
    is_parallel: bool = True
    is_legacy: bool = False
    """Asked by `functions`, which the answer repays with `function_call`."""
    ignored: tuple[str, ...] = ()
    """Where in the request tools stand that no model here can use, such as `tools[1]`."""
    is_open: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_open", bool(self.functions) and self.choice != "none")

    @property
    def is_forced(self) -> bool:
        return self.is_open and self.choice in ("required", "named")

    @property
    def forced(self) -> str | bool:
        """The one tool that has to be called, or whether any has to."""
        return next(iter(self.functions)) if self.is_forced and self.choice == "named" else self.is_forced


NOTHING = Offer({})


def to_offer(request: ChatCompletionRequest) -> Offer:
    """What the request offers. Raises BadRequestError for a choice that names none of the tools."""
    if not (request.tools or request.functions):
        return NOTHING
    is_legacy = not request.tools
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
    is_parallel = request.parallel_tool_calls is not False and not is_legacy  # `function_call` holds one
    return Offer({name: functions[name] for name in names}, how, is_parallel, is_legacy, ignored)


def _function(tool: Tool) -> Function | None:
    """The function inside; None for a tool of another kind, such as a vendor's own web search."""
    if "function" in tool:
        return tool["function"]
    if "name" in tool and tool.get("type", "function") == "function":  # Cloudflare's flat shape
        flat: dict[str, Any] = {key: value for key, value in tool.items() if key != "type"}
        return {"name": tool["name"]} | flat  # type: ignore[return-value]
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
        function["parameters"] = _EMPTY | parameters
        function.pop("strict", None)
    return tools


_EMPTY: Schema = {"type": "object", "properties": {}}

KINDS = {
    dict: "object",
    list: "array",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
}
"""The types of Python's JSON -> JSON Schema's."""


class _Resolver:
    """A schema without references, a type and a description on every property."""

    most_references = 200  # a few lines of references to references can stand for millions
    deepest = 40  # levels: JSON too deep can't be written

    by_name = frozenset({"properties", "patternProperties", "dependentSchemas"})
    values = frozenset({"const", "default", "enum", "examples", "required"})

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._references = 0
        self._open: list[str] = []

    def resolve(self, schema: Any, depth: int = 0) -> Any:
        if isinstance(schema, list):
            return [self.resolve(each, depth + 1) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(reference := schema.get("$ref"), str):
            return self._follow(reference, {key: value for key, value in schema.items() if key != "$ref"}, depth)
        resolved = {key: self._resolve(key, value, depth) for key, value in schema.items() if key not in _DEFINITIONS}
        if isinstance(properties := resolved.get("properties"), dict):
            resolved["properties"] = {name: _described(its) for name, its in properties.items()}
        return resolved

    def _resolve(self, key: str, value: Any, depth: int) -> Any:
        if key in self.values:
            return value
        if key in self.by_name and isinstance(value, dict):
            return {name: self.resolve(its, depth + 2) for name, its in value.items()}
        return self.resolve(value, depth + 1)

    def _follow(self, reference: str, rest: Schema, depth: int) -> Any:
        """What is referred to; only its type where it would hold itself."""
        target = _target(reference, self._root)
        self._references += 1
        if reference in self._open or self._references > self.most_references or depth > self.deepest:
            return self.resolve({"type": _kind(target)} | rest, depth)
        self._open.append(reference)
        resolved = self.resolve(target | rest, depth)
        self._open.pop()
        return resolved


_DEFINITIONS = ("$defs", "definitions")


def _described(schema: Any) -> Schema:
    """A property's schema with both, whatever stands there."""
    if not isinstance(schema, dict):
        return {"type": "string", "description": ""}
    description = schema.get("description")
    return schema | {"type": _kind(schema), "description": description if isinstance(description, str) else ""}


def _kind(schema: Schema) -> str:
    """The one type, or the likeliest: null is left out, and what is missing follows from the other keys."""
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str) and kind != "null":
            return kind
    for key in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(key)
        for branch in branches if isinstance(branches, list) else ():
            if isinstance(branch, dict) and branch.get("type") != "null":
                return _kind(branch)
    if "properties" in schema or "items" in schema:
        return "object" if "properties" in schema else "array"
    values = schema.get("enum")
    value = values[0] if isinstance(values, list) and values else schema.get("const")
    return KINDS.get(type(value), "string")


def _target(reference: str, root: Schema) -> Schema:
    """What a JSON Pointer such as `#/$defs/Point` points to; an empty schema if it leads nowhere, or elsewhere."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:] if reference.startswith("#") else ("",):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
