"""What native models take on ai/run. Source: Cloudflare's published model schemas, and refusals users met."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.emulator.checks import Check, field_problem, missing, type_of, type_problem
from app.emulator.faults import Fault, bad_input, neither_prompt_nor_messages
from app.emulator.run import Run

FIELDS = {
    "stream": Check("boolean"),
    "raw": Check("boolean"),
    "max_tokens": Check("integer", 1),
    "temperature": Check("number", 0, 5),
    "top_p": Check("number", 0.001, 1),
    "top_k": Check("integer", 1, 50),
    "seed": Check("integer", 1, 9999999999),
    "repetition_penalty": Check("number", 0, 2),
    "frequency_penalty": Check("number", -2, 2),
    "presence_penalty": Check("number", -2, 2),
    "lora": Check("string"),
    "tools": Check("array"),
    "functions": Check("array"),
    "response_format": Check("object"),
    "guided_json": Check("object"),
    "image": Check("array|string"),
}
LONGEST_TEXT = 131072
"""Characters of a prompt or of a message."""


def check_native(run: Run) -> None:
    """Raises 5006 for a body that the schema refuses, 5005, 5023 and 5025 for what the model can't do."""
    body = run.body
    _check_prompt_or_messages(run)
    if problem := field_problem(body, FIELDS):
        raise bad_input(problem)
    for number, tool in enumerate(body.get("tools", [])):
        for problem in _tool_problems(f"/tools/{number}", tool):
            raise bad_input(problem)
    if body.get("lora") and "lora" not in run.model.capabilities:
        raise Fault(5005)
    _check_response_format(run)


def check_json_mode(run: Run) -> None:
    """JSON mode works with some models, and with native ones only unstreamed. Source: Cloudflare's docs, JSON Mode."""
    if run.json_mode is None:
        return
    if "json-mode" not in run.model.capabilities:
        raise Fault(5025)
    if run.wants_stream and run.model.input_shape == "prompt-or-messages":
        raise Fault(5023)


def _check_prompt_or_messages(run: Run) -> None:
    body = run.body
    if "messages" not in body:
        if fault := _prompt_fault(body):
            raise fault
        return
    if "prompt" in body:
        raise bad_input("oneOf at '/' not met, 2 matches: prompt, messages")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise neither_prompt_nor_messages("Type mismatch of '/messages', a list of 1 item or more is needed")
    for number, message in enumerate(messages):
        for problem in message_problems(f"/messages/{number}", message, run):
            raise neither_prompt_nor_messages(problem)


def _prompt_fault(body: Mapping[str, Any]) -> Fault | None:
    if "prompt" not in body:
        return neither_prompt_nor_messages()
    prompt = body["prompt"]
    if mismatch := type_problem("/prompt", prompt, "string"):
        return bad_input(mismatch)
    if not prompt:
        return bad_input("'/prompt' must NOT have fewer than 1 characters")
    return bad_input(_too_long("/prompt")) if len(prompt) > LONGEST_TEXT else None


def _too_long(path: str) -> str:
    return f"'{path}' must NOT have more than {LONGEST_TEXT} characters"


def message_problems(path: str, message: Any, run: Run) -> Iterator[str]:
    """What the schema refuses in one message, first things first."""
    if type_of(message) != "object":
        yield f"Type mismatch of '{path}', '{type_of(message)}' not in 'object'"
        return
    if absent := [name for name in ("role", "content") if name not in message]:
        yield missing(path, *absent)
        return
    yield from backend_problems(path, message, run)
    for name, value in message.items():
        if value is None or (name in ("role", "name", "tool_call_id") and not isinstance(value, str)):
            yield f"Type mismatch of '{path}/{name}', '{type_of(value)}' not in 'string'"
    for number, call in enumerate(message.get("tool_calls") or []):
        yield from arguments_problems(f"{path}/tool_calls/{number}", call)


def backend_problems(path: str, message: Mapping[str, Any], run: Run) -> Iterator[str]:
    """What no way in makes a native model take: the role `developer`, and parts where it reads only text."""
    if message.get("role") == "developer":
        yield f"'{path}/role' must be one of 'system', 'user', 'assistant', 'tool'"
    content = message.get("content")
    if isinstance(content, list | dict) and "vision" not in run.model.capabilities:
        yield f"Type mismatch of '{path}/content', '{type_of(content)}' not in 'string'"
    for number, part in enumerate(content if isinstance(content, list) else []):
        if not isinstance(part, dict) or part.get("type") not in ("text", "image_url"):
            yield f"'{path}/content/{number}/type' must be one of 'text', 'image_url'"
    if isinstance(content, str) and len(content) > LONGEST_TEXT:
        yield _too_long(f"{path}/content")


def arguments_problems(path: str, call: Any) -> Iterator[str]:
    """A tool call of the history holds its arguments as a text, although native answers give an object."""
    function = call.get("function", call) if isinstance(call, dict) else {}
    if problem := type_problem(f"{path}/function/arguments", function.get("arguments"), "string"):
        yield problem


def _tool_problems(path: str, tool: Any) -> Iterator[str]:
    if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
        path, tool = f"{path}/function", tool["function"]
    if type_of(tool) != "object":
        yield f"Type mismatch of '{path}', '{type_of(tool)}' not in 'object'"
        return
    if absent := [name for name in ("name", "description", "parameters") if name not in tool]:
        yield missing(path, *absent)
        return
    checks = {"name": Check("string"), "description": Check("string"), "parameters": Check("object")}
    if problem := field_problem(tool, checks, path):
        yield problem
        return
    yield from _parameters_problems(f"{path}/parameters", tool["parameters"])


def _parameters_problems(path: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    if absent := [name for name in ("type", "properties") if name not in parameters]:
        yield missing(path, *absent)
        return
    if problem := type_problem(f"{path}/properties", parameters["properties"], "object"):
        yield problem
        return
    for name, schema in parameters["properties"].items():
        keys = schema if isinstance(schema, dict) else {}
        if absent := [key for key in ("type", "description") if key not in keys]:
            yield missing(f"{path}/properties/{name}", *absent)


def _check_response_format(run: Run) -> None:
    if run.json_mode and run.json_mode["type"] == "json_schema":
        schema = run.json_mode.get("json_schema")
        if not isinstance(schema, dict):
            raise bad_input(missing("/response_format", "json_schema"))
        if "schema" in schema and "type" not in schema:
            raise bad_input("'/response_format/json_schema' is not a JSON Schema: unknown keyword 'schema'")
    check_json_mode(run)
