"""The account's own list of models, kept for a while. Its failure never takes away what was there."""

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from app.calls import Account, Failure
from app.catalog import Catalog, Model, Price
from app.catalog.models import MODEL_ID
from app.upstream.client import WorkersAI

logger = logging.getLogger("flarelay")

TASKS = {
    "Text Generation": "text-generation",
    "Text Embeddings": "text-embeddings",
    "Automatic Speech Recognition": "automatic-speech-recognition",
    "Text-to-Speech": "text-to-speech",
    "Text-to-Image": "text-to-image",
    "Translation": "translation",
    "Summarization": "summarization",
    "Text Classification": "text-classification",
    "Image Classification": "image-classification",
    "Object Detection": "object-detection",
    "Image-to-Text": "image-to-text",
    "Voice Activity Detection": "voice-activity-detection",
}
"""Cloudflare's names of tasks, as `models/search` has them -> the catalogue's."""

OTHER = "other"

CAPABILITIES = {
    "function_calling": "function-calling",
    "reasoning": "reasoning",
    "vision": "vision",
    "lora": "lora",
    "async_queue": "async-queue",
}
"""Cloudflare's boolean properties -> the catalogue's capabilities."""

NEURONS_PER_USD = 1000 / 0.011

UNITS = {
    "per M input tokens": "input_tokens_M",
    "per M cached input tokens": "cached_input_tokens_M",
    "per M output tokens": "output_tokens_M",
}

RETRY_SECONDS = 60.0
"""After a failed look-up."""

PATIENCE_SECONDS = 2.0
"""How long a list may be waited for: user interfaces give up after three to ten seconds."""

MOST_ACCOUNTS = 64
"""Lists that are kept: with callers' own accounts there is no other end to them."""


@dataclass(slots=True)
class _Kept:
    """One account's list."""

    models: dict[str, Model] = field(default_factory=dict)
    expires: float = 0
    refresh: "asyncio.Task[None] | None" = None


class ModelList:
    """The catalogue's models, with what the account's list adds or corrects."""

    def __init__(
        self,
        catalog: Catalog,
        upstream: WorkersAI,
        *,
        ttl_seconds: float,
        retry_seconds: float = RETRY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._catalog = catalog
        self._upstream = upstream
        self._ttl_seconds = ttl_seconds
        self._retry_seconds = retry_seconds
        self._patience_seconds = patience_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def listed(self, account: Account) -> list[Model]:
        """Every model that can be asked for, sorted by id."""
        models = {model.id: model for model in self._catalog} | await self._live(account)
        return sorted((model for model in models.values() if model.is_listed), key=lambda model: model.id)

    async def find(self, name: str, account: Account) -> Model:
        """The model behind a name. Raises ModelNotFoundError."""
        model = self._catalog.resolve(name)
        return (await self._live(account)).get(model.id, model)

    async def aclose(self) -> None:
        """End the look-ups that still run."""
        tasks = [kept.refresh for kept in self._kept.values() if kept.refresh]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self, account: Account) -> dict[str, Model]:
        """What is known, renewed in the background; only a list that was never there is waited for."""
        kept = self._kept.setdefault(account.id, _Kept())
        self._kept.move_to_end(account.id)
        if len(self._kept) > MOST_ACCOUNTS:
            self._drop_oldest()
        if time.monotonic() >= kept.expires and kept.refresh is None:
            kept.refresh = asyncio.create_task(self._refresh(account, kept))
        if not kept.models and kept.refresh:
            await asyncio.wait([kept.refresh], timeout=self._patience_seconds)
        return kept.models

    def _drop_oldest(self) -> None:
        _, oldest = self._kept.popitem(last=False)
        if oldest.refresh:
            oldest.refresh.cancel()

    async def _refresh(self, account: Account, kept: _Kept) -> None:
        try:
            rows = await self._upstream.models(account)
        except Failure as failure:
            kept.expires = time.monotonic() + self._retry_seconds
            logger.warning("model list", extra={"fields": {"error": failure.kind, "reason": failure.message}})
        else:
            kept.expires = time.monotonic() + self._ttl_seconds
            found = [model for row in rows if (model := merged(row, self._catalog))]
            kept.models = {model.id: model for model in found} or kept.models
        finally:
            kept.refresh = None


def merged(row: dict[str, Any], catalog: Catalog) -> Model | None:
    """One row of `models/search` over the catalogue's; None for a row that names no model of Cloudflare's own.

    The catalogue knows better how a model speaks; Cloudflare knows better since when and until when there is one, and
    what it costs. Whatever else a row holds, or holds in another form than documented, is passed over.
    """
    name = row.get("name")
    if not isinstance(name, str) or not MODEL_ID.fullmatch(name):
        return None
    properties = _properties(row)
    model = catalog.get(name) or _new(name, row, properties)
    if _is_past(properties.get("planned_deprecation_date")):
        model = replace(model, status="deprecated")
    elif model.status == "unlisted":
        model = replace(model, status="current")
    prices = {price.unit: price for price in (*model.price, *_prices(properties))}
    return replace(model, created=_created(row.get("created_at")) or model.created, price=tuple(prices.values()))


def _properties(row: dict[str, Any]) -> dict[str, Any]:
    listed = [each for each in _list(row.get("properties")) if isinstance(each, dict)]
    return {str(each.get("property_id")): each.get("value") for each in listed}


def _new(name: str, row: dict[str, Any], properties: dict[str, Any]) -> Model:
    """A model that Cloudflare has and the catalogue does not: spoken to in the default shapes."""
    task = row.get("task")
    return Model(
        name,
        TASKS.get(str(task.get("name")), OTHER) if isinstance(task, dict) else OTHER,
        capabilities=frozenset(ours for theirs, ours in CAPABILITIES.items() if properties.get(theirs) == "true"),
        context_window=_whole(properties.get("context_window")),
    )


def _prices(properties: dict[str, Any]) -> list[Price]:
    return [
        Price(UNITS[str(each["unit"])], round(each["price"] * NEURONS_PER_USD, 2))
        for each in _list(properties.get("price"))
        if isinstance(each, dict) and str(each.get("unit")) in UNITS and isinstance(each.get("price"), int | float)
    ]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(text: Any) -> int | None:
    try:
        return int(str(text))
    except ValueError:
        return None


def _created(text: Any) -> int:
    """Unix seconds of `YYYY-MM-DD HH:MM:SS.mmm`, which is UTC; 0 if it is none."""
    try:
        return int(datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def _is_past(text: Any) -> bool:
    try:
        return date.fromisoformat(str(text)[:10]) < datetime.now(UTC).date()
    except ValueError:
        return False
