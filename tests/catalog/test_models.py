from importlib import resources
from typing import Any

import orjson
import pytest

from app.catalog.models import MODEL_ID, MOST_RESOLVED, Alias, Catalog, Model, Price, Quirks, Reasoning
from app.errors import ModelNotFoundError

CATALOG = Catalog.load()
MODELS = list(CATALOG)
ALIASES = [*CATALOG._exact.values(), *CATALOG._patterns]
RETIRED = [model for model in MODELS if model.status == "deprecated"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_a_row_is_consistent(model: Model) -> None:
    assert MODEL_ID.fullmatch(model.id)
    assert model.status in ("current", "beta", "deprecated")
    assert model.task
    assert model.created > 0
    assert all(price.neurons >= 0 for price in model.price)
    assert len({price.unit for price in model.price}) == len(model.price)
    assert model.context_window is None or model.context_window > 0
    assert model.max_output_tokens is None or 0 < model.max_output_tokens <= (model.context_window or 10**9)
    assert model.default_voice is None or model.default_voice in model.voices


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_reasoning_is_consistent(model: Model) -> None:
    reasoning = model.reasoning or Reasoning()
    assert set(reasoning.effort_aliases.values()) <= set(reasoning.efforts)
    assert not set(reasoning.effort_aliases) & set(reasoning.efforts)
    assert model.reasoning is None or model.can("reasoning")


@pytest.mark.parametrize("model", RETIRED, ids=lambda model: model.id)
def test_a_retired_model_leads_to_a_listed_successor(model: Model) -> None:
    successor = CATALOG.get(model.replacement or "")
    assert successor
    assert successor.is_listed
    assert CATALOG.resolve(model.id) == successor


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_only_retired_models_have_a_successor(model: Model) -> None:
    assert (model.replacement is not None) == (model.status == "deprecated")


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: alias.name)
def test_a_built_in_alias_leads_straight_to_a_listed_model(alias: Alias) -> None:
    model = CATALOG.get(alias.model)
    assert model
    assert model.is_listed
    assert CATALOG.resolve(alias.name.replace("*", "-2030-01-01")).is_listed
    if alias.picture_model:
        picture_model = CATALOG.get(alias.picture_model)
        assert picture_model
        assert picture_model.is_listed
        assert picture_model.can("vision")


def test_ids_are_all_different() -> None:
    rows = orjson.loads(resources.files("app.catalog").joinpath("models.json").read_bytes())["models"]
    assert len({row["id"] for row in rows}) == len(rows) == len(MODELS)


def test_another_spelling_belongs_to_one_model() -> None:
    spellings = [spelling for model in MODELS for spelling in model.also_seen_as]
    assert len(set(spellings)) == len(spellings)


def test_an_id_is_stronger_than_another_models_other_spelling() -> None:
    catalog = Catalog([Model("@cf/a/one", "t", "current", also_seen_as=("@cf/a/two",)), Model("@cf/a/two", "t")])
    assert catalog.resolve("@cf/a/two").id == "@cf/a/two"


def test_the_names_are_the_listed_models_and_the_exact_aliases() -> None:
    assert "@cf/openai/gpt-oss-20b" in CATALOG.names
    assert "gpt-4o" in CATALOG.names
    assert "gpt-4o*" not in CATALOG.names
    assert not set(CATALOG.names) & {model.id for model in RETIRED}


# name -> the model that runs
RESOLVED = {
    "@cf/openai/gpt-oss-20b": "@cf/openai/gpt-oss-20b",
    "openai/gpt-oss-20b": "@cf/openai/gpt-oss-20b",
    "gpt-5-mini": "@cf/openai/gpt-oss-20b",
    "gpt-5-mini-2025-08-07": "@cf/openai/gpt-oss-20b",
    "gpt-5-2025-08-07": "@cf/openai/gpt-oss-120b",
    "claude-opus-4-1": "@cf/qwen/qwen3.8-27b",
    "claude-sonnet-4-5": "@cf/google/gemma-4-26b-a4b-it",
    "tts-1": "@cf/deepgram/aura-1",
    "tts-1-hd": "@cf/deepgram/aura-2-en",
    "@cf/mistral/mistral-small-3.1-24b-instruct": "@cf/mistralai/mistral-small-3.1-24b-instruct",
    "@cf/moonshotai/kimi-k2.5": "@cf/moonshotai/kimi-k2.6",
    "moonshotai/kimi-k2.5": "@cf/moonshotai/kimi-k2.6",
    "@cf/meta-llama/meta-llama-3-8b-instruct": "@cf/meta/llama-3.1-8b-instruct-fp8",
    "@hf/google/gemma-7b-it": "@cf/google/gemma-4-26b-a4b-it",
}


