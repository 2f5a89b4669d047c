"""The FastAPI application: the rarer routes, and the documents of all of them. See rarer.py for when it is made."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.errors import BadRequestError
from app.routes import reference
from app.routes.edge import Faults
from app.routes.refusals import http_fault, refusal


def application(routers: Sequence[APIRouter], *, quota_ends_channel: bool) -> FastAPI:
    """Stands behind the middleware of the whole server. `quota_ends_channel`: see Faults."""
    app = FastAPI(
        title="Flarelay",
        version=__version__,
        redirect_slashes=False,
        max_body_size=None,
        exception_handlers={HTTPException: http_fault, RequestValidationError: _validation_fault},
    )
    for router in routers:
        app.include_router(router)
    reference.describe(app)
    app.add_middleware(Faults, quota_ends_channel=quota_ends_channel)  # or FastAPI would tell of a crash in its own way
    return app


async def _validation_fault(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, RequestValidationError)  # noqa: S101 - registered for nothing else
    fault = failure.errors()[0]
    return refusal(request, BadRequestError(f"{fault['msg']}.", param=str(fault["loc"][-1]), code="invalid_value"))
