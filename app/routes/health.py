"""Signs of life, without a key."""

from fastapi import APIRouter

from app import __version__
from app.schemas.models import Greeting, Health


def router(mode: str) -> APIRouter:
    routes = APIRouter(tags=["health"])

    async def greet() -> Greeting:
        return Greeting(message="Flarelay is running. Its OpenAI API is at /v1.")

    async def health() -> Health:
        """200 as soon as the server takes requests."""
        return Health(mode=mode, version=__version__)

    routes.add_api_route("/", greet, methods=["GET", "HEAD"], include_in_schema=False)
    routes.add_api_route("/api/hello", greet, methods=["GET", "HEAD"], include_in_schema=False)  # Claude Code asks here
    routes.add_api_route("/health", health)
    routes.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    return routes
