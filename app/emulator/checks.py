"""Check: the type and range of one field of a request, and the words the service uses when it is missed."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, types in _TYPES.items() if isinstance(value, types))


class Check(NamedTuple):
    """`type` is a JSON type, or several with `|` between them."""

    type: str
    minimum: float | None = None
    maximum: float | None = None

    def problem(self, path: str, value: Any) -> str | None:
        """What is wrong with a value; None if nothing is."""
        if mismatch := type_problem(path, value, self.type):
            return mismatch
        if not isinstance(value, int | float):
            return None
        if self.minimum is not None and value < self.minimum:
            return f"'{path}' must be >= {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"'{path}' must be <= {self.maximum:.12g}"
        return None


def type_problem(path: str, value: Any, wanted: str) -> str | None:
    found = type_of(value)
    allowed = wanted.split("|")
    if found in allowed or (found == "integer" and "number" in allowed):
        return None
    return f"Type mismatch of '{path}', '{found}' not in {quoted(allowed)}"


def first(problems: Iterable[str | None]) -> str | None:
    """The first problem of several looks, of which those after it are not taken."""
    return next(filter(None, problems), None)


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def missing(path: str, *names: str) -> str:
    return f"required properties at '{path}' are {quoted(names)}"


def field_problem(body: Mapping[str, Any], checks: Mapping[str, Check], path: str = "") -> str | None:
    """The first field that misses its check. Fields without a check are free, as they are for the service."""
    return first(check.problem(f"{path}/{name}", body[name]) for name, check in checks.items() if name in body)
