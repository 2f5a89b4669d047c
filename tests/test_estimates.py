"""What calls are counted at when Cloudflare does not tell: its price list, for everything that models take and make."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.emulator.app import create_emulator
from app.emulator.options import Options
from tests.serving import ACCOUNT, CHAT, NATIVE, TOKEN, Cloudflare, asked, connected, flarelay, payloads, serving
from tests.sounding import NAMES, recording

CACHING = "@cf/qwen/qwen3.8-27b"
Ask = Callable[[httpx2.Client], httpx2.Response]
Cost = Callable[[dict[str, Any]], float]
"""From the usage in an answer."""


def silent(emulator: ASGIApp) -> ASGIApp:
    """As the emulator, but without a word of neurons."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [each for each in message["headers"] if each[0] != b"cf-ai-neurons"]
            elif b'"neurons"' in message.get("body", b""):
                message["body"] = message["body"].replace(b'"neurons"', b'"numbers"')
            await send(message)

        await emulator(scope, receive, send_on)

    return app


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    emulator = create_emulator(Options(tokens={ACCOUNT: TOKEN}))
    with (
        serving(silent(emulator), lifespan="off") as upstream,
        flarelay(Cloudflare(emulator, upstream.url), data_dir=str(tmp_path_factory.mktemp("data"))) as server,
        connected(server) as client,
    ):
        yield client


def tokens(prompt: float, completion: float = 0, cached: float | None = None) -> Cost:
    """By neurons per million."""

    def cost(usage: dict[str, Any]) -> float:
        known = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        fresh = usage["prompt_tokens"] - known
        whole = fresh * prompt + known * (prompt if cached is None else cached)
        return float(whole + usage.get("completion_tokens", 0) * completion) / 1e6

    return cost


def fixed(neurons: float) -> Cost:
    return lambda _: neurons


def posting(path: str, body: dict[str, Any]) -> Ask:
    return lambda http: http.post(path, json=body)


def transcribing(http: httpx2.Client) -> httpx2.Response:
    form = {"model": "whisper-1", "language": "en"}
    sound = recording(NAMES[:6], every_seconds=5)
    return http.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", sound)})


def picture(model: str, **options: Any) -> Ask:
    body = {"model": model, "prompt": "a cat", "response_format": "b64_json"}
    return posting("/v1/images/generations", body | options)


GUARD = "@cf/meta/llama-guard-3-8b"
FLUX_DEV = "@cf/black-forest-labs/flux-2-dev"
CASES: dict[str, tuple[Ask, Cost]] = {
    "tokens": (posting("/v1/chat/completions", asked("Hello", NATIVE)), tokens(26_668, 204_805)),
    "thoughts": (posting("/v1/chat/completions", asked("Hello", CHAT)), tokens(5_500, 36_400)),
    "raw tokens": (posting(f"/v1/run/{CHAT}", asked("Hello", CHAT)), tokens(5_500, 36_400)),
    "vectors": (posting("/v1/embeddings", {"model": "@cf/baai/bge-m3", "input": ["one", "two"]}), tokens(1_075)),
    "tiles and steps": (picture("@cf/black-forest-labs/flux-1-schnell"), fixed(4 * (4.80 + 4 * 9.60))),
    "tiles": (picture("@cf/black-forest-labs/flux-2-klein-4b", size="512x1024"), fixed(2 * 26.05)),
    "tiles times steps": (picture(FLUX_DEV, size="512x512", steps=10), fixed(37.5 * 10)),
    "megapixels": (picture("@cf/black-forest-labs/flux-2-klein-9b", size="1024x1024"), fixed(1363.64)),
    "minutes": (transcribing, fixed(46.63 / 2)),
    "characters": (
        posting("/v1/audio/speech", {"model": "tts-1", "input": "Good morning.", "voice": "alloy"}),
        fixed(13 * 1.36364),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_told_is_counted_by_the_price_list(http: httpx2.Client, name: str) -> None:
    ask, cost = CASES[name]
    before = http.get("/v1/usage").json()["total"]
    answer = ask(http).raise_for_status()
    is_json = answer.headers["content-type"].startswith("application/json")
    body = answer.json() if is_json else {}
    expected = cost(body.get("usage") or body.get("result", {}).get("usage") or {})
    total = http.get("/v1/usage").json()["total"]
    assert expected > 0
    for field in ("neurons", "estimated_neurons"):
        assert total[field] - before[field] == pytest.approx(expected, rel=1e-3)
    if name != "characters":  # a sound comes while it is made
        assert float(answer.headers["x-flarelay-neurons"]) == pytest.approx(expected, rel=1e-3)
        assert answer.headers["x-flarelay-neurons-estimated"] == "true"


def test_cached_tokens_have_a_price_of_their_own(http: httpx2.Client) -> None:
    beginning = {"role": "system", "content": "You are very patient. " * 100}
    for turn in range(2):
        before = http.get("/v1/usage").json()["total"]["neurons"]
        messages = [beginning, {"role": "user", "content": f"Hello {turn}"}]
        body = {"model": CACHING, "messages": messages, "prompt_cache_key": "one", "reasoning_effort": "none"}
        usage = http.post("/v1/chat/completions", json=body).raise_for_status().json()["usage"]
        paid = http.get("/v1/usage").json()["total"]["neurons"] - before
        assert paid == pytest.approx(tokens(40_909, 290_909, 4_545)(usage), rel=1e-3)
    assert usage["prompt_tokens_details"]["cached_tokens"] > 300


def test_a_stream_is_counted_by_the_price_list(http: httpx2.Client) -> None:
    before = http.get("/v1/usage").json()["total"]
    body = asked("Hello", NATIVE, stream=True, stream_options={"include_usage": True})
    usage = payloads(http.post("/v1/chat/completions", json=body).text)[-2]["usage"]
    total = http.get("/v1/usage").json()["total"]
    expected = tokens(26_668, 204_805)(usage)
    assert total["neurons"] - before["neurons"] == pytest.approx(expected, rel=1e-3)
    assert total["estimated_neurons"] - before["estimated_neurons"] == pytest.approx(expected, rel=1e-3)
