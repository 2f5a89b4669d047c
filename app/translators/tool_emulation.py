"""Tools for models that can't call any: told in the prompt, called in a text, from which `leaks` takes the calls.

The format is that of Hermes and Qwen, which small models have seen most of. What we decided on the way:

1. The conversation so far is written in the format that the model is told to write, so that it has examples.
2. Results stand in turns of the user: not every template has a role for tools, and none of these models was trained
   on it. Those of one round follow the order of their calls, since nothing else tells two calls of a tool apart.
3. Arguments are not held to the tool's schema: what a model makes of it is the caller's to judge, as with others.
4. Models like to go on and make up the result of their call; the answer ends where they begin to.
"""

from typing import Any

import orjson

from app.translators.leak_calls import loads
from app.translators.sources import asked_source
from app.translators.tools import Offer, nested

Turn = dict[str, Any]

RESULT = "<tool_response"
"""What the result of a call opens with."""

FORM = """\
To call a tool, write one line of exactly this form, with the name of the tool and its arguments as JSON:
<tool_call>{"name": "...", "arguments": {...}}</tool_call>"""

ENDING = """\
Then end your answer: the result comes in the next message, as <tool_response name="...">...</tool_response>. \
Never write a result yourself."""

FREEDOM = "Call a tool only where it helps. If you need none, answer as usual, without any of these tags."


def instruction(offer: Offer) -> str:
    """What tells a model its tools, and how to call them."""
    functions = [{key: value for key, value in tool["function"].items() if key != "strict"} for tool in nested(offer)]
    return "\n".join(
        [
            "You can call tools. These are the tools, with JSON Schemas of their arguments:",
            "<tools>",
            *(asked_source(function, "tools") for function in functions),
            "</tools>",
            "",
            FORM,
            "To call several, write such a line for each." if offer.is_parallel else "Call one tool only.",
            ENDING,
            _must(offer) if offer.is_forced else FREEDOM,
        ]
    )


def demand(offer: Offer) -> str:
    """The same for a model that was told to call a tool, and didn't."""
    return f"{_must(offer)} Answer with nothing but that:\n{FORM}"


def in_text(turns: list[Turn]) -> list[Turn]:
    """A conversation with its tool calls and their results as texts."""
    return [_WRITERS.get(turn["role"], dict)(turn) for turn in _in_order(turns)]


def _must(offer: Offer) -> str:
    return f"You must call the tool {' or '.join(offer.functions)} now."


def _in_order(turns: list[Turn]) -> list[Turn]:
    """With the results of each round in the order of its calls."""
    keyed: list[tuple[int, int, Turn]] = []
    places: dict[str, int] = {}
    for turn in turns:
        if turn["role"] == "tool":
            keyed.append((keyed[-1][0], places.get(turn["tool_call_id"], len(places)), turn))
            continue
        places = {call["id"]: place for place, call in enumerate(turn.get("tool_calls", ()))}
        keyed.append((len(keyed), -1, turn))
    return [turn for *_, turn in sorted(keyed, key=lambda each: each[:2])]


def _assistant(turn: Turn) -> Turn:
    calls = [_call(call["function"]) for call in turn.get("tool_calls", ())]
    rest = {key: value for key, value in turn.items() if key != "tool_calls"}
    return rest | {"content": "\n".join(filter(None, [turn["content"], *calls]))}


def _call(function: dict[str, str]) -> str:
    """Arguments that a caller sent as broken JSON are shown as the text that they are."""
    source = function["arguments"]
    arguments = source if isinstance(loads(source), dict) else _source(source)
    return f'<tool_call>{{"name": {_source(function["name"])}, "arguments": {arguments}}}</tool_call>'


def _result(turn: Turn) -> Turn:
    return {"role": "user", "content": f"{RESULT} name={_source(turn['name'])}>\n{turn['content']}\n</tool_response>"}


def _source(text: str) -> str:
    return orjson.dumps(text).decode()


_WRITERS = {"assistant": _assistant, "tool": _result}
