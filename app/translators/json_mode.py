"""Answers that shall be JSON: asked for in each model's terms or by prompt, then checked.

The answer of a model that only promised JSON is parsed, checked against the schema and written compactly, so that a
client can rely on it whichever model ran.
"""

import re
from typing import TYPE_CHECKING, Any

import orjson

from app.calls import Failure, FailureKind
from app.errors import BadRequestError
from app.translators.sources import asked_source, said_source
from app.values import immutable

if TYPE_CHECKING:
    import jsonschema_rs

FENCE = re.compile(r"```(?:json)?\s*\n?(.*?)```", re.DOTALL)
REFUSAL = "JSON Mode couldn't be met"
"""Cloudflare's docs, Workers AI, JSON Mode: what stands in place of an answer when the schema could not be kept."""


@immutable
class Wanted:
    """The JSON that a request asks for."""

    schema: dict[str, Any] | None = None
    """None if any object will do."""
    name: str = "answer"
    description: str | None = None
    is_strict: bool | None = None


def to_wanted(response_format: dict[str, Any] | str | None) -> Wanted | None:
    """What `response_format` asks for; None for text. Raises BadRequestError for what can't be understood.

    Takes OpenAI's envelope, a bare schema in its place, and either of them as a JSON text (Dify sends that).
    """
    wish = _loaded(response_format, "response_format") if response_format else None
    match wish:
        case None | {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": envelope}:
            return _from_envelope(_loaded(envelope, "response_format.json_schema"))
        case {"type": "json_schema" | "json_object", "schema": schema}:  # as llama.cpp and others have it
            return _from_envelope({"schema": schema})
        case {"type": "json_object"}:
            return Wanted()
        case {"type": "json_schema"}:
            raise _invalid("response_format.json_schema", "is missing")
        case {}:
            raise _invalid("response_format.type", "must be 'text', 'json_object' or 'json_schema'")
    raise _invalid("response_format", "must be an object")


def _from_envelope(envelope: Any) -> Wanted:
    match envelope:
        case {"schema": schema} if schema is not None:
            schema = _loaded(schema, "response_format.json_schema.schema")
            wanted = Wanted(
                schema, str(envelope.get("name") or "answer"), envelope.get("description"), envelope.get("strict")
            )
        case {"name": str(name)} if "properties" not in envelope and "type" not in envelope:
            return Wanted(name=name, description=envelope.get("description"))
        case {}:
            wanted = Wanted(envelope, str(envelope.get("title") or "answer"), envelope.get("description"))
        case _:
            raise _invalid("response_format.json_schema", "must be an object")
    if not isinstance(wanted.schema, dict):
        raise _invalid("response_format.json_schema.schema", "must be an object")
    _validator(wanted.schema)
    return wanted


def bare(wanted: Wanted) -> dict[str, Any]:
    """`response_format` as the native models take it: the schema without OpenAI's envelope."""
    if wanted.schema is None:
        return {"type": "json_object"}
    named = {"title": wanted.name} | ({"description": wanted.description} if wanted.description else {})
    return {"type": "json_schema", "json_schema": named | wanted.schema}


def enveloped(wanted: Wanted) -> dict[str, Any]:
    """`response_format` as OpenAI and the chat-completions models have it; `name` is required."""
    if wanted.schema is None:
        return {"type": "json_object"}
    rest = {"description": wanted.description, "strict": wanted.is_strict}
    envelope = {"name": wanted.name, "schema": wanted.schema}
    return {
        "type": "json_schema",
        "json_schema": envelope | {key: value for key, value in rest.items() if value is not None},
    }


def instruction(wanted: Wanted) -> str:
    """The same wish in words, for models that have no JSON mode."""
    text = "Answer with one JSON object and nothing else: no prose around it, no code fence."
    if wanted.schema is None:
        return text
    schema = asked_source(wanted.schema, "response_format.json_schema")
    return f"{text} It must satisfy this JSON Schema:\n{schema}"


def to_json(text: str, wanted: Wanted) -> str:
    """The JSON in a model's answer, compactly. Raises Failure(JSON_MODE) if there is none, or not the wanted one."""
    problems = ["The model did not answer with valid JSON."]
    for value in _values(text):
        problem = _problem(value, wanted)
        if problem is None:
            return said_source(value)
        problems.append(problem)
    raise Failure(FailureKind.JSON_MODE, problems[-1], status=502)


def _problem(value: Any, wanted: Wanted) -> str | None:
    if wanted.schema is None:
        return None if isinstance(value, dict) else "The model did not answer with a JSON object."
    error = next(_validator(wanted.schema).iter_errors(value), None)
    return f"The model's JSON does not satisfy the schema: {error.message[:300]}" if error else None


def _values(text: str) -> list[Any]:
    """The JSON that the text is; else what is in the fences or the prose that models put around it all the same."""
    if whole := _parsed(text):
        return whole
    slices = [text[text.find(opening) : text.rfind(closing) + 1] for opening, closing in ("{}", "[]")]
    fenced = [match[1] for match in FENCE.finditer(text)]
    return [value for candidate in fenced + slices for value in _parsed(candidate)]


def _parsed(text: str) -> list[Any]:
    """The value of a JSON text, or nothing: null is a value too."""
    try:
        return [orjson.loads(text)]
    except orjson.JSONDecodeError:
        return []


def _validator(schema: Any) -> "jsonschema_rs.Validator":
    import jsonschema_rs  # 3 MB, which most servers never need

    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as failure:
        problem = str(failure).splitlines()[0][:300]
        raise _invalid("response_format.json_schema", f"is no JSON Schema that can be used: {problem}") from failure


def _refuse(uri: str) -> Any:
    raise ValueError(f"references to other documents ({uri[:100]}) are not followed")


def _loaded(value: Any, param: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as failure:
        raise _invalid(param, "must be an object") from failure


def _invalid(param: str, problem: str) -> BadRequestError:
    return BadRequestError(f"{param} {problem}.", param=param, code="invalid_value")
