"""Tools that Anthropic's clients run, and name by a type alone: Claude knows their inputs, other models must be told.

Source of the inputs: Anthropic's docs, "Bash tool", "Text editor tool", "Memory tool" and "Computer use tool"; for the
memory also the types of Anthropic's Python client. The editors of 2025-04-29 and later call the text to be inserted
`insert_text`, and can undo nothing.
"""

import re
from typing import Any

Schema = dict[str, Any]

DATED = re.compile(r"(?P<kind>[a-z_]+)_(?P<date>20\d{6})")


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _number(description: str) -> Schema:
    return {"type": "integer", "description": description}


def _pair(description: str) -> Schema:
    return {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "description": description}


def _one_of(description: str, *choices: str) -> Schema:
    return {"type": "string", "enum": list(choices), "description": description}


def _input(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


BASH = _input(
    command=_text("The command to run; required unless the tool is restarted."),
    restart={"type": "boolean", "description": "true restarts the tool: a new session."},
)

FILES: dict[str, Schema] = {
    "path": _text("Path of the file or directory."),
    "file_text": _text("For create: the content of the new file."),
    "view_range": _pair(
        "For view: the first and the last line to be shown, counted from 1; -1 is the end of the file."
    ),
    "old_str": _text("For str_replace: the text to be replaced, exactly as in the file, where it stands only once."),
    "new_str": _text("For str_replace: the text to put in its place."),
    "insert_line": _number("For insert: the line behind which to insert; 0 is the beginning of the file."),
}
INSERTED = {"insert_text": _text("For insert: the text to be inserted.")}
EDITS = ("view", "create", "str_replace", "insert")

EDITOR = _input("command", "path", command=_one_of("What to do.", *EDITS), **FILES, **INSERTED)
EDITOR_WITH_UNDO = _input(
    "command",
    "path",
    command=_one_of("What to do.", *EDITS, "undo_edit"),
    **FILES | {"new_str": _text("For str_replace: the text to put in its place. For insert: the text to be inserted.")},
)
MEMORY = _input(
    "command",
    command=_one_of("What to do.", *EDITS, "delete", "rename"),
    **FILES | {"path": _text("Path of the file or directory below /memories; for all commands but rename.")},
    **INSERTED,
    old_path=_text("For rename: the path that there is."),
    new_path=_text("For rename: the new path."),
)

ACTIONS = (
    "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click",
    "screenshot", "cursor_position",
)  # fmt: skip
LATER_ACTIONS = (*ACTIONS, "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "triple_click", "wait")
POINTING: dict[str, Schema] = {
    "coordinate": _pair("x and y in pixels from the upper left corner: where to click, move, drag or scroll to."),
    "text": _text("For type: the text. For key and hold_key: the keys, such as ctrl+s. For clicks: keys held down."),
}
MOVING: dict[str, Schema] = {
    "start_coordinate": _pair("For left_click_drag: x and y of where to begin."),
    "scroll_direction": _one_of("For scroll.", "up", "down", "left", "right"),
    "scroll_amount": _number("For scroll: how many clicks of the wheel."),
    "duration": {"type": "number", "description": "For hold_key and wait: seconds."},
}
REGION: Schema = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 4,
    "maxItems": 4,
    "description": "For zoom: left, top, right and bottom of what to look at closely.",
}

INPUTS: dict[str, dict[str, Schema]] = {
    "bash": {"20241022": BASH},
    "text_editor": {"20241022": EDITOR_WITH_UNDO, "20250429": EDITOR},
    "memory": {"20250818": MEMORY},
    "computer": {
        "20241022": _input("action", action=_one_of("What to do.", *ACTIONS), **POINTING),
        "20250124": _input("action", action=_one_of("What to do.", *LATER_ACTIONS), **POINTING, **MOVING),
        "20251124": _input(
            "action", action=_one_of("What to do.", *LATER_ACTIONS, "zoom"), **POINTING, **MOVING, region=REGION
        ),
    },
}
"""Kinds of tools -> dates of versions -> what such a tool takes. A date in between is that of the one before."""

DESCRIPTIONS = {
    "bash": "Runs commands in a bash shell whose state persists between calls.",
    "text_editor": "Views, creates and edits text files.",
    "memory": "Keeps files below /memories, which outlast this conversation. Look there before you begin to work.",
    "computer": "Uses mouse, keyboard and screen of a computer. Take a screenshot to see what an action did.",
}


def known_input(kind: str | None) -> tuple[str, Schema] | None:
    """What a tool of a type such as `bash_20250124` does, and its schema; None if nobody but Anthropic knows it."""
    dated = DATED.fullmatch(kind or "")
    if not dated or dated["kind"] not in INPUTS:
        return None
    versions = INPUTS[dated["kind"]]
    date = max((each for each in versions if each <= dated["date"]), default=min(versions))
    return DESCRIPTIONS[dated["kind"]], versions[date]
