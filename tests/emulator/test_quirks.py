"""Every quirk of the table shows in some answer, and none does unless it is switched on."""

import re
from typing import Any

import pytest

from app.emulator.options import Options
from app.emulator.quirks import DEFAULT_QUIRKS, MODEL_QUIRKS, QUIRKS
from app.emulator.sound_files import Coding, encoded
from app.emulator.sounds import silence
from tests.emulator.asking import (
    BGE,
    CHAT,
    GPT_OSS,
    GUARD,
    M2M100,
    NATIVE,
    RERANKER,
    RETIRED,
    SDXL,
    WEATHER,
    asking,
    picture,
    scripted,
)

pytestmark = pytest.mark.anyio

CALLS = [{"name": "weather", "arguments": {"city": "Rome"}}] * 2
JSON = {"type": "json_object"}
REQUIRED = {"tools": [WEATHER], "tool_choice": "required"}
INTO_FRENCH = [
    {"role": "system", "content": "Translate every text from English (en) into French (fr)."},
    {"role": "user", "content": "<t1>One</t1>\n<t2>Two</t2>"},
]
ASKED: list[tuple[str, dict[str, Any]]] = [
    (NATIVE, {"messages": scripted(text="7 up")}),
    (NATIVE, {"messages": scripted(text="{}"), "response_format": JSON}),
    (NATIVE, {"messages": scripted(), "response_format": JSON}),
    (NATIVE, {"messages": scripted(tool_calls=CALLS)}),
    (NATIVE, {"prompt": picture()}),
    (GPT_OSS, {"messages": scripted(text="{}", reasoning="Hm"), "response_format": JSON}),
    (GPT_OSS, {"messages": scripted(text="7 up", reasoning="Hm")}),
    (GPT_OSS, {"messages": scripted(tool_calls=CALLS)}),
    (GPT_OSS, {"messages": scripted(tokens=9, reasoning=""), "max_tokens": 2}),
    (GPT_OSS, {"messages": scripted(), **REQUIRED}),
    (GPT_OSS, {"input": "Hello"}),
    (CHAT, {"messages": scripted(error={"code": 3040})}),
    (RETIRED, {"messages": scripted(text="One")}),
    (GUARD, {"messages": [{"role": "user", "content": "Hello"}]}),
    (RERANKER, {"query": "One", "contexts": [{"text": "One"}]}),
    (SDXL, {"prompt": "One", "seed": 1, "width": 256, "height": 256}),
    (M2M100, {"text": "One {0}. Two. Three. Four.", "target_lang": "fr"}),
    (NATIVE, {"messages": INTO_FRENCH}),
    ("@cf/myshell-ai/melotts", {"prompt": "One"}),
    ("@cf/deepgram/aura-1", {"text": "One", "encoding": "mulaw"}),
]


async def answers(quirks: frozenset[str]) -> list[Any]:
    """What an emulator with these quirks answers to each of the above, whole and streamed."""
    found = []
    async with asking(Options(quirks=quirks)) as ask:
        for model, body in ASKED:
            for stream in (False, True):
                response = await ask.run(model, **body, stream=stream)
                text = re.sub(r'"created":\d+', "", response.text)
                found.append((response.status_code, response.headers.get("content-type"), text))
        response = await ask.embed(BGE, input="One", encoding_format="base64")
        found.append((response.status_code, response.headers.get("content-type"), response.text))
        silent = encoded(silence(0.1, 8000), 8000, Coding("wav", "pcm_s16le"))
        response = await ask.run_bytes("@cf/deepgram/nova-3", silent, "audio/wav")
        found.append((response.status_code, response.headers.get("content-type"), response.text))
    return found


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
async def test_the_quirk_shows(quirk: str) -> None:
    assert await answers(DEFAULT_QUIRKS - {quirk}) != await answers(DEFAULT_QUIRKS | {quirk})


def test_the_quirks_of_models_are_in_the_table() -> None:
    assert DEFAULT_QUIRKS.union(*MODEL_QUIRKS.values()) <= QUIRKS.keys()
