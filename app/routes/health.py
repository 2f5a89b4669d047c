"""Signs of life, without a key."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import __version__
from app.routes.replies import to_response
from app.schemas.models import Greeting, Health


def routes(mode: str) -> list[Route]:
    async def greet(_: Request) -> Response:
        return to_response(Greeting(message="Flarelay is running. Its OpenAI API is at /v1."))

    async def health(_: Request) -> Response:
        return to_response(Health(mode=mode, version=__version__))

    return [
        Route("/", greet),
        Route("/api/hello", greet),  # Claude Code asks here
        Route("/health", health),
    ]
