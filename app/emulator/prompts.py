"""What a prompt costs in tokens, and whether it fits beside the answer into the context window."""

from typing import Any, NamedTuple

from app.emulator.faults import Fault, refused_by_backend
from app.emulator.run import Family, Run, text_of
from app.emulator.samples import json_text
from app.emulator.script import script_of
from app.emulator.tokens import TOKENS_PER_PICTURE, TOKENS_PER_TURN, count


class Part(NamedTuple):
    """A part of a prompt that is cached whole: the tools, or a turn."""

    fingerprint: int
    tokens: int


def prompt_parts(run: Run) -> list[Part]:
    """In the order a model reads them."""
    tools = run.body.get("tools")
    parts = [Part(hash(json_text(tools)), count(json_text(tools)))] if tools else []
    if run.is_raw:
        return [*parts, Part(hash(run.question), count(run.question))]
    return parts + [Part(hash(json_text(turn)), _tokens(turn)) for turn in run.turns]


def _tokens(turn: dict[str, Any]) -> int:
    content = turn.get("content")
    found = content if isinstance(content, list) else [content]
    pictures = sum(1 for part in found if isinstance(part, dict) and part.get("type") == "image_url")
    calls = count(json_text(turn["tool_calls"])) if turn.get("tool_calls") else 0
    _, text = script_of(text_of(content))  # a script costs nothing
    return TOKENS_PER_TURN + count(text) + TOKENS_PER_PICTURE * pictures + calls


def check_context(run: Run, prompt_tokens: int) -> None:
    """Every family has its own words for a prompt that leaves too little room. Source: users' reports."""
    window, answer = run.model.context_window, run.max_tokens or 1
    total = prompt_tokens + answer
    if window is None or total <= window:
        return
    estimate = (
        f"The estimated number of input and maximum output tokens ({total}) exceeded this model context window limit "
        f"({window})."
    )
    if run.family is Family.NATIVE:
        raise Fault(5021, estimate)
    if run.family is Family.HYBRID:
        raise Fault(3010, estimate, prefix="AiError: AiError: ")
    if run.family is Family.CHAT:
        raise refused_by_backend(
            f"This model's maximum context length is {window} tokens. However, you requested {total} tokens "
            f"({prompt_tokens} in the messages, {answer} in the completion). Please reduce the length of the messages "
            "or completion."
        )
    raise Fault(
        None,
        f"Requested token count exceeds the model's maximum context length of {window} tokens. You requested a total "
        f"of {total} tokens: {prompt_tokens} tokens from the input messages and {answer} tokens for the completion.",
    )
