"""A sample fits the schema it was made from, and is always the same."""

from typing import Any

import jsonschema_rs
import pytest

from app.emulator.samples import sample

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "left", "children"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "value"),
        ({}, "value"),
        ({"type": "string"}, "value"),
        ({"type": "string", "minLength": 7}, "value.."),
        ({"type": "string", "maxLength": 2}, "va"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": "number", "exclusiveMaximum": -2}, -3),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "value"),
        ({"const": 7}, 7),
        ({"default": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"examples": [3]}, 3),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"oneOf": [{"type": "boolean"}]}, True),
        (
            {"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"const": 1}}}]},
            {"a": None, "b": 1},
        ),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "minItems": 2}, ["value", "value"]),
        ({"type": "object"}, {}),
        ({"properties": {"city": {"type": "string"}}}, {"city": "city"}),
        ({"$defs": {"a": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/a"}}}, {"n": 1}),
    ],
)
def test_a_sample(schema: Any, expected: Any) -> None:
    assert sample(schema) == expected
    assert jsonschema_rs.is_valid(schema, expected)


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    assert jsonschema_rs.is_valid(TREE, sample(TREE))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    ],
)
def test_so_does_one_that_has_no_sample(schema: Any) -> None:
    assert sample(schema) == sample(schema)
