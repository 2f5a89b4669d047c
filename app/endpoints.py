"""Endpoints: what answers at which path, made from the parts."""

from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import CapacityLimiter
from starlette.routing import Route
from starlette.types import ASGIApp

from app.auth import Auth, our_accounts
from app.catalog import Catalog
from app.limits import Limiter
from app.media.cutter import Cutter
from app.media.loader import PictureLoader
from app.metrics import Metrics
from app.parts import Stores, free_neurons
from app.relay import Relay
from app.routes import (
    chats,
    deepl,
    deeplx,
    health,
    hosted,
    images,
    messages,
    metrics,
    models,
    openai,
    responses,
    run,
    transcriptions,
)
from app.routes.edit_forms import EditForms
from app.routes.rarer import Rarer
from app.routes.responses import Responses
from app.routes.speech import Speech
from app.routes.transcriptions import Transcriptions
from app.schemas.images import ImageEditRequest, ImageVariationRequest
from app.schemas.transcriptions import TranscriptionRequest, TranslationRequest
from app.settings import Settings
from app.translation.late import LateDesk
from app.translators.edits import edits, variations
from app.translators.transcriptions import transcriptions as hearing
from app.translators.transcriptions import translations
from app.upstream.accounts import Accounts
from app.upstream.model_list import ModelList

if TYPE_CHECKING:
    from app.schemas.usage import AccountState


class Parts(NamedTuple):
    """What endpoints are made of."""

    settings: Settings
    catalog: Catalog
    auth: Auth
    relay: Relay
    pictures: PictureLoader
    stores: Stores
    desk: LateDesk
    model_list: ModelList
    limiter: Limiter
    accounts: Accounts
    metrics: Metrics


class Routes(NamedTuple):
    hot: list[Route]
    """Those that run models."""
    all: list[Route]
    """Tried in this order."""


def make_routes(parts: Parts) -> Routes:
    settings, relay, auth, catalog = parts.settings, parts.relay, parts.auth, parts.catalog
    max_bytes, heartbeat = settings.max_body_bytes, settings.heartbeat_seconds
    desk, forms = _picture_desk(parts)
    chat = chats.Chats(relay, auth, catalog, desk, forms, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat)
    answering = Responses(relay, auth, parts.stores.responses, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat)
    own: dict[str, openai.Endpoint[Any]] = {
        "/v1/chat/completions": chat,
        "/v1/responses": answering,
        "/v1/images/generations": images.Generations(relay, auth, desk, max_body_bytes=max_bytes),
        "/v1/audio/speech": Speech(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
    }
    links = [Route("/v1/chat/completions", chats.ChatLink(chat), methods=["GET"])] if settings.chat_links else []
    hot = openai.routes(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat, own=own)
    others = [
        *messages.routes(relay, auth, catalog, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
        *responses.routes(answering, relay, auth, max_body_bytes=max_bytes),
        *run.routes(relay, auth, max_body_bytes=max_bytes, heartbeat_seconds=heartbeat),
        *images.routes(
            edits=images.Edits(ImageEditRequest, edits, relay, auth, desk, forms),
            variations=images.Edits(ImageVariationRequest, variations, relay, auth, desk, forms),
        ),
        *hosted.routes(parts.stores.pictures),
        *deepl.routes(parts.desk, auth, has_formality=parts.desk.heeds_manner, max_body_bytes=max_bytes),
        *_transcription_routes(parts),
        *models.routes(parts.model_list, catalog, auth),
        *health.routes(settings.mode),
        metrics.route(parts.metrics),
        *Rarer(lambda: _documented(parts)).routes(),
        *deeplx.routes(parts.desk, auth, max_body_bytes=max_bytes),  # last of all, since a key may be any first segment
    ]
    return Routes(hot, [*links, *hot, *others])


def _picture_desk(parts: Parts) -> tuple[images.PictureDesk, EditForms]:
    """Both ends of a picture's way, which decode only so many at once between them."""
    settings, at_once = parts.settings, CapacityLimiter(images.AT_ONCE)
    desk = images.PictureDesk(
        parts.stores.pictures,
        settings.public_base_url,
        settings.trust_forwarded,
        settings.heartbeat_seconds,
        at_once,
    )
    return desk, EditForms(parts.catalog, parts.pictures, at_once, max_body_bytes=settings.max_body_bytes)


def _transcription_routes(parts: Parts) -> list[Route]:
    settings, relay, auth, cutter = parts.settings, parts.relay, parts.auth, Cutter()
    limits = transcriptions.Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_json_bytes=settings.max_body_bytes,
        pieces_at_once=settings.transcription_pieces_at_once,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    return transcriptions.routes(
        transcriptions=Transcriptions(TranscriptionRequest, hearing, relay, auth, cutter, limits),
        translations=Transcriptions(TranslationRequest, translations, relay, auth, cutter, limits),
    )


def _documented(parts: Parts) -> ASGIApp:
    from app.routes import billing, documented, stored, usage  # as Rarer says

    settings, auth, ledger = parts.settings, parts.auth, parts.stores.ledger
    ours = [account.id for account in our_accounts(settings)]
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    allowance = billing.allowance_of(parts.limiter.remaining_neurons, ledger.spent_today)

    def spent(account: str) -> float:
        return ledger.spent_today(account=account)

    def states() -> "list[AccountState]":
        return usage.account_states(ours, parts.accounts.parked(), spent, free_neurons(settings))

    routers = [
        stored.router(parts.stores.responses, auth),
        usage.router(ledger, auth, allowance, states, admin_key=admin_key),
        billing.router(allowance, auth, may_reach_zero=settings.quota_ends_channel),
    ]
    return documented.application(routers, quota_ends_channel=settings.quota_ends_channel)
