"""`GET /metrics`: the server's counts, for Prometheus. No key: they tell nothing of callers or texts."""

from fastapi import APIRouter
from starlette.responses import Response

from app.metrics import Metrics


def router(metrics: Metrics) -> APIRouter:
    routes = APIRouter()

    async def scrape() -> Response:
        content, content_type = metrics.exposition()
        return Response(content, headers={"content-type": content_type})

    routes.add_api_route("/metrics", scrape, include_in_schema=False)
    return routes
