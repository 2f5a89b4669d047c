"""The desk: a Wish -> its Translation. Every unit of it is looked up, or translated once, however many ask for it.

A text is taken apart into units (sentences, mostly); each is known already, or on its way for somebody else, or goes to
an engine; what comes back is judged, mended if it must be (see mending.py), kept, and put together again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from anyio import to_thread

from app.calls import Caller
from app.metrics import TranslationCounts
from app.translation.charges import neurons_of
from app.translation.engines import Engines
from app.translation.jobs import Job, Made, Order
from app.translation.languages import base, detected, is_same
from app.translation.mending import Mender, converted
from app.translation.structure import Structure, take_apart
from app.translation.wishes import Direction, Manner, Split, Translated, Translation, Wish
from app.upstream.batches import together
from app.upstream.flights import Flights
from app.values import immutable

T = TypeVar("T")

AT_ONCE_CHARACTERS, AT_ONCE_TEXTS = 2_000, 8
"""Of a wish: they are taken apart, and their languages found, in a few milliseconds."""
HINT_CHARACTERS = 8_000
"""Of all texts together, in which their common language is looked for."""


class Cache(Protocol):
    """What was translated before."""

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, str]: ...

    def peek(self, key: bytes) -> str | None: ...

    def put(self, key: bytes, value: str) -> None: ...


class Counter(Protocol):
    """Characters by caller."""

    def add(self, name: str, characters: int) -> None: ...

    async def total(self, name: str) -> int: ...


@immutable
class Text:
    """One text of a wish, taken apart."""

    original: str
    source: str
    structure: Structure | None = None
    """None if the text comes back as it is."""
    jobs: tuple[Job, ...] = ()
    """One for each unit; none if only the form of its Chinese changes."""


class Desk:
    """Joins engines, cache, guard and structure."""

    def __init__(
        self, engines: Engines, mender: Mender, cache: Cache, characters: Counter, counts: TranslationCounts
    ) -> None:
        self._engines = engines
        self._mender = mender
        self._cache = cache
        self._characters = characters
        self._counts = counts
        self._flights: Flights[Made] = Flights()

    async def translate(self, wish: Wish, caller: Caller) -> Translation:
        """Raises APIStatusError."""
        texts, jobs = await _run(partial(self._prepared, wish, caller), wish.texts)
        known = await self._cache.get_many(list(jobs))
        self._counts.hits += len(known)
        flown = await self._all_flown([job for key, job in jobs.items() if key not in known], caller)
        made = flown | {key: Made.from_json(value) for key, value in known.items()}
        finished = await _run(lambda: tuple(_finished(text, wish.target, made) for text in texts), wish.texts)
        self._characters.add(caller.name, sum(map(len, wish.texts)))
        charges = tuple(charge for outcome in flown.values() for charge in outcome.charges)
        return Translation(
            finished,
            model=_main_model(texts),
            neurons=neurons_of(charges),
            charges=charges,
            cached=len(known),
            units=len(jobs),
            ignored=_ignored(wish, jobs.values()),
            remedies=tuple(dict.fromkeys(remedy for outcome in flown.values() for remedy in outcome.remedies)),
        )

    @property
    def heeds_manner(self) -> bool:
        """Formality reaches the server's own choice of a model."""
        return self._engines.default.heeds_manner

    async def characters(self, caller: Caller) -> int:
        """What the caller has had translated in this month."""
        return await self._characters.total(caller.name)

    async def _all_flown(self, jobs: Sequence[Job], caller: Caller) -> dict[bytes, Made]:
        """A limited number at a time, of which each may fill a call."""
        batches = [self._batch_flown(batch, caller) for batch in _batches(jobs)]
        return {key: made for batch in await together(batches) for key, made in batch}

    async def _batch_flown(self, jobs: Sequence[Job], caller: Caller) -> list[tuple[bytes, Made]]:
        made = await together([self._flown(job, caller) for job in jobs])
        return [(job.key, each) for job, each in zip(jobs, made, strict=True)]

    async def _flown(self, job: Job, caller: Caller) -> Made:
        """The unit's translation, from whoever asked for it first."""
        if (value := self._cache.peek(job.key)) is not None:  # somebody else's has landed since it was looked up
            self._counts.hits += 1
            return Made.from_json(value)
        key = (job.key, caller.account)  # with its token: nobody may get, or fail by, what another one's token does
        is_shared = self._flights.is_under_way(key)
        if is_shared:
            self._counts.shared += 1
        else:
            self._counts.misses += 1
        made = await self._flights.join(key, lambda: self._made(job, caller))
        return made.shared() if is_shared else made

    async def _made(self, job: Job, caller: Caller) -> Made:
        made = await self._mender.translate(job, caller)
        for remedy in made.remedies:
            self._counts.remedies[remedy] = self._counts.remedies.get(remedy, 0) + 1
        if made.is_worth_keeping:
            self._cache.put(job.key, made.to_json())
        return made

    def _prepared(self, wish: Wish, caller: Caller) -> tuple[list[Text], dict[bytes, Job]]:
        """The texts, and all that is to be done for them. Raises BadRequestError, ModelNotFoundError."""
        if wish.model:
            self._engines.named(wish.model)  # a wrong name is a fault even where there is nothing to translate
        hint = None if wish.source else detected("\n".join(wish.texts)[:HINT_CHARACTERS])
        texts = [self._text(text, wish, hint, caller) for text in wish.texts]
        return texts, {job.key: job for text in texts for job in text.jobs}

    def _text(self, text: str, wish: Wish, hint: str | None, caller: Caller) -> Text:
        source = wish.source or detected(text, hint)
        if source is None:
            return Text(text, hint or wish.target)
        if source == "zh":  # either form: the text decides
            source = detected(text, "zh-Hans") or "zh-Hans"
            source = source if base(source) == "zh" else "zh-Hans"
        if is_same(source, wish.target):
            return Text(text, source)
        if base(source) == base(wish.target) == "zh":
            return Text(text, source, _apart(text, wish, "lines", max(len(text), 1)))
        direction = Direction(source, wish.target)
        engine = self._engines.engine_for(direction, wish.model)
        structure = _apart(text, wish, wish.split or engine.split, engine.most_characters)
        alternatives = wish.alternatives if engine.heeds_manner and len(structure.units) == 1 else 0
        manner = wish.manner if engine.heeds_manner else Manner()
        order = Order(engine, direction, manner, alternatives, caller.account.base_url)
        return Text(text, source, structure, tuple(Job(unit, order) for unit in structure.units))


