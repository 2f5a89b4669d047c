"""A desk that translates by a rule, and a server of nothing but the routes that translate."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Scope

from app.auth import Auth
from app.calls import Caller
from app.errors import APIStatusError
from app.routes import deepl, deeplx
from app.routes.edge import Edge, Faults
from app.routes.record import Record
from app.settings import Mode
from app.translation.wishes import Translated, Translation, Wish
from tests.serving import DEADLINE_SECONDS, NO_TLS, Server, serving

API_KEY = "key-of-a-caller"
TOKEN = "token+of-a-reader"
MODEL = "@cf/meta/m2m100-1.2b"
MAX_BYTES = 100_000


@dataclass
class FakeDesk:
    """Puts the target in front of every text; everything is English unless the wish says otherwise."""

    wishes: list[Wish] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    failure: APIStatusError | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    """Of the next translations, in place of a single call that was no trouble."""
    is_stuck: bool = False
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    characters_so_far: int = 0

    async def translate(self, wish: Wish, caller: Caller) -> Translation:
        self.wishes.append(wish)
        self.callers.append(caller)
        if self.is_stuck:
            self.is_asked.set()
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        alternatives = tuple(f"{number}" for number in range(wish.alternatives))
        texts = tuple(
            Translated(f"[{wish.target}] {text}", wish.source or "en", alternatives, len(text)) for text in wish.texts
        )
        return replace(Translation(texts, MODEL, neurons=1.25, units=len(texts)), **self.outcome)

    async def characters(self, caller: Caller) -> int:
        self.callers.append(caller)
        return self.characters_so_far

    @property
    def wish(self) -> Wish:
        """The only one."""
        (wish,) = self.wishes
        return wish

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]  # as new


def auth(mode: Mode = "managed", *, keys: tuple[str, ...] = (API_KEY,), tokens: tuple[str, ...] = (TOKEN,)) -> Auth:
    return Auth(mode, keys, "ours", "our-token", "https://api.example", "http://emulator.invalid", tokens)


def application(desk: FakeDesk, door: Auth, *, has_formality: bool = True) -> Starlette:
    routes = [
        *deepl.routes(desk, door, has_formality=has_formality, max_body_bytes=MAX_BYTES),
        *deeplx.routes(desk, door, max_body_bytes=MAX_BYTES),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Edge), Middleware(Faults)])


@contextmanager
def translating(desk: FakeDesk, door: Auth, *, has_formality: bool = True) -> Iterator[Server]:
    with serving(application(desk, door, has_formality=has_formality), lifespan="off") as server:
        yield server


@contextmanager
def visiting(server: Server) -> Iterator[httpx2.Client]:
    """A client without a key."""
    with httpx2.Client(base_url=server.url, timeout=DEADLINE_SECONDS, verify=NO_TLS) as client:
        yield client


def scope(path: str, method: str = "POST", *, app: Starlette | None = None, query: str = "") -> Scope:
    record = Record("id", method, path)
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [],
        "record": record,
        "app": app,
    }
