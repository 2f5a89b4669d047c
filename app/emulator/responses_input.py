"""OpenAI's Responses as gpt-oss takes them: whole answers only, and nothing is kept from one to the next.

Source: Cloudflare's published types, and its docs, Workers AI, OpenAI-compatible API. A request that is in order is to
the model what the chat is that it comes to.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.emulator.checks import Check, field_problem, first, missing, quoted, type_of, type_problem
from app.emulator.faults import bad_input, invalid_input, no_such_model
from app.emulator.run import Family, Run

FIELDS = {
    "input": Check("string|array"),
    "instructions": Check("string|null"),
    "max_output_tokens": Check("integer|null", 1),
    "parallel_tool_calls": Check("boolean|null"),
    "include": Check("array|null"),
    "prompt_cache_key": Check("string"),
    "reasoning": Check("object|null"),
    "safety_identifier": Check("string"),
    "service_tier": Check("string|null"),
    "stream": Check("boolean|null"),
    "stream_options": Check("object|null"),
    "temperature": Check("number|null", 0, 2),
    "text": Check("object"),
    "tool_choice": Check("string|object"),
    "tools": Check("array"),
    "top_p": Check("number|null", 0, 1),
    "truncation": Check("string|null"),
    "options": Check("object"),
}
UNKEPT = ("previous_response_id", "conversation", "background", "store", "stream")
"""What would need a memory, or a stream."""
INCLUDED = ("message.input_image.image_url", "message.output_text.logprobs")
ROLES = ("user", "assistant", "system", "developer")
PARTS = {"input_text": "text", "output_text": "text", "refusal": "refusal", "input_image": "image_url"}
"""Types of parts -> where their content is."""
SAME = ("temperature", "top_p", "parallel_tool_calls", "tool_choice")


def speaks_responses(run: Run) -> bool:
    """Whether the body of a run asks for a response: `ai/run` tells it by the field. Source: Cloudflare's changelog."""
    return run.family is Family.RESPONSES and "input" in run.body and "no-responses" not in run.quirks


def as_chat(run: Run) -> Run:
    """The run as a chat. Raises 5007 for a model that has no Responses, 5006 without input, 8001 for all else."""
    if run.family is not Family.RESPONSES or "no-responses" in run.quirks:
        raise no_such_model(run.model.id)
    if not run.body.get("input"):
        raise bad_input(missing("/", "input"))
    if problem := _problem(run.body):
        raise invalid_input(problem)
    return replace(run, body=_chat_body(run.body), is_response=True)


def _problem(body: Mapping[str, Any]) -> str | None:
    items = body["input"] if isinstance(body["input"], list) else []
    return (  # the later looks rely on what the earlier ones found in order
        first(f"'/{name}' is not supported" for name in UNKEPT if body.get(name))
        or first(f"additional property '{name}'" for name in body if name not in FIELDS and name not in UNKEPT)
        or field_problem(body, FIELDS)
        or first(_item_problem(f"/input/{number}", item) for number, item in enumerate(items))
        or first(_tool_problem(f"/tools/{number}", tool) for number, tool in enumerate(body.get("tools") or ()))
        or _tool_choice_problem(body.get("tool_choice"))
        or first(f"'/include' has no '{name}'" for name in body.get("include") or () if name not in INCLUDED)
    )


def _item_problem(path: str, item: Any) -> str | None:
    if type_of(item) != "object":
        return type_problem(path, item, "object")
    kind = item.get("type", "message")
    looks = ITEMS.get(str(kind))
    return looks(path, item) if looks else f"'{path}/type' must be one of {quoted(ITEMS)}"


def _message_problem(path: str, item: Mapping[str, Any]) -> str | None:
    if item.get("role") not in ROLES:
        return f"'{path}/role' must be one of {quoted(ROLES)}"
    content = item.get("content")
    return type_problem(f"{path}/content", content, "string|array") or _parts_problem(f"{path}/content", content)


