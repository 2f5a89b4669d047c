"""Wish, Direction, Translated: the values of a translation, whichever API asked for it."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from app.translation.charges import Charges
from app.values import immutable

Markup = Literal["html", "xml"]
Split = Literal["sentences", "lines", "none"]
Formality = Literal["default", "more", "less"]


@immutable
class Direction:
    """From one language into another, as tags of our own form: `en`, `en-GB`, `pt-BR`, `zh-Hans`, `zh-Hant`."""

    source: str
    target: str


@immutable
class Manner:
    """What a translation should heed beside its text. Only chat models can; part of what a cache goes by."""

    formality: Formality = "default"
    context: str = ""
    """What the text is about or stands in; not to be translated itself."""
    instructions: tuple[str, ...] = ()
    """In the caller's words."""
    glossary: Mapping[str, str] = field(default_factory=dict)
    """Terms of the source -> what they are called in the target."""


@immutable
class Wish:
    """What is to be translated, and how."""

    texts: tuple[str, ...]
    target: str
    source: str | None = None
    """None: it is found out, for each text by itself."""
    model: str | None = None
    """A name of the catalogue; None: the server's own choice."""
    markup: Markup | None = None
    split: Split | None = None
    """Where a text may be cut; None leaves it to the engine."""
    preserve_formatting: bool = False
    manner: Manner = field(default_factory=Manner)
    ignore_tags: frozenset[str] = frozenset()
    splitting_tags: frozenset[str] = frozenset()
    non_splitting_tags: frozenset[str] = frozenset()
    alternatives: int = 0
    """How many further translations are wanted of each text, from an engine that has any."""


@immutable
class Translated:
    """One text of a Wish."""

    text: str
    source: str
    """Given or found out."""
    alternatives: tuple[str, ...] = ()
    characters: int = 0
    """Of the text that was given."""


@immutable
class Translation:
    """What became of a Wish."""

    texts: tuple[Translated, ...]
    """In the order of the Wish, as many."""
    model: str
    """The id of the model that translated most of it."""
    neurons: float | None = None
    charges: Charges = ()
    """Of which those are the sum."""
    cached: int = 0
    """Units that were known already."""
    units: int = 0
    ignored: tuple[str, ...] = ()
    """Fields that the engine can't heed."""
    remedies: tuple[str, ...] = ()
    """What had to be done about bad translations: `smaller-pieces`, `fallback-model`, ..."""
