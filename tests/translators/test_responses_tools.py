"""Tools of a Responses request as functions of a chat, and back."""

from typing import Any

import pytest

from app.errors import BadRequestError
from app.translators.responses_tools import Named, Toolbox, call_item, custom_input, to_choice, to_toolbox

WEATHER = {"type": "function", "name": "weather", "description": "Tells it", "parameters": {"type": "object"}}
NESTED = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files"}
GRAMMAR = PATCH | {"format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}
SPACE = {"type": "namespace", "name": "maps", "tools": [{"type": "function", "name": "find"}, WEATHER]}


def functions(*tools: dict[str, Any]) -> list[dict[str, Any]]:
    made = to_toolbox(tools).functions
    assert all(each["type"] == "function" for each in made)
    return [each["function"] for each in made]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (WEATHER, {"name": "weather", "description": "Tells it", "parameters": {"type": "object"}}),
        (NESTED, {"name": "weather", "parameters": {"type": "object"}}),
        ({"name": "bare", "strict": False, "description": None}, {"name": "bare", "strict": False}),
    ],
)
def test_a_function_goes_into_the_chats_envelope(tool: dict[str, Any], expected: dict[str, Any]) -> None:
    assert functions(tool) == [expected]


def test_the_functions_of_a_namespace_stand_beside_the_others() -> None:
    box = to_toolbox([WEATHER, SPACE])
    assert [each["function"]["name"] for each in box.functions] == ["weather", "find", "maps__weather"]
    assert box.named("find") == Named("find", "maps")
    assert box.named("maps__weather") == Named("weather", "maps")
    assert box.named("weather") == Named("weather")
    assert box.flat("weather", "maps") == "maps__weather"
    assert box.flat("weather") == "weather"


def test_a_function_of_another_request_keeps_its_name() -> None:
    assert Toolbox().flat("gone", "maps") == "gone"
    assert Toolbox().named("gone") == Named("gone")


@pytest.mark.parametrize(
    ("tool", "description"),
    [
        (PATCH, "Edits files"),
        (GRAMMAR, "Edits files\n\nIts input must follow this lark grammar:\nstart: X"),
        ({"type": "custom", "name": "apply_patch", "format": {"type": "text"}}, ""),
    ],
)
def test_a_custom_tool_becomes_a_function_of_one_text(tool: dict[str, Any], description: str) -> None:
    (function,) = functions(tool)
    assert function["description"] == description
    assert function["parameters"]["required"] == list(function["parameters"]["properties"]) == ["input"]


@pytest.mark.parametrize("kind", ["web_search", "local_shell", "file_search", "mcp", "image_generation", ["function"]])
def test_other_tools_are_left_out_and_named(kind: Any) -> None:
    box = to_toolbox([{"type": kind}, WEATHER])
    assert (len(box.functions), box.ignored) == (1, ["tools[0]"])


def test_namespaces_are_not_nested() -> None:
    assert to_toolbox([SPACE | {"tools": [SPACE]}]).ignored == ["tools[0].tools[0]"]
    assert to_toolbox([SPACE | {"tools": None}]).ignored == ["tools[0]"]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function"}, "tools[0].name"),
        ({"type": "function", "name": ""}, "tools[0].name"),
        ({"type": "custom", "name": ["x"]}, "tools[0].name"),
        ({"type": "function", "name": "x" * 129}, "tools[0].name"),
        (SPACE | {"tools": [{"type": "function"}]}, "tools[0].tools[0].name"),
        (SPACE | {"tools": ["x"]}, "tools[0].tools[0]"),
    ],
)
def test_a_tool_without_a_name_is_refused(tool: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        to_toolbox([tool])
    assert raised.value.param == param


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("required", "required"),
        ({"type": "function", "name": "weather"}, NAMED),
        (NAMED, NAMED),
        ({"type": "custom", "name": "weather"}, NAMED),
        (
            {"type": "function", "name": "weather", "namespace": "maps"},
            {"type": "function", "function": {"name": "maps__weather"}},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}, "x"]},
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
        ),
        (
            {"type": "allowed_tools", "tools": []},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        ),
        ({"type": "allowed_tools"}, {"type": "function", "function": {"name": "None"}}),
    ],
)
def test_a_choice_in_the_chats_terms(choice: Any, expected: Any) -> None:
    assert to_choice(choice, to_toolbox([WEATHER, SPACE])) == expected


def test_a_call_has_the_form_of_its_tool() -> None:
    common = {"status": "in_progress", "call_id": "call_1", "name": "x"}
    assert call_item(Named("x"), "fc_1", "call_1") == common | {"id": "fc_1", "type": "function_call", "arguments": ""}
    custom = {"id": "ctc_1", "type": "custom_tool_call", "namespace": "n", "input": ""}
    assert call_item(Named("x", "n", is_custom=True), "ctc_1", "call_1") == common | custom


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"input": "*** Begin"}', "*** Begin"), ('"bare"', "bare"), ('{"patch": 1}', '{"patch": 1}'), ("not", "not")],
)
def test_the_input_of_a_custom_tool(arguments: str, text: str) -> None:
    assert custom_input(arguments) == text
