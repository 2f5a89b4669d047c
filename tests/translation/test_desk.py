import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.calls import Account, Caller
from app.errors import BadRequestError, InternalServerError
from app.metrics import TranslationCounts
from app.translation.desk import Desk
from app.translation.engines import Engine, Engines
from app.translation.mending import Mender
from app.translation.wishes import Direction, Manner, Translation, Wish
from tests.translation.test_engines import engines as real_engines
from tests.translation.test_mending import ACCOUNT, CALLER, ONE, OTHER, FakeEngine, chatty, failing, spoken
from tests.upstream.test_flights import DEADLINE_SECONDS, steps, tasks_left

pytestmark = pytest.mark.anyio

COLLEAGUE = Caller("key2", ACCOUNT)
STRANGER = Caller("key3", Account("acc1", "token", ACCOUNT.base_url))
SAME_ACCOUNT_OTHER_TOKEN = Caller("key4", replace(ACCOUNT, token="wrong"))
EMULATED = Caller("key5", replace(ACCOUNT, base_url="http://emulator.invalid"))


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncGenerator[None]:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    assert tasks_left() == []
    assert complaints == []


class FakeEngines(Engines):
    """Chooses among what it is given."""

    def __init__(self, default: Engine, *specialists: Engine, fallback: Engine | None = None) -> None:
        self.default = default
        self.fallback = fallback
        self.threads: set[threading.Thread] = set()
        self._specialists = list(specialists)
        self._known = {engine.model.id: engine for engine in (default, *specialists, fallback) if engine}

    def named(self, name: str) -> Engine:
        if name in self._known:
            return self._known[name]
        return real_engines().named(name)

    def engine_for(self, direction: Direction, name: str | None) -> Engine:
        self.threads.add(threading.current_thread())
        engine = next((each for each in self._specialists if not name and each.can(direction)), None)
        return engine or super().engine_for(direction, name)


class Office:
    """A desk and all that is around it."""

    def __init__(self, *engines: Engine, fallback: Engine | None = None) -> None:
        self.counts = TranslationCounts()
        self.cache: dict[bytes, str] = {}
        self.characters: dict[str, int] = {}
        mender = Mender(self.counts, fallback=fallback, pack_seconds=0)
        self.engines = FakeEngines(*engines, fallback=fallback)
        self.desk = Desk(self.engines, mender, self, self, self.counts)

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        assert len(set(keys)) == len(keys)
        return {key: self.cache[key] for key in keys if key in self.cache}

    def peek(self, key: bytes) -> str | None:
        return self.cache.get(key)

    def put(self, key: bytes, value: str) -> None:
        self.cache[key] = value

    def add(self, name: str, characters: int) -> None:
        self.characters[name] = self.characters.get(name, 0) + characters

    async def total(self, name: str) -> int:
        return self.characters.get(name, 0)

    async def ask(self, *texts: str, caller: Caller = CALLER, **fields: Any) -> Translation:
        wish = Wish(texts, **{"target": "de", "source": "en"} | fields)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.desk.translate(wish, caller)

    def asking(self, *texts: str, **fields: Any) -> "asyncio.Task[Translation]":
        return asyncio.create_task(self.ask(*texts, **fields))


def shown(translation: Translation) -> list[str]:
    return [text.text for text in translation.texts]


