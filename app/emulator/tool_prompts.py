"""Tools that are told in a prompt, to a model that can't call any: read there, and called in the form told there.

The tools are taken from between `<tools>` tags, as the templates of Hermes and Qwen write them; the form of a call is
that of the line with a name and arguments between two tags.
"""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from app.emulator.run import Run, text_of

TOOLS = re.compile(r"^<tools>\n(.*?)\n</tools>$", re.DOTALL | re.MULTILINE)
FORM = re.compile(r'^(<\w+>)\{"name".*"arguments".*\}(</\w+>)$', re.MULTILINE)


def told_tools(run: Run) -> list[dict[str, Any]]:
    """The tools in the prompt; none for a model that has them in its request."""
    if "function-calling" in run.model.capabilities:
        return []
    found = (_tool(line) for told in TOOLS.findall(_prompt(run)) for line in told.split("\n"))
    return [tool for tool in found if isinstance(tool, dict) and "name" in tool]


def is_pressed(run: Run) -> bool:
    """Whether the prompt leaves no choice but to call one of them."""
    return "You must call the tool" in _prompt(run)


def written(run: Run, text: str, calls: Iterable[tuple[str, str]]) -> str:
    """The calls, names and arguments, in the prompt's form, behind the text."""
    form = FORM.search(_prompt(run))
    opening, closing = form.groups() if form else ("", "")
    sources = [
        f'{opening}{{"name": {orjson.dumps(name).decode()}, "arguments": {arguments}}}{closing}'
        for name, arguments in calls
    ]
    return "\n".join([text, *sources] if text else sources)


def _tool(line: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # whoever writes prompts of this kind may write what he likes
        return None


def _prompt(run: Run) -> str:
    """What is said in front, by the system or, to a model that has none, by the user."""
    return text_of(run.turns[0].get("content"))
