"""Token ids -> text. LangChain's OpenAIEmbeddings sends no texts but what tiktoken makes of them.

The ids are read as cl100k_base, which OpenAI's embedding models use and LangChain takes for every model that tiktoken
does not know. Ids of another vocabulary can't be told apart, unless they lie outside of this one.
"""

from binascii import a2b_base64
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from app.errors import BadRequestError

SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}
"""Source: tiktoken, `tiktoken_ext/openai_public.py`."""


def to_text(ids: Sequence[int], param: str) -> str:
    """Ids, none of them negative, as the text they stand for. Raises BadRequestError, naming the item of `param`.

    A letter that the first or last id has only a part of, as where a client cut a long text, becomes U+FFFD.
    """
    vocabulary = _vocabulary()
    try:
        return b"".join(map(vocabulary.__getitem__, ids)).decode("utf-8", "replace")
    except (IndexError, TypeError) as failure:
        place = next(i for i, each in enumerate(ids) if each >= len(vocabulary) or vocabulary[each] is None)
        raise BadRequestError(
            f"There is no token {ids[place]} in cl100k_base, the vocabulary that token ids are read with. "
            "Send the text itself: in LangChain, set check_embedding_ctx_length=False.",
            param=f"{param}[{place}]",
            code="invalid_value",
        ) from failure


@cache
def _vocabulary() -> list[Any]:
    """Id -> bytes, or None for an id that is not in use. Read when first needed, which takes 30 ms and 5 MB.

    The file has a line for each id, in order: the token in base64, and the id.
    """
    file = resources.files("tiktoken_ext") / "data" / "cl100k_base.tiktoken"
    vocabulary: list[Any] = [a2b_base64(line.partition(b" ")[0]) for line in file.read_bytes().splitlines()]
    vocabulary += [None] * (max(SPECIAL.values()) + 1 - len(vocabulary))
    for text, token in SPECIAL.items():
        vocabulary[token] = text.encode()
    return vocabulary
