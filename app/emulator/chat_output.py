"""OpenAI's shape, as Workers AI writes it: a whole completion, and its chunks."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.emulator.answers import Answer, parsed
from app.emulator.native_output import Frame, Frames, as_number, call_parts
from app.emulator.run import Family, Run
from app.emulator.tokens import ZERO_USAGE, Usage


def completion(run: Run, answer: Answer, usage: Usage) -> dict[str, Any]:
    """A `chat.completion`, or a `text_completion` where a hybrid model got a prompt."""
    choice: dict[str, Any] = {"index": 0}
    choice |= {"text": answer.whole_text} if _is_text_completion(run) else {"message": _message(run, answer)}
    choice |= {
        "finish_reason": None if "null-finish" in run.quirks else answer.finish_reason,
        "stop_reason": answer.stop_reason,
        "logprobs": _logprobs(run, answer.text),
    }
    body = _head(run, "text_completion" if _is_text_completion(run) else "chat.completion") | {"choices": [choice]}
    if "no-usage" not in run.quirks:
        details = ("cached", "neurons") if run.family is Family.NATIVE else ("cached",)
        body["usage"] = _usage(run, usage, details)
    if "vllm-fields" in run.quirks:
        choice["token_ids"] = None
        body |= {"service_tier": None, "kv_transfer_params": None, "prompt_token_ids": None}
    return body | {"prompt_logprobs": None}


def chunks(run: Run, answer: Answer, usage: Usage) -> Frames:
    """The events: role, thoughts, text and tool calls; then finish_reason and usage."""
    return Frames(
        (_chunk(run, number, delta, pieces) for number, (delta, pieces) in enumerate(_deltas(run, answer))),
        _closing(run, answer, usage),
    )


def _is_text_completion(run: Run) -> bool:
    return run.family is Family.HYBRID and "messages" not in run.body


def _message(run: Run, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _content(run, answer)}
    if answer.is_refusal:
        message |= {"content": None, "refusal": answer.whole_text}
    if answer.reasoning and "hidden-thoughts" not in run.quirks:
        message[_reasoning_key(run)] = "".join(answer.reasoning)
    return message | {"tool_calls": [_call(run, call) for call in answer.tool_calls]}


def _content(run: Run, answer: Answer) -> Any:
    text = answer.whole_text
    if answer.is_json and "json-object-content" in run.quirks:
        return parsed(text)
    if text:
        return as_number(text) if "numeric-response" in run.quirks else text
    if answer.tool_calls:
        return _beside_tools(run)
    return None if answer.reasoning else ""


def _beside_tools(run: Run) -> str | None:
    if "space-beside-tools" in run.quirks:
        return " "
    return "" if "empty-beside-tools" in run.quirks else None


def _reasoning_key(run: Run) -> str:
    return "reasoning" if "reasoning-field" in run.quirks else "reasoning_content"


def _call(run: Run, call: Any) -> dict[str, Any]:
    arguments = parsed(call.arguments) if "object-arguments" in run.quirks else call.arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _usage(run: Run, usage: Usage, details: Sequence[str]) -> dict[str, Any]:
    return usage.body(details=(*details, "reasoning") if "reasoning-tokens" in run.quirks else details)


def _logprobs(run: Run, pieces: Sequence[str]) -> dict[str, Any] | None:
    is_asked = run.body.get("logprobs") and run.model.input_shape == "chat-completions"
    if not (is_asked or run.script.logprobs):
        return None
    most = run.body.get("top_logprobs") or 0
    others = [{"token": f"other{rank}", "logprob": -2.5 - rank, "bytes": None} for rank in range(1, most)]
    found = []
    for piece in pieces:
        token = {"token": piece, "logprob": -0.125, "bytes": list(piece.encode())}
        found.append(token | {"top_logprobs": [token, *others] if most else []})
    return {"content": found}


def _head(run: Run, kind: str, number: int = 0) -> dict[str, Any]:
    shift = number if "changing-ids" in run.quirks else 0
    return {"id": f"chatcmpl-{run.id}{shift or ''}", "object": kind, "created": run.created + shift} | {
        "model": run.model.id
    }


def _deltas(run: Run, answer: Answer) -> Iterator[tuple[dict[str, Any], Sequence[str]]]:
    """Each delta, and the tokens of text in it."""
    if not _is_text_completion(run):
        yield {"role": "assistant", "content": ""}, ()
    for piece in answer.reasoning:
        yield {} if "hidden-thoughts" in run.quirks else {_reasoning_key(run): piece}, ()
    for piece in answer.text:
        if answer.is_refusal and not _is_text_completion(run):
            yield {"refusal": piece}, (piece,)
            continue
        yield {"content": as_number(piece) if "numeric-response" in run.quirks else piece}, (piece,)
    if answer.tool_calls and not answer.text and _beside_tools(run) is not None:
        yield {"content": _beside_tools(run)}, ()
    for number, call in enumerate(answer.tool_calls):
        index = {} if "missing-index" in run.quirks else {"index": number}
        parts = [_call(run, call)] if "object-arguments" in run.quirks else call_parts(run, call)
        for part in parts:
            yield {"tool_calls": [index | part]}, ()


def _chunk(run: Run, number: int, delta: dict[str, Any], pieces: Sequence[str] = ()) -> Frame:
    if _is_text_completion(run):
        choice: dict[str, Any] = {"index": 0, "text": delta.get("content", ""), "finish_reason": None}
    else:
        if "no-role" in run.quirks:
            delta = {key: value for key, value in delta.items() if key != "role"}
        elif "repeat-role" in run.quirks:
            delta = {"role": "assistant"} | delta
        choice = {"index": 0, "delta": delta, "finish_reason": None}
    if pieces and (logprobs := _logprobs(run, pieces)):
        choice["logprobs"] = logprobs
    frame = _frame(run, number, [choice])
    if pieces and "double-response" in run.quirks and not run.is_openai:
        frame["response"] = delta["content"]
    return frame


def _frame(run: Run, number: int, choices: list[Any]) -> Frame:
    if "bare-frames" in run.quirks:
        return {"choices": choices}
    kind = "text_completion" if _is_text_completion(run) else "chat.completion.chunk"
    return _head(run, kind, number) | {"choices": choices}


def _closing(run: Run, answer: Answer, usage: Usage) -> Iterator[Frame]:
    """ai/run always tells the usage, the OpenAI path where `include_usage` asks (native models: always)."""
    number = answer.completion_tokens + 1
    finish = _chunk(run, number, {})
    finish["choices"][0]["finish_reason"] = answer.finish_reason
    if "vllm-fields" in run.quirks:
        finish["choices"][0] |= {"stop_reason": answer.stop_reason, "token_ids": None}
    has_usage = "no-usage" not in run.quirks and _tells_usage(run)
    if not run.quirks & {"late-finish", "no-finish"}:
        yield finish | ({"usage": ZERO_USAGE} if has_usage and "zero-usage" in run.quirks else {})
    if "repeat-finish" in run.quirks:
        yield finish
    if not has_usage:
        if "late-finish" in run.quirks:
            yield finish
        return
    choices = finish["choices"] if run.quirks & {"late-finish", "repeat-finish"} else []
    details = ("cached", "neurons") if run.is_openai else ("cached",)
    yield _frame(run, number, choices) | {"usage": _usage(run, usage, details)}
    if "usage-frame" in run.quirks and not run.is_openai:
        yield {"response": "", "usage": _usage(run, usage, ("neurons",))}


def _tells_usage(run: Run) -> bool:
    options = run.body.get("stream_options") or {}
    return not run.is_openai or run.model.input_shape == "prompt-or-messages" or options.get("include_usage") is True
