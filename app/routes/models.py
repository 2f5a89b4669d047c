"""The lists: models and voices, for the settings pages of chat UIs."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.auth import Auth
from app.calls import Caller
from app.catalog import Catalog, Model
from app.routes.replies import to_response
from app.schemas.models import ModelCard, ModelCards, Voice, Voices
from app.upstream.model_list import ModelList


def routes(models: ModelList, catalog: Catalog, auth: Auth) -> list[Route]:
    def identify(request: Request) -> Caller:
        caller = auth.identify(request.scope["headers"])
        request.scope["record"].caller = caller.name
        return caller

    async def list_models(request: Request) -> Response:
        cards = [card(model, model.id) for model in await models.listed(identify(request).account)]
        return to_response(ModelCards(data=cards, first_id=cards[0].id, last_id=cards[-1].id))

    async def get_model(request: Request) -> Response:
        """By its id or by any other name that leads to it."""
        account, name = identify(request).account, request.path_params["model"]
        return to_response(card(await models.find(name, account), name))

    async def list_voices(_: Request) -> Response:
        """No key: Open WebUI sends none here."""
        names = {voice for model in catalog if model.is_listed for voice in model.voices}
        return to_response(Voices(voices=[Voice(id=name, name=name.title()) for name in sorted(names)]))

    answers = {"/models": list_models, "/models/{model:path}": get_model, "/audio/voices": list_voices}
    return [Route(prefix + path, answer) for prefix in ("/v1", "") for path, answer in answers.items()]


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
