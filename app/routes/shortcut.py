"""Shortcut: requests that run a model go straight to their endpoint; all others through the framework.

Middleware for browsers and a search among a hundred routes would cost such a request more than reading and writing it.
"""

from collections.abc import Awaitable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send


class Shortcut:
    """ASGI: a POST to one of the paths that no browser sent; everything else goes to `app`."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        answer = self._app
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._endpoints:
            for name, _ in scope["headers"]:
                if name == b"origin":
                    break
            else:
                answer = self._endpoints[scope["path"]]
        return answer(scope, receive, send)


class Server(Starlette):
    """An application with something before all of its own middleware."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.front: ASGIApp = self.inside
        """What gets every request first; it may pass it on to `inside`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application without its front."""
        await super().__call__(scope, receive, send)
