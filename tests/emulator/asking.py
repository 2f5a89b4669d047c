"""Ways for a test to ask an emulator in process, and models with one property each."""

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import orjson
from PIL import Image

from app.emulator.app import Emulator, create_emulator
from app.emulator.options import Options
from app.emulator.transport import EmulatorTransport

NATIVE = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"  # tools, JSON mode
PLAIN = "@cf/meta/llama-3.2-3b-instruct"  # neither
NATIVE_VISION = "@cf/mistralai/mistral-small-3.1-24b-instruct"
NESTED = "@cf/meta/llama-4-scout-17b-16e-instruct"
UNTAGGED = "@cf/qwen/qwq-32b"
HYBRID = "@cf/qwen/qwen3-30b-a3b-fp8"
CHAT = "@cf/zai-org/glm-4.7-flash"  # thinks, has no efforts
VISION = "@cf/google/gemma-4-26b-a4b-it"
EFFORTS = "@cf/qwen/qwen3.8-27b"
KIMI = "@cf/moonshotai/kimi-k2.6"
GPT_OSS = "@cf/openai/gpt-oss-20b"
RETIRED = "@cf/moonshotai/kimi-k2.5"
LICENSED = "@cf/meta/llama-3.2-11b-vision-instruct"
BGE = "@cf/baai/bge-base-en-v1.5"
BGE_M3 = "@cf/baai/bge-m3"
GEMMA_EMBEDDING = "@cf/google/embeddinggemma-300m"
PLAMO = "@cf/pfnet/plamo-embedding-1b"
QWEN_EMBEDDING = "@cf/qwen/qwen3-embedding-0.6b"
RERANKER = "@cf/baai/bge-reranker-base"
GUARD = "@cf/meta/llama-guard-3-8b"
SENTIMENT = "@cf/huggingface/distilbert-sst-2-int8"
CLASSIFIER = "@cf/microsoft/resnet-50"
DETECTOR = "@cf/facebook/detr-resnet-50"
LLAVA = "@cf/llava-hf/llava-1.5-7b-hf"
MOONDREAM = "@cf/moondream/moondream3.1-9B-A2B"
M2M100 = "@cf/meta/m2m100-1.2b"
INDIC = "@cf/ai4bharat/indictrans2-en-indic-1B"
FLUX = "@cf/black-forest-labs/flux-1-schnell"
FLUX_2 = "@cf/black-forest-labs/flux-2-dev"
KLEIN_4B = "@cf/black-forest-labs/flux-2-klein-4b"
KLEIN_9B = "@cf/black-forest-labs/flux-2-klein-9b"
PHOENIX = "@cf/leonardo/phoenix-1.0"
LUCID = "@cf/leonardo/lucid-origin"
SDXL = "@cf/stabilityai/stable-diffusion-xl-base-1.0"
DREAMSHAPER = "@cf/lykon/dreamshaper-8-lcm"
IMG2IMG = "@cf/runwayml/stable-diffusion-v1-5-img2img"
INPAINTING = "@cf/runwayml/stable-diffusion-v1-5-inpainting"

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Its name"}}},
    },
}


def picture_bytes(width: int = 3, height: int = 2, kind: str = "PNG", colour: str = "black") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(data, kind)
    return data.getvalue()


def picture(width: int = 3, height: int = 2, kind: str = "PNG") -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(picture_bytes(width, height, kind)).decode()}"


def shown(url: Any, text: str = "Look") -> list[dict[str, Any]]:
    """Messages with one picture."""
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


def scripted(**script: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"Hello\n!emulate {orjson.dumps(script).decode()}"}]


def events(response: httpx2.Response) -> list[Any]:
    """The data of each event: parsed, or `"[DONE]"`."""
    assert response.headers["content-type"] == "text/event-stream"
    found = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    return [data if data == "[DONE]" else orjson.loads(data) for data in found]


class Asker:
    def __init__(self, emulator: Emulator, client: httpx2.AsyncClient) -> None:
        self.emulator = emulator
        self.client = client

    async def run(self, model: str, **body: Any) -> httpx2.Response:
        return await self.client.post(f"/accounts/a1/ai/run/{model}", json=body)

    async def chat(self, model: str, **body: Any) -> httpx2.Response:
        return await self.client.post("/accounts/a1/ai/v1/chat/completions", json={"model": model, **body})

    async def embed(self, model: str, **body: Any) -> httpx2.Response:
        return await self.client.post("/accounts/a1/ai/v1/embeddings", json={"model": model, **body})

    async def run_bytes(self, model: str, data: bytes, kind: str = "application/octet-stream") -> httpx2.Response:
        return await self.client.post(f"/accounts/a1/ai/run/{model}", content=data, headers={"content-type": kind})

    async def run_form(self, model: str, **fields: str | bytes) -> httpx2.Response:
        """Texts as fields, bytes as files."""
        parts = {
            name: (None, value) if isinstance(value, str) else (f"{name}.png", value) for name, value in fields.items()
        }
        return await self.client.post(f"/accounts/a1/ai/run/{model}", files=parts)

    async def ran(self, model: str, **body: Any) -> Any:
        """The result of a run, out of its envelope."""
        response = await self.run(model, **body)
        assert response.status_code == 200, response.text
        assert (response.json()["success"], response.json()["errors"], response.json()["messages"]) == (True, [], [])
        return response.json()["result"]

    async def chatted(self, model: str, **body: Any) -> Any:
        response = await self.chat(model, **body)
        assert response.status_code == 200, response.text
        return response.json()

    async def run_events(self, model: str, **body: Any) -> list[Any]:
        return events(await self.run(model, stream=True, **body))

    async def chat_events(self, model: str, **body: Any) -> list[Any]:
        return events(await self.chat(model, stream=True, **body))


def cosine(one: list[float], other: list[float]) -> float:
    """Of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def refusal(response: httpx2.Response) -> tuple[int, Any, str]:
    """Status, code and text of the first error, without prefixes and request id."""
    error = response.json()["errors"][0]
    text = error["message"].replace("AiError: ", "").partition(" (0")[0]
    return response.status_code, error.get("code"), text


@asynccontextmanager
async def asking(options: Options | None = None, key: str = "any") -> AsyncIterator[Asker]:
    emulator = create_emulator(options)
    transport = EmulatorTransport(emulator)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://emulator/client/v4", headers=headers) as client:
        yield Asker(emulator, client)
