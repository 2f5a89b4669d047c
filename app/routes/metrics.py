"""`GET /metrics`: the server's counts, for Prometheus. No key: they tell nothing of callers or texts.

They do tell which models run and what they cost; who minds that keeps the path from the outside in the proxy.
"""

import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.metrics import Metrics

CONVERTOR = re.compile(r":\w+(?=})")


def route(metrics: Metrics) -> Route:
    async def scrape(_: Request) -> Response:
        from app.exposition import exposition

        content, content_type = exposition(metrics)
        return Response(content, headers={"content-type": content_type})

    return Route("/metrics", scrape)


def templates(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """The paths of an application, for `metrics.route_of`: without the bare form of what is the same below `/v1`."""
    endpoints = {route.path: route.endpoint for route in routes if isinstance(route, Route)}
    return frozenset(
        CONVERTOR.sub("", path) for path, endpoint in endpoints.items() if endpoints.get("/v1" + path) is not endpoint
    )