class TestTexts:
    async def test_they_come_back_in_order_and_number(self) -> None:
        office = Office(FakeEngine())
        texts = [f"This is the text of number {number}." for number in range(40)] + ["", "123", "  "]
        translation = await office.ask(*texts)
        assert shown(translation) == [spoken(text) for text in texts]
        assert [text.characters for text in translation.texts] == list(map(len, texts))
        assert (translation.model, translation.units, translation.cached, translation.neurons) == (ONE, 40, 0, 40.0)

    async def test_what_is_no_unit_stays(self) -> None:
        office = Office(FakeEngine())
        text = "- First line here.\n\n  <b>Second</b> line here.\n```\ncode\n```\n"
        (shown_text,) = shown(await office.ask(text))
        assert shown_text == "- Firsto lineo hereo.\n\n  <b>Secondo</b> lineo hereo.\n```\ncode\n```\n"

    async def test_identical_units_are_one(self) -> None:
        office = Office(engine := FakeEngine())
        translation = await office.ask(
            "Good morning", "Good morning", "Good <b>morning</b>", "Good <i>morning</i>", markup="html"
        )
        assert len(engine.units) == translation.units == 2
        assert shown(translation)[2:] == ["Goodo <b>morningo</b>", "Goodo <i>morningo</i>"]

    async def test_characters_are_counted_once_for_the_caller(self) -> None:
        office = Office(FakeEngine())
        await office.ask("Good morning", "Good morning", "12")
        assert await office.desk.characters(CALLER) == 26
        assert await office.desk.characters(COLLEAGUE) == 0

    async def test_a_failure_counts_no_characters(self) -> None:
        office = Office(FakeEngine(failing))
        with pytest.raises(InternalServerError):
            await office.ask("Good morning")
        assert office.characters == {}

    async def test_much_text_is_taken_apart_in_a_thread(self) -> None:
        office = Office(engine := FakeEngine())
        text = " ".join(f"This is the sentence of number {number}." for number in range(2800))
        assert len(text) > 100_000
        assert shown(await office.ask(text)) == [spoken(text)]
        assert threading.main_thread() not in office.engines.threads
        assert len(engine.calls) > 200
        await office.ask("short")
        assert threading.main_thread() in office.engines.threads

    async def test_packs_are_filled(self) -> None:
        office = Office(engine := chatty(most_units=24))
        await office.ask(*(f"This is line {'x' * number}" for number in range(1, 97)))
        assert [len(call) for call in engine.calls] == [24] * 4


class TestNoCall:
    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ("Good morning", {"target": "en-GB"}),
            ("Bom dia", {"source": "pt-PT", "target": "pt-BR"}),
            ("12 + 30 = 42", {}),
            ("12 + 30 = 42", {"source": None}),
            ("", {}),
            ("", {"source": "zh-Hans", "target": "zh-Hant"}),
            ("```\ncode\n```", {}),
            ("This is an English sentence, as everybody can see.", {"source": None, "target": "en"}),
        ],
    )
    async def test_where_there_is_nothing_to_translate(self, text: str, fields: dict[str, Any]) -> None:
        office = Office(engine := FakeEngine())
        translation = await office.ask(text, **fields)
        assert shown(translation) == [text]
        assert engine.calls == []
        assert (translation.model, translation.units, translation.neurons) == ("", 0, 0.0)

    @pytest.mark.parametrize("source", ["zh-Hans", "zh", None])
    async def test_forms_of_chinese_need_no_engine(self, source: str | None) -> None:
        office = Office(engine := FakeEngine())
        text = "<p>这个软件<a href='https://x.test/软件'>网络</a>很好用，大家都喜欢。</p>"
        translation = await office.ask(text, source=source, target="zh-Hant", markup="html")
        assert shown(translation) == ["<p>這個軟體<a href='https://x.test/软件'>網路</a>很好用，大家都喜歡。</p>"]
        assert engine.calls == []
        assert translation.texts[0].source == "zh-Hans"

    async def test_the_text_decides_which_chinese_it_is(self) -> None:
        office = Office(engine := FakeEngine())
        texts = ["這個軟體很好用，大家都喜歡。", "Hello, this is English after all."]
        translation = await office.ask(*texts, source="zh", target="zh-Hant")
        assert shown(translation) == texts
        assert [text.source for text in translation.texts] == ["zh-Hant", "zh-Hans"]
        assert engine.calls == []


