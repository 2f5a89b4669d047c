import threading

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from app.auth import Auth
from app.routes import billing, documented, stored, usage
from app.routes.edge import Edge, Faults
from app.routes.rarer import DOCUMENTS, PATHS, Rarer
from tests.serving import KEY

pytestmark = pytest.mark.anyio

AUTH = Auth("managed", [KEY], "account1", "token", "https://api.example", "http://emulator.invalid")


async def test_it_is_made_once_by_the_first_who_asks_and_beside_the_loop() -> None:
    makers: list[int] = []

    def make() -> ASGIApp:
        makers.append(threading.get_ident())
        return PlainTextResponse("rare")

    app = Starlette(routes=Rarer(make).routes())
    assert makers == []
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client,
        anyio.create_task_group() as group,
    ):
        for path in ("/v1/usage", "/usage", "/docs"):
            group.start_soon(client.get, path)
        assert (await client.delete("/v1/responses/resp_1")).text == "rare"
    assert len(makers) == 1
    assert makers[0] != threading.get_ident()


def test_its_paths_are_those_that_fastapi_has() -> None:
    ledger: object = None
    routers = [
        stored.router(ledger, AUTH),  # type: ignore[arg-type]  # nobody is asked anything
        usage.router(ledger, AUTH, lambda _: (None, 0), list, admin_key=None),  # type: ignore[arg-type]
        billing.router(lambda _: (None, 0), AUTH),
    ]
    found = {route.path for router in routers for route in router.routes if isinstance(route, Route)}
    app = documented.application([], quota_ends_channel=False)
    found |= {route.path for route in app.routes if isinstance(route, Route)}
    assert found == set(PATHS)
    assert set(DOCUMENTS) < found


async def test_a_crash_within_is_told_as_one_anywhere() -> None:
    class Broken:
        async def get(self, _caller: str, _name: str) -> None:
            raise ZeroDivisionError

    routers = [stored.router(Broken(), AUTH)]  # type: ignore[arg-type]
    app = Starlette(routes=Rarer(lambda: documented.application(routers, quota_ends_channel=False)).routes())
    app.add_middleware(Faults)
    app.add_middleware(Edge)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        response = await client.get("/v1/responses/resp_1", headers={"authorization": f"Bearer {KEY}"})
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "ZeroDivision" not in response.text
