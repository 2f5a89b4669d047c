"""A whole answer as an object of OpenAI's Responses, as far as Cloudflare's published types have it.

There is no `model`, no `output_text` and no details of the usage.
"""

from collections.abc import Iterator
from typing import Any

from app.emulator.answers import Answer
from app.emulator.run import Run
from app.emulator.tokens import Usage


def response(run: Run, answer: Answer, usage: Usage) -> dict[str, Any]:
    is_cut = answer.finish_reason == "length"
    body = {
        "id": f"resp_{run.id}",
        "object": "response",
        "created_at": run.created,
        "status": "incomplete" if is_cut else "completed",
        "output": list(_items(run, answer)),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "error": None,
    }
    return body if "no-usage" in run.quirks else body | {"usage": _usage(usage)}


def _items(run: Run, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.reasoning and "hidden-thoughts" not in run.quirks:
        thoughts = {"type": "reasoning_text", "text": "".join(answer.reasoning)}
        yield {"type": "reasoning", "id": f"rs_{run.id}", "summary": [], "content": [thoughts]}
    if answer.text:
        text = answer.whole_text
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        if answer.is_refusal:
            part = {"type": "refusal", "refusal": text}
        message = {"type": "message", "id": f"msg_{run.id}", "role": "assistant", "status": "completed"}
        yield message | {"content": [part]}
    for number, call in enumerate(answer.tool_calls):
        said = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        yield {"type": "function_call", "id": f"fc_{run.id}{number}", "status": "completed"} | said


def _usage(usage: Usage) -> dict[str, int]:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
