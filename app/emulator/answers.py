"""Answer: what the model says to a run, cut to the tokens it may use, before it takes the shape of any dialect."""

from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import orjson

from app.emulator.demands import demanded
from app.emulator.faults import Fault
from app.emulator.interpreter import interpreted
from app.emulator.moderation import verdict
from app.emulator.pictures import described
from app.emulator.run import Run, is_tool_result, text_of
from app.emulator.samples import json_text, sample
from app.emulator.tokens import count, pieces
from app.emulator.tool_prompts import told_tools, written
from app.emulator.tools import ToolCall, called, choice_mode

ECHOED = 200
"""Characters of the question that the answer repeats."""
CONTINUATION = " … and so on (continued by the emulator)."
"""Of a prompt that no chat template makes a question."""


@dataclass(frozen=True, slots=True)
class Answer:
    reasoning: tuple[str, ...]
    """Tokens, as those of `text`."""
    text: tuple[str, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    stop_reason: str | None = None
    """The stop sequence that ended it."""
    is_json: bool = False
    is_refusal: bool = False
    """The text stands where an answer would."""

    @property
    def whole_text(self) -> str:
        return "".join(self.text)

    @property
    def completion_tokens(self) -> int:
        return len(self.reasoning) + len(self.text) + sum(map(_cost, self.tool_calls))


def answer_to(run: Run) -> Answer:
    """Raises Fault 5024 or 8006 where the allowed tokens are too few for JSON mode or a forced tool."""
    is_refusal = run.script.refusal is not None
    calls = () if run.script.leak is not None or is_refusal else tuple(called(run))
    text = "" if calls and run.script.text is None else _text(run)
    if calls and told_tools(run):
        text, calls = written(run, text, [(call.name, call.arguments) for call in calls]), ()
    if calls:
        answer = Answer((), tuple(pieces(text)), calls, "stop" if "stop-after-tools" in run.quirks else "tool_calls")
    else:
        is_json = run.json_mode is not None and run.script.leak is None and not is_refusal
        answer = _stopped(Answer((), tuple(pieces(text)), is_json=is_json, is_refusal=is_refusal), run)
    answer = _cut(_with_thoughts(answer, run), run)
    return replace(answer, finish_reason=run.script.finish_reason or answer.finish_reason)


def _text(run: Run) -> str:
    script = run.script
    if script.empty:
        return ""
    if script.refusal is not None:
        return script.refusal
    if script.leak is not None:
        return script.leak
    if script.text is not None:
        return script.text
    if script.tokens is not None:
        return "".join(islice(cycle([" so", " many", " words"]), script.tokens))
    if run.model.task == "moderation":
        return verdict(run)
    if run.json_mode:
        return "JSON Mode couldn't be met" if "json-mode-unmet" in run.quirks else json_text(_json(run))
    if run.is_raw:
        return CONTINUATION
    translations = interpreted(run)
    if translations is not None:
        return translations
    plain = _made_up(run)
    return demanded(run, plain) or plain


def _json(run: Run) -> Any:
    schema = (run.json_mode or {}).get("json_schema")
    if not isinstance(schema, dict):
        return {"answer": _made_up(run)}
    return sample(schema.get("schema", schema))


def _made_up(run: Run) -> str:
    if is_tool_result(run.turns[-1]):
        return f"The tool says: {_result(run)[:ECHOED]}"
    start = "This is the emulator built into Flarelay, not a real model."
    if pictures := described(run):
        start += f" I see {len(pictures)} picture{'s' if len(pictures) > 1 else ''}: {', '.join(pictures)}."
    return f"{start} You said: {run.question[:ECHOED]}" if run.question else start


def _result(run: Run) -> str:
    """What the last tool answered, without the tags that stand around it where it is told in a user's turn."""
    content = text_of(run.turns[-1].get("content"))
    return content if run.turns[-1]["role"] == "tool" else content.partition("\n")[2].rpartition("\n")[0]


def _stopped(answer: Answer, run: Run) -> Answer:
    """Cut before the first stop sequence. Native models have no such field."""
    stop = run.body.get("stop") if run.model.input_shape == "chat-completions" else None
    texts = [stop] if isinstance(stop, str) else stop or []
    whole = answer.whole_text
    found = sorted((whole.find(text), text) for text in texts if text and text in whole)
    if not found:
        return answer
    place, text = found[0]
    return replace(answer, text=tuple(pieces(whole[:place])), stop_reason=text)


def _with_thoughts(answer: Answer, run: Run) -> Answer:
    thoughts = _thoughts(run)
    if not thoughts:
        return answer
    tags = run.model.quirks.think_tags
    if run.gives_openai and tags != "untagged" and "think-tags" not in run.quirks:
        return replace(answer, reasoning=tuple(pieces(thoughts)))
    if answer.is_json:  # the text is held to the schema from its first token
        return answer
    opening = "" if tags == "untagged" else "<think>\n"
    return replace(answer, text=(*pieces(f"{opening}{thoughts}\n</think>\n\n"), *answer.text))


def _thoughts(run: Run) -> str:
    if not is_thinking(run):
        return "" if run.script.reasoning is None or "reasoning" in run.model.capabilities else run.script.reasoning
    if run.script.reasoning is not None:
        return run.script.reasoning
    if run.script.empty:
        return ""
    first = f"The user wrote {count(run.question)} tokens."
    return first if run.body.get("reasoning_effort") == "low" else f"{first} The emulator has an answer to that."


def is_thinking(run: Run) -> bool:
    """Whether the model thinks, by nature, and was not told to leave it."""
    if "reasoning" not in run.model.capabilities or run.is_raw:
        return False
    reasoning = run.model.reasoning
    if reasoning is None or not reasoning.is_optional:
        return True
    if reasoning.off_suffix and reasoning.off_suffix in text_of(run.turns[-1].get("content")):
        return False
    body, switches = run.body, run.body.get("chat_template_kwargs") or {}
    is_none = body.get("reasoning_effort") in (None, "none") if "reasoning_effort" in body else False
    return not is_none and switches.get("enable_thinking") is not False and switches.get("thinking") is not False


def _cut(answer: Answer, run: Run) -> Answer:
    """At the allowed tokens: thoughts first, then text, then tool calls."""
    budget = run.max_tokens
    if budget is None or answer.completion_tokens <= budget:
        return answer
    if answer.tool_calls and choice_mode(run) == "named" and run.takes_openai:
        raise Fault(8006, "max_tokens is too small for the forced tool call")
    if answer.is_json and run.model.input_shape == "prompt-or-messages":
        raise Fault(5024)
    reasoning = answer.reasoning[:budget]
    text = answer.text[: budget - len(reasoning)]
    calls = tuple(_affordable(answer.tool_calls, budget - len(reasoning) - len(text)))
    reason = "model_length" if "model-length" in run.quirks else "length"
    return replace(answer, reasoning=reasoning, text=text, tool_calls=calls, finish_reason=reason, stop_reason=None)


def _cost(call: ToolCall) -> int:
    return 1 + count(call.arguments)


def _affordable(calls: tuple[ToolCall, ...], budget: int) -> list[ToolCall]:
    kept: list[ToolCall] = []
    for call in calls:
        if budget <= 0:
            break
        kept.append(replace(call, arguments="".join(pieces(call.arguments)[: budget - 1])))
        budget -= _cost(call)
    return kept


def parsed(text: str) -> Any:
    """The JSON value in a text, or the text if it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
