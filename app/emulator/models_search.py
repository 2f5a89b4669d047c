"""`models/search`: the catalogue as the account's live list, page by page."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.catalog import Model

TASKS = {
    "text-generation": "Text Generation",
    "moderation": "Text Generation",
    "text-embeddings": "Text Embeddings",
    "automatic-speech-recognition": "Automatic Speech Recognition",
    "text-to-speech": "Text-to-Speech",
    "text-to-image": "Text-to-Image",
    "translation": "Translation",
    "summarization": "Summarization",
    "text-classification": "Text Classification",
    "rerank": "Text Classification",
    "image-classification": "Image Classification",
    "object-detection": "Object Detection",
    "image-to-text": "Image-to-Text",
    "voice-activity-detection": "Voice Activity Detection",
}
UNITS = {
    "input_tokens_M": "per M input tokens",
    "cached_input_tokens_M": "per M cached input tokens",
    "output_tokens_M": "per M output tokens",
}
FLAGS = {
    "function-calling": "function_calling",
    "reasoning": "reasoning",
    "vision": "vision",
    "lora": "lora",
    "async-queue": "async_queue",
    "websocket": "realtime",
    "partner": "partner",
}
USD_PER_NEURON = 0.011 / 1000
PER_PAGE = 50


def searched(models: Iterable[Model], query: Mapping[str, str]) -> dict[str, Any]:
    """The body of an answer. `query` has `search`, `task`, `author`, `hide_experimental`, `page`, `per_page`,
    `format`; what isn't a number counts as not given."""
    found = [model for model in models if model.is_listed and _matches(model, query)]
    page, per_page = max(1, _number(query, "page", 1)), max(1, _number(query, "per_page", PER_PAGE))
    rows = found[(page - 1) * per_page : page * per_page]
    info = {"page": page, "per_page": per_page, "count": len(rows), "total_count": len(found)}
    info["total_pages"] = -(-len(found) // per_page)
    is_openrouter = query.get("format") == "openrouter"
    result: Any = {"data": [_openrouter(model) for model in rows]} if is_openrouter else [_row(row) for row in rows]
    return {"success": True, "errors": [], "messages": [], "result": result, "result_info": info}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, "")
    return int(value) if value.isdecimal() else default


def _matches(model: Model, query: Mapping[str, str]) -> bool:
    return (
        query.get("search", "").lower() in model.id.lower()
        and query.get("task", "").lower() in ("", _task(model).lower())
        and query.get("author", "").lower() in ("", model.id.split("/")[1].lower())
        and not (query.get("hide_experimental") == "true" and model.status == "beta")
    )


def _task(model: Model) -> str:
    return TASKS.get(model.task, "Other")


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _row(model: Model) -> dict[str, Any]:
    task = _task(model)
    row = {
        "id": _uuid(model.id),
        "source": 1,
        "name": model.id,
        "description": f"{model.id.rpartition('/')[2]}, as the emulator plays it",
        "task": {"id": _uuid(task), "name": task, "description": f"Models for {task.lower()}."},
        "tags": [],
        "properties": [{"property_id": name, "value": value} for name, value in _properties(model).items()],
    }
    if model.created:
        row["created_at"] = f"{datetime.fromtimestamp(model.created, UTC):%Y-%m-%d %H:%M:%S}.000"
    return row


def _properties(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {name: "true" for flag, name in FLAGS.items() if flag in model.capabilities}
    if model.context_window:
        found["context_window"] = str(model.context_window)
    if model.embedding_dimensions:
        found["output_dimensions"] = str(model.embedding_dimensions)
    if model.max_input_tokens:
        found["max_input_tokens"] = str(model.max_input_tokens)
    if model.price:
        found["price"] = [_price(price.unit, price.neurons) for price in model.price]
    if model.reasoning and model.reasoning.efforts:
        efforts = {"supported_efforts": list(model.reasoning.efforts), "default_effort": model.reasoning.efforts[0]}
        found["reasoning_effort"] = efforts | {"mandatory": not model.reasoning.is_optional, "default_enabled": True}
    if model.status == "beta":
        found["beta"] = "true"
    if model.requires_paid_plan:
        found["require_workers_paid"] = "true"
    if model.quirks.license_prompt:
        found["terms"] = "https://www.llama.com/llama3_2/license/"
    return found


def _price(unit: str, neurons: float) -> dict[str, Any]:
    return {"unit": UNITS.get(unit, f"per {unit}"), "price": round(neurons * USD_PER_NEURON, 6), "currency": "USD"}


def _openrouter(model: Model) -> dict[str, Any]:
    prices = {price.unit: str(price.neurons * USD_PER_NEURON / 1e6) for price in model.price}
    return {
        "id": model.id,
        "name": model.id.rpartition("/")[2],
        "created": model.created,
        "context_length": model.context_window,
        "max_output_length": model.max_output_tokens,
        "input_modalities": ["text", "image"] if "vision" in model.capabilities else ["text"],
        "output_modalities": ["text"],
        "pricing": {
            "prompt": prices.get("input_tokens_M", "0"),
            "completion": prices.get("output_tokens_M", "0"),
            "input_cache_read": prices.get("cached_input_tokens_M", "0"),
        },
        "supported_features": sorted({"reasoning", "json-mode"} & model.capabilities),
        "supported_sampling_parameters": ["temperature", "top_p", "max_tokens", "seed"],
        "hugging_face_id": "",
    }
