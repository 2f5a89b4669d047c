"""A page of 300 paragraphs through the translation routes, as Immersive Translate sends it: one request a paragraph.

`python -m bench.translation` starts the emulator and a server on loopback, each in a process of its own, and translates
the page with 3, 20 and 50 requests at a time: cold and cached, with the model made for it and with a chat model, whose
calls hold several paragraphs. Beside it, each paragraph in a chat call of its own, as a client without a translation
endpoint would do. Upstream calls take 100 ms unless BENCH_UPSTREAM_MS says otherwise: the model's time, which is the
same for everybody. Ends by itself.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time

import httpx2

from bench.pictures import free_port

PARAGRAPHS = 300
UPSTREAM_MS = os.environ.get("BENCH_UPSTREAM_MS", "100")
WORDS = ["river", "stone", "morning", "garden", "letter", "window", "people", "winter", "story", "market", "quiet"]


def page(issue: int) -> list[str]:
    """Three sentences each; every tenth paragraph is one that came before, as menus and captions are."""

    def paragraph(number: int) -> str:
        def word(i: int) -> str:
            return WORDS[(number * 7 + i * (number % 5 + 1)) % len(WORDS)]

        name = f"{issue}-{number}"
        return (
            f"In the {word(1)} number {name} there was a {word(2)} near the {word(3)}. The {word(4)} was {word(5)}, "
            f"but the {word(6)} of {name} days did not end. Nobody saw the {word(7)} of {name}."
        )

    return [paragraph(number if number % 10 else number // 10) for number in range(PARAGRAPHS)]


async def translated(client: httpx2.AsyncClient, texts: list[str], at_once: int, model: str | None) -> float:
    """Neurons."""
    places = asyncio.Semaphore(at_once)

    async def one(text: str) -> float:
        body = {"text": text, "source_lang": "auto", "target_lang": "DE"} | ({"model": model} if model else {})
        async with places:
            answer = await client.post("/translate", json=body)
        answer.raise_for_status()
        return float(answer.headers.get("x-flarelay-neurons", 0))

    return sum(await asyncio.gather(*map(one, texts)))


async def chatted(client: httpx2.AsyncClient, texts: list[str], at_once: int, model: str | None) -> float:
    places = asyncio.Semaphore(at_once)

    async def one(text: str) -> float:
        turns = [{"role": "user", "content": f"Translate into German, and write nothing else:\n\n{text}"}]
        async with places:
            answer = await client.post("/v1/chat/completions", json={"model": model, "messages": turns})
        answer.raise_for_status()
        return float(answer.headers.get("x-flarelay-neurons", 0))

    return sum(await asyncio.gather(*map(one, texts)))


async def calls(client: httpx2.AsyncClient) -> float:
    """Engine calls so far."""
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("flarelay_translation_calls_total"))


async def measure(url: str) -> None:
    print(f"{PARAGRAPHS} paragraphs, {len(set(page(0)))} different; upstream calls take {UPSTREAM_MS} ms")  # noqa: T201
    print(f"{'':34} at once  seconds  pages/s  calls  neurons")  # noqa: T201
    async with httpx2.AsyncClient(base_url=url, timeout=300, verify=False, trust_env=False) as client:
        for _ in range(600):
            try:
                await client.get("/health")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
        for at_once in (3, 20, 50):
            fresh = page(at_once)  # no sentence of it was in another round
            rows = [
                ("each by itself, chat model", chatted, "gpt-4o-mini"),
                ("translation model, cold", translated, None),
                ("translation model, cached", translated, None),
                ("chat model, cold", translated, "gpt-4o-mini"),
                ("chat model, cached", translated, "gpt-4o-mini"),
            ]
            for name, work, model in rows:
                before, began = await calls(client), time.perf_counter()
                neurons = await work(client, fresh, at_once, model)
                took = time.perf_counter() - began
                made = PARAGRAPHS if work is chatted else await calls(client) - before
                print(f"{name:34} {at_once:7} {took:8.2f} {1 / took:8.2f} {made:6.0f} {neurons:8.1f}")  # noqa: T201


def main() -> None:
    upstream, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATA_DIR": folder,
            "LOG_LEVEL": "warning",
            "CLOUDFLARE_ACCOUNT_ID": "bench",
            "CLOUDFLARE_API_TOKEN": "bench",
            "CLOUDFLARE_API_BASE_URL": f"http://127.0.0.1:{upstream}/client/v4",
        }
        command = [sys.executable, "-m", "app.emulator", "--port", str(upstream), "--latency-ms", UPSTREAM_MS]
        emulator = subprocess.Popen(command)  # noqa: S603 - numbers
        server = subprocess.Popen([sys.executable, "-m", "app"], env=env)
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}"))
        finally:
            for process in (server, emulator):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
