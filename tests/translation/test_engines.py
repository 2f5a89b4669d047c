"""The engines, through a relay whose transport replays answers."""

import re
from typing import Any

import pytest

from app.calls import Caller
from app.catalog import Catalog
from app.errors import BadRequestError, ModelNotFoundError
from app.media.loader import PictureLoader
from app.media.remote import RemoteFetcher
from app.planning import Planning
from app.relay import Relay
from app.translation.charges import neurons_of
from app.translation.engines import THOUGHTS_TOKENS, ChatModel, Engines, TranslationModel
from app.translation.wishes import Direction, Manner
from app.upstream.client import WorkersAI
from tests.upstream.replaying import ACCOUNT, Outcome, Replaying, Sleeper, whole

pytestmark = pytest.mark.anyio

M2M100 = "@cf/meta/m2m100-1.2b"
INDIC = "@cf/ai4bharat/indictrans2-en-indic-1B"
CHAT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
QUIETABLE = "@cf/zai-org/glm-4.7-flash"
THINKING = "@cf/openai/gpt-oss-20b"
ALWAYS_THINKING = "@cf/qwen/qwq-32b"
SEEING = "@cf/llava-hf/llava-1.5-7b-hf"

CALLER = Caller("key1", ACCOUNT)
GERMAN = Direction("en", "de")


def relay(*outcomes: Outcome) -> tuple[Relay, Replaying]:
    transport, catalog = Replaying(*outcomes), Catalog.load()
    upstream = WorkersAI(transport, sleep=Sleeper())
    return Relay(catalog, upstream, Planning(catalog, upstream, PictureLoader(RemoteFetcher()))), transport


def engines(default: str = M2M100, fallback: str | None = CHAT) -> Engines:
    return Engines(relay()[0], Catalog.load(), default, fallback)


def translated(text: str | None, neurons: float = 0.5) -> Any:
    return whole({"translated_text": text, "usage": {"prompt_tokens": 5, "completion_tokens": 5, "neurons": neurons}})


def said(text: str | None, neurons: float = 1.0) -> Any:
    usage = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, "neurons": neurons}
    return whole({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})


def chat_model(*outcomes: Outcome, name: str = QUIETABLE) -> tuple[ChatModel, Replaying]:
    relays, transport = relay(*outcomes)
    return ChatModel(relays, name, Catalog.load().resolve(name)), transport


def numbered(*texts: str) -> str:
    return "\n".join(f"<t{number}>{text}</t{number}>" for number, text in enumerate(texts, 1))


class TestEngines:
    @pytest.mark.parametrize(
        ("default", "direction", "model"),
        [
            (M2M100, Direction("en", "de"), M2M100),
            (M2M100, Direction("en-GB", "hi"), INDIC),
            (M2M100, Direction("de", "hi"), M2M100),
            (M2M100, Direction("en", "eo"), CHAT),
            (M2M100, Direction("eo", "en"), CHAT),
            (QUIETABLE, Direction("en", "hi"), QUIETABLE),
            (QUIETABLE, Direction("en", "eo"), QUIETABLE),
        ],
    )
    def test_a_specialist_comes_before_the_default_and_the_fallback_behind_it(
        self, default: str, direction: Direction, model: str
    ) -> None:
        assert engines(default).engine_for(direction, None).model.id == model

    @pytest.mark.parametrize(("fallback", "name"), [(None, None), (CHAT, M2M100)], ids=["none", "another was named"])
    def test_languages_that_nobody_can_translate_are_the_callers_fault(
        self, fallback: str | None, name: str | None
    ) -> None:
        with pytest.raises(BadRequestError) as caught:
            engines(fallback=fallback).engine_for(Direction("en", "eo"), name)
        assert caught.value.message == "There is no translation from 'en' to 'eo'."
        assert (caught.value.param, caught.value.code) == ("target_lang", "unsupported_language")

    @pytest.mark.parametrize(("name", "kind"), [(M2M100, TranslationModel), (CHAT, ChatModel)])
    def test_a_model_may_be_named(self, name: str, kind: type) -> None:
        engine = engines().engine_for(Direction("en", "hi"), name)
        assert isinstance(engine, kind)
        assert engine.model.id == name

    def test_a_model_of_another_kind_is_refused(self) -> None:
        with pytest.raises(BadRequestError, match="is made for text-embeddings and can't translate") as caught:
            engines().named("text-embedding-3-small")
        assert (caught.value.param, caught.value.code) == ("model", "unsupported_model")

    def test_a_model_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(ModelNotFoundError):
            engines().named("nonsense")

    @pytest.mark.parametrize("name", ["text-embedding-3-small", "nonsense"])
    def test_a_setting_that_leads_to_no_engine_is_a_wrong_value(self, name: str) -> None:
        for settings in ({"default": name}, {"fallback": name}):
            with pytest.raises(ValueError, match=name):
                engines(**settings)

    def test_a_translation_model_takes_its_own_languages_and_chat_models_any(self) -> None:
        made = engines()
        assert not made.default.can(Direction("eo", "de"))
        assert not made.default.can(Direction("de", "eo"))
        assert made.default.can(GERMAN)
        assert made.fallback is not None
        assert made.fallback.can(Direction("eo", "tlh"))


