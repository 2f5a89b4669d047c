"""What the emulator takes for tokens: word pieces, with the space before them. The same for prompts and answers."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

IDEOGRAPHS = "\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef"
_PIECE = re.compile(rf"\s*(?:[{IDEOGRAPHS}]|[^\s{IDEOGRAPHS}]{{1,8}})|\s+")

TOKENS_PER_TURN = 4
TOKENS_PER_PICTURE = 256


def pieces(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    return len(_PIECE.findall(text))


class Usage(NamedTuple):
    """What a run consumed. `cached_tokens` are part of the prompt."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    neurons: float

    def body(self, *, details: Sequence[str] = ()) -> dict[str, Any]:
        """As it goes out. `details` out of `cached`, `reasoning`, `neurons` are the parts that not every answer has."""
        body: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if "cached" in details or self.cached_tokens:
            body["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        if "reasoning" in details:
            body["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        if "neurons" in details:
            body["neurons"] = self.neurons
        return body


ZERO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
