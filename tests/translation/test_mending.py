"""One unit through engines that get it right, wrong, or garbled."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Account, Caller
from app.catalog import Model
from app.errors import InternalServerError
from app.metrics import TranslationCounts
from app.translation.charges import Charge, neurons_of
from app.translation.engines import Batch, Engine, Versions
from app.translation.jobs import Job, Made, Order
from app.translation.masks import FOR_CHAT_MODELS, FOR_TRANSLATION_MODELS, Style
from app.translation.mending import Mender, Remedy, converted
from app.translation.pieces import Mask, Unit
from app.translation.structure import take_apart
from app.translation.wishes import Direction, Manner, Split

pytestmark = pytest.mark.anyio

ACCOUNT = Account("acc0", "token-of-acc0", "https://cloudflare.test/client/v4")
CALLER = Caller("key1", ACCOUNT)
GERMAN = Direction("en", "de")
ONE, OTHER = "@cf/test/one", "@cf/test/other"


def spoken(text: str) -> str:
    """A language that no guard doubts: every small word ends in `o`."""
    return re.sub(r"[a-z]{2,}", lambda word: f"{word[0]}o", text)


@dataclass
class FakeEngine:
    """Says of each unit what `answer` makes of it."""

    answer: Callable[[str], str | Versions] = spoken
    model_id: str = ONE
    styles: Sequence[Style] = FOR_TRANSLATION_MODELS
    split: Split = "sentences"
    most_characters: int = 400
    most_units: int = 1
    most_together: int = 4000
    heeds_manner: bool = False
    targets: Sequence[str] = ("de", "en", "zh-Hans", "zh-Hant")
    neurons: float | None = 1.0
    """Of a call."""
    calls: list[list[str]] = field(default_factory=list)
    manners: list[Manner] = field(default_factory=list)
    open: asyncio.Event | None = None
    """It waits for that."""
    cancelled: int = 0

    @property
    def model(self) -> Model:
        return Model(self.model_id, "text-generation" if self.heeds_manner else "translation")

    @property
    def units(self) -> list[str]:
        return [unit for call in self.calls for unit in call]

    def can(self, direction: Direction) -> bool:
        return direction.target in self.targets

    async def run(
        self, units: Sequence[str], direction: Direction, manner: Manner, alternatives: int, caller: Caller
    ) -> Batch:
        self.calls.append(list(units))
        self.manners.append(manner)
        if self.open:
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        answers = [self.answer(unit) for unit in units]
        versions = [[each] if isinstance(each, str) else each for each in answers]
        return Batch(versions, (Charge(caller.account.id, self.neurons),))


def chatty(answer: Callable[[str], str | Versions] = spoken, **fields: Any) -> FakeEngine:
    options: dict[str, Any] = {"styles": FOR_CHAT_MODELS, "split": "lines", "most_units": 3, "heeds_manner": True}
    return FakeEngine(answer, **options | fields)


def unit_of(text: str, markup: Any = None) -> Unit:
    (unit,) = take_apart(text, markup=markup, split="none", most=10_000).units
    return unit


def job_of(text: str | Unit, engine: Engine, markup: Any = None, target: str = "de", **order: Any) -> Job:
    unit = unit_of(text, markup) if isinstance(text, str) else text
    return Job(unit, Order(engine, Direction("en", target), **order))


async def mended(job: Job, fallback: Engine | None = None, counts: TranslationCounts | None = None) -> Made:
    mender = Mender(counts or TranslationCounts(), fallback=fallback, pack_seconds=0)
    return await mender.translate(job, CALLER)


async def written(job: Job, fallback: Engine | None = None) -> tuple[list[str], tuple[str, ...]]:
    made = await mended(job, fallback)
    return made.versions_for(job.unit), made.remedies


LINK = "See the page <a href='x'>behind this link</a> now."
LONG = "This is the first sentence of a longer text. And here comes the second sentence of it, which is longer."


def unmasked(text: str) -> str:
    """Loses every token, as models do."""
    return spoken(re.sub(r"X\d+X|__\d+__|⟦\d+⟧|</?[mg]\d+/?>|\(\d+\)", "", text))


def only(pattern: str, otherwise: str = "") -> Callable[[str], str]:
    """Translates what fits."""
    return lambda text: spoken(text) if re.search(pattern, text) else otherwise


class TestRemedies:
    async def test_a_good_translation_needs_none(self) -> None:
        engine = FakeEngine()
        versions, remedies = await written(job_of(LINK, engine, "html"))
        assert versions == ["Seeo theo pageo <a href='x'>behindo thiso linko</a> nowo."]
        assert remedies == ()
        assert len(engine.units) == 1

    async def test_first_tokens_are_written_in_another_way(self) -> None:
        engine = FakeEngine(lambda text: spoken(text) if "__0__" in text else unmasked(text))
        versions, remedies = await written(job_of(LINK, engine, "html"))
        assert versions == ["Seeo theo pageo <a href='x'>behindo thiso linko</a> nowo."]
        assert remedies == ()
        assert len(engine.units) == 2

    async def test_then_what_is_between_them_goes_by_itself(self) -> None:
        engine = FakeEngine(unmasked)
        versions, remedies = await written(job_of(LINK, engine, "html"))
        assert versions == ["Seeo theo pageo <a href='x'>behindo thiso linko</a> nowo."]
        assert remedies == (Remedy.BETWEEN_MASKS,)
        assert engine.units[2:] == ["See the page", "behind this link", "now."]

    async def test_a_text_without_masks_goes_in_smaller_pieces(self) -> None:
        engine = FakeEngine(lambda text: spoken(text) if len(text) < SMALL else "")
        versions, remedies = await written(job_of(LONG, engine))
        assert versions == [spoken(LONG)]
        assert remedies == (Remedy.SMALLER_PIECES,)
        assert engine.units[0] == LONG

    async def test_pieces_that_are_bad_are_cut_again_until_they_are_too_small(self) -> None:
        text = " ".join([LONG, LONG.replace("first", "third"), LONG.replace("first", "fifth"), LONG])
        engine = FakeEngine(lambda _: "")
        made = await mended(job_of(text, engine))
        assert made.remedies == (Remedy.SMALLER_PIECES, Remedy.LEFT_UNTRANSLATED)
        assert made.versions_for(unit_of(text)) == [text]
        assert len(engine.units) < 40

    async def test_then_the_fallback_is_asked(self) -> None:
        engine, fallback = FakeEngine(lambda _: ""), chatty(model_id=OTHER)
        made = await mended(job_of("Good morning to you", engine), fallback)
        assert made.versions_for(unit_of("Good morning to you")) == ["Goodo morningo too youo"]
        assert made.remedies == (Remedy.FALLBACK_MODEL,)
        assert (neurons_of(made.charges), made.is_worth_keeping) == (2.0, True)
        assert fallback.units == ["Good morning to you"]

    async def test_each_piece_may_have_another_remedy(self) -> None:
        engine, fallback = FakeEngine(only("page|now")), chatty(model_id=OTHER)
        versions, remedies = await written(job_of(LINK, FakeEngine(unmasked_and(engine)), "html"), fallback)
        assert versions == ["Seeo theo pageo <a href='x'>behindo thiso linko</a> nowo."]
        assert remedies == (Remedy.BETWEEN_MASKS, Remedy.FALLBACK_MODEL)

    @pytest.mark.parametrize(
        "fallback",
        [
            None,
            chatty(lambda _: ""),
            chatty(model_id=ONE),
            chatty(model_id=OTHER, targets=()),
            chatty(lambda _: [], model_id=OTHER),
            chatty(lambda _: "I'm sorry, I am unable to translate this.", model_id=OTHER),
        ],
        ids=["none", "bad and the same", "the same", "another language", "empty", "talks"],
    )
    @pytest.mark.parametrize(
        "bad", ["", "Sure, here is the translation: x", "guteguteguteguteguteguteguteguteguteguten"]
    )
    async def test_a_hopeless_answer_gives_the_source_back_and_is_not_kept(
        self, bad: str, fallback: FakeEngine | None
    ) -> None:
        job = job_of("Good morning to you &amp; yours", FakeEngine(lambda _: bad), "html")
        made = await mended(job, fallback)
        assert made.versions_for(job.unit) == ["Good morning to you &amp; yours"]
        assert made.remedies == (Remedy.LEFT_UNTRANSLATED,)
        assert not made.is_worth_keeping

    @pytest.mark.parametrize("fallback", [None, chatty(lambda text: text, model_id=OTHER)], ids=["none", "no better"])
    async def test_a_doubtful_answer_is_kept_and_told(self, fallback: FakeEngine | None) -> None:
        text = "this was not translated at all"
        made = await mended(job_of(text, FakeEngine(lambda text: text)), fallback)
        assert made.versions == (text,)
        assert made.remedies == (Remedy.KEPT_DOUBTFUL,)
        assert made.is_worth_keeping

    @pytest.mark.parametrize(
        ("target", "answer", "remedies"),
        [("de", "Ito iso lateo ando goo", (Remedy.KEPT_DOUBTFUL,)), ("th", "ดึกแล้วไปนอนเถอะนะ", ())],
    )
    async def test_a_lost_sentence_is_a_doubt_where_sentences_have_an_end(
        self, target: str, answer: str, remedies: tuple[str, ...]
    ) -> None:
        made = await mended(job_of("It is late. Go to bed.", FakeEngine(lambda _: answer), target=target))
        assert made.remedies == remedies

    async def test_parts_that_stay_keep_the_whole_from_being_kept(self) -> None:
        engine = FakeEngine(unmasked_and(FakeEngine(only("page|now"))))
        job = job_of(LINK, engine, "html")
        made = await mended(job)
        assert made.versions_for(job.unit) == ["Seeo theo pageo <a href='x'>behind this link</a> nowo."]
        assert made.remedies == (Remedy.BETWEEN_MASKS, Remedy.LEFT_UNTRANSLATED)
        assert not made.is_worth_keeping

    async def test_where_nothing_but_masks_could_be_lost_the_source_stays(self) -> None:
        unit = Unit(("1 ", Mask("<br>", "tag-empty"), " 2"), ("1 ", "<br>", " 2"), is_markup=True)
        made = await mended(job_of(unit, FakeEngine(unmasked)))
        assert (made.remedies, made.is_worth_keeping) == ((Remedy.LEFT_UNTRANSLATED,), False)
        assert made.versions_for(unit) == ["1 <br> 2"]

    async def test_a_long_text_in_one_piece_can_not_be_cut(self) -> None:
        unit = Unit(("`", Mask("x", "code"), "`"), ("`", "x", "`"))
        lone = Unit(("1" * 90 + " 2",), ("1" * 90 + " 2",))
        for each in (unit, lone):
            assert (await mended(job_of(each, FakeEngine(lambda _: [])))).remedies == (Remedy.LEFT_UNTRANSLATED,)


SMALL = 70


def unmasked_and(engine: FakeEngine) -> Callable[[str], str | Versions]:
    """Loses tokens, and answers texts without them as another engine does."""
    return lambda text: unmasked(text) if unmasked(text) != spoken(text) else engine.answer(text)


class TestFailures:
    async def test_that_of_the_engine_is_that_of_the_unit(self) -> None:
        with pytest.raises(InternalServerError):
            await mended(job_of("Good morning", FakeEngine(failing)), chatty(model_id=OTHER))

    async def test_that_of_the_fallback_is_only_noted(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_: str) -> str:
            raise InternalServerError("nobody is there")

        fallback = chatty(fail, model_id=OTHER)
        made = await mended(job_of("Good morning", FakeEngine(lambda _: "")), fallback)
        assert made.remedies == (Remedy.LEFT_UNTRANSLATED,)
        assert [record.__dict__["fields"] for record in caplog.records if record.levelno == logging.WARNING] == [
            {"model": OTHER, "error": "internal_error"}
        ]


def failing(_: str) -> str:
    raise InternalServerError("nobody is there")


class TestAlternatives:
    async def test_those_that_can_be_shown_come_behind_the_translation(self) -> None:
        def answer(text: str) -> Versions:
            good = spoken(text)
            return [good, good.upper(), good, "no tokens", text, good.replace("o", "u")]

        engine = chatty(answer)
        versions, remedies = await written(
            job_of("See <b>the</b> page of my home town", engine, "html", alternatives=3)
        )
        assert versions[0] == "Seeo <b>theo</b> pageo ofo myo homeo towno"
        assert all(version.count("<b>") == 1 for version in versions)
        assert "See <b>the</b> page of my home town" not in versions
        assert len(versions) == 3
        assert remedies == ()

    async def test_parts_of_a_text_have_none(self) -> None:
        engine = chatty(lambda text: [unmasked(text), "another"])
        versions, _ = await written(job_of(LINK, engine, "html", alternatives=3))
        assert versions == ["Seeo theo pageo <a href='x'>behindo thiso linko</a> nowo."]


class TestChinese:
    @pytest.mark.parametrize(
        ("target", "form"), [("zh-Hans", "软件和网络"), ("zh-Hant", "軟體和網路"), ("zh-Hant-HK", "軟件和網絡")]
    )
    async def test_a_translation_has_the_form_that_was_asked_for(self, target: str, form: str) -> None:
        engine = chatty(lambda _: ["软件和网络", "软件和網络"])
        versions, _ = await written(job_of("software and networks", engine, target=target, alternatives=1))
        assert versions == [form]

    def test_a_text_is_converted_without_its_masks(self) -> None:
        text = "软件<a href='https://x.test/软件'>网络</a>"
        assert converted(unit_of(text, "html"), "zh-Hant") == "軟體<a href='https://x.test/软件'>網路</a>"


class TestBill:
    async def test_all_tries_and_parts_are_paid_for(self) -> None:
        counts = TranslationCounts()
        made = await mended(job_of(LINK, FakeEngine(unmasked, neurons=0.5), "html"), counts=counts)
        assert neurons_of(made.charges) == 2.5
        assert counts.calls == 5

    async def test_a_price_that_nobody_knows_is_none(self) -> None:
        assert neurons_of((await mended(job_of("Good morning", FakeEngine(neurons=None)))).charges) is None
        unknown = FakeEngine(lambda _: "", neurons=None)
        made = await mended(job_of("Good morning", unknown), chatty(model_id=OTHER, neurons=0.5))
        assert neurons_of(made.charges) == 0.5

    async def test_the_units_of_a_call_share_its_price_by_their_length(self) -> None:
        engine = chatty(neurons=1.0, most_units=2)
        mender = Mender(counts := TranslationCounts(), fallback=None, pack_seconds=60)
        jobs = [job_of("abc", engine), job_of("abcdefghi", engine)]
        made = await asyncio.gather(*(mender.translate(job, CALLER) for job in jobs))
        assert [each.charges for each in made] == [(Charge("acc0", 0.25, 0.25),), (Charge("acc0", 0.75, 0.75),)]
        assert engine.calls == [["abc", "abcdefghi"]]
        assert counts.calls == 1

    @pytest.mark.parametrize(
        ("caller", "order"),
        [
            (Caller("key2", ACCOUNT), {}),
            (Caller("key1", Account("acc0", "another-token", ACCOUNT.base_url)), {}),
            (CALLER, {"manner": Manner("more")}),
            (CALLER, {"target": "zh-Hans"}),
        ],
    )
    async def test_what_is_not_alike_does_not_share_a_call(self, caller: Caller, order: dict[str, Any]) -> None:
        engine = chatty()
        mender = Mender(TranslationCounts(), fallback=None, pack_seconds=0)
        await asyncio.gather(
            mender.translate(job_of("one", engine), CALLER), mender.translate(job_of("two", engine, **order), caller)
        )
        assert sorted(engine.calls) == [["one"], ["two"]]


TEXTS = [
    "Click <b>here</b> &amp; <i>go</i><br/>home",
    "See @0#this link@1# or ({0}), it costs %s at https://a.test/x?y=1 today.",
    "<p>One sentence is here. Another <code>x = 1</code> is there, with <a href='z'>the &lt;link&gt;</a> at last.</p>",
    LONG,
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_masks_survive_whatever_an_engine_does(data: st.DataObject) -> None:
    def garble(text: str) -> str | Versions:
        parts = re.split(r"(\W)", text)
        kind = data.draw(st.sampled_from(["shuffled", "cut", "doubled", "empty", "none", "right", "spaced", "other"]))
        ways: dict[str, Callable[[], str | Versions]] = {
            "shuffled": lambda: "".join(data.draw(st.permutations(parts))),
            "cut": lambda: text[: len(text) // 2],
            "doubled": lambda: text + spoken(text),
            "empty": lambda: "",
            "none": list,
            "right": lambda: spoken(text),
            "spaced": lambda: " ".join(text),
            "other": lambda: data.draw(st.text(max_size=20)) + spoken(text),
        }
        return ways[kind]()

    text = data.draw(st.sampled_from(TEXTS))
    markup: Any = "html" if "<" in text else None
    structure = take_apart(text, markup=markup, split="sentences", most=400)
    make: Callable[..., FakeEngine] = chatty if data.draw(st.booleans()) else FakeEngine
    fallback = data.draw(st.sampled_from([None, chatty(garble, model_id=OTHER, most_units=1)]))

    async def translated() -> list[str]:
        engine = make(garble, most_units=1)
        jobs = [job_of(unit, engine) for unit in structure.units]
        return [(await mended(job, fallback)).versions_for(job.unit)[0] for job in jobs]

    whole = structure.put_together(asyncio.run(translated()))
    masks = Counter(mask.original for unit in structure.units for mask in unit.masks)
    assert all(whole.count(mask) >= number for mask, number in masks.items())
    if markup:
        assert len(re.findall(r"<[^<>]*>", whole)) == len(re.findall(r"<[^<>]*>", text))
