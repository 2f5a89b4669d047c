"""What native models take on ai/run. Source: Cloudflare's published model schemas, and refusals users met."""

from collections.abc import Mapping
from typing import Any

from app.emulator.checks import Check, field_problem, first, missing, type_of, type_problem
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
TURN = {"role": Check("string"), "name": Check("string"), "tool_call_id": Check("string")}
FUNCTION = {"name": Check("string"), "description": Check("string"), "parameters": Check("object")}
"""All three are required here, as are type and description of every property."""
LONGEST_TEXT = 131072
"""Characters of a prompt or of a message."""


def check_native(run: Run) -> None:
    """Raises 5006 for a body that the schema refuses, 5005, 5023 and 5025 for what the model can't do."""
    body = run.body
    _check_prompt_or_messages(run)
    problem = field_problem(body, FIELDS) or first(
        _tool_problem(f"/tools/{number}", tool) for number, tool in enumerate(body.get("tools", []))
    )
    problem = problem or _response_format_problem(run)
    if problem:
        raise bad_input(problem)
    if body.get("lora") and "lora" not in run.model.capabilities:
        raise Fault(5005)
    check_json_mode(run)


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
    if "prompt" in body and "messages" in body:
        raise bad_input("oneOf at '/' not met, 2 matches: prompt, messages")
    if "prompt" in body:
        if problem := _prompt_problem(body["prompt"]):
            raise bad_input(problem)
    elif "messages" not in body:
        raise neither_prompt_nor_messages()
    elif problem := _messages_problem(run, body["messages"]):
        raise neither_prompt_nor_messages(problem)


def _prompt_problem(prompt: Any) -> str | None:
    if mismatch := type_problem("/prompt", prompt, "string"):
        return mismatch
    return _length_problem("/prompt", prompt) if prompt else "'/prompt' must NOT have fewer than 1 characters"


def _length_problem(path: str, text: str) -> str | None:
    return f"'{path}' must NOT have more than {LONGEST_TEXT} characters" if len(text) > LONGEST_TEXT else None


def _messages_problem(run: Run, messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "Type mismatch of '/messages', a list of 1 item or more is needed"
    return first(_message_problem(run, f"/messages/{number}", message) for number, message in enumerate(messages))


def _message_problem(run: Run, path: str, message: Any) -> str | None:
    if type_of(message) != "object":
        return type_problem(path, message, "object")
    if absent := [name for name in ("role", "content") if name not in message]:
        return missing(path, *absent)
    calls = message.get("tool_calls") or []
    return first(
        [
            backend_problem(run, path, message),
            field_problem(message, TURN, path),
            first(type_problem(f"{path}/{name}", None, "string") for name, value in message.items() if value is None),
            first(arguments_problem(f"{path}/tool_calls/{number}", call) for number, call in enumerate(calls)),
        ]
    )


def backend_problem(run: Run, path: str, message: Mapping[str, Any]) -> str | None:
    """What no way in makes a native model take: the role `developer`, and parts where it reads only text."""
    if message.get("role") == "developer":
        return f"'{path}/role' must be one of 'system', 'user', 'assistant', 'tool'"
    content = message.get("content")
    if isinstance(content, list | dict) and "vision" not in run.model.capabilities:
        return type_problem(f"{path}/content", content, "string")
    if isinstance(content, str):
        return _length_problem(f"{path}/content", content)
    return first(
        f"'{path}/content/{number}/type' must be one of 'text', 'image_url'"
        for number, part in enumerate(content if isinstance(content, list) else [])
        if not isinstance(part, dict) or part.get("type") not in ("text", "image_url")
    )


def arguments_problem(path: str, call: Any) -> str | None:
    """A tool call of the history holds its arguments as a text, although native answers give an object."""
    function = call.get("function", call) if isinstance(call, dict) else {}
    return type_problem(f"{path}/function/arguments", function.get("arguments"), "string")


def _tool_problem(path: str, tool: Any) -> str | None:
    if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
        path, tool = f"{path}/function", tool["function"]
    if type_of(tool) != "object":
        return type_problem(path, tool, "object")
    if absent := [name for name in FUNCTION if name not in tool]:
        return missing(path, *absent)
    return field_problem(tool, FUNCTION, path) or _parameters_problem(f"{path}/parameters", tool["parameters"])


def _parameters_problem(path: str, parameters: Mapping[str, Any]) -> str | None:
    if absent := [name for name in ("type", "properties") if name not in parameters]:
        return missing(path, *absent)
    properties = parameters["properties"]
    return type_problem(f"{path}/properties", properties, "object") or first(
        _property_problem(f"{path}/properties/{name}", schema) for name, schema in properties.items()
    )


def _property_problem(path: str, schema: Any) -> str | None:
    keys = schema if isinstance(schema, dict) else {}
    absent = [key for key in ("type", "description") if key not in keys]
    return missing(path, *absent) if absent else None


def _response_format_problem(run: Run) -> str | None:
    if run.json_mode is None or run.json_mode["type"] != "json_schema":
        return None
    schema = run.json_mode.get("json_schema")
    if not isinstance(schema, dict):
        return missing("/response_format", "json_schema")
    if "schema" in schema and "type" not in schema:
        return "'/response_format/json_schema' is not a JSON Schema: unknown keyword 'schema'"
    return None
