"""What to try when a chat's call came to nothing: one changed call that may do better."""

from dataclasses import replace

from app.calls import Call, Failure, FailureKind, Reply
from app.schemas.chat import ChatCompletionRequest
from app.translators import json_mode, tool_emulation
from app.translators.base import Plan
from app.translators.budget import MARGIN
from app.translators.chat_reader import ChatReader
from app.translators.tools import Offer
from app.translators.turns import instruct


def again(plan: Plan[ChatCompletionRequest], call: Call, outcome: Reply | Failure) -> Call | None:
    """A changed call after an outcome that it can mend; None for all others."""
    if isinstance(outcome, Reply):
        return _after_reply(plan, call, outcome)
    if outcome.kind is FailureKind.CONTEXT_LENGTH:
        return _shorter(call, outcome)
    if outcome.kind in (FailureKind.JSON_MODE, FailureKind.NO_JSON_MODE) and "response_format" in call.body:
        return _instructed(plan, call)
    return None


def _after_reply(plan: Plan[ChatCompletionRequest], call: Call, reply: Reply) -> Call | None:
    if not (call.stream or plan.reading.wanted or plan.reading.offer.is_forced):
        return None
    reader = ChatReader(plan.reading, call)
    try:
        reader.read(reply)
    except Failure as failure:
        if reader.lacks_call:
            return _pressed(plan, call)
        if failure.kind is FailureKind.JSON_MODE:
            return _instructed(plan, call) if "response_format" in call.body else _corrected(call, reader, failure)
        if call.stream:  # a stream answered by an empty object, as gpt-oss and kimi do at times
            body = {key: value for key, value in call.body.items() if key != "stream_options"}
            return replace(call, body=body | {"stream": False}, stream=False)
    return None


def _shorter(call: Call, failure: Failure) -> Call | None:
    """With an answer that fits behind the prompt: Cloudflare counts both, and its message says how much there is."""
    if not failure.context_window or not failure.prompt_tokens or "max_tokens" not in call.body:
        return None
    asked = call.body["max_tokens"]
    prompt_tokens = failure.prompt_tokens
    if prompt_tokens > failure.context_window:  # the number is the sum of both
        prompt_tokens -= asked
    room = failure.context_window - prompt_tokens - MARGIN
    return replace(call, body=call.body | {"max_tokens": room}) if MARGIN <= room < asked else None


def _instructed(plan: Plan[ChatCompletionRequest], call: Call) -> Call:
    """JSON by prompt, after a JSON mode that is none."""
    body = {key: value for key, value in call.body.items() if key != "response_format"}
    turns = [dict(turn) for turn in body["messages"]]
    instruct(turns, json_mode.instruction(plan.reading.wanted), plan.context.model)
    return replace(call, body=body | {"messages": turns})


def _corrected(call: Call, reader: ChatReader, failure: Failure) -> Call:
    """The same question once more, with the answer that was no good and what was wrong with it."""
    turns = [
        *call.body["messages"],
        {"role": "assistant", "content": reader.text},
        {"role": "user", "content": f"{failure.message} Answer again, with the JSON only."},
    ]
    return replace(call, body=call.body | {"messages": turns})


def _pressed(plan: Plan[ChatCompletionRequest], call: Call) -> Call:
    """The same question with the demand for a tool in words, and in a form that the reader finds in a text."""
    offer = plan.reading.offer
    turns = [dict(turn) for turn in call.body["messages"]]
    instruct(turns, tool_emulation.demand(offer) if plan.reading.is_emulated else _demand(offer), plan.context.model)
    return replace(call, body=call.body | {"messages": turns})


def _demand(offer: Offer) -> str:
    return (
        f"You must call the tool {' or '.join(offer.functions)} now. If you cannot call it directly, answer with "
        'nothing but JSON of the form {"name": "<tool>", "arguments": {...}}.'
    )
