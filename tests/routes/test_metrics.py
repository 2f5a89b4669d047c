from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.metrics import Metrics
from app.routes import metrics as metrics_route


def application(metrics: Metrics) -> FastAPI:
    app = FastAPI()
    app.include_router(metrics_route.router(metrics))
    return app


def test_the_counts_are_there_for_whoever_asks() -> None:
    metrics = Metrics()
    metrics.translation.calls = 7
    with TestClient(application(metrics)) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["flarelay_translation_calls"].samples[0].value == 7


def test_the_route_is_no_part_of_the_api() -> None:
    assert "/metrics" not in application(Metrics()).openapi()["paths"]
