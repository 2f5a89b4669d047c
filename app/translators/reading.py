"""Reading: the request to a chat, as far as the reading of its answer depends on it."""

from typing import Literal

from app.translators.json_mode import Wanted
from app.translators.tools import Offer
from app.values import immutable


@immutable
class Reading:
    """What a reader needs to know of the request."""

    offer: Offer
    prompt_tokens: int
    """Estimated."""
    id: str
    think_tags: Literal["none", "tagged", "untagged"] = "none"
    stops: tuple[str, ...] = ()
    wanted: Wanted | None = None
    used_ids: frozenset[str] = frozenset()
    is_emulated: bool = False
    """The tools are told in the prompt, and called in the text."""
