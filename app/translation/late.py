"""LateDesk: the desk, made when somebody first asks for it.

What it is made of takes a tenth of a second and a few megabytes to load, and many servers never translate. That its
models can translate is checked all the same before the server starts.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from anyio import to_thread

from app.calls import Caller
from app.catalog import Catalog
from app.catalog.translators import HEED_MANNER, translating_model
from app.errors import BadRequestError, ModelNotFoundError
from app.translation.wishes import Translation, Wish

if TYPE_CHECKING:
    from app.translation.desk import Desk


class LateDesk:
    """Stands for what `make` makes, and makes it once."""

    def __init__(self, make: "Callable[[], Desk]", catalog: Catalog, default: str, fallback: str | None) -> None:
        """`default` and `fallback` are names of the catalogue. Raises ValueError for one that can't translate."""
        self._make = make
        self._desk: Desk | None = None
        try:
            models = [translating_model(catalog, name) for name in (default, fallback) if name]
        except (BadRequestError, ModelNotFoundError) as failure:
            raise ValueError(failure.message) from failure
        self.heeds_manner = HEED_MANNER[models[0].task]
        """Formality reaches the server's own choice of a model."""

    async def translate(self, wish: Wish, caller: Caller) -> Translation:
        """Raises APIStatusError."""
        return await (await self._made()).translate(wish, caller)

    async def characters(self, caller: Caller) -> int:
        """What the caller has had translated in this month."""
        return await (await self._made()).characters(caller)

    async def _made(self) -> "Desk":
        if self._desk is None:
            await to_thread.run_sync(import_module, "app.translation.desk")  # long enough to be in others' way
            self._desk = self._desk or self._make()
        return self._desk
