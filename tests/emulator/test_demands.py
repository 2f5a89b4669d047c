from typing import Any

import pytest

from app.emulator.options import Options
from tests.emulator.asking import asking

pytestmark = pytest.mark.anyio

SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "",
            "parameters": {"type": "object", "properties": {"at": {"type": "string", "description": ""}}},
        },
    }
]


@pytest.mark.parametrize(
    ("system", "answer"),
    [
        ("Be kind.", "This is the emulator built into Flarelay, not a real model. You said: hi"),
        (
            "Answer with one JSON object and nothing else.",
            '{"answer":"This is the emulator built into Flarelay, not a real model. You said: hi"}',
        ),
        (f"Answer with one JSON object. It must satisfy this JSON Schema:\n{SCHEMA}\nThanks.", '{"a":1}'),
        ("You must call the tool look now.", '{"name":"look","arguments":{"at":"at"}}'),
        ("You must call the tool unknown now.", '{"name":"unknown","arguments":{}}'),
    ],
)
async def test_a_model_obeys_what_the_system_demands(system: str, answer: str) -> None:
    body: dict[str, Any] = {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": "hi"}],
        "tools": TOOLS,
    }
    async with asking(Options()) as asker:
        reply = await asker.run("@cf/meta/llama-3.2-3b-instruct", **body)
    assert reply.json()["result"]["response"] == answer


async def test_any_model_of_the_right_form_runs_if_that_is_wanted() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    async with asking(Options(any_model=True)) as asker:
        assert (await asker.run("@cf/some/new-model", **body)).status_code == 200
        assert (await asker.run("@cf/some", **body)).status_code == 400
