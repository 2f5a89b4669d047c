"""TranslatingFacts: what each model that does nothing but translate takes, from the rows of `translators.json`.

Cloudflare publishes no list of m2m100's languages, so these are the 100 of the open model's card; indictrans2's are
those of Cloudflare's published types. Lengths follow from the open models: m2m100 reads 1,024 tokens, but loses
sentences of long paragraphs, and indictrans2 reads 256 tokens.
"""

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from importlib import resources
from typing import Any

import orjson

from app.catalog.models import Catalog, Model
from app.errors import BadRequestError
from app.values import immutable

HEED_MANNER = {"translation": False, "text-generation": True}
"""Tasks of the models that can translate -> whether formality, context and the like reach them."""


@immutable
class TranslatingFacts:
    """One model's fields and languages. The defaults are for models that are not listed, which take any language.

    Tags are `en`, `en-GB`, `pt-BR`, `zh-Hans`, `zh-Hant`, `sr-Latn`.
    """

    sources: Mapping[str, str] | None = None
    """Tags of what it reads -> its own codes; None if nobody knows them."""
    targets: Mapping[str, str] | None = None
    """The same of what it writes."""
    writes: Mapping[str, str] = field(default_factory=dict)
    """Targets -> the tag of what really comes out, where that is another variant of the language."""
    source_field: str | None = "source_lang"
    """None if there is one source and no field for it."""
    target_field: str = "target_lang"
    is_in_lists: bool = False
    """Texts go in, and translations come out, as a list."""
    max_texts: int = 1
    """Texts in one call."""
    safe_characters: int = 400
    """Of a text: up to here nothing of it gets lost."""
    max_characters: int = 1000
    """Of a text: above it the end is cut off."""
    is_specialist: bool = False
    """Of a few languages only, and better at them than the default."""
    detects: bool = False
    """It finds the source language out by itself."""

    def source_code(self, tag: str) -> str | None:
        """The model's own code of a language to be read; None if it can't read that."""
        return _code(tag, self.sources)

    def target_code(self, tag: str) -> str | None:
        """The model's own code of a language to be written; None if it can't write that."""
        return _code(tag, self.targets)

    def written(self, tag: str) -> str:
        """What comes out where `tag` is asked for: simplified Chinese, say, in place of traditional."""
        return _nearest(tag, self.writes) or tag


UNLISTED = TranslatingFacts()


def translating_of(model_id: str) -> TranslatingFacts:
    return _facts().get(model_id, UNLISTED)


def translating_model(catalog: Catalog, name: str) -> Model:
    """Raises BadRequestError for a model that can't translate, ModelNotFoundError."""
    model = catalog.resolve(name)
    if model.task not in HEED_MANNER:
        message = f"The model '{name}' is made for {model.task} and can't translate."
        raise BadRequestError(message, param="model", code="unsupported_model")
    return model


def _code(tag: str, codes: Mapping[str, str] | None) -> str | None:
    return tag.partition("-")[0] if codes is None else _nearest(tag, codes)


def _nearest(tag: str, values: Mapping[str, str]) -> str | None:
    """The value of a tag, or of the tag without its region; a script is never dropped, since that is another text."""
    while tag not in values:
        tag, _, last = tag.rpartition("-")
        if not tag or (len(last) == 4 and last.isalpha()):
            return None
    return values[tag]


@cache
def _facts() -> dict[str, TranslatingFacts]:
    rows = orjson.loads(resources.files(__package__).joinpath("translators.json").read_bytes())
    return {model_id: _fact(**row) for model_id, row in rows.items()}


def _fact(
    *,
    codes: str = "",
    both: Mapping[str, str] | None = None,
    sources: Mapping[str, str],
    targets: Mapping[str, str] | None = None,
    **others: Any,
) -> TranslatingFacts:
    """`codes` are tags that the model calls the same; they and `both` are sources as well as targets."""
    shared = {code: code for code in codes.split()} | dict(both or {})
    return TranslatingFacts(sources=shared | dict(sources), targets=shared | dict(targets or {}), **others)
