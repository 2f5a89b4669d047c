"""What chat-completions models take on either path, and every model on ai/v1/chat/completions."""

from collections.abc import Mapping
from typing import Any

from app.emulator.checks import Check, field_problem, first, missing, quoted, type_of, type_problem
from app.emulator.faults import bad_input, invalid_input, neither_prompt_nor_messages, refused_by_backend
from app.emulator.native_input import FUNCTION, arguments_problem, backend_problem, check_json_mode
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
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
PARTS = ("text", "image_url", "input_audio", "file")


def check_chat(run: Run) -> None:
    """Raises 5006 without messages, 8001 for what OpenAI's schema refuses, 5025 and 8007 for what the model can't."""
    body = run.body
    _check_turns(run)
    checks = FIELDS | NATIVE_FIELDS if run.model.input_shape == "prompt-or-messages" else FIELDS
    problem = (  # the later looks rely on what the earlier ones found in order
        field_problem(body, checks)
        or _stop_problem(body.get("stop"))
        or first(_tool_problem(f"/tools/{number}", tool) for number, tool in enumerate(body.get("tools") or []))
        or _tool_choice_problem(body)
        or _response_format_problem(run)
        or _effort_problem(run)
    )
    if problem:
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
    paths = [(f"/messages/{number}", message) for number, message in enumerate(messages)]
    if problem := first(_message_problem(path, message) for path, message in paths):
        raise invalid_input(problem)
    if run.model.input_shape != "prompt-or-messages":
        return
    if problem := first(backend_problem(run, path, message) for path, message in paths):
        raise bad_input(problem)


def _message_problem(path: str, message: Any) -> str | None:
    if type_of(message) != "object":
        return type_problem(path, message, "object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        return f"'{path}/role' must be one of {quoted(ROLES)}"
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return missing(path, "tool_call_id")
    if content is not None or role != "assistant":
        problem = type_problem(f"{path}/content", content, "string|array") or _parts_problem(f"{path}/content", content)
        if problem:
            return problem
    calls = message.get("tool_calls") or []
    return first(_call_problem(f"{path}/tool_calls/{number}", call) for number, call in enumerate(calls))


def _parts_problem(path: str, content: str | list[Any]) -> str | None:
    if content == []:
        return f"'{path}' must NOT have fewer than 1 items"
    parts = content if isinstance(content, list) else []
    return first(_part_problem(f"{path}/{number}", part) for number, part in enumerate(parts))


def _part_problem(path: str, part: Any) -> str | None:
    if not isinstance(part, dict) or part.get("type") not in PARTS:
        return f"'{path}/type' must be one of {quoted(PARTS)}"
    return missing(path, "text") if part["type"] == "text" and not isinstance(part.get("text"), str) else None


def _call_problem(path: str, call: Any) -> str | None:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        return missing(path, "function")
    absent = [name for name in ("id", "type") if not isinstance(call.get(name), str)]
    return missing(path, *absent) if absent else arguments_problem(path, call)


def _stop_problem(stop: Any) -> str | None:
    is_wrong = isinstance(stop, list) and (len(stop) > 4 or not all(isinstance(text, str) for text in stop))
    return "'/stop' must be a string or up to 4 of them" if is_wrong else None


def _tool_problem(path: str, tool: Any) -> str | None:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in ("function", "custom") or not isinstance(tool.get(kind), dict):
        return missing(path, "type", "function")
    if "name" not in tool[kind]:
        return missing(f"{path}/{kind}", "name")
    return field_problem(tool[kind], FUNCTION, f"{path}/{kind}")


def _tool_choice_problem(body: Mapping[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    if choice in (None, "none", "auto"):
        return None
    if isinstance(choice, str) and choice != "required":
        return "'/tool_choice' must be one of 'none', 'auto', 'required'"
    names = [tool[tool["type"]]["name"] for tool in body.get("tools") or []]
    if not names:
        return "When using `tool_choice`, `tools` must be set."
    if choice == "required" or choice.get("type") == "allowed_tools":
        return None
    named = choice.get(str(choice.get("type")))
    is_known = isinstance(named, dict) and named.get("name") in names
    return None if is_known else "'/tool_choice' names no tool of '/tools'"


def _response_format_problem(run: Run) -> str | None:
    wanted = run.body.get("response_format") or {"type": "text"}
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        return "'/response_format/type' must be one of 'text', 'json_object', 'json_schema'"
    envelope = wanted.get("json_schema")
    is_envelope = isinstance(envelope, dict) and "name" in envelope and isinstance(envelope.get("schema"), dict)
    if wanted["type"] == "json_schema" and not is_envelope:
        return missing("/response_format/json_schema", "name", "schema")
    return None


def _effort_problem(run: Run) -> str | None:
    effort, reasoning = run.body.get("reasoning_effort"), run.model.reasoning
    efforts = reasoning.efforts if reasoning else ()
    if effort is None or effort in efforts:
        return None
    return f"'/reasoning_effort' must be one of [{quoted(efforts)}], found '{effort}'"
