"""The forms in which models write tool calls, and gpt-oss its channels, into a text: a small parser for each.

A parser reads from behind its opening. It yields what it finds, None where it needs more text, and returns whether
this was a leak; if not, nothing was yielded and the text stays as it is.
"""

import re
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import orjson

from app.translators.deltas import Text, Thought, ToolCall
from app.translators.leak_calls import Gate
from app.translators.leak_scanner import SHORT, Scanner, Wait
from app.translators.stops import open_end

Parse: TypeAlias = Generator[Text | Thought | ToolCall | None, None, bool]
Parser: TypeAlias = Callable[[Scanner, Gate], Parse]

HEADER = re.compile(
    r"(?:(?:to=(?P<before>[^\s<]+))? ?<\|channel\|>)? ?(?P<channel>analysis|commentary|final)"
    r"(?: ?to=(?P<after>[^\s<]+))?(?: ?<\|constrain\|> ?\w+| (?:json|code))?"
)
KIMI_ID = re.compile(r"(?:functions\.)?(.+?)(:\d+)?")
MESSAGE_ENDS = ("<|end|>", "<|return|>", "<|call|>")
MESSAGE_MARKS = (*MESSAGE_ENDS, "<|start|>", "<|channel|>")
MESSAGE_MARK = re.compile("|".join(map(re.escape, MESSAGE_MARKS)))


def whole_reply(scanner: Scanner, gate: Gate) -> Parse:
    """`{"name": "t", "parameters": {…}}` and nothing else: Llama 3, whose model card documents this form.

    Also with `arguments`, inside `{"type": "function", "function": …}` or `{"tool_calls": […]}`, several in an array
    or one after another with `;`, after `<|python_tag|>` or in a ``` fence. If a call was forced, anything that
    `Gate` makes of it. An object that begins otherwise is an ordinary answer, and given up at once.
    """
    yield from scanner.take("<|python_tag|>")
    fence = yield from scanner.take("```")
    if fence:
        yield from scanner.take("json")
    calls: list[ToolCall] = []
    source = yield from _call_source(scanner, gate)
    while source:
        found = gate.calls(source, is_certain=gate.is_forced) or (not calls and gate.forced_call(source)) or []
        if not found:
            return False
        calls += found
        yield from scanner.space()
        yield from scanner.take(";")
        source = yield from _call_source(scanner, gate)
    if fence:
        yield from scanner.take("```")
        yield from scanner.space()
    if not calls or not scanner.is_done:
        return False
    yield from calls
    return True


def tool_call(scanner: Scanner, gate: Gate) -> Parse:
    """`<tool_call>`: JSON for Hermes and Qwen, a name and pairs for GLM, `<function=t>` for Qwen-Coder.

    Sources: the chat templates of Hermes 2 Pro, Qwen2.5, GLM-4.5 and Qwen3-Coder. The closing tag may be missing at
    the end of an answer and before the next call, but only after JSON: pairs may have been cut short.
    """
    yield from scanner.space()
    if (yield from scanner.take("<function=")):
        calls = yield from _function(scanner, gate)
    elif (yield from scanner.sees("{[")):
        calls = yield from _json_calls(scanner, gate)
    else:
        calls = yield from _pairs(scanner, gate)
    if not calls:
        return False
    yield from scanner.space()
    is_closed = (yield from scanner.take("</tool_call>")) or (yield from scanner.sees(("<tool_call>",)))
    if not is_closed and not scanner.is_done:
        return False
    yield from calls
    return True


def function(scanner: Scanner, gate: Gate) -> Parse:
    """`<function=t>` without the tag around it: Qwen-Coder at times, and Llama 3.1's `<function=t>{…}</function>`."""
    calls = yield from _function(scanner, gate)
    if calls:
        yield from scanner.space()
        yield from scanner.take("</tool_call>")
    yield from calls
    return bool(calls)


def kimi(scanner: Scanner, gate: Gate) -> Parse:
    """`<|tool_call_begin|>functions.t:0<|tool_call_argument_begin|>{…}<|tool_call_end|>`.

    Source: Moonshot's guidance on tool calls of Kimi K2. The calls of a section are taken one by one.
    """
    call_id = ((yield from scanner.until("<|tool_call_argument_begin|>", SHORT)) or "").strip()
    named = KIMI_ID.fullmatch(call_id)
    if not named or named[1] not in gate.names:
        return False
    yield from scanner.space()
    source = yield from scanner.json()
    yield from scanner.space()
    is_closed = (yield from scanner.take("<|tool_call_end|>")) or (source and scanner.is_done)
    call = gate.call(named[1], source, call_id if named[2] else None)
    if not call or not is_closed:
        return False
    yield from scanner.space()
    yield from scanner.take("<|tool_calls_section_end|>")
    yield call
    return True


def kimi_section(scanner: Scanner, gate: Gate) -> Parse:
    """The opening of a section belongs to its first call."""
    yield from scanner.space()
    return (yield from scanner.take("<|tool_call_begin|>")) and (yield from kimi(scanner, gate))


def mistral(scanner: Scanner, gate: Gate) -> Parse:
    """`[TOOL_CALLS][{"name": "t", "arguments": {…}}]`, later `[TOOL_CALLS]t{…}` and `[TOOL_CALLS]t[ARGS]{…}`.

    Source: the tokenizers v3, v7 and v11 of mistral-common.
    """
    yield from scanner.space()
    if (yield from scanner.sees("{[")):
        calls = gate.calls((yield from scanner.json()), is_certain=True)
    else:
        calls = yield from _named_call(scanner, gate)
    yield from calls
    return bool(calls)