@pytest.mark.parametrize(("name", "model_id"), RESOLVED.items())
def test_a_name_leads_to_its_model(name: str, model_id: str) -> None:
    assert CATALOG.resolve(name).id == model_id


def test_a_retired_model_can_be_asked_for_all_the_same() -> None:
    catalog = Catalog.load(replace_retired_models=False)
    assert catalog.resolve("@cf/moonshotai/kimi-k2.5").status == "deprecated"


def test_options_of_an_alias_come_with_the_model() -> None:
    model = CATALOG.resolve("gpt-4.1")
    assert model.default_effort == "none"
    assert model.picture_model == "@cf/google/gemma-4-26b-a4b-it"
    named = CATALOG.resolve(model.id)
    assert (named.default_effort, named.picture_model) == (None, None)


def test_aliases_of_the_user_come_first() -> None:
    catalog = Catalog.load({"gpt-4o": "@cf/openai/gpt-oss-20b", "tts-*": "@cf/myshell-ai/melotts"})
    assert catalog.resolve("gpt-4o").id == "@cf/openai/gpt-oss-20b"
    assert catalog.resolve("tts-1-hd-2030").id == "@cf/myshell-ai/melotts"


def test_an_exact_alias_is_stronger_than_an_earlier_pattern() -> None:
    catalog = Catalog.load({"mine-*": "@cf/openai/gpt-oss-20b", "mine-big": "@cf/openai/gpt-oss-120b"})
    assert catalog.resolve("mine-big").id == "@cf/openai/gpt-oss-120b"
    assert catalog.resolve("mine-small").id == "@cf/openai/gpt-oss-20b"


def test_the_earlier_of_two_patterns_wins() -> None:
    catalog = Catalog.load({"mine-b*": "@cf/openai/gpt-oss-120b", "mine-*": "@cf/openai/gpt-oss-20b"})
    assert catalog.resolve("mine-big").id == "@cf/openai/gpt-oss-120b"


def test_a_pattern_does_not_hide_a_model() -> None:
    catalog = Catalog.load({"*": "@cf/openai/gpt-oss-20b"})
    assert catalog.resolve("@cf/openai/gpt-oss-120b").id == "@cf/openai/gpt-oss-120b"
    assert catalog.resolve("anything").id == "@cf/openai/gpt-oss-20b"


def test_an_alias_may_lead_to_one_of_ours() -> None:
    catalog = Catalog.load({"mine": "gpt-4o", "deep": {"model": "gpt-4o", "reasoning_effort": "high"}})
    assert catalog.resolve("mine") == CATALOG.resolve("gpt-4o")
    assert catalog.resolve("deep").default_effort == "high"


def test_an_alias_may_rename_a_model() -> None:
    catalog = Catalog.load({"@cf/openai/gpt-oss-20b": "@cf/openai/gpt-oss-120b"})
    assert catalog.resolve("@cf/openai/gpt-oss-20b").id == "@cf/openai/gpt-oss-120b"


@pytest.mark.parametrize("target", ["nothing", "@cf/../x", "", "two-steps"])
def test_an_alias_that_leads_nowhere_is_refused_at_the_start(target: str) -> None:
    with pytest.raises(ValueError, match="MODEL_ALIASES: 'mine' leads to no model"):
        Catalog.load({"mine": target, "two-steps": "gone"})


