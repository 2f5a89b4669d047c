"""The lists: models and voices, for the settings pages of chat UIs."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.auth import Auth
from app.calls import Caller
from app.catalog import Catalog, Model
from app.schemas.models import ModelCard, ModelCards, Voice, Voices
from app.upstream.model_list import ModelList


def router(models: ModelList, catalog: Catalog, auth: Auth) -> APIRouter:
    routes = APIRouter(tags=["models"])

    def identify(request: Request) -> Caller:
        caller = auth.identify(request.scope["headers"])
        request.scope["record"].caller = caller.name
        return caller

    CallerDep = Annotated[Caller, Depends(identify)]  # noqa: N806 - a type

    async def list_models(caller: CallerDep) -> ModelCards:
        """Every model of the catalogue, with what the account's own list adds."""
        cards = [card(model, model.id) for model in await models.listed(caller.account)]
        return ModelCards(data=cards, first_id=cards[0].id, last_id=cards[-1].id)

    async def get_model(model: str, caller: CallerDep) -> ModelCard:
        """One model, by its id or by any other name that leads to it."""
        return card(await models.find(model, caller.account), model)

    async def list_voices() -> Voices:
        """The speakers of the text-to-speech models. No key: Open WebUI sends none here."""
        names = {voice for model in catalog if model.is_listed for voice in model.voices}
        return Voices(voices=[Voice(id=name, name=name.title()) for name in sorted(names)])

    for prefix in ("/v1", ""):
        is_shown = prefix == "/v1"
        routes.add_api_route(f"{prefix}/models", list_models, include_in_schema=is_shown)
        routes.add_api_route(f"{prefix}/models/{{model:path}}", get_model, include_in_schema=is_shown)
        routes.add_api_route(f"{prefix}/audio/voices", list_voices, include_in_schema=is_shown)
    return routes


def card(model: Model, name: str) -> ModelCard:
    """A model's card under the name that it was asked for by."""
    author = model.id.split("/")[1]
    return ModelCard(
        id=name,
        created=model.created,
        created_at=datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        owned_by=author,
        display_name=model.id.rsplit("/", 1)[-1],
        task=model.task,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=sorted(model.capabilities),
        neuron_price={price.unit: price.neurons for price in model.price},
        requires_paid_plan=model.requires_paid_plan,
    )
