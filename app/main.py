"""create_app: makes each part once, joins them, and closes them in reverse order."""

import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.auth import Auth
from app.endpoints import Parts, Routes, make_routes
from app.logs import configure, flush
from app.metrics import Metrics
from app.parts import (
    Stores,
    join_metrics,
    make_accounts,
    make_board,
    make_caching,
    make_catalog,
    make_desk,
    make_keys,
    make_limiter,
    make_loaders,
    make_relay,
    make_upstream,
)
from app.routes.books import Books
from app.routes.edge import Edge, Faults, Options
from app.routes.metrics import templates
from app.routes.refusals import http_fault
from app.routes.shortcut import Server, Shortcut
from app.settings import Settings
from app.upstream.gateway import TOLD, Gateway
from app.upstream.model_list import ModelList
from app.upstream.transport import make_transport

EMULATOR_URL = "http://emulator.invalid/client/v4"
"""Where the built-in Workers AI lives: in this process, at an address that exists nowhere."""

METHODS = ["GET", "POST", "DELETE", "OPTIONS", "HEAD"]
EXPOSED = [
    "x-request-id",
    "request-id",
    "retry-after",
    "x-flarelay-model",
    "x-flarelay-ignored",
    "x-flarelay-neurons",
    "x-flarelay-neurons-estimated",
    "x-flarelay-cache",
    "x-flarelay-remedy",
    "x-flarelay-remaining-neurons",
    *(f"x-ratelimit-{what}-{of}" for of in ("requests", "neurons") for what in ("limit", "remaining", "reset")),
    *sorted(name.decode() for name in TOLD),
]
A_DAY = 86400
YOUNG = (50_000, 10, 20)
"""Objects, and rounds, after which garbage is looked for: by default at each 700th, which is every few requests. Of 256
that begin together there are 25,000, none of which is garbage."""


class Transports(httpx2.AsyncBaseTransport):
    """The network, and the emulator beside it."""

    def __init__(self, network: httpx2.AsyncBaseTransport, emulator: httpx2.AsyncBaseTransport) -> None:
        self._network = network
        self._emulator = emulator

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "emulator.invalid":
            return await self._emulator.handle_async_request(request)
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        await self._network.aclose()
        await self._emulator.aclose()


def create_app(settings: Settings, *, transport: httpx2.AsyncBaseTransport | None = None) -> Starlette:
    """The application. `transport` carries the calls to Cloudflare in place of the network."""
    gateway = Gateway.from_settings(settings)
    catalog = make_catalog(settings, gateway)
    auth = Auth.from_settings(settings, EMULATOR_URL, make_keys(settings))
    wire = _wire(settings, transport)
    stores = Stores(settings)
    accounts = make_accounts(settings, stores.ledger)
    metrics = Metrics(version=__version__, mode=settings.mode)
    upstream = make_upstream(settings, wire, accounts, gateway, metrics)
    caching = make_caching(settings, upstream, catalog, stores.replies, metrics)
    loaders = make_loaders(settings)
    relay = make_relay(settings, catalog, caching, loaders)
    board = make_board(settings, metrics)
    limiter = make_limiter(settings, stores.ledger, accounts, board)
    join_metrics(metrics, settings, stores.ledger, accounts, board)
    translating = make_relay(settings, catalog, upstream, loaders)  # past the cache: translations have their own
    desk = make_desk(settings, translating, catalog, stores, metrics)
    model_list = ModelList(catalog, upstream, ttl_seconds=settings.model_list_ttl_seconds)
    books = Books(limiter, stores.ledger, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as parts:
            parts.callback(flush)
            parts.push_async_callback(wire.aclose)
            parts.push_async_callback(model_list.aclose)
            if board:
                await board.open()
                parts.push_async_callback(board.aclose)
            await parts.enter_async_context(stores.opened())
            parts.callback(books.settle)
            yield

    parts = Parts(
        settings, catalog, auth, relay, loaders.pictures, stores, desk, model_list, limiter, accounts, metrics
    )
    routes = make_routes(parts)
    app = Server(routes=routes.all, lifespan=lifespan, exception_handlers={HTTPException: http_fault})
    _add_edges(app, settings, routes, books)
    return app


def _wire(settings: Settings, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncBaseTransport:
    """What carries the calls."""
    network = transport or make_transport()
    return Transports(network, _emulator()) if settings.mode == "emulator" else network


def _emulator() -> httpx2.AsyncBaseTransport:
    from app.emulator.app import create_emulator  # a server with an account never needs it
    from app.emulator.options import Options as EmulatorOptions
    from app.emulator.transport import EmulatorTransport

    # Slow enough to be seen streaming, and as open to new models as the server is.
    return EmulatorTransport(create_emulator(EmulatorOptions(any_model=True, token_seconds=0.02)))


def _add_edges(app: Server, settings: Settings, routes: Routes, books: Books) -> None:
    """What stands before the routes: all of it before most of them, and little before those that run models."""
    ends_channel = settings.quota_ends_channel
    app.router.redirect_slashes = False
    app.add_middleware(Faults, quota_ends_channel=ends_channel)
    app.add_middleware(Options, methods=METHODS)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=METHODS,
        allow_headers=["*"],
        expose_headers=EXPOSED,
        allow_private_network=True,
        max_age=A_DAY,
    )
    fast = {route.path: Faults(route.endpoint, quota_ends_channel=ends_channel) for route in routes.hot}
    app.front = Edge(Shortcut(app.inside, fast), books, plain=fast)
    books.known = templates(routes.all)


def from_environment() -> Starlette:
    """What each worker process runs."""
    settings = Settings()
    configure(settings.log_level)
    logging.getLogger("flarelay").info("start", extra={"fields": {"mode": settings.mode, "version": __version__}})
    app = create_app(settings)
    gc.freeze()  # what there is now stays: nobody needs to look through it again
    gc.set_threshold(*YOUNG)
    gc.enable()
    return app
