"""From a request to the plan of its calls: the model that its name leads to, and its pictures and files, read."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

import orjson

from app.calls import Caller, Document
from app.catalog import Catalog, Model
from app.errors import BadRequestError
from app.ids import new_id
from app.media.documents import DocumentLoader
from app.media.loader import PictureLoader
from app.model_access import check_model
from app.translators.base import Context, DocumentsWanted, Picture, Plan, Planner
from app.upstream.batches import together
from app.upstream.markdown import Markdown, Runner
from app.upstream.telling import failures_told

MOST_PICTURES = 64
"""Of one request: all of them are in memory together."""

MOST_DOCUMENTS = 64
DOCUMENTS_AT_ONCE = 4
"""Of one request."""

Req = TypeVar("Req")


class Planning:
    """Knows the models, and fetches what requests only name."""

    def __init__(
        self,
        catalog: Catalog,
        upstream: Runner,
        pictures: PictureLoader,
        *,
        documents: DocumentLoader | None = None,
        default_max_tokens: int | None = None,
        tool_emulation: bool = True,
    ) -> None:
        """`upstream` converts files. `documents` loads them; without it they must come with the request.
        `tool_emulation`: models that can't call tools are told them in the prompt.
        """
        self._catalog = catalog
        self._pictures = pictures
        self._documents = documents or DocumentLoader()
        self._markdown = Markdown(upstream)
        self._default_max_tokens = default_max_tokens
        self._tool_emulation = tool_emulation

    async def plan(
        self, translator: Planner[Req], name: str, request: Req, caller: Caller, *, shown: str | None = None
    ) -> Plan[Req]:
        """The plan, once all files of the request are read. `shown`: what the answer calls the model, if that is not
        `name`. Raises APIStatusError.
        """
        pictures = translator.pictures(request)
        model = self._model(translator, name, pictures)
        check_model(caller.limits, shown or name, model.id)
        context = Context(
            model,
            shown or name,
            id=new_id(),
            created=int(time.time()),
            pictures=await self._loaded(pictures, model) if pictures and model.can("vision") else {},
            default_max_tokens=self._default_max_tokens,
            affinity=_affinity(request, model, caller),
            tool_emulation=self._tool_emulation,
        )
        try:
            return translator.to_plan(request, context)
        except DocumentsWanted as wanted:
            documents = wanted.documents
        return translator.to_plan(request, replace(context, documents=await self._read(documents, caller)))

    def _model(self, translator: Planner[Any], name: str, pictures: Sequence[Picture]) -> Model:
        """The model that a name leads to, if it can do what is asked of it. Raises APIStatusError."""
        model = self._catalog.resolve(name)
        if model.task not in translator.tasks and (model.status != "unlisted" or model.is_foreign):
            message = f"The model '{name}' is made for {model.task} and can't answer {translator.endpoint}."
            raise BadRequestError(message, param="model", code="unsupported_model")
        if pictures and not model.can("vision") and model.picture_model:
            model = replace(self._catalog.resolve(model.picture_model), default_effort=model.default_effort)
        refused = [] if model.can("vision") else [picture for picture in pictures if not picture.is_found]
        if refused:
            message = f"The model '{name}' can't see pictures. GET /v1/models lists those with the capability 'vision'."
            raise BadRequestError(message, param=refused[0].param, code="unsupported_content")
        return model

    async def _loaded(self, pictures: Sequence[Picture], model: Model) -> Mapping[str, str]:
        """Addresses -> data URIs that the model takes. An address that comes up several times is loaded once."""
        params: dict[str, str] = {}
        for picture in pictures:
            params.setdefault(picture.url, picture.param)
        if len(params) > MOST_PICTURES:
            message = f"A request can have {MOST_PICTURES} different pictures."
            raise BadRequestError(message, param=list(params.values())[MOST_PICTURES], code="too_many_pictures")
        side = model.quirks.picture_max_side
        loads = [self._pictures.load(url, max_side=side, param=param) for url, param in params.items()]
        return dict(zip(params, await together(loads), strict=True))

    async def _read(self, documents: Sequence[Document], caller: Caller) -> Mapping[Document, str]:
        """What each of the files says; a few are read at once, as their bytes are in memory meanwhile."""
        if len(documents) > MOST_DOCUMENTS:
            message = f"A request can have {MOST_DOCUMENTS} different documents."
            raise BadRequestError(message, param=documents[MOST_DOCUMENTS].param, code="too_many_documents")
        places = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

        async def text_of(document: Document) -> str:
            async with places:
                loaded = await self._documents.load(document)
                if isinstance(loaded, str):
                    return loaded
                return await self._markdown.convert(loaded, caller, param=document.param)

        with failures_told(caller.account):
            return dict(zip(documents, await together([text_of(each) for each in documents]), strict=True))


def _affinity(request: object, model: Model, caller: Caller) -> str | None:
    """What ties requests together that begin alike, so that they meet the same prompt cache; no other caller shares it.

    Said by the request, or else the hash of its first two turns, which stay the same while a conversation grows.
    """
    key = getattr(request, "prompt_cache_key", None) or caller.affinity
    beginning: Any = key
    if not key:
        turns = getattr(request, "messages", None)
        if not turns:
            return None
        beginning = turns[:2]
    whole = [caller.name, model.id, beginning]
    try:
        source = orjson.dumps(whole, default=str)
    except TypeError:  # integers beyond 64 bits, in fields that nobody knows
        source = repr(whole).encode()
    return sha256(source).hexdigest()[:32]
