"""What the router refuses, in OpenAI's shape: unknown paths, and methods that they don't take."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.errors import APIStatusError, BadRequestError, MethodNotAllowedError, NotFoundError


async def http_fault(request: Request, failure: Exception) -> Response:
    """A handler of HTTPException."""
    assert isinstance(failure, HTTPException)  # noqa: S101 - registered for nothing else
    path = request.url.path
    error: APIStatusError
    if failure.status_code == 404:
        error = NotFoundError(f"There is no {request.method} {path} here. The API's base URL ends with /v1.")
    elif failure.status_code == 405:
        error = MethodNotAllowedError(f"{path} does not take {request.method}.")
    else:
        error = BadRequestError(str(failure.detail), status=failure.status_code)
    response = refusal(request, error)
    response.headers.update(failure.headers or {})
    return response


def refusal(request: Request, error: APIStatusError) -> Response:
    request.scope["record"].error = error.code
    return JSONResponse(error.envelope(), status_code=error.status, headers=error.headers())
