"""create_app: makes each part once, joins them, and closes them in reverse order."""

import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from app import __version__
from app.auth import Auth, our_accounts
from app.caching import Caching
from app.catalog import Catalog
from app.errors import ModelNotFoundError
from app.limits import Limiter
from app.logs import configure
from app.media.cutter import Cutter
from app.media.documents import DocumentLoader
from app.media.loader import PictureLoader
from app.media.remote import DOCUMENT, RemoteFetcher
from app.metrics import Metrics
from app.relay import Relay
from app.routes import (
    chats,
    deepl,
    deeplx,
    health,
    hosted,
    images,
    messages,
    models,
    openai,
    responses,
    run,
    transcriptions,
)
from app.routes import metrics as metrics_route
from app.routes.books import Books
from app.routes.edge import Edge, Faults, Options
from app.routes.edit_forms import EditForms
from app.routes.rarer import Rarer
from app.routes.refusals import http_fault
from app.routes.responses import Responses
from app.routes.shortcut import Server, Shortcut
from app.routes.speech import Speech
from app.routes.transcriptions import Transcriptions
from app.schemas.images import ImageEditRequest, ImageVariationRequest
from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest
from app.settings import Settings
from app.stores.characters import CharacterCount
from app.stores.database import Database
from app.stores.disk import Disk
from app.stores.keys import Keys
from app.stores.ledger import Ledger
from app.stores.pictures import Medium, PictureStore
from app.stores.replies import ReplyStore
from app.stores.responses import ResponseStore
from app.stores.translations import TranslationCache
from app.translation.late import LateDesk
from app.translators.edits import edits, variations
from app.translators.transcriptions import transcriptions as hearing
from app.translators.transcriptions import translations
from app.upstream.accounts import Accounts
from app.upstream.client import WorkersAI
from app.upstream.gateway import TOLD, Gateway, is_provider_model
from app.upstream.model_list import ModelList
from app.upstream.transport import make_transport

if TYPE_CHECKING:
    from app.schemas.usage import AccountState
    from app.stores.board import Board
    from app.translation.desk import Desk

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
    "x-flarelay-cache",
    "x-flarelay-remedy",
    "x-flarelay-remaining-neurons",
    *(f"x-ratelimit-{what}-{of}" for of in ("requests", "neurons") for what in ("limit", "remaining", "reset")),
    *sorted(name.decode() for name in TOLD),
]
A_DAY = 86400
YOUNG = (10_000, 10, 20)
"""Objects, and rounds, after which garbage is looked for: by default at each 700th, which is every few requests."""

