"""What the system's turn demands in words, as far as any instructed model obeys: an answer in JSON, a tool's name."""

import re
from typing import Any

import orjson

from app.emulator.run import Run, text_of
from app.emulator.samples import json_text, sample

JSON_OBJECT = re.compile(r"\bone JSON object\b")
JSON_SCHEMA = re.compile(r"\bJSON Schema:\s*(\{.*)", re.DOTALL)
TOOL = re.compile(r"\bmust call the tool (\S+)")


def demanded(run: Run, plain: str) -> str | None:
    """The answer that was demanded; None if none was. `plain` is what would be said otherwise."""
    system = "\n".join(text_of(turn.get("content")) for turn in run.turns if turn.get("role") == "system")
    if tool := TOOL.search(system):
        return json_text({"name": tool[1], "arguments": sample(_parameters(run, tool[1]))})
    if schema := JSON_SCHEMA.search(system):
        return json_text(sample(orjson.loads(schema[1].splitlines()[0])))
    return json_text({"answer": plain}) if JSON_OBJECT.search(system) else None


def _parameters(run: Run, name: str) -> Any:
    functions = [tool.get("function", tool) for tool in run.body.get("tools") or []]
    return next((f.get("parameters") for f in functions if f.get("name") == name), None) or {"type": "object"}
