from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from app.calls import Usage
from app.metrics import Metrics, route_of
from app.routes import metrics as metrics_route


def application(metrics: Metrics) -> Starlette:
    return Starlette(routes=[metrics_route.route(metrics)])


def test_the_counts_are_there_for_whoever_asks() -> None:
    metrics = Metrics()
    metrics.translation.calls = 7
    metrics.request(
        "/v1/chat/completions", 200, 1.5, 0.25, is_stream=True, model="m", usage=Usage(10, 5, 4, neurons=2.5)
    )
    with TestClient(application(metrics)) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["flarelay_translation_calls"].samples[0].value == 7
    assert families["flarelay_requests"].samples[0].labels == {"route": "/v1/chat/completions", "status": "200"}
    assert families["flarelay_requests"].samples[0].value == 1


def test_the_templates_of_an_application_are_its_paths_once_each() -> None:
    async def one(_: object) -> PlainTextResponse:
        return PlainTextResponse("one")

    async def other(_: object) -> PlainTextResponse:
        return PlainTextResponse("other")

    known = metrics_route.templates(
        [
            metrics_route.route(Metrics()),
            *(
                Route(prefix + path, one)
                for path in ("/models/{model:path}", "/run/{model:path}")
                for prefix in ("/v1", "")
            ),
            Route("/translate", one),
            Route("/v1/translate", other),
            Route("/{token}/translate", one),
            Mount("/static", PlainTextResponse("page")),
        ]
    )
    assert known == {
        "/metrics",
        "/v1/models/{model}",
        "/v1/run/{model}",
        "/translate",
        "/v1/translate",
        "/{token}/translate",
    }
    assert route_of("/run/@cf/author/name", known) == "/v1/run/{model}"
    assert route_of("/models/@cf/author/name", known) == "/v1/models/{model}"
    assert route_of("/static/page", known) == "other"
