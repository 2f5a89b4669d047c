"""What every task has in common: scripts, the quirks of envelopes and failures, charges."""

from typing import Any

import orjson
import pytest

from app.emulator.options import Options
from tests.emulator.asking import (
    BGE,
    BGE_M3,
    CLASSIFIER,
    FLUX,
    GUARD,
    INDIC,
    LLAVA,
    M2M100,
    MOONDREAM,
    RERANKER,
    SENTIMENT,
    Asker,
    asking,
    picture,
    picture_bytes,
    refusal,
)

pytestmark = pytest.mark.anyio


def bodies(text: str) -> list[tuple[str, dict[str, Any]]]:
    contexts = [{"text": "One"}, {"text": text}]
    return [
        (BGE, {"text": ["One", text]}),
        (BGE_M3, {"contexts": contexts}),
        (BGE_M3, {"query": "One", "contexts": contexts}),
        (RERANKER, {"query": text, "contexts": [{"text": "One"}]}),
        (GUARD, {"messages": [{"role": "user", "content": text}]}),
        (SENTIMENT, {"text": text}),
        (M2M100, {"text": text, "target_lang": "fr"}),
        (INDIC, {"text": [text], "target_language": "hin_Deva"}),
        (LLAVA, {"image": list(picture_bytes()), "prompt": text}),
        (MOONDREAM, {"image": picture(), "question": text, "stream": False}),
        (FLUX, {"prompt": text}),
    ]


def script(**values: Any) -> str:
    return f"!emulate {orjson.dumps(values).decode()}"


@pytest.mark.parametrize(("model", "body"), bodies(script(error={"code": 3040, "status": 503, "retry_after": 7})))
async def test_a_script_may_fail_any_task(ask: Asker, model: str, body: dict[str, Any]) -> None:
    response = await ask.run(model, **body)
    assert (refusal(response)[:2], response.headers["retry-after"]) == ((503, 3040), "7")


@pytest.mark.parametrize(("model", "body"), bodies(script(quirks=["unenveloped"])))
async def test_the_envelope_may_be_missing(ask: Asker, model: str, body: dict[str, Any]) -> None:
    response = await ask.run(model, **body)
    found = response.json()
    assert (response.status_code, isinstance(found, list) or "success" not in found) == (200, True)


@pytest.mark.parametrize(("model", "body"), bodies(script(cut_bytes=5, first_delay_ms=1)))
async def test_bytes_may_be_cut_anywhere(ask: Asker, model: str, body: dict[str, Any]) -> None:
    assert (await ask.run(model, **body)).json()["success"] is True


async def test_a_state_may_stand_around_the_result(ask: Asker) -> None:
    result = await ask.ran(SENTIMENT, text=script(quirks=["state-envelope"]))
    assert (result["state"], len(result["result"])) == ("Completed", 2)


@pytest.mark.parametrize("model", [CLASSIFIER, "@cf/facebook/detr-resnet-50"])
async def test_pictures_fail_by_quirks_alone(model: str) -> None:
    async with asking(Options(quirks=frozenset({"success-false-200"}))) as ask:
        response = await ask.run_bytes(model, picture_bytes())
        assert (response.status_code, response.json()["success"]) == (200, False)
        assert response.json()["errors"][0]["code"] == 3040


async def test_an_unknown_key_of_a_script_is_5006(ask: Asker) -> None:
    assert refusal(await ask.run(BGE, text=["One", script(txt="?")]))[:2] == (400, 5006)