def harmony(scanner: Scanner, gate: Gate) -> Parse:
    """`<|channel|>commentary to=functions.t <|constrain|>json<|message|>{…}<|call|>`: gpt-oss.

    Source: OpenAI's documentation of the harmony format; the recipient may stand before the channel too, and at
    times the channel is `analysis` and the type `code`. A message to nobody is a Thought (`analysis`) or Text
    without the marks, but only at the head of an answer: further down, it is a model that writes about harmony.
    """
    source = yield from scanner.until("<|message|>", SHORT)
    header = HEADER.fullmatch(" ".join((source or "").split()))
    if not header:
        return False
    recipient = header["before"] or header["after"]
    if not recipient:
        return scanner.is_head and (yield from _message(scanner, Thought if header["channel"] == "analysis" else Text))
    yield from scanner.space()
    source = yield from scanner.json()
    call = gate.call(recipient.removeprefix("functions."), source) if source else None
    if not call:
        return False
    yield from scanner.space()
    yield from scanner.one_of(MESSAGE_ENDS)
    yield call
    return True


FORMATS: dict[str, Parser] = {
    "<tool_call>": tool_call,
    "<function=": function,
    "<|tool_calls_section_begin|>": kimi_section,
    "<|tool_call_begin|>": kimi,
    "[TOOL_CALLS]": mistral,
    "<|start|>assistant": harmony,
    "<|channel|>": harmony,
}
"""By what a leak opens with; none is the beginning of another."""


def _call_source(scanner: Scanner, gate: Gate) -> Wait[str | None]:
    """The next JSON value, unless its beginning says that it can't be a call."""
    yield from scanner.space()
    start = scanner.at
    is_possible = gate.is_forced or (yield from _may_be_call(scanner, gate))
    scanner.at = start
    return (yield from scanner.json()) if is_possible else None


def _may_be_call(scanner: Scanner, gate: Gate) -> Wait[bool]:
    if (yield from scanner.take("[")):
        yield from scanner.space()
    if not (yield from scanner.take("{")):
        return False
    yield from scanner.space()
    key = yield from scanner.string()
    if key not in ('"name"', '"type"', '"function"'):
        return key in ('"arguments"', '"parameters"', '"tool_calls"')
    yield from scanner.space()
    yield from scanner.take(":")
    yield from scanner.space()
    if key == '"function"' and (yield from scanner.sees("{")):
        return (yield from _may_be_call(scanner, gate))
    value = ((yield from scanner.string()) or "").strip('"')
    return value == "function" if key == '"type"' else value in gate.names


def _json_calls(scanner: Scanner, gate: Gate) -> Wait[list[ToolCall]]:
    calls: list[ToolCall] = []
    while (yield from scanner.sees("{[")):
        found = gate.calls((yield from scanner.json()), is_certain=True)
        if not found:
            return []
        calls += found
        yield from scanner.space()
    return calls


def _function(scanner: Scanner, gate: Gate) -> Wait[list[ToolCall]]:
    name = yield from scanner.until(">", SHORT)
    if name not in gate.names:
        return []
    yield from scanner.space()
    source = yield from scanner.json()
    fields = {} if source else (yield from _fields(scanner, "<parameter=", ">", "", "</parameter>"))
    if fields is None:
        return []
    yield from scanner.space()
    is_closed = (yield from scanner.take("</function>")) or (yield from scanner.sees(("</tool_call>",)))
    return _one(gate.call(name, source or fields)) if is_closed else []


def _pairs(scanner: Scanner, gate: Gate) -> Wait[list[ToolCall]]:
    name = yield from scanner.word()
    if name not in gate.names:
        return []
    yield from scanner.space()
    fields = yield from _fields(scanner, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
    if fields is None or not (yield from scanner.sees(("</tool_call>",))):
        return []
    return _one(gate.call(name, fields))


def _named_call(scanner: Scanner, gate: Gate) -> Wait[list[ToolCall]]:
    name = yield from scanner.word()
    if name not in gate.names:
        return []
    call_id = (yield from scanner.word()) if (yield from scanner.take("[CALL_ID]")) else None
    yield from scanner.take("[ARGS]")
    yield from scanner.space()
    source = yield from scanner.json()
    return _one(gate.call(name, source, call_id)) if source else []


def _fields(
    scanner: Scanner, key_start: str, key_end: str, value_start: str, value_end: str
) -> Wait[dict[str, Any] | None]:
    """Keys and values in tags; None if one is broken."""
    fields: dict[str, Any] = {}
    while (yield from scanner.take(key_start)):
        key = yield from scanner.until(key_end, SHORT)
        if value_start:
            yield from scanner.space()
        is_open = yield from scanner.take(value_start)
        value = yield from scanner.until(value_end)
        if key is None or value is None or not is_open:
            return None
        fields[key.strip()] = _value(value if value_start else value.removeprefix("\n").removesuffix("\n"))
        yield from scanner.space()
    return fields


def _value(text: str) -> Any:
    """A value in tags has no type: what is JSON for anything but a string is taken for that."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    is_rounded = isinstance(value, float) and text.strip().lstrip("-").isdigit()  # an integer of more than 64 bits
    return text if is_rounded or isinstance(value, str) else value


def _message(scanner: Scanner, kind: type[Text] | type[Thought]) -> Parse:
    while True:
        mark = MESSAGE_MARK.search(scanner.text, scanner.at)
        safe = mark.start() if mark else scanner.at + open_end(scanner.text[scanner.at :], MESSAGE_MARKS)
        if safe > scanner.at:
            yield kind(scanner.read(safe))
        if mark:
            yield from scanner.one_of(MESSAGE_ENDS)
            return True
        scanner.begin()
        if not (yield from scanner.wait()):
            break
    if not scanner.is_empty:
        yield kind(scanner.read(len(scanner.text)))
    return True


def _one(call: ToolCall | None) -> list[ToolCall]:
    return [call] if call else []
