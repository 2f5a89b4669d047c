"""The model list, as both OpenAI's and Anthropic's clients read it, with what Workers AI can tell besides."""

from typing import Literal

from pydantic import BaseModel


class ModelCard(BaseModel):
    """One model. `created` is in Unix seconds, `created_at` the same as ISO text, prices in neurons per unit."""

    id: str
    object: Literal["model"] = "model"
    type: Literal["model"] = "model"
    created: int
    created_at: str
    owned_by: str
    display_name: str
    task: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: list[str]
    neuron_price: dict[str, float]
    requires_paid_plan: bool = False


class ModelCards(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
    has_more: Literal[False] = False
    first_id: str | None = None
    last_id: str | None = None


class Voice(BaseModel):
    id: str
    name: str


class Voices(BaseModel):
    voices: list[Voice]


class Greeting(BaseModel):
    """What stands at `/`: enough for uptime monitors and DeepLX clients, which look for `code`."""

    code: Literal[200] = 200
    message: str


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    mode: str
    version: str
