"""Scripts of several steps, played as an agent's session goes on."""

from typing import Any

import pytest

from tests.emulator.asking import CHAT, PLAIN, WEATHER, Asker, scripted

pytestmark = pytest.mark.anyio

REMINDER = "<system-reminder>\nYou may call weather.\n</system-reminder>"
CALL = {"name": "weather", "arguments": {"city": "Bern"}}
STEPS = [{"tool_calls": [CALL]}, {"text": "More.", "tool_calls": [CALL, CALL]}, {"text": "Done.", "tool_calls": []}]
RESULTS: list[list[dict[str, Any]]] = [
    [],
    [{"role": "tool", "tool_call_id": "1", "content": "Rain"}],
    [{"role": "tool", "tool_call_id": f"{number}", "content": "Sun"} for number in (2, 3)],
    [{"role": "tool", "tool_call_id": "4", "content": "Snow"}],
]


def asked_for(result: dict[str, Any]) -> dict[str, Any]:
    call = {"id": result["tool_call_id"], "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def session(rounds: int) -> list[dict[str, Any]]:
    turns = scripted(steps=STEPS)
    for results in RESULTS[1 : rounds + 1]:
        turns += [asked_for(results[0]), *results]
    return turns


async def answered(ask: Asker, messages: list[dict[str, Any]]) -> tuple[str, int]:
    answer = await ask.chatted(CHAT, messages=messages, tools=[WEATHER])
    message = answer["choices"][0]["message"]
    return message["content"] or "", len(message["tool_calls"])


@pytest.mark.parametrize(
    ("rounds", "text", "calls"), [(0, "", 1), (1, "More.", 2), (2, "Done.", 0), (3, "The tool says: Snow", 0)]
)
async def test_each_round_of_results_gets_the_next_step(ask: Asker, rounds: int, text: str, calls: int) -> None:
    assert await answered(ask, session(rounds)) == (text, calls)


async def test_the_user_starts_anew(ask: Asker) -> None:
    messages = [*session(2), {"role": "assistant", "content": "Done."}]
    assert await answered(ask, [*messages, *scripted(steps=STEPS)]) == ("", 1)


async def test_a_reminder_of_the_users_program_is_not_the_user(ask: Asker) -> None:
    assert await answered(ask, [*session(1), {"role": "user", "content": REMINDER}]) == ("More.", 2)
    messages = [{"role": "user", "content": f"{REMINDER}\nHello"}]
    assert await answered(ask, messages) == (
        "This is the emulator built into Flarelay, not a real model. You said: Hello",
        0,
    )


async def test_results_that_are_told_as_turns_of_the_user_count_too(ask: Asker) -> None:
    result = {"role": "user", "content": "<tool_response>\nRain\n</tool_response>"}
    messages = [*scripted(steps=[{"text": "First."}, {"text": "Second."}]), {"role": "assistant", "content": "?"}]
    assert (await ask.ran(PLAIN, messages=[*messages, result, result]))["response"] == "Second."


async def test_a_step_that_makes_no_sense_is_refused(ask: Asker) -> None:
    response = await ask.chat(CHAT, messages=scripted(steps=[{"texts": "One"}]))
    assert response.status_code == 400
    assert "unknown texts" in response.text
