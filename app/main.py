"""create_app: makes each part once, joins them, and closes them in reverse order."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import __version__
from app.auth import Auth
from app.catalog import Catalog
from app.emulator.app import create_emulator
from app.emulator.options import Options as EmulatorOptions
from app.emulator.transport import EmulatorTransport
from app.errors import APIStatusError, BadRequestError, MethodNotAllowedError, NotFoundError
from app.logs import configure
from app.media.cutter import Cutter
from app.media.loader import PictureLoader
from app.media.remote import RemoteFetcher
from app.metrics import Metrics
from app.relay import Relay
from app.routes import (
    chats,
    deepl,
    deeplx,
    health,
    hosted,
    images,
    models,
    openai,
    reference,
    run,
    transcriptions,
)
from app.routes import metrics as metrics_route
from app.routes.edge import Edge, Faults, Options
from app.routes.edit_forms import EditForms
from app.routes.speech import Speech
from app.routes.transcriptions import Transcriptions
from app.schemas.images import ImageEditRequest, ImageVariationRequest
from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest
from app.settings import Settings
from app.stores.characters import CharacterCount
from app.stores.database import Database
from app.stores.disk import Disk
from app.stores.pictures import Medium, PictureStore
from app.stores.translations import TranslationCache
from app.translation.desk import Desk as TranslationDesk
from app.translation.engines import Engines
from app.translation.mending import Mender
from app.translators.edits import edits, variations
from app.translators.transcriptions import transcriptions as hearing
from app.translators.transcriptions import translations
from app.upstream.client import WorkersAI
from app.upstream.model_list import ModelList
from app.upstream.transport import make_transport

EMULATOR_URL = "http://emulator.invalid/client/v4"
"""Where the built-in Workers AI lives: in this process, at an address that exists nowhere."""

EMULATOR = EmulatorOptions(any_model=True, token_seconds=0.02)
"""Slow enough to be seen streaming, and as open to new models as the server is."""

METHODS = ["GET", "POST", "DELETE", "OPTIONS", "HEAD"]
EXPOSED = [
    "x-request-id",
    "retry-after",
    "x-flarelay-model",
    "x-flarelay-ignored",
    "x-flarelay-neurons",
    "x-flarelay-cache",
    "x-flarelay-remedy",
]
A_DAY = 86400


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


def create_app(settings: Settings, *, transport: httpx2.AsyncBaseTransport | None = None) -> FastAPI:
    """The application. `transport` carries the calls to Cloudflare in place of the network."""
    catalog = Catalog.load(settings.model_aliases, replace_retired_models=settings.replace_retired_models)
    auth = Auth.from_settings(settings, EMULATOR_URL)
    wire = transport or make_transport()
    if settings.mode == "emulator":
        wire = Transports(wire, EmulatorTransport(create_emulator(EMULATOR)))
    upstream = WorkersAI(
        wire,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        request_timeout_seconds=settings.request_timeout_seconds,
        max_tries=settings.max_tries,
    )
    fetcher = RemoteFetcher(
        is_enabled=settings.remote_fetch,
        allow=settings.remote_fetch_allow,
        max_bytes=settings.remote_fetch_max_bytes,
        timeout_seconds=settings.remote_fetch_timeout_seconds,
    )
    loader = PictureLoader(fetcher)
    relay = Relay(catalog, upstream, loader, default_max_tokens=settings.default_max_tokens)
    store = PictureStore(
        _medium(settings),
        max_bytes=settings.pictures_max_bytes,
        expire_seconds=settings.pictures_expire_seconds,
    )
    database = Database(Path(settings.data_dir) / "flarelay.db")
    characters = CharacterCount(database)
    cache = TranslationCache(database, max_bytes=settings.translation_cache_max_bytes)
    metrics = Metrics()
    desk = _translation_desk(settings, relay, catalog, cache, characters, metrics)
    model_list = ModelList(catalog, upstream, ttl_seconds=settings.model_list_ttl_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as parts:
            parts.push_async_callback(wire.aclose)
            parts.push_async_callback(model_list.aclose)
            await database.open()
            for part in (database, characters, cache):
                parts.push_async_callback(part.aclose)
            await store.open()
            parts.push_async_callback(store.aclose)
            yield

    app = FastAPI(
        title="Flarelay",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        max_body_size=None,
        exception_handlers={HTTPException: _http_fault, RequestValidationError: _validation_fault},
    )
    max_bytes, heartbeat = settings.max_body_bytes, settings.heartbeat_seconds
    limiter = CapacityLimiter(images.AT_ONCE)
    picture_desk = images.PictureDesk(store, settings.public_base_url, settings.trust_forwarded, heartbeat, limiter)
    forms = EditForms(catalog, loader, limiter, max_body_bytes=max_bytes)
    chat = chats.Chats(relay, auth, catalog, picture_desk, forms, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat)
    own: dict[str, openai.Endpoint[Any]] = {
        "/v1/chat/completions": chat,
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
    app.router.routes[:0] = [  # first, since routes are tried in order
        *links,
        *openai.routes(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat, own=own),
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
    ]
    app.include_router(models.router(model_list, catalog, auth))
    app.include_router(health.router(settings.mode))
    app.include_router(metrics_route.router(metrics))
    # Last of all, since a key may be any first segment.
    app.router.routes.extend(deeplx.routes(desk, auth, max_body_bytes=max_bytes))
    reference.describe(app)
    app.add_middleware(Faults)
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
    app.add_middleware(Edge)
    return app


def _translation_desk(
    settings: Settings,
    relay: Relay,
    catalog: Catalog,
    cache: TranslationCache,
    characters: CharacterCount,
    metrics: Metrics,
) -> TranslationDesk:
    fallback = settings.translate_fallback_model
    engines = Engines(relay, catalog, settings.translate_model, None if fallback == "off" else fallback)
    counts = metrics.translation
    mender = Mender(counts, fallback=engines.fallback, pack_seconds=settings.translation_pack_ms / 1000)
    return TranslationDesk(engines, mender, cache, characters, counts)


def _medium(settings: Settings) -> Medium:
    """Where made pictures are kept."""
    if settings.pictures_url is None:
        return Disk(Path(settings.data_dir) / "pictures")
    from app.stores.bucket import Bucket  # most servers need none, and need not wait for it

    return Bucket.at(settings.pictures_url)


def from_environment() -> FastAPI:
    """What each worker process runs."""
    settings = Settings()
    configure(settings.log_level)
    logging.getLogger("flarelay").info("start", extra={"fields": {"mode": settings.mode, "version": __version__}})
    return create_app(settings)


def _answer(error: APIStatusError) -> Response:
    return JSONResponse(error.envelope(), status_code=error.status, headers=error.headers())


async def _http_fault(request: Request, failure: Exception) -> Response:
    """What the router refuses: unknown paths and methods."""
    assert isinstance(failure, HTTPException)  # noqa: S101 - registered for nothing else
    path = request.url.path
    error: APIStatusError
    if failure.status_code == 404:
        error = NotFoundError(f"There is no {request.method} {path} here. The API's base URL ends with /v1.")
    elif failure.status_code == 405:
        error = MethodNotAllowedError(f"{path} does not take {request.method}.")
    else:
        error = BadRequestError(str(failure.detail), status=failure.status_code)
    request.scope["record"].error = error.code
    response = _answer(error)
    response.headers.update(failure.headers or {})
    return response


async def _validation_fault(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, RequestValidationError)  # noqa: S101 - registered for nothing else
    fault = failure.errors()[0]
    error = BadRequestError(f"{fault['msg']}.", param=str(fault["loc"][-1]), code="invalid_value")
    request.scope["record"].error = error.code
    return _answer(error)
