"""The responses that are kept, for whoever asked for them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from app.auth import Auth
from app.errors import BadRequestError, NotFoundError
from app.routes.responses import faults_told, said_in
from app.schemas.responses import Item
from app.stores.responses import ResponseStore, Stored

MOST_ITEMS = 100
"""On a page. Source: OpenAI's docs, "List input items"."""


def router(store: ResponseStore, auth: Auth) -> APIRouter:
    routes = APIRouter(tags=["openai"])

    def identify(request: Request) -> str:
        caller = auth.identify(request.scope["headers"])
        request.scope["record"].caller = caller.name
        return caller.name

    async def found(request: Request, response_id: str) -> Stored:
        with faults_told():
            stored = await store.get(identify(request), response_id)
        if stored is None:
            raise _not_found(response_id)
        return stored

    @routes.get("/responses/{response_id}", include_in_schema=False)
    @routes.get("/v1/responses/{response_id}", summary="A stored response")
    async def retrieve(request: Request, response_id: str, *, stream: bool = False) -> dict[str, Any]:
        if stream:
            message = "Only answers made in the background can be streamed again, and there are none here."
            raise BadRequestError(message, param="stream", code="unsupported_parameter")
        return (await found(request, response_id)).body

    @routes.delete("/responses/{response_id}", include_in_schema=False)
    @routes.delete("/v1/responses/{response_id}", summary="Delete a stored response")
    async def delete(request: Request, response_id: str) -> dict[str, Any]:
        with faults_told():
            if not await store.delete(identify(request), response_id):
                raise _not_found(response_id)
        return {"id": response_id, "object": "response", "deleted": True}

    @routes.post("/responses/{response_id}/cancel", include_in_schema=False)
    @routes.post("/v1/responses/{response_id}/cancel", summary="Cancel a response (there are none to cancel)")
    async def cancel(request: Request, response_id: str) -> dict[str, Any]:
        await found(request, response_id)
        message = "Cannot cancel a synchronous response: only those made with background=true, of which there are none."
        raise BadRequestError(message, code="invalid_value")

    @routes.get("/responses/{response_id}/input_items", include_in_schema=False)
    @routes.get("/v1/responses/{response_id}/input_items", summary="What a stored response was an answer to")
    async def input_items(
        request: Request,
        response_id: str,
        limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> dict[str, Any]:
        with faults_told():
            chain = await store.chain(identify(request), response_id)
        if not chain:
            raise _not_found(response_id)
        items = said_in(chain[:-1]) + chain[-1].input
        return page(items if order == "asc" else items[::-1], limit, after)

    return routes


def page(items: Sequence[Item], limit: int, after: str | None) -> dict[str, Any]:
    """A list as OpenAI's clients turn its pages: by ids, so that none may come twice.

    Raises NotFoundError if there is no item `after`.
    """
    items = list({item["id"]: item for item in items}.values())
    ids = [item["id"] for item in items]
    if after is not None and after not in ids:
        raise NotFoundError(f"Item with id '{after[:200]}' not found.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    data = items[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + limit < len(items),
    }


def _not_found(response_id: str) -> NotFoundError:
    return NotFoundError(f"Response with id '{response_id[:200]}' not found.", param="response_id")