class TestLanguages:
    async def test_each_text_has_its_own_and_a_doubt_goes_with_the_others(self) -> None:
        office = Office(FakeEngine())
        texts = [
            "Das ist ein langer deutscher Satz, den man gut erkennt.",
            "Ceci est une phrase en français, bien reconnaissable.",
            "Name",
            "42",
        ]
        translation = await office.ask(*texts, texts[0] + " Und noch einer.", source=None, target="en")
        assert [text.source for text in translation.texts] == ["de", "fr", "de", "de", "de"]

    async def test_nothing_to_go_by_is_called_the_target(self) -> None:
        translation = await Office(FakeEngine()).ask("42", source=None, target="en")
        assert translation.texts[0].source == "en"

    async def test_one_that_nobody_translates_is_the_callers_fault(self) -> None:
        with pytest.raises(BadRequestError) as caught:
            await Office(FakeEngine()).ask("Good morning", target="eo")
        assert (caught.value.status, caught.value.code) == (400, "unsupported_language")

    @pytest.mark.parametrize("text", ["Good morning", "42"])
    async def test_a_model_that_can_not_translate_is_the_callers_fault(self, text: str) -> None:
        with pytest.raises(BadRequestError) as caught:
            await Office(FakeEngine()).ask(text, model="text-embedding-3-small")
        assert (caught.value.status, caught.value.code) == (400, "unsupported_model")

    async def test_the_model_is_the_one_that_translated_most(self) -> None:
        specialist = FakeEngine(model_id=OTHER, targets=())
        specialist.can = lambda direction: direction.source == "fr"  # type: ignore[method-assign]
        office = Office(engine := FakeEngine(), specialist)
        texts = ["Das ist deutsch.", "Ceci est une phrase en français, bien reconnaissable, et encore plus longue."]
        translation = await office.ask(*texts, source=None, target="en")
        assert translation.model == OTHER
        assert (len(engine.units), len(specialist.units), translation.neurons) == (1, 1, 2.0)


MANNER = Manner("more", "about cars", ("be brief",), {"car": "Wagen"})


class TestManner:
    async def test_what_the_engine_does_not_heed_is_told(self) -> None:
        translation = await Office(FakeEngine()).ask("Good morning", manner=MANNER, alternatives=2)
        assert translation.ignored == ("formality", "context", "glossary", "custom_instructions", "alternatives")

    @pytest.mark.parametrize(
        ("manner", "ignored"),
        [(Manner(), ()), (Manner("less"), ("formality",)), (Manner(glossary={"a": "b"}), ("glossary",))],
    )
    async def test_only_what_was_set_is_told(self, manner: Manner, ignored: tuple[str, ...]) -> None:
        translation = await Office(FakeEngine()).ask("Good morning", manner=manner, preserve_formatting=True)
        assert translation.ignored == ignored

    async def test_another_manner_is_another_translation_for_an_engine_that_heeds_it(self) -> None:
        for engine, calls in ((FakeEngine(), 1), (chatty(), 2)):
            office = Office(engine)
            assert office.desk.heeds_manner == (calls == 2)
            await office.ask("Good morning")
            assert (await office.ask("Good morning", manner=MANNER)).ignored == (
                () if calls == 2 else ("formality", "context", "glossary", "custom_instructions")
            )
            assert len(engine.calls) == calls
        assert engine.manners == [Manner(), MANNER]

    async def test_alternatives_are_there_for_a_text_of_one_unit(self) -> None:
        office = Office(chatty(lambda text: [spoken(text), spoken(text).upper()]))
        translation = await office.ask("- Good morning", "- One line here.\n- Another line here.", alternatives=1)
        assert [text.alternatives for text in translation.texts] == [("- GOODO MORNINGO",), ()]