CACHED_TASKS = {"embeddings": "text-embeddings", "chat": "text-generation"}
"""What RESPONSE_CACHE names -> the models' task."""


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
    catalog = Catalog.load(
        settings.model_aliases,
        replace_retired_models=settings.replace_retired_models,
        is_foreign=is_provider_model,
        has_gateway=gateway is not None,
    )
    keys = Keys((key.get_secret_value() for key in settings.api_keys), Path(settings.data_dir) / "keys.toml")
    auth = Auth.from_settings(settings, EMULATOR_URL, keys)
    wire = transport or make_transport()
    if settings.mode == "emulator":
        wire = Transports(wire, _emulator())
    accounts, metrics = Accounts(), Metrics(version=__version__, mode=settings.mode)
    upstream = WorkersAI(
        wire,
        accounts=accounts,
        gateway=gateway,
        goes_past_gateway=settings.ai_gateway_fallback,
        metrics=metrics,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        request_timeout_seconds=settings.request_timeout_seconds,
        max_tries=settings.max_tries,
    )
    fetching: dict[str, Any] = {
        "is_enabled": settings.remote_fetch,
        "allow": settings.remote_fetch_allow,
        "max_bytes": settings.remote_fetch_max_bytes,
        "timeout_seconds": settings.remote_fetch_timeout_seconds,
    }
    loader = PictureLoader(RemoteFetcher(**fetching))
    database = Database(Path(settings.data_dir) / "flarelay.db")
    replies = ReplyStore(
        database, max_bytes=settings.response_cache_max_bytes, ttl_seconds=settings.response_cache_ttl_seconds
    )
    caching = Caching(
        upstream,
        catalog,
        replies,
        tasks=[CACHED_TASKS[name] for name in settings.response_cache],
        is_shared=settings.response_cache_shared,
        counts=metrics.cache,
    )
    _check_fallbacks(settings, catalog)
    options: dict[str, Any] = {
        "documents": DocumentLoader(RemoteFetcher(**fetching, subject=DOCUMENT)),
        "default_max_tokens": settings.default_max_tokens,
        "fallbacks": settings.fallbacks,
        "request_timeout_seconds": settings.request_timeout_seconds,
        "tool_emulation": settings.tool_emulation,
    }
    relay = Relay(catalog, caching, loader, **options)
    store = PictureStore(
        _medium(settings),
        max_bytes=settings.pictures_max_bytes,
        expire_seconds=settings.pictures_expire_seconds,
    )
    ledger = Ledger(database)
    ours = [account.id for account in our_accounts(settings)]
    budget = settings.budget(len(ours))
    board = _board(settings, metrics)
    limiter = Limiter(ledger, budget=budget, accounts=ours, others=board)
    metrics.budget, metrics.spent = budget, ledger.spent_today
    metrics.parked = lambda: [(each.id, each.reason) for each in accounts.parked() if each.is_ours]
    metrics.others = board.published if board else None
    characters = CharacterCount(database)
    cache = TranslationCache(database, max_bytes=settings.translation_cache_max_bytes)
    desk = _translation_desk(settings, Relay(catalog, upstream, loader, **options), catalog, cache, characters, metrics)
    model_list = ModelList(catalog, upstream, ttl_seconds=settings.model_list_ttl_seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as parts:
            parts.push_async_callback(wire.aclose)
            parts.push_async_callback(model_list.aclose)
            if board:
                await board.open()
                parts.push_async_callback(board.aclose)
            await database.open()
            await ledger.open()
            for part in (database, ledger, characters, cache, replies):
                parts.push_async_callback(part.aclose)
            await store.open()
            parts.push_async_callback(store.aclose)
            yield

    max_bytes, heartbeat = settings.max_body_bytes, settings.heartbeat_seconds
    pictures_at_once = CapacityLimiter(images.AT_ONCE)
    picture_desk = images.PictureDesk(
        store, settings.public_base_url, settings.trust_forwarded, heartbeat, pictures_at_once
    )
    forms = EditForms(catalog, loader, pictures_at_once, max_body_bytes=max_bytes)
    chat = chats.Chats(relay, auth, catalog, picture_desk, forms, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat)
    kept = ResponseStore(
        database,
        max_bytes=settings.stored_responses_max_bytes,
        ttl_seconds=settings.stored_responses_expire_seconds,
    )
    answering = Responses(relay, auth, kept, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat)
    own: dict[str, openai.Endpoint[Any]] = {
        "/v1/chat/completions": chat,
        "/v1/responses": answering,
        "/v1/images/generations": images.Generations(relay, auth, picture_desk, max_body_bytes=max_bytes),
        "/v1/audio/speech": Speech(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
    }
    cutter = Cutter()
    limits = transcriptions.Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_json_bytes=max_bytes,
        pieces_at_once=settings.transcription_pieces_at_once,
        heartbeat_seconds=heartbeat,
    )
    links = [Route("/v1/chat/completions", chats.ChatLink(chat), methods=["GET"])] if settings.chat_links else []
    rarer = Rarer(lambda: _documented(settings, auth, kept, limiter, ledger, accounts))
    hot = openai.routes(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat, own=own)
    fast = {route.path: Faults(route.endpoint, quota_ends_channel=settings.quota_ends_channel) for route in hot}
    routes = [  # tried in this order
        *links,
        *hot,
        *messages.routes(relay, auth, catalog, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
        *responses.routes(answering, relay, auth, max_body_bytes=max_bytes),
        *run.routes(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
        *images.routes(
            edits=images.Edits(ImageEditRequest, edits, relay, auth, picture_desk, forms),
            variations=images.Edits(ImageVariationRequest, variations, relay, auth, picture_desk, forms),
        ),
        *hosted.routes(store),
        *deepl.routes(desk, auth, has_formality=desk.heeds_manner, max_body_bytes=max_bytes),
        *transcriptions.routes(
            transcriptions=Transcriptions(TranscriptionRequest, hearing, relay, auth, cutter, limits),
            translations=Transcriptions(TranslationRequest, translations, relay, auth, cutter, limits),
        ),
        *models.routes(model_list, catalog, auth),
        *health.routes(settings.mode),
        metrics_route.route(metrics),
        *rarer.routes(),
        *deeplx.routes(desk, auth, max_body_bytes=max_bytes),  # last of all, since a key may be any first segment
    ]
    app = Server(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: http_fault})
    app.router.redirect_slashes = False
    app.add_middleware(Faults, quota_ends_channel=settings.quota_ends_channel)
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
    books = Books(limiter, ledger, metrics)
    app.front = Edge(Shortcut(app.inside, fast), books=books)
    books.known = metrics_route.templates(routes)
    return app


def _documented(
    settings: Settings, auth: Auth, kept: ResponseStore, limiter: Limiter, ledger: Ledger, accounts: Accounts
) -> ASGIApp:
    from app.routes import billing, documented, stored, usage  # as Rarer says

    ours = [account.id for account in our_accounts(settings)]
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    allowance = billing.allowance_of(limiter.remaining_neurons, ledger.spent_today)

    def states() -> "list[AccountState]":
        return usage.account_states(ours, accounts.parked(), lambda account: ledger.spent_today(account=account))

    routers = [
        stored.router(kept, auth),
        usage.router(ledger, auth, allowance, states, admin_key=admin_key),
        billing.router(allowance, auth, may_reach_zero=settings.quota_ends_channel),
    ]
    return documented.application(routers, quota_ends_channel=settings.quota_ends_channel)


def _check_fallbacks(settings: Settings, catalog: Catalog) -> None:
    """Better refused now than at a request. Raises ValueError."""
    for names in settings.fallbacks.values():
        for name in names:
            try:
                catalog.resolve(name)
            except ModelNotFoundError as failure:
                raise ValueError(f"MODEL_FALLBACKS: {name!r} leads to no model. {failure}") from failure


def _translation_desk(
    settings: Settings,
    relay: Relay,
    catalog: Catalog,
    cache: TranslationCache,
    characters: CharacterCount,
    metrics: Metrics,
) -> LateDesk:
    default, fallback = settings.translate_model, settings.translate_fallback_model
    names = default, None if fallback == "off" else fallback

    def make() -> "Desk":
        from app.translation.desk import Desk  # as LateDesk says
        from app.translation.engines import Engines
        from app.translation.mending import Mender

        engines, counts = Engines(relay, catalog, *names), metrics.translation
        mender = Mender(counts, fallback=engines.fallback, pack_seconds=settings.translation_pack_ms / 1000)
        return Desk(engines, mender, cache, characters, counts)

    return LateDesk(make, catalog, *names)


def _emulator() -> httpx2.AsyncBaseTransport:
    from app.emulator.app import create_emulator  # a server with an account never needs it
    from app.emulator.options import Options as EmulatorOptions
    from app.emulator.transport import EmulatorTransport

    # Slow enough to be seen streaming, and as open to new models as the server is.
    return EmulatorTransport(create_emulator(EmulatorOptions(any_model=True, token_seconds=0.02)))


def _board(settings: Settings, metrics: Metrics) -> "Board | None":
    """Where several workers count together."""
    if settings.workers == 1:
        return None
    from app.stores.board import Board  # for those few servers; and it needs Unix

    return Board(Path(settings.data_dir) / "workers", settings.workers, tell=metrics.state, take_over=metrics.take_over)


def _medium(settings: Settings) -> Medium:
    """Where made pictures are kept."""
    if settings.pictures_url is None:
        return Disk(Path(settings.data_dir) / "pictures")
    from app.stores.bucket import Bucket  # most servers need none, and need not wait for it

    return Bucket.at(settings.pictures_url)


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
