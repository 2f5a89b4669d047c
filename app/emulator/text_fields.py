"""Fields that take one text or many, and the words of the service for those that miss the schema."""

from collections.abc import Mapping
from typing import Any

from app.emulator.checks import first, missing, type_of, type_problem
from app.emulator.faults import bad_input
from app.emulator.run import texts_of
from app.emulator.script import script_of


def text_at(body: Mapping[str, Any], name: str) -> str:
    """The text of a field, without the script in it. Raises 5006 unless it is one of at least one character."""
    if name not in body:
        raise bad_input(missing("/", name))
    if problem := _text_problem(f"/{name}", body[name]):
        raise bad_input(problem)
    return script_of(body[name])[1]


def texts_at(body: Mapping[str, Any], name: str, most: int | None = None) -> list[str]:
    """One text or up to `most`, without the script in them; none if the field isn't there."""
    if name not in body:
        return []
    value = body[name]
    if isinstance(value, str):
        return [text_at(body, name)]
    problem = type_problem(f"/{name}", value, "string|array") or _count_problem(f"/{name}", value, most)
    if problem := problem or first(_text_problem(f"/{name}/{number}", text) for number, text in enumerate(value)):
        raise bad_input(problem)
    return _without_scripts(value)


def contexts_at(body: Mapping[str, Any], most: int) -> list[str]:
    """The texts of `contexts:[{text}]`, up to `most`."""
    if "contexts" not in body:
        raise bad_input(missing("/", "contexts"))
    value = body["contexts"]
    problem = type_problem("/contexts", value, "array") or _count_problem("/contexts", value, most)
    if problem := problem or first(_context_problem(f"/contexts/{number}", each) for number, each in enumerate(value)):
        raise bad_input(problem)
    return _without_scripts(value)


def _without_scripts(value: list[Any]) -> list[str]:
    return [script_of(text)[1] for text in texts_of(value)]


def _count_problem(path: str, items: list[Any], most: int | None) -> str | None:
    if not items:
        return f"'{path}' must NOT have fewer than 1 items"
    return f"'{path}' must NOT have more than {most} items" if most is not None and len(items) > most else None


def _text_problem(path: str, text: Any) -> str | None:
    if type_of(text) != "string":
        return type_problem(path, text, "string")
    return None if text else f"'{path}' must NOT have fewer than 1 characters"


def _context_problem(path: str, context: Any) -> str | None:
    if type_of(context) != "object":
        return type_problem(path, context, "object")
    return _text_problem(f"{path}/text", context["text"]) if "text" in context else missing(path, "text")