class TestCache:
    async def test_what_is_known_costs_nothing(self) -> None:
        office = Office(engine := FakeEngine())
        first = await office.ask("Good morning", "Good evening")
        again = await office.ask("Good morning", "Good night", "Good evening", caller=STRANGER)
        assert shown(again) == ["Goodo morningo", "Goodo nighto", "Goodo eveningo"]
        assert (first.cached, first.neurons, again.cached, again.units, again.neurons) == (0, 2.0, 2, 3, 1.0)
        assert (office.counts.hits, office.counts.misses, office.counts.shared, office.counts.calls) == (2, 3, 0, 3)
        everything = await office.ask("Good morning", "Good evening")
        assert (everything.neurons, everything.model, everything.remedies) == (0.0, ONE, ())
        assert len(engine.calls) == 3

    async def test_what_an_emulator_makes_up_is_not_found_by_others(self) -> None:
        office = Office(engine := FakeEngine())
        await office.ask("Good morning", caller=EMULATED)
        await office.ask("Good morning")
        assert len(engine.calls) == 2

    async def test_nothing_broken_is_kept(self) -> None:
        office = Office(engine := FakeEngine(lambda _: ""))
        translation = await office.ask("Good morning to you", "See <b>the</b> page", markup="html")
        assert shown(translation) == ["Good morning to you", "See <b>the</b> page"]
        assert set(translation.remedies) == {"left-untranslated", "between-masks"}
        assert office.cache == {}
        assert office.counts.remedies == {"left-untranslated": 2, "between-masks": 1}
        engine.answer = spoken
        assert shown(await office.ask("Good morning to you")) == ["Goodo morningo too youo"]

    async def test_a_price_that_nobody_knows_is_not_nothing(self) -> None:
        office = Office(FakeEngine(neurons=None))
        assert (await office.ask("Good morning")).neurons is None
        assert (await office.ask("Good morning")).neurons == 0.0


class TestTogether:
    def office(self, answer: Any = spoken) -> tuple[Office, FakeEngine]:
        engine = FakeEngine(answer, open=asyncio.Event())
        return Office(engine), engine

    async def test_identical_wishes_of_an_account_are_one_call(self) -> None:
        office, engine = self.office()
        tasks = [office.asking("Good morning", caller=caller) for caller in (CALLER, COLLEAGUE, CALLER)]
        await steps()
        assert engine.open
        engine.open.set()
        made = await asyncio.gather(*tasks)
        assert [shown(each) for each in made] == [["Goodo morningo"]] * 3
        assert sum(each.neurons or 0 for each in made) == 1.0
        assert (len(engine.calls), office.counts.misses, office.counts.shared) == (1, 1, 2)
        assert office.characters == {"key1": 24, "key2": 12}

    @pytest.mark.parametrize("other", [STRANGER, SAME_ACCOUNT_OTHER_TOKEN])
    async def test_other_accounts_and_tokens_pay_for_themselves(self, other: Caller) -> None:
        office, engine = self.office()
        tasks = [office.asking("Good morning", caller=caller) for caller in (CALLER, other)]
        await steps()
        assert engine.open
        engine.open.set()
        await asyncio.gather(*tasks)
        assert len(engine.calls) == 2

    async def test_a_failure_is_everybodys_and_ends_the_rest_of_the_wish(self) -> None:
        office, engine = self.office(failing)
        tasks = [office.asking("Good morning", "Good evening"), office.asking("Good morning")]
        await steps()
        assert engine.open
        engine.open.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [InternalServerError] * 2
        assert office.cache == {}

    async def test_the_first_one_to_ask_may_leave(self) -> None:
        office, engine = self.office()
        first, second = office.asking("Good morning"), office.asking("Good morning", caller=COLLEAGUE)
        await steps()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert engine.open
        engine.open.set()
        assert shown(await second) == ["Goodo morningo"]
        assert (len(engine.calls), engine.cancelled) == (1, 0)

    @pytest.mark.parametrize("make", [FakeEngine, chatty])
    async def test_the_last_one_to_leave_ends_the_calls(self, make: Any) -> None:
        engine = make(open=asyncio.Event(), most_units=1 if make is FakeEngine else 2)
        office = Office(engine)
        tasks = [office.asking("Good morning", "Good evening"), office.asking("Good morning", "Good evening")]
        await steps(10)
        calls = len(engine.calls)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks_left() == []
        assert engine.cancelled == calls > 0
        assert office.cache == {}
        assert office.characters == {}