class TestTranslationModel:
    def engine(self, *outcomes: Outcome, name: str = M2M100) -> tuple[TranslationModel, Replaying]:
        relays, transport = relay(*outcomes)
        return TranslationModel(relays, name, Catalog.load().resolve(name)), transport

    async def test_each_unit_has_its_translation_and_an_empty_one_has_none(self) -> None:
        engine, transport = self.engine(translated("eins"), translated(""), translated(None))
        batch = await engine.run(["one", "two", "three"], GERMAN, Manner(), 2, CALLER)
        assert batch.versions == [["eins"], [], []]
        assert neurons_of(batch.charges) == 1.5
        assert transport.bodies[0] == {"text": "one", "source_lang": "en", "target_lang": "de"}

    async def test_a_model_that_takes_lists_is_asked_once(self) -> None:
        engine, transport = self.engine(whole({"translations": ["एक", "दो"]}), name=INDIC)
        batch = await engine.run(["one", "two"], Direction("en", "hi"), Manner(), 0, CALLER)
        assert batch.versions == [["एक"], ["दो"]]
        assert [body["text"] for body in transport.bodies] == [["one", "two"]]
        assert (engine.most_units, engine.most_together, engine.most_characters) == (16, 16 * 700, 400)


class TestChatModel:
    async def test_units_go_together(self) -> None:
        engine, transport = chat_model(said(numbered("eins", "zwei")))
        batch = await engine.run(["one", "two"], GERMAN, Manner(formality="less"), 0, CALLER)
        assert batch.versions == [["eins"], ["zwei"]]
        assert neurons_of(batch.charges) == 1.0
        system, user = transport.bodies[0]["messages"]
        assert "informal" in system["content"]
        assert user["content"] == numbered("one", "two")

    async def test_alternatives_come_behind_the_translation(self) -> None:
        engine, _ = chat_model(said("<t1>eins</t1><alt1>ein</alt1><alt1>eine</alt1>"))
        assert (await engine.run(["one"], GERMAN, Manner(), 2, CALLER)).versions == [["eins", "ein", "eine"]]

    async def test_a_wrong_count_is_asked_for_again_in_halves_down_to_single_units(self) -> None:
        outcomes = [
            said(numbered("eins", "zwei")),
            said("eins"),
            said("nonsense"),
            said("<t1>zwei</t1>"),
            said("<t2>drei</t2>"),
        ]
        engine, transport = chat_model(*outcomes)
        batch = await engine.run(["one", "two", "three"], GERMAN, Manner(), 0, CALLER)
        asked = [re.findall(r">(\w+)<", body["messages"][1]["content"]) for body in transport.bodies]
        assert asked == [["one", "two", "three"], ["one"], ["two", "three"], ["two"], ["three"]]
        assert batch.versions == [["eins"], ["zwei"], []]
        assert neurons_of(batch.charges) == 5.0

    async def test_an_answer_without_content_is_no_translation(self) -> None:
        engine, _ = chat_model(said(None))
        assert (await engine.run(["one"], GERMAN, Manner(), 0, CALLER)).versions == [[]]

    @pytest.mark.parametrize(
        ("name", "is_thinking"), [(CHAT, False), (QUIETABLE, False), (THINKING, True), (ALWAYS_THINKING, True)]
    )
    async def test_a_model_that_must_think_may_do_so(self, name: str, is_thinking: bool) -> None:
        engine, transport = chat_model(said("<t1>eins</t1>"), name=name)
        await engine.run(["one"], GERMAN, Manner(), 0, CALLER)
        body = transport.bodies[0]
        most = body.get("max_tokens") or body.get("max_completion_tokens") or body.get("max_output_tokens")
        assert (most > THOUGHTS_TOKENS) == is_thinking
