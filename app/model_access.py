"""Which models a key may use: names in which `*` matches any text."""

import re
from collections.abc import Callable
from functools import lru_cache

from app.calls import Limits
from app.errors import NotFoundError

LONGEST_NAME = 500
"""Characters of a model's name that are looked at: patterns over megabytes would hold up everybody else's request."""


def check_model(limits: Limits, model_name: str, model_id: str) -> None:
    """OpenAI's words and status for a model that a key has no access to; a 403 would end some gateways' channels.

    Raises NotFoundError.
    """
    if not limits.models:
        return
    matches = _matcher(limits.models)
    if not (matches(model_name[:LONGEST_NAME]) or matches(model_id)):
        message = f"The model '{model_name[:200]}' does not exist or this key may not use it."
        raise NotFoundError(message, param="model", code="model_not_found")


@lru_cache(maxsize=1024)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(".*".join(map(re.escape, each.split("*"))) for each in patterns), re.DOTALL).fullmatch
