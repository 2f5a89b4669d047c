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
    "file": (bytes,),
}


def type_of(value: Any) -> str:
    """The JSON type of a value, or `file` for one out of a form."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, types in _TYPES.items() if isinstance(value, types))


class Check(NamedTuple):
    """`type` is a JSON type, or several with `|` between them; the limits are for numbers, and the lengths of texts."""

    type: str
    minimum: float | None = None
    maximum: float | None = None

    def problem(self, path: str, value: Any) -> str | None:
        """What is wrong with a value; None if nothing is."""
        if mismatch := type_problem(path, value, self.type):
            return mismatch
        if isinstance(value, str):
            return self._length_problem(path, len(value))
        if not isinstance(value, int | float):
            return None
        if self.minimum is not None and value < self.minimum:
            return f"'{path}' must be >= {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"'{path}' must be <= {self.maximum:.12g}"
        return None

    def _length_problem(self, path: str, length: int) -> str | None:
        if self.minimum is not None and length < self.minimum:
            return f"'{path}' must NOT have fewer than {self.minimum:g} characters"
        if self.maximum is not None and length > self.maximum:
            return f"'{path}' must NOT have more than {self.maximum:g} characters"
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
