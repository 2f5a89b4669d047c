"""What chat-completions models take on either path, and every model on ai/v1/chat/completions."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from app.emulator.checks import Check, field_problem, missing, quoted, type_of
from app.emulator.faults import bad_input, invalid_input, neither_prompt_nor_messages, refused_by_backend
from app.emulator.native_input import arguments_problems, backend_problems, check_json_mode
from app.emulator.pictures import urls
from app.emulator.run import Run

FIELDS = {
    "stream": Check("boolean|null"),
    "temperature": Check("number|null", 0, 2),
    "top_p": Check("number|null", 0, 1),
    "n": Check("integer|null", 1, 128),
    "stop": Check("string|array|null"),
    "max_tokens": Check("integer|null", 1),
    "max_completion_tokens": Check("integer|null", 1),
    "frequency_penalty": Check("number|null", -2, 2),
    "presence_penalty": Check("number|null", -2, 2),
    "seed": Check("integer|null"),
    "logprobs": Check("boolean|null"),
    "top_logprobs": Check("integer|null", 0, 20),
    "logit_bias": Check("object|null"),
    "stream_options": Check("object|null"),
    "tools": Check("array|null"),
    "tool_choice": Check("string|object|null"),
    "parallel_tool_calls": Check("boolean|null"),
    "response_format": Check("object|null"),
    "reasoning_effort": Check("string|null"),
    "chat_template_kwargs": Check("object|null"),
}
NATIVE_FIELDS = {"seed": Check("integer|null", 1, 9999999999), "top_p": Check("number|null", 0.001, 1)}
"""Narrower for native models, also behind the OpenAI path."""
FUNCTION = {"name": Check("string"), "description": Check("string"), "parameters": Check("object")}
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
PARTS = ("text", "image_url", "input_audio", "file")


def check_chat(run: Run) -> None:
    """Raises 5006 without messages, 8001 for what OpenAI's schema refuses, 5025 and 8007 for what the model can't."""
    body = run.body
    _check_turns(run)
    checks = FIELDS | NATIVE_FIELDS if run.model.input_shape == "prompt-or-messages" else FIELDS
    problems = chain(  # lazily: the later ones rely on what the earlier ones found
        [field_problem(body, checks)],
        _stop_problems(body.get("stop")),
        _tools_problems(body.get("tools") or []),
        _tool_choice_problems(body),
        _response_format_problems(run),
        _effort_problems(run),
    )
    for problem in filter(None, problems):
        raise invalid_input(problem)
    check_json_mode(run)
    if "vision" not in run.model.capabilities and any(urls(run)):
        raise refused_by_backend(f"{run.model.id} is not a multimodal model")


def _check_turns(run: Run) -> None:
    prompt, messages = run.body.get("prompt"), run.body.get("messages")
    if messages is None and isinstance(prompt, str) and prompt and not run.is_openai:
        return
    if not isinstance(messages, list) or not messages:
        raise neither_prompt_nor_messages()
    for number, message in enumerate(messages):
        path = f"/messages/{number}"
        for problem in _message_problems(path, message):
            raise invalid_input(problem)
        if run.model.input_shape == "prompt-or-messages":
            for problem in backend_problems(path, message, run):
                raise bad_input(problem)


def _message_problems(path: str, message: Any) -> Iterator[str]:
    if type_of(message) != "object":
        yield f"Type mismatch of '{path}', '{type_of(message)}' not in 'object'"
        return
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        yield f"'{path}/role' must be one of {quoted(ROLES)}"
    if content is None and role != "assistant":
        yield f"Type mismatch of '{path}/content', 'null' not in 'string', 'array'"
    if content is not None and type_of(content) not in ("string", "array"):
        yield f"Type mismatch of '{path}/content', '{type_of(content)}' not in 'string', 'array'"
    if isinstance(content, list):
        yield from _part_problems(f"{path}/content", content)
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        yield missing(path, "tool_call_id")
    for number, call in enumerate(message.get("tool_calls") or []):
        yield from _call_problems(f"{path}/tool_calls/{number}", call)


def _part_problems(path: str, parts: list[Any]) -> Iterator[str]:
    if not parts:
        yield f"'{path}' must NOT have fewer than 1 items"
    for number, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") not in PARTS:
            yield f"'{path}/{number}/type' must be one of {quoted(PARTS)}"
        elif part["type"] == "text" and not isinstance(part.get("text"), str):
            yield missing(f"{path}/{number}", "text")


def _call_problems(path: str, call: Any) -> Iterator[str]:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        yield missing(path, "function")
        return
    if absent := [name for name in ("id", "type") if not isinstance(call.get(name), str)]:
        yield missing(path, *absent)
    yield from arguments_problems(path, call)


def _stop_problems(stop: Any) -> Iterator[str]:
    if isinstance(stop, list) and (len(stop) > 4 or not all(isinstance(text, str) for text in stop)):
        yield "'/stop' must be a string or up to 4 of them"


def _tools_problems(tools: list[Any]) -> Iterator[str]:
    for number, tool in enumerate(tools):
        path = f"/tools/{number}"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom") or not isinstance(tool.get(kind), dict):
            yield missing(path, "type", "function")
        elif "name" not in tool[kind]:
            yield missing(f"{path}/{kind}", "name")
        elif problem := field_problem(tool[kind], FUNCTION, f"{path}/{kind}"):
            yield problem


def _tool_choice_problems(body: Mapping[str, Any]) -> Iterator[str]:
    choice = body.get("tool_choice")
    if choice in (None, "none", "auto"):
        return
    if isinstance(choice, str) and choice != "required":
        yield "'/tool_choice' must be one of 'none', 'auto', 'required'"
        return
    names = [tool[tool["type"]]["name"] for tool in body.get("tools") or []]
    if not names:
        yield "When using `tool_choice`, `tools` must be set."
    elif isinstance(choice, dict) and choice.get("type") != "allowed_tools":
        kind = choice.get(str(choice.get("type")))
        if not isinstance(kind, dict) or kind.get("name") not in names:
            yield "'/tool_choice' names no tool of '/tools'"


def _response_format_problems(run: Run) -> Iterator[str]:
    wanted = run.body.get("response_format")
    if not isinstance(wanted, dict):
        return
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        yield "'/response_format/type' must be one of 'text', 'json_object', 'json_schema'"
    envelope = wanted.get("json_schema")
    if wanted.get("type") == "json_schema" and not (
        isinstance(envelope, dict) and "name" in envelope and isinstance(envelope.get("schema"), dict)
    ):
        yield missing("/response_format/json_schema", "name", "schema")


def _effort_problems(run: Run) -> Iterator[str]:
    effort, reasoning = run.body.get("reasoning_effort"), run.model.reasoning
    efforts = reasoning.efforts if reasoning else ()
    if isinstance(effort, str) and effort not in efforts:
        yield f"'/reasoning_effort' must be one of [{quoted(efforts)}], found '{effort}'"
