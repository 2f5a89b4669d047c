"""The tools of Anthropic's requests as a chat's functions: described, known by heart, or run by Anthropic alone."""

from typing import Any, get_args, get_type_hints

import pytest
from anthropic.types.beta.beta_tool_union_param import BetaToolUnionParam

from app.errors import BadRequestError
from app.schemas.messages import MessagesRequest
from app.translators.known_tools import ACTIONS, LATER_ACTIONS, known_input
from app.translators.messages_tools import ignored_tools, tool_fields
from tests.translators.chats import CHAT
from tests.translators.test_messages import plan, sent

LOOK = {"name": "look", "description": "Looks", "input_schema": {"type": "object", "properties": {}}}
SEARCH = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
BASH = {"type": "bash_20250124", "name": "bash", "cache_control": {"type": "ephemeral"}}


def a_request(**fields: Any) -> MessagesRequest:
    return MessagesRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | fields)


def function_of(tool: dict[str, Any]) -> dict[str, Any]:
    (made,) = tool_fields(a_request(tools=[tool]))["tools"]
    function: dict[str, Any] = made["function"]
    return function


def test_bash_is_told_with_its_input() -> None:
    assert function_of(BASH) == {
        "name": "bash",
        "description": "Runs commands in a bash shell whose state persists between calls.",
        "parameters": {
            "type": "object",
            "properties": {
                "command": {
                    "type": "string",
                    "description": "The command to run; required unless the tool is restarted.",
                },
                "restart": {"type": "boolean", "description": "true restarts the tool: a new session."},
            },
            "required": [],
        },
    }


EDITING = {"command", "path", "file_text", "view_range", "old_str", "new_str", "insert_line"}
POINTING = {"action", "coordinate", "text"}
MOVING = {"start_coordinate", "scroll_direction", "scroll_amount", "duration"}
FOUR = ["view", "create", "str_replace", "insert"]


@pytest.mark.parametrize(
    ("kind", "required", "fields", "choices"),
    [
        ("bash_20241022", [], {"command", "restart"}, None),
        ("text_editor_20241022", ["command", "path"], EDITING, [*FOUR, "undo_edit"]),
        ("text_editor_20250124", ["command", "path"], EDITING, [*FOUR, "undo_edit"]),
        ("text_editor_20250429", ["command", "path"], EDITING | {"insert_text"}, FOUR),
        ("text_editor_20250728", ["command", "path"], EDITING | {"insert_text"}, FOUR),
        ("text_editor_20300101", ["command", "path"], EDITING | {"insert_text"}, FOUR),
        (
            "memory_20250818",
            ["command"],
            EDITING | {"insert_text", "old_path", "new_path"},
            [*FOUR, "delete", "rename"],
        ),
        ("computer_20241022", ["action"], POINTING, [*ACTIONS]),
        ("computer_20240101", ["action"], POINTING, [*ACTIONS]),
        ("computer_20250124", ["action"], POINTING | MOVING, [*LATER_ACTIONS]),
        ("computer_20251124", ["action"], POINTING | MOVING | {"region"}, [*LATER_ACTIONS, "zoom"]),
    ],
)
def test_what_clients_run_is_told_with_the_inputs_of_its_version(
    kind: str, required: list[str], fields: set[str], choices: list[str] | None
) -> None:
    parameters = function_of({"type": kind, "name": "it"})["parameters"]
    assert (parameters["required"], parameters["properties"].keys()) == (required, fields)
    assert choices is None or parameters["properties"][required[0]]["enum"] == choices
    assert all(field["description"] for field in parameters["properties"].values())


@pytest.mark.parametrize(
    "kind",
    [
        None, "", "custom", "bash", "bash_2025", "bash_code_execution_20250825", "web_search_20250305",
        "web_fetch_20260318", "code_execution_20250825", "tool_search_tool_regex_20251119", "mcp_toolset",
        "computer_toolset_20260801", "advisor_20260301",
    ],
)  # fmt: skip
def test_nothing_else_is_known(kind: str | None) -> None:
    assert known_input(kind) is None


def test_every_tool_of_anthropics_client_is_known_or_run_by_anthropic() -> None:
    """A new one shows up here, and wants to be looked at."""
    types = [get_type_hints(each)["type"] for each in BetaToolUnionParam.__args__]  # type: ignore[attr-defined]
    kinds = {kind for each in types for kind in get_args(each) if isinstance(kind, str)}
    unknown = {kind.rpartition("_20")[0] or kind for kind in kinds if not known_input(kind)}
    assert len(kinds) > 20
    assert unknown == {
        "web_search", "web_fetch", "code_execution", "tool_search_tool_bm25", "tool_search_tool_regex", "advisor",
        "browser_toolset", "computer_toolset", "mcp_toolset",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "description"),
    [
        (
            {"type": "computer_20250124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
            "The screen is 1024 pixels wide. The screen is 768 pixels high.",
        ),
        ({"type": "text_editor_20250728", "name": "it", "max_characters": 9}, "A view shows at most 9 characters."),
    ],
)
def test_the_model_is_told_what_the_client_has_set(tool: dict[str, Any], description: str) -> None:
    assert function_of(tool)["description"].endswith(description)


def test_what_the_client_says_itself_wins() -> None:
    assert function_of(BASH | {"description": "My shell"})["description"] == "My shell"
    own = function_of(BASH | {"input_schema": {"type": "object"}})
    assert own == {"name": "bash", "description": "", "parameters": {"type": "object"}}


def test_they_may_be_asked_for_by_name() -> None:
    body = sent(CHAT, tools=[LOOK, BASH], tool_choice={"type": "tool", "name": "bash"})
    assert body["tool_choice"] == {"type": "function", "function": {"name": "bash"}}
    assert [tool["function"]["name"] for tool in body["tools"]] == ["bash"]


@pytest.mark.parametrize("tool", [{"input_schema": {}}, {"type": "custom"}, {"type": "bash_20250124", "name": None}])
def test_a_tool_without_a_name_is_refused(tool: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=r"'tools\[1\]\.name' is missing"):
        plan(CHAT, tools=[LOOK, tool])


@pytest.mark.parametrize(
    ("tools", "choice", "ignored"),
    [
        ([LOOK, BASH], "any", []),
        ([SEARCH, LOOK], "any", ["tools[0]"]),
        ([LOOK, {"type": "mcp_toolset", "mcp_server_name": "s"}], "auto", ["tools[1]"]),
        ([{"type": "computer_toolset_20260801", "configs": {}}], "auto", ["tools[0]"]),
        ([SEARCH], "any", ["tools[0]", "tool_choice"]),
        ([SEARCH], "tool", ["tools[0]", "tool_choice"]),
        ([SEARCH], "none", ["tools[0]"]),
        ([SEARCH], None, ["tools[0]"]),
        ([], "any", ["tool_choice"]),
        (None, "any", ["tool_choice"]),
    ],
)
def test_what_only_anthropic_can_run_is_named_as_ignored(
    tools: list[dict[str, Any]] | None, choice: str | None, ignored: list[str]
) -> None:
    request = a_request(tools=tools, tool_choice=choice and {"type": choice, "name": "web_search"})
    assert ignored_tools(request) == ignored
    assert len(tool_fields(request).get("tools", ())) == len(tools or ()) - len(
        [each for each in ignored if "[" in each]
    )