@pytest.mark.parametrize("name", ["@cf/new-author/new-model-9b", "@hf/author/model", "@cf/a/b/c", "@cf/a/b_1.5-x"])
def test_an_unlisted_id_is_believed(name: str) -> None:
    model = CATALOG.resolve(name)
    assert model == Model(name, "text-generation", quirks=Quirks(think_tags="tagged"))
    assert not model.is_listed
    assert model.can("function-calling")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "no-such-model",
        "@cf/a",
        "@cf/../accounts",
        "@cf/a/..",
        "@cf/a/b..c",
        "@cf/a/.b",
        "@cf/a//b",
        "@cf/a/b/",
        "/@cf/a/b",
        "@cf/a/b?x=1",
        "@cf/a/b#x",
        "@cf/a/b c",
        "@cf/a/b\n",
        "@cf/a/b%2Fc",
        "@cf/a/b\\c",
        "@cf/a/é",
        "@xx/a/b",
        "@CF/a/b",
        "@cf/a/" + "b" * 200,
    ],
)
def test_what_could_leave_its_place_in_a_path_is_no_model(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as failure:
        CATALOG.resolve(name)
    assert (failure.value.status, failure.value.param) == (404, "model")


@pytest.mark.parametrize(
    ("name", "suggestion"), [("gpt-5-mimi", None), ("gtp-4o", "gpt-4o"), ("whisper-2", "whisper-1")]
)
def test_a_mistyped_name_gets_a_suggestion_unless_a_pattern_takes_it(name: str, suggestion: str | None) -> None:
    if suggestion is None:
        assert CATALOG.resolve(name).is_listed
    else:
        with pytest.raises(ModelNotFoundError, match=f"Did you mean .*{suggestion}"):
            CATALOG.resolve(name)


def test_get_knows_ids_only() -> None:
    model = CATALOG.get("@cf/openai/gpt-oss-20b")
    assert model
    assert model.id == "@cf/openai/gpt-oss-20b"
    assert CATALOG.get("gpt-5-mini") is None


PRICED = (Price("input_tokens_M", 100), Price("cached_input_tokens_M", 10), Price("output_tokens_M", 1000))


@pytest.mark.parametrize(
    ("price", "tokens", "neurons"),
    [
        (PRICED, (1_000_000, 500_000), 600),
        (PRICED, (1_000_000, 500_000, 400_000), 60 + 4 + 500),
        (PRICED, (0, 0), 0),
        (PRICED[:1], (2_000_000, 5_000_000, 1_000_000), 200),
        ((), (1, 1), None),
        ((Price("audio_minute", 5),), (1, 1), None),
    ],
)
def test_tokens_cost_what_the_price_list_says(price: Any, tokens: tuple[int, ...], neurons: float | None) -> None:
    assert Model("@cf/a/b", "text-generation", price=price).neurons(*tokens) == neurons


def test_a_listed_model_can_do_what_its_row_says() -> None:
    model = Model("@cf/a/b", "text-generation", status="current", capabilities=frozenset({"vision"}))
    assert model.can("vision")
    assert not model.can("function-calling")


@pytest.mark.parametrize("options", [{"modl": "gpt-4o"}, {"reasoning_effort": "none"}, {"model": "gpt-4o", "x": "y"}])
def test_an_alias_with_wrong_options_is_told_what_it_may_have(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="MODEL_ALIASES: 'mine' may have model, reasoning_effort, picture_model"):
        Catalog.load({"mine": options})


def test_an_alias_needs_a_picture_model_that_there_is() -> None:
    with pytest.raises(ValueError, match="MODEL_ALIASES: 'mine'"):
        Catalog.load({"mine": {"model": "gpt-4o", "picture_model": "nothing"}})


def of_others(name: str) -> bool:
    return name.startswith(("openai/", "workers-ai/@"))


def test_a_model_of_another_provider_is_reached_through_a_gateway() -> None:
    catalog = Catalog.load({"mine": "openai/gpt-4.1"}, is_foreign=of_others, has_gateway=True)
    for name in ("openai/gpt-4.1", "mine"):
        model = catalog.resolve(name)
        assert (model.id, model.task, model.is_foreign, model.can("vision")) == (
            *("openai/gpt-4.1", "text-generation", True, True),
        )
    assert catalog.resolve("openai/gpt-oss-20b").id == "@cf/openai/gpt-oss-20b"
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        catalog.resolve("nobody/nothing")


def test_a_chat_model_of_cloudflares_may_be_named_as_the_gateway_does() -> None:
    catalog = Catalog.load(is_foreign=of_others, has_gateway=True)
    native = catalog.resolve("@cf/meta/llama-3.3-70b-instruct-fp8-fast")
    assert not catalog.resolve("workers-ai/@cf/openai/gpt-oss-20b").quirks.speaks_responses
    model = catalog.resolve(f"workers-ai/{native.id}")
    assert (model.id, model.input_shape, model.output_shape, model.is_foreign) == (
        *(f"workers-ai/{native.id}", "chat-completions", "openai-choices", False),
    )
    assert (model.price, model.context_window) == (native.price, native.context_window)
    assert catalog.resolve("workers-ai/@cf/baai/bge-m3") == catalog.resolve("@cf/baai/bge-m3")
    with pytest.raises(ModelNotFoundError):
        catalog.resolve("workers-ai/@xx/y")


@pytest.mark.parametrize("name", ["openai/gpt-4.1", "workers-ai/@cf/baai/bge-m3"])
def test_without_a_gateway_it_is_said_what_to_set(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="AI_GATEWAY_ID is not set"):
        Catalog.load(is_foreign=of_others).resolve(name)


def test_names_that_callers_invent_are_forgotten_again() -> None:
    catalog = Catalog.load()
    known = catalog.resolve("gpt-4o")
    for number in range(2 * MOST_RESOLVED):
        assert catalog.resolve(f"@cf/some/model-{number}").id == f"@cf/some/model-{number}"
    assert catalog.resolve("gpt-4o") == known
