"""`GET /metrics`: the server's counts, for Prometheus. No key: they tell nothing of callers or texts.

They do tell which models run and what they cost; who minds that keeps the path from the outside in the proxy.
"""

import re
from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.metrics import Metrics

CONVERTOR = re.compile(r":\w+(?=})")


def router(metrics: Metrics) -> APIRouter:
    routes = APIRouter()

    async def scrape() -> Response:
        content, content_type = metrics.exposition()
        return Response(content, headers={"content-type": content_type})

    routes.add_api_route("/metrics", scrape, include_in_schema=False)
    return routes


def templates(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """The paths of an application, for `metrics.route_of`: without the bare form of what is the same below `/v1`."""
    endpoints = {route.path: route.endpoint for route in _plain(routes)}
    return frozenset(
        CONVERTOR.sub("", path) for path, endpoint in endpoints.items() if endpoints.get("/v1" + path) is not endpoint
    )


def _plain(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif isinstance(included := getattr(route, "original_router", None), APIRouter):
            yield from _plain(included.routes)