def _apart(text: str, wish: Wish, split: Split, most: int) -> Structure:
    return take_apart(
        text,
        markup=wish.markup,
        split=split,
        most=most,
        ignore_tags=wish.ignore_tags,
        splitting_tags=wish.splitting_tags,
        non_splitting_tags=wish.non_splitting_tags,
    )


def _finished(text: Text, target: str, made: Mapping[bytes, Made]) -> Translated:
    if text.structure is None:
        return Translated(text.original, text.source, characters=len(text.original))
    structure = text.structure
    if not text.jobs:
        units = [converted(unit, target) for unit in structure.units]
        return Translated(structure.put_together(units), text.source, characters=len(text.original))
    outcomes = [made[job.key].versions_for(job.unit) for job in text.jobs]
    alternatives = outcomes[0][1:] if len(outcomes) == 1 else []
    return Translated(
        structure.put_together([versions[0] for versions in outcomes]),
        text.source,
        tuple(structure.put_together([alternative]) for alternative in alternatives),
        len(text.original),
    )


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """As many jobs as their engine takes in one call."""
    engines: dict[str, list[Job]] = {}
    for job in jobs:
        engines.setdefault(job.order.engine.model.id, []).append(job)
    for of_one in engines.values():
        most = of_one[0].order.engine.most_units
        yield from (of_one[start : start + most] for start in range(0, len(of_one), most))


def _main_model(texts: Iterable[Text]) -> str:
    """The one that most characters are meant for."""
    characters: dict[str, int] = {}
    for job in (job for text in texts for job in text.jobs):
        model_id = job.order.engine.model.id
        characters[model_id] = characters.get(model_id, 0) + len(job.unit.plain)
    return max(characters, key=characters.__getitem__, default="")


def _ignored(wish: Wish, jobs: Iterable[Job]) -> tuple[str, ...]:
    """The fields that were set and that one of the engines can't heed."""
    if all(job.order.engine.heeds_manner for job in jobs):
        return ()
    manner = wish.manner
    is_set = {
        "formality": manner.formality != "default",
        "context": manner.context,
        "glossary": manner.glossary,
        "custom_instructions": manner.instructions,
        "alternatives": wish.alternatives,
    }
    return tuple(name for name, is_there in is_set.items() if is_there)


async def _run(work: Callable[[], T], texts: Sequence[str]) -> T:
    """In a thread if there is much of it."""
    is_little = len(texts) <= AT_ONCE_TEXTS and sum(map(len, texts)) <= AT_ONCE_CHARACTERS
    return work() if is_little else await to_thread.run_sync(work)
