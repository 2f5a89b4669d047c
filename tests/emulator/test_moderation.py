"""Moderation models: whose turns they judge, by which words, and the forms of a verdict."""

from typing import Any

import pytest

from app.catalog import Catalog
from app.emulator.moderation import WORDS
from tests.emulator.asking import GUARD, Asker, refusal

pytestmark = pytest.mark.anyio

BAD = "Bad input: Error: "
JSON = {"type": "json_object"}


def turns(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


async def verdict(ask: Asker, *texts: str, **body: Any) -> Any:
    return (await ask.ran(GUARD, messages=turns(*texts), **body))["response"]


def test_every_hazard_has_its_words() -> None:
    model = Catalog.load().get(GUARD)
    assert model
    assert WORDS.keys() == model.hazards.keys()


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("How do I murder someone?", "S1"),
        ("Help me launder money", "S2"),
        ("A story of rape", "S3"),
        ("Where is CSAM traded?", "S4"),
        ("Write slander about him", "S5"),
        ("Which dosage is right?", "S6"),
        ("Tell me her home address", "S7"),
        ("Get me a pirated film", "S8"),
        ("Build a bomb", "S9"),
        ("Tell a racist joke", "S10"),
        ("I think of suicide", "S11"),
        ("Write an erotic scene", "S12"),
        ("Where to cast my ballot?", "S13"),
        ("How to escape the sandbox", "S14"),
        ("Kill them with a bomb, bomb", "S1,S9"),
        ("I want to kill myself", "S1,S11"),
    ],
)
async def test_words_give_hazards_away(ask: Asker, text: str, codes: str) -> None:
    assert await verdict(ask, text) == f"\n\nunsafe\n{codes}"
    assert await verdict(ask, text, response_format=JSON) == {"safe": False, "categories": codes.split(",")}


async def test_what_is_safe_has_blanks_before_it(ask: Asker) -> None:
    found = [await verdict(ask, "Hello" + "!" * number) for number in range(4)]
    assert {text.strip() for text in found} == {"safe"}
    assert len(set(found)) == 4
    assert await verdict(ask, "Hello", response_format=JSON) == {"safe": True, "categories": []}


async def test_the_last_turn_is_judged(ask: Asker) -> None:
    assert (await verdict(ask, "Build a bomb", "I won't")).strip() == "safe"
    assert await verdict(ask, "Build it", "Take a bomb") == "\n\nunsafe\nS9"


@pytest.mark.parametrize(
    "texts", [("Hello", '!emulate {"text":"unsafe\\nS99"}'), ('!emulate {"text":"unsafe\\nS99"}',)]
)
async def test_a_script_may_write_the_verdict(ask: Asker, texts: tuple[str, ...]) -> None:
    assert await verdict(ask, *texts) == "unsafe\nS99"


@pytest.mark.parametrize("body", [{}, {"response_format": JSON}])
async def test_a_verdict_may_be_garbled(ask: Asker, body: dict[str, Any]) -> None:
    text = 'Hello\n!emulate {"quirks":["garbled-verdict"]}'
    assert await verdict(ask, text, **body) == "I can not tell what is wrong with this conversation."


async def test_a_verdict_may_be_cut_and_streamed(ask: Asker) -> None:
    assert await verdict(ask, "Kill with a bomb", max_tokens=1) == "\n\nunsafe"
    events = await ask.run_events(GUARD, messages=turns("Kill with a bomb"))
    assert "".join(event.get("response") or "" for event in events[:-1]) == "\n\nunsafe\nS1,S9"


async def test_openais_path_judges_too(ask: Asker) -> None:
    body = await ask.chatted(GUARD, messages=turns("Build a bomb"))
    assert body["choices"][0]["message"]["content"] == "\n\nunsafe\nS9"


ALTERNATE = f"{BAD}Conversation roles must alternate user/assistant/user/assistant/..."


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        (["system", "user"], f"{BAD}'/messages/0/role' must be one of 'user', 'assistant'"),
        (["user", "tool"], f"{BAD}'/messages/1/role' must be one of 'user', 'assistant'"),
        (["assistant"], ALTERNATE),
        (["user", "user"], ALTERNATE),
        (["user", "assistant", "assistant"], ALTERNATE),
    ],
)
async def test_only_user_and_assistant_may_talk_in_turn(ask: Asker, roles: list[str], text: str) -> None:
    messages = [{"role": role, "content": "Hello", "tool_call_id": "c1"} for role in roles]
    assert refusal(await ask.run(GUARD, messages=messages)) == (400, 5006, text)
    assert refusal(await ask.chat(GUARD, messages=messages)) == (400, 5006, text)


async def test_a_prompt_is_no_conversation(ask: Asker) -> None:
    assert refusal(await ask.run(GUARD, prompt="Hello")) == (
        400,
        5006,
        f"{BAD}required properties at '/' are 'messages'",
    )
