"""The application in process: what the routes of today can't bring about over a socket."""

import logging
from typing import Any

import httpx2
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.main import EMULATOR_URL, Transports, create_app
from tests.serving import KEY, settings

pytestmark = pytest.mark.anyio


class Named(httpx2.AsyncBaseTransport):
    """Answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=self.name)

    async def aclose(self) -> None:
        self.is_closed = True


async def test_only_the_emulators_address_leads_to_the_emulator() -> None:
    network, emulator = Named("network"), Named("emulator")
    async with httpx2.AsyncClient(transport=Transports(network, emulator)) as client:
        assert (await client.get(f"{EMULATOR_URL}/accounts")).text == "emulator"
        assert (await client.get("https://api.example/client/v4/accounts")).text == "network"
    assert network.is_closed
    assert emulator.is_closed


@pytest.mark.parametrize(
    ("path", "status", "param", "code"),
    [
        ("/teapot", 418, None, None),
        ("/v1/responses/resp_1/input_items?limit=many", 400, "limit", "invalid_value"),
        ("/v1/nothing", 404, None, "not_found"),
        ("/v1/chat/completions", 405, None, "method_not_allowed"),
        ("/v1/responses/resp_1/cancel", 405, None, "method_not_allowed"),
    ],
)
async def test_whatever_the_framework_refuses_is_told_in_openais_shape(
    caplog: pytest.LogCaptureFixture, path: str, status: int, param: str | None, code: str | None
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    app = create_app(settings())

    async def teapot(_: Request) -> Response:
        raise HTTPException(418, "short and stout", headers={"x-tea": "green"})

    app.router.routes.insert(0, Route("/teapot", teapot))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        response = await client.get(path, headers={"authorization": f"Bearer {KEY}"})
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert response.headers.get("x-tea") == ("green" if status == 418 else None)
    fields: Any = vars(caplog.records[0])["fields"]
    assert (fields["status"], fields.get("error")) == (status, code)


async def test_the_document_tells_of_every_endpoint() -> None:
    app = create_app(settings())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/openapi.json")).json() == document
        assert "/openapi.json" in (await client.get("/docs")).text
    assert {"/v1/chat/completions", "/v1/models", "/v1/models/{model}", "/health"} <= set(document["paths"])
    assert "/metrics" not in document["paths"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            error = operation["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
            assert error.endswith("ErrorBody")


def test_pictures_may_be_kept_in_a_bucket() -> None:
    """Which is not asked for anything before there is a picture."""
    assert create_app(settings(pictures_url="s3://bucket/folder"))


def test_a_fallback_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="MODEL_FALLBACKS: 'gpt-none' leads to no model"):
        create_app(settings(model_fallbacks={"gpt-4o": "gpt-none"}))
