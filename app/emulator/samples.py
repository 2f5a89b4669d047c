"""A value that fits a JSON Schema, always the same: what a model makes up for a tool's arguments or in JSON mode."""

import json
from collections.abc import Mapping
from typing import Any

DEEPEST = 8
"""From here on only what must be there; at twice the depth not even that."""
FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def sample(schema: Any, name: str = "value", root: Any = None, depth: int = 0) -> Any:
    """`name` is what a plain string says; `root` is where `$ref` looks."""
    root = schema if root is None else root
    if not isinstance(schema, Mapping):
        return name
    if "$ref" in schema and depth <= 2 * DEEPEST:
        return sample(_referred(root, schema["$ref"]), name, root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return sample(_chosen(schema[key], depth), name, root, depth + 1)
    if schema.get("allOf"):
        return sample(_merged(schema), name, root, depth + 1)
    return _typed(schema, name, root, depth)


def _referred(root: Any, reference: str) -> Any:
    found = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(key, {}) if isinstance(found, Mapping) and key else found
    return found


def _chosen(options: list[Any], depth: int) -> Any:
    """The first; deep down null, if it may be, so that a schema which contains itself comes to an end."""
    null = {"type": "null"}
    return null if depth > DEEPEST and null in options else options[0]


def _merged(schema: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        merged |= part | {"properties": merged.get("properties", {}) | part.get("properties", {})}
    return merged


def _typed(schema: Mapping[str, Any], name: str, root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, name, root, depth)
    if kind in ("integer", "number"):
        return _number(schema)
    return {"boolean": True, "null": None}.get(kind) if kind != "string" else _string(schema, name)


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    names = schema.get("required", ()) if depth > DEEPEST else properties
    return {name: sample(properties.get(name), name, root, depth + 1) for name in names} if depth <= 2 * DEEPEST else {}


def _array(schema: Mapping[str, Any], name: str, root: Any, depth: int) -> list[Any]:
    least = schema.get("minItems", 0 if depth > DEEPEST else 1)
    return [sample(schema.get("items"), name, root, depth + 1) for _ in range(least)] if depth <= 2 * DEEPEST else []


def _number(schema: Mapping[str, Any]) -> Any:
    if "minimum" in schema:
        return schema["minimum"]
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return min(1, schema.get("maximum", 1), schema.get("exclusiveMaximum", 2) - 1)


def _string(schema: Mapping[str, Any], name: str) -> str:
    text = FORMATS.get(str(schema.get("format")), name)
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
