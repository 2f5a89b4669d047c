"""Rarer: the routes that FastAPI answers. It is loaded when somebody first asks for one of them.

That takes an eighth of a second and 8 MB, which a server that only runs models never needs.
"""

from collections.abc import Callable

from anyio import Lock, to_thread
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

SHARED = (
    "/responses/{response_id}",
    "/responses/{response_id}/cancel",
    "/responses/{response_id}/input_items",
    "/usage",
    "/admin/usage",
    "/dashboard/billing/subscription",
    "/dashboard/billing/usage",
    "/dashboard/billing/credit_grants",
)
"""Paths with and without `/v1`."""
DOCUMENTS = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")
PATHS = (*(prefix + path for path in SHARED for prefix in ("/v1", "")), *DOCUMENTS)


class Rarer:
    """An ASGI application that stands for the one that `make` makes, in a thread, so that nobody has to wait."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._lock = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or await self._made()
        await app(scope, receive, send)

    def routes(self) -> list[Route]:
        """For every method: which of them a path takes is known within."""
        return [Route(path, self) for path in PATHS]

    async def _made(self) -> ASGIApp:
        async with self._lock:
            if self._app is None:
                self._app = await to_thread.run_sync(self._make)
            return self._app