def _parts_problem(path: str, content: Any) -> str | None:
    parts = content if isinstance(content, list) else []
    return first(_part_problem(f"{path}/{number}", part) for number, part in enumerate(parts))


def _part_problem(path: str, part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in PARTS:
        return f"'{path}/type' must be one of {quoted(PARTS)}"
    return type_problem(f"{path}/{PARTS[kind]}", part.get(PARTS[kind]), "string")


def _call_problem(path: str, item: Mapping[str, Any]) -> str | None:
    return first(type_problem(f"{path}/{name}", item.get(name), "string") for name in ("call_id", "name", "arguments"))


def _output_problem(path: str, item: Mapping[str, Any]) -> str | None:
    content = item.get("output")
    return (
        type_problem(f"{path}/call_id", item.get("call_id"), "string")
        or type_problem(f"{path}/output", content, "string|array")
        or _parts_problem(f"{path}/output", content)
    )


def _reasoning_problem(path: str, item: Mapping[str, Any]) -> str | None:
    return (
        type_problem(f"{path}/id", item.get("id"), "string")
        or type_problem(f"{path}/summary", item.get("summary"), "array")
        or first(
            f"'{path}/content/{number}/type' must be one of 'reasoning_text'"
            for number, part in enumerate(item.get("content") or ())
            if part.get("type") != "reasoning_text"
        )
    )


ITEMS: dict[str, Callable[[str, Mapping[str, Any]], str | None]] = {
    "message": _message_problem,
    "function_call": _call_problem,
    "function_call_output": _output_problem,
    "reasoning": _reasoning_problem,
}
"""Types of items -> what looks at them. No files, no sound, no tools but functions."""


def _tool_problem(path: str, tool: Any) -> str | None:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return f"'{path}/type' must be one of 'function'"
    return type_problem(f"{path}/name", tool.get("name"), "string")


def _tool_choice_problem(choice: Any) -> str | None:
    """Only what the types have: what is left to the model is left out."""
    is_named = isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("name"), str)
    return None if is_named or choice in (None, "none") else "'/tool_choice' must be 'none' or name a function"


def _chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    chat = {name: body[name] for name in SAME if body.get(name) is not None}
    chat |= {"messages": _messages(body), "max_tokens": body.get("max_output_tokens")}
    if body.get("tools"):
        chat["tools"] = [{"type": "function", "function": _without_type(tool)} for tool in body["tools"]]
    if isinstance(choice := body.get("tool_choice"), dict):
        chat["tool_choice"] = {"type": "function", "function": _without_type(choice)}
    if wanted := text.get("format"):
        is_schema = wanted.get("type") == "json_schema"
        schema = {"type": "json_schema", "json_schema": _without_type(wanted)}
        chat["response_format"] = schema if is_schema else wanted
    if effort := reasoning.get("effort"):
        chat["reasoning_effort"] = effort
    return chat


def _without_type(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key != "type" and each is not None}


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns: list[dict[str, Any]] = []
    if body.get("instructions"):
        turns.append({"role": "system", "content": body["instructions"]})
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            turns.append({"role": item["role"], "content": _content(item["content"])})
        elif kind == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item["call_id"], "content": _content(item["output"])})
        elif kind == "function_call":
            _add_call(turns, item)
    return turns


def _add_call(turns: list[dict[str, Any]], item: Mapping[str, Any]) -> None:
    """To the model's turn, begun if it has said nothing before."""
    if not turns or turns[-1]["role"] != "assistant":
        turns.append({"role": "assistant", "content": ""})
    function = {"name": item["name"], "arguments": item["arguments"]}
    calls = turns[-1].setdefault("tool_calls", [])
    calls.append({"id": item["call_id"], "type": "function", "function": function})


def _content(content: Any) -> Any:
    return [_part(part) for part in content] if isinstance(content, list) else content


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "input_image":
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return {"type": "text", "text": part[PARTS[part["type"]]]}
