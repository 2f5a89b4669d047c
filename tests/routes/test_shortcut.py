"""The short way to what has to be fast: who takes it, and who goes through the framework."""

from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.routes.shortcut import Server, Shortcut
from tests.routes.scripted import Client

pytestmark = pytest.mark.anyio


async def quick(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"quick"})


def thorough(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("thorough")


@pytest.mark.parametrize(
    ("method", "path", "headers", "answer"),
    [
        ("POST", "/chat", [(b"host", b"here")], b"quick"),
        ("POST", "/chat", [(b"host", b"here"), (b"origin", b"https://page")], b"thorough"),
        ("GET", "/chat", [], b"thorough"),
        ("POST", "/other", [], b"thorough"),
    ],
)
async def test_only_what_no_browser_posts_to_a_known_path(
    method: str, path: str, headers: list[tuple[bytes, bytes]], answer: bytes
) -> None:
    app = Server(routes=[Route("/{name}", thorough, methods=["GET", "POST"])])
    app.front = Shortcut(app.inside, {"/chat": quick})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    await app(scope, Client().receive, send)
    assert b"".join(message.get("body", b"") for message in sent) == answer


async def test_without_a_front_a_server_is_its_application() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    app = Server(routes=[Route("/", thorough)])
    await app(
        {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}, Client().receive, send
    )
    assert sent[0]["status"] == 200
