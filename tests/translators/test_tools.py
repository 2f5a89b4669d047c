"""Tools on offer: what was asked of their use, and the form that models take them in."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequestError
from app.translators.tools import Offer, nested, strict, to_offer
from tests.translators import chats
from tests.translators.chats import TIME, WEATHER, a_request

BOTH = chats.nested(WEATHER, TIME)
EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("fields", "functions", "choice"),
    [
        ({}, [], "auto"),
        ({"tools": []}, [], "auto"),
        ({"tools": [], "tool_choice": "required"}, [], "auto"),
        ({"tool_choice": "auto"}, [], "auto"),
        ({"tools": BOTH}, [WEATHER, TIME], "auto"),
        ({"tools": BOTH, "tool_choice": None}, [WEATHER, TIME], "auto"),
        ({"tools": BOTH, "tool_choice": "auto"}, [WEATHER, TIME], "auto"),
        ({"tools": BOTH, "tool_choice": "none"}, [WEATHER, TIME], "none"),
        ({"tools": BOTH, "tool_choice": "required"}, [WEATHER, TIME], "required"),
        ({"tools": BOTH, "tool_choice": "any"}, [WEATHER, TIME], "required"),
        ({"tools": BOTH[:1], "tool_choice": "required"}, [WEATHER], "named"),
        ({"tools": BOTH[:1], "tool_choice": "any"}, [WEATHER], "named"),
        ({"tools": BOTH, "tool_choice": {"type": "function", "function": {"name": "get_time"}}}, [TIME], "named"),
        ({"tools": BOTH, "tool_choice": {"type": "function", "name": "get_time"}}, [TIME], "named"),
        ({"tools": BOTH, "tool_choice": {"type": "tool", "name": "get_time"}}, [TIME], "named"),
        (
            {
                "tools": BOTH,
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": BOTH[:1]}},
            },
            [WEATHER],
            "auto",
        ),
        (
            {
                "tools": BOTH,
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": BOTH}},
            },
            [WEATHER, TIME],
            "required",
        ),
        (
            {
                "tools": BOTH,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "name": "get_time"}, None]},
                },
            },
            [TIME],
            "named",
        ),
        ({"functions": [WEATHER, TIME]}, [WEATHER, TIME], "auto"),
        ({"functions": [WEATHER, TIME], "function_call": "none"}, [WEATHER, TIME], "none"),
        ({"functions": [WEATHER, TIME], "function_call": {"name": "get_time"}}, [TIME], "named"),
        ({"functions": [WEATHER], "tools": BOTH[1:]}, [TIME], "auto"),
        ({"functions": [WEATHER], "tools": []}, [WEATHER], "auto"),
    ],
)
def test_what_a_request_offers(fields: dict[str, Any], functions: list[dict[str, Any]], choice: str) -> None:
    offer = to_offer(a_request(**fields))
    assert (list(offer.functions.values()), offer.choice) == (functions, choice)
    assert offer.is_open == (bool(functions) and choice != "none")
    assert offer.is_forced == (choice in ("required", "named"))
    assert offer.forced == (functions[0]["name"] if choice == "named" else choice == "required")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": BOTH, "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": BOTH, "tool_choice": {}}, "tool_choice"),
        ({"tools": BOTH, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": BOTH, "tool_choice": {"type": "function", "function": "get_time"}}, "tool_choice"),
        ({"tools": BOTH, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        (
            {"tools": BOTH, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice",
        ),
        (
            {"tools": BOTH, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": 1, "tools": BOTH}}},
            "tool_choice",
        ),
        ({"functions": [WEATHER], "function_call": {"name": "other"}}, "function_call"),
    ],
)
def test_a_choice_that_names_no_tool_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError, match="name one of the tools: get_weather") as caught:
        to_offer(a_request(**fields))
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


def test_tools_of_other_kinds_are_named() -> None:
    found = [{"type": "web_search"}, *BOTH, {"type": "custom", "name": "x", "custom": {"name": "x"}}, {}]
    offer = to_offer(a_request(tools=found))
    assert (list(offer.functions), offer.ignored) == (["get_weather", "get_time"], ("tools[0]", "tools[3]", "tools[4]"))
    assert to_offer(a_request(tools=found[:1])) == Offer({}, ignored=("tools[0]",))


@pytest.mark.parametrize(
    ("fields", "is_parallel", "is_legacy"),
    [
        ({"tools": BOTH}, True, False),
        ({"tools": BOTH, "parallel_tool_calls": None}, True, False),
        ({"tools": BOTH, "parallel_tool_calls": True}, True, False),
        ({"tools": BOTH, "parallel_tool_calls": False}, False, False),
        ({"functions": [WEATHER]}, False, True),
    ],
)
def test_functions_call_one_at_a_time(fields: dict[str, Any], is_parallel: bool, is_legacy: bool) -> None:
    offer = to_offer(a_request(**fields))
    assert (offer.is_parallel, offer.is_legacy) == (is_parallel, is_legacy)


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (BOTH[0], WEATHER),
        (WEATHER, WEATHER),
        (WEATHER | {"type": "function", "strict": True}, WEATHER | {"strict": True}),
        ({"name": "f"}, {"name": "f", "description": "", "parameters": EMPTY}),
        ({"name": "f", "description": None, "parameters": None}, {"name": "f", "description": "", "parameters": EMPTY}),
        (
            {"type": "function", "function": {"name": "f", "parameters": {}}},
            {"name": "f", "description": "", "parameters": EMPTY},
        ),
        (
            {"type": "function", "function": {"name": "f", "strict": None, "vendor": 1}},
            {"name": "f", "description": "", "parameters": EMPTY, "vendor": 1},
        ),
    ],
)
def test_chat_models_take_every_tool_nested(tool: dict[str, Any], expected: dict[str, Any]) -> None:
    assert nested(to_offer(a_request(tools=[tool]))) == [{"type": "function", "function": expected}]


def native(parameters: dict[str, Any] | None) -> dict[str, Any]:
    tool = strict(Offer({"f": {"name": "f", "parameters": parameters}}))[0]
    assert tool == {
        "type": "function",
        "function": {"name": "f", "description": "", "parameters": tool["function"]["parameters"]},
    }
    assert isinstance(tool["function"]["parameters"], dict)
    return tool["function"]["parameters"]


def resolved(its: Any, **definitions: Any) -> Any:
    """What a property of this schema becomes."""
    return native({"type": "object", "properties": {"x": its}, "$defs": definitions})["properties"]["x"]


def kind(name: str) -> dict[str, Any]:
    return {"type": name, "description": ""}


POINT = {"type": "object", "properties": {"x": {"type": "number"}}}


@pytest.mark.parametrize(
    ("its", "expected"),
    [
        ({"type": "string", "description": "A"}, {"type": "string", "description": "A"}),
        ({"type": "string"}, kind("string")),
        ({"type": ["null", "integer"]}, kind("integer")),
        ({"type": ["null"]}, kind("string")),
        ({"type": None}, kind("string")),
        ({"description": True}, kind("string")),
        ({}, kind("string")),
        (True, kind("string")),
        (None, kind("string")),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, None),
        ({"anyOf": [True, {"enum": [1]}]}, None),
        ({"oneOf": [{"type": "integer"}]}, None),
        ({"allOf": [{"$ref": "#/$defs/Count"}]}, None),
        ({"anyOf": None, "const": 4}, None),
        ({"enum": [1, 2]}, None),
        ({"$ref": "#/$defs/Count"}, None),
        ({"$ref": "#/$defs/Alias"}, None),
    ],
)
def test_every_property_gets_a_type_and_a_description(its: Any, expected: Any) -> None:
    found = resolved(its, Count={"type": "integer"}, Alias={"$ref": "#/$defs/Count"})
    assert found == expected if expected else (found["type"], found["description"]) == ("integer", "")


@pytest.mark.parametrize(
    ("its", "expected"),
    [
        ({"enum": []}, "string"),
        ({"enum": [None]}, "string"),
        ({"enum": [True]}, "boolean"),
        ({"const": 0.5}, "number"),
        ({"const": []}, "array"),
        ({"const": {}}, "object"),
        ({"items": {}}, "array"),
        ({"properties": {}}, "object"),
        ({"$ref": "#/$defs/Point"}, "object"),
        ({"$ref": "#/$defs/a~1b~0c"}, "boolean"),
        ({"$ref": "#/$defs/missing"}, "string"),
        ({"$ref": "#/$defs/Point/type"}, "string"),
        ({"$ref": "https://example.com/schema"}, "string"),
        ({"$ref": 7}, "string"),
    ],
)
def test_a_missing_type_follows_from_the_rest(its: Any, expected: str) -> None:
    assert resolved(its, Point=POINT, **{"a/b~c": {"type": "boolean"}})["type"] == expected


def test_references_are_resolved_wherever_they_stand() -> None:
    found = native(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "properties": {
                "from": {"$ref": "#/$defs/Point", "description": "Start"},
                "path": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
                "either": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]},
            },
            "additionalProperties": False,
            "required": ["from"],
            "$defs": {"Point": POINT},
            "definitions": {},
        }
    )
    point = {"type": "object", "properties": {"x": kind("number")}}
    assert found == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "from": point | {"description": "Start"},
            "path": kind("array") | {"items": point},
            "either": kind("object") | {"anyOf": [point, {"type": "null"}]},
        },
        "additionalProperties": False,
        "required": ["from"],
    }


def test_a_schema_that_is_a_reference_itself_is_resolved() -> None:
    assert native({"$ref": "#/$defs/Point", "$defs": {"Point": POINT}}) == {
        "type": "object",
        "properties": {"x": kind("number")},
    }


def test_properties_may_be_called_like_keywords() -> None:
    names = ["properties", "definitions", "$defs", "$ref", "enum", "default", "items", "type"]
    found = native({"type": "object", "properties": {name: {"type": "object"} for name in names}})
    assert found["properties"] == {name: kind("object") for name in names}


@pytest.mark.parametrize("key", ["default", "examples", "enum", "const"])
def test_values_in_a_schema_stay_as_they_are(key: str) -> None:
    value = [{"$ref": "#/x", "properties": {"a": 1}, "definitions": 2}]
    assert resolved({"type": "array", key: value})[key] == value


def test_patterns_of_properties_are_resolved() -> None:
    found = native({"patternProperties": {"definitions": {"$ref": "#/$defs/Point"}}, "$defs": {"Point": POINT}})
    assert found["patternProperties"]["definitions"]["properties"] == {"x": kind("number")}


@pytest.mark.parametrize("properties", [None, [], "x"])
def test_properties_that_are_none_are_left_to_cloudflare(properties: Any) -> None:
    assert native({"properties": properties}) == {"type": "object", "properties": properties}


def test_a_schema_that_holds_itself_ends() -> None:
    node = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}}}
    assert native({"properties": {"first": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})["properties"] == {
        "first": kind("object") | {"properties": {"value": kind("integer"), "next": kind("object")}}
    }
    assert native({"properties": {"next": {"$ref": "#"}}})["properties"] == {
        "next": kind("object") | {"properties": {"next": kind("object")}}
    }


def test_a_schema_that_multiplies_itself_stays_small_and_flat() -> None:
    fans = {f"a{i}": {"properties": {f"p{j}": {"$ref": f"#/$defs/a{i + 1}"} for j in range(9)}} for i in range(30)}
    chain = {f"b{i}": {"properties": {"p": {"$ref": f"#/$defs/b{i + 1}"}}} for i in range(300)}
    for first, definitions in (("a0", fans), ("b0", chain)):
        found = native({"properties": {"x": {"$ref": f"#/$defs/{first}"}}, "$defs": definitions})
        assert len(orjson.dumps(found)) < 100_000


SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5) | st.just({"$ref": "#/$defs/a"}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "anyOf", "$defs", "a", "$ref", "enum", "description"]),
            inner,
            max_size=5,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "$defs", "anyOf", "$ref"]), SCHEMAS, max_size=5))
def test_no_schema_breaks_the_resolver(schema: dict[str, Any]) -> None:
    found = native(schema)
    assert "$defs" not in found
    orjson.dumps(found)
