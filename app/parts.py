"""Parts: what the server is made of, each made from the settings it needs."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from app.auth import our_accounts
from app.caching import Caching
from app.catalog import Catalog
from app.limits import Limiter
from app.media.documents import DocumentLoader
from app.media.loader import PictureLoader
from app.media.remote import DOCUMENT, RemoteFetcher
from app.metrics import Metrics
from app.planning import Planning
from app.relay import Relay
from app.settings import FREE_NEURONS, Settings
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
from app.upstream.accounts import Accounts
from app.upstream.client import WorkersAI
from app.upstream.gateway import Gateway
from app.upstream.providers import is_provider_model

if TYPE_CHECKING:
    from app.stores.board import Board
    from app.translation.desk import Desk

CACHED_TASKS = {"embeddings": "text-embeddings", "chat": "text-generation"}
"""What RESPONSE_CACHE names -> the models' task."""


class Loaders(NamedTuple):
    """They fetch what requests only name."""

    pictures: PictureLoader
    documents: DocumentLoader


class Stores:
    """What is kept: the tables of the database, and pictures."""

    def __init__(self, settings: Settings) -> None:
        self._database = database = Database(Path(settings.data_dir) / "flarelay.db")
        self.ledger = Ledger(database)
        self.characters = CharacterCount(database)
        self.translations = TranslationCache(database, max_bytes=settings.translation_cache_max_bytes)
        self.replies = ReplyStore(
            database, max_bytes=settings.response_cache_max_bytes, ttl_seconds=settings.response_cache_ttl_seconds
        )
        self.responses = ResponseStore(
            database,
            max_bytes=settings.stored_responses_max_bytes,
            ttl_seconds=settings.stored_responses_expire_seconds,
        )
        self.pictures = PictureStore(
            _medium(settings), max_bytes=settings.pictures_max_bytes, expire_seconds=settings.pictures_expire_seconds
        )

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        async with AsyncExitStack() as parts:
            await self._database.open()
            await self.ledger.open()
            for part in (self._database, self.ledger, self.characters, self.translations, self.replies):
                parts.push_async_callback(part.aclose)
            await self.pictures.open()
            parts.push_async_callback(self.pictures.aclose)
            yield


def _medium(settings: Settings) -> Medium:
    """Where made pictures are kept."""
    if settings.pictures_url is None:
        return Disk(Path(settings.data_dir) / "pictures")
    from app.stores.bucket import Bucket  # most servers need none, and need not wait for it

    return Bucket.at(settings.pictures_url)


def make_catalog(settings: Settings, gateway: Gateway | None) -> Catalog:
    """Raises ValueError for a name in the settings that leads to no model: better refused now than at a request."""
    catalog = Catalog.load(
        settings.model_aliases,
        replace_retired_models=settings.replace_retired_models,
        is_foreign=is_provider_model,
        has_gateway=gateway is not None,
    )
    catalog.check("MODEL_FALLBACKS", chain.from_iterable(settings.fallbacks.values()))
    return catalog


def make_keys(settings: Settings) -> Keys:
    return Keys((key.get_secret_value() for key in settings.api_keys), Path(settings.data_dir) / "keys.toml")


def make_accounts(settings: Settings, ledger: Ledger) -> Accounts:
    return Accounts(spent=lambda account: ledger.spent_today(account=account), free_neurons=free_neurons(settings))


def free_neurons(settings: Settings) -> float | None:
    """What Cloudflare gives each account for a day; None where a budget says that more may be spent."""
    return FREE_NEURONS if settings.neuron_budget is None else None


def make_upstream(
    settings: Settings,
    wire: httpx2.AsyncBaseTransport,
    accounts: Accounts,
    gateway: Gateway | None,
    metrics: Metrics,
) -> WorkersAI:
    return WorkersAI(
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


def make_caching(
    settings: Settings, upstream: WorkersAI, catalog: Catalog, replies: ReplyStore, metrics: Metrics
) -> Caching:
    return Caching(
        upstream,
        catalog,
        replies,
        tasks=[CACHED_TASKS[name] for name in settings.response_cache],
        is_shared=settings.response_cache_shared,
        counts=metrics.cache,
    )


def make_loaders(settings: Settings) -> Loaders:
    fetching: dict[str, Any] = {
        "is_enabled": settings.remote_fetch,
        "allow": settings.remote_fetch_allow,
        "max_bytes": settings.remote_fetch_max_bytes,
        "timeout_seconds": settings.remote_fetch_timeout_seconds,
    }
    return Loaders(
        PictureLoader(RemoteFetcher(**fetching)), DocumentLoader(RemoteFetcher(**fetching, subject=DOCUMENT))
    )


def make_relay(settings: Settings, catalog: Catalog, upstream: WorkersAI | Caching, loaders: Loaders) -> Relay:
    planning = Planning(
        catalog,
        upstream,
        loaders.pictures,
        documents=loaders.documents,
        default_max_tokens=settings.default_max_tokens,
        tool_emulation=settings.tool_emulation,
    )
    return Relay(
        catalog,
        upstream,
        planning,
        fallbacks=settings.fallbacks,
        request_timeout_seconds=settings.request_timeout_seconds,
    )


def make_board(settings: Settings, metrics: Metrics) -> "Board | None":
    """Where several workers count together."""
    if settings.workers == 1:
        return None
    from app.stores.board import Board  # for those few servers; and it needs Unix

    return Board(Path(settings.data_dir) / "workers", settings.workers, tell=metrics.state, take_over=metrics.take_over)


def make_limiter(settings: Settings, ledger: Ledger, accounts: Accounts, board: "Board | None") -> Limiter:
    ours = [account.id for account in our_accounts(settings)]
    return Limiter(
        ledger,
        budget=settings.budget(len(ours)),
        accounts=ours,
        others=board,
        is_spent=partial(accounts.are_spent, ours),
    )


def join_metrics(
    metrics: Metrics, settings: Settings, ledger: Ledger, accounts: Accounts, board: "Board | None"
) -> None:
    """Let them ask the parts that know."""
    metrics.budget = settings.budget(len(our_accounts(settings)))
    metrics.spent = ledger.spent_today
    metrics.parked = lambda: [(each.id, each.reason) for each in accounts.parked() if each.is_ours]
    metrics.others = board.published if board else None


def make_desk(settings: Settings, relay: Relay, catalog: Catalog, stores: Stores, metrics: Metrics) -> LateDesk:
    """For translations. Raises ValueError for models that can't translate."""
    default, fallback = settings.translate_model, settings.translate_fallback_model
    names = default, None if fallback == "off" else fallback

    def make() -> "Desk":
        from app.translation.desk import Desk  # as LateDesk says
        from app.translation.engines import Engines
        from app.translation.mending import Mender

        engines, counts = Engines(relay, catalog, *names), metrics.translation
        mender = Mender(counts, fallback=engines.fallback, pack_seconds=settings.translation_pack_ms / 1000)
        return Desk(engines, mender, stores.translations, stores.characters, counts)

    return LateDesk(make, catalog, *names)
