import csv
import io
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import Auth
from app.calls import Caller, FailureKind
from app.routes.edge import Edge, Faults
from app.routes.usage import account_states, check_admin, router
from app.schemas.usage import AccountState
from app.stores.database import StoreError
from app.stores.ledger import Row
from app.upstream.accounts import Parked

pytestmark = pytest.mark.anyio

AUTH = Auth("managed", ["key-one", "key-two"], "account1", "token", "https://api.example", "http://emulator.invalid")
ONE, TWO = (AUTH.identify([(b"authorization", f"Bearer {key}".encode())]).name for key in ("key-one", "key-two"))
ADMIN = {"authorization": "Bearer the-admin-key"}
NOW = datetime(2026, 11, 22, 23, 59, tzinfo=UTC).timestamp()
LLAMA, WHISPER = "@cf/some/llama", "@cf/some/whisper"


def line(day: date, key: str, account: str, model: str, calls: int = 1, neurons: float = 0.1, **counts: float) -> Row:
    tokens = {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 0}
    row: dict[str, Any] = {"estimated_neurons": 0.0, "audio_seconds": 0.0} | tokens | counts
    return Row(day, key, account, model, calls, neurons, **row)


LINES = [
    line(date(2026, 10, 31), ONE, "account1", LLAMA, calls=100),
    line(date(2026, 11, 1), ONE, "account1", LLAMA),
    line(date(2026, 11, 1), ONE, "account2", LLAMA, calls=2, neurons=0.2, estimated_neurons=0.2, cached_tokens=4),
    line(date(2026, 11, 22), ONE, "account1", WHISPER, audio_seconds=7.5, prompt_tokens=0, completion_tokens=0),
    line(date(2026, 11, 22), TWO, "account2", LLAMA, neurons=5.0),
]


class Books:
    """A ledger that was kept by hand."""

    def __init__(self) -> None:
        self.lines: list[Row] = LINES
        self.asked: list[tuple[date, date, str | None]] = []

    async def report(self, *, since: date, until: date, key: str | None) -> Sequence[Row]:
        self.asked.append((since, until, key))
        return [line for line in self.lines if since <= line.day <= until and key in (None, line.key)]


class Lost:
    async def report(self, *, since: date, until: date, key: str | None) -> Sequence[Row]:
        raise StoreError("disk I/O error")


MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def accounts() -> list[AccountState]:
    parked = [
        Parked("account1", FailureKind.QUOTA, MIDNIGHT + 2.5, is_ours=True),
        Parked("account2", FailureKind.AUTHENTICATION, MIDNIGHT, is_ours=False),  # of a caller's token
    ]
    return account_states(["account1", "account2"], parked, {"account1": 4.0, "account2": 12.0}.__getitem__, 10)


def allowance(caller: Caller) -> tuple[float | None, float]:
    return {ONE: (10.0, 0.4), TWO: (None, 5.0)}[caller.name]


async def refuse(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, RequestValidationError)
    return JSONResponse({"param": failure.errors()[0]["loc"][-1]}, 400)


def served(ledger: Any, admin_key: str | None = "the-admin-key") -> httpx2.AsyncClient:
    app = FastAPI(exception_handlers={RequestValidationError: refuse})
    app.include_router(router(ledger, AUTH, allowance, accounts, admin_key=admin_key, now=lambda: NOW))
    app.add_middleware(Faults)
    app.add_middleware(Edge)
    transport = httpx2.ASGITransport(app)
    return httpx2.AsyncClient(transport=transport, base_url="http://server", headers={"x-api-key": "key-one"})


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
async def client(books: Books) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(books) as client:
        yield client


def totals(**counts: float) -> dict[str, float]:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "audio_seconds": 0}
    return {"estimated_neurons": 0} | nothing | counts


@pytest.mark.parametrize("path", ["/v1/usage", "/usage"])
async def test_a_key_is_told_what_it_consumed_this_month(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    first = totals(calls=3, neurons=0.3, estimated_neurons=0.2, prompt_tokens=20, completion_tokens=10, cached_tokens=4)
    last = totals(calls=1, neurons=0.1, audio_seconds=7.5)
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "object": "usage_report",
        "start_date": "2026-11-01",
        "end_date": "2026-11-22",
        "total": first | {"calls": 4, "neurons": 0.4, "audio_seconds": 7.5},
        "data": [
            first | {"day": "2026-11-01", "model": None},
            last | {"day": "2026-11-22", "model": None},
        ],
        "allowance": {"limit": 10.0, "spent": 0.4, "remaining": 9.6, "resets_at": "2026-11-23T00:00:00Z"},
    }
    assert "account" not in response.text


async def test_a_key_without_a_limit_has_no_end(client: httpx2.AsyncClient) -> None:
    report = (await client.get("/v1/usage", headers={"x-api-key": "key-two"})).json()
    assert report["total"]["neurons"] == 5
    assert (report["allowance"]["limit"], report["allowance"]["remaining"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ("", date(2026, 11, 1), date(2026, 11, 22)),
        ("start_date=2026-10-31", date(2026, 10, 31), date(2026, 11, 22)),
        ("end_date=2026-10-20", date(2026, 10, 1), date(2026, 10, 20)),
        ("start_date=2026-10-31&end_date=2026-10-31", date(2026, 10, 31), date(2026, 10, 31)),
        ("start_date=2027-01-05", date(2027, 1, 5), date(2027, 1, 5)),
    ],
)
async def test_the_query_says_which_days(
    client: httpx2.AsyncClient, books: Books, query: str, since: date, until: date
) -> None:
    assert (await client.get(f"/v1/usage?{query}")).status_code == 200
    assert books.asked == [(since, until, ONE)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start_date=yesterday", "start_date"),
        ("end_date=2026-02-30", "end_date"),
        ("format=xml", "format"),
        ("start_date=2026-11-02&end_date=2026-11-01", "start_date"),
        ("group_by=account", "group_by"),
        ("group_by=day,key", "group_by"),
    ],
)
async def test_what_makes_no_sense_is_refused(client: httpx2.AsyncClient, query: str, param: str) -> None:
    response = await client.get(f"/v1/usage?{query}")
    assert response.status_code == 400
    body = response.json()
    assert body.get("error", body)["param"] == param


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("day", [("2026-11-01", None, 3), ("2026-11-22", None, 1)]),
        ("model", [(None, LLAMA, 3), (None, WHISPER, 1)]),
        ("model,day", [("2026-11-01", LLAMA, 3), ("2026-11-22", WHISPER, 1)]),
        (" day, ", [("2026-11-01", None, 3), ("2026-11-22", None, 1)]),
    ],
)
async def test_rows_are_told_apart_as_asked(
    client: httpx2.AsyncClient, group_by: str, groups: list[tuple[str | None, str | None, int]]
) -> None:
    data = (await client.get("/v1/usage", params={"group_by": group_by})).json()["data"]
    assert [(row["day"], row["model"], row["calls"]) for row in data] == groups


@pytest.mark.parametrize(
    ("query", "accept", "is_csv"),
    [
        ("?format=csv", "*/*", True),
        ("", "text/csv", True),
        ("", "text/CSV;q=0.9, */*;q=0.1", True),
        ("?format=json", "text/csv", False),
        ("", "application/json", False),
    ],
)
async def test_a_report_may_be_csv(client: httpx2.AsyncClient, query: str, accept: str, is_csv: bool) -> None:
    response = await client.get(f"/v1/usage{query}", headers={"accept": accept})
    assert response.headers["content-type"] == ("text/csv; charset=utf-8" if is_csv else "application/json")
    if is_csv:
        assert response.headers["content-disposition"] == 'attachment; filename="usage.csv"'
        assert response.text == (
            "day,calls,neurons,estimated_neurons,prompt_tokens,completion_tokens,cached_tokens,audio_seconds\r\n"
            "2026-11-01,3,0.3,0.2,20,10,4,0.0\r\n"
            "2026-11-22,1,0.1,0.0,0,0,0,7.5\r\n"
        )


async def test_the_admin_sees_every_key_and_account(client: httpx2.AsyncClient) -> None:
    report = (await client.get("/v1/admin/usage?group_by=key,account", headers=ADMIN)).json()
    groups = {(row["key"], row["account"]): row["neurons"] for row in report["data"]}
    assert groups == {(ONE, "account1"): 0.2, (ONE, "account2"): 0.2, (TWO, "account2"): 5.0}
    assert report["total"]["neurons"] == 5.4
    free = {"parked_until": None, "parked_because": None}
    spent = {"parked_until": "2026-11-23T00:00:02Z", "parked_because": "quota"}
    assert report["accounts"] == [
        {"account": "account1", "limit": 10.0, "spent": 4.0, "remaining": 0.0} | spent,
        {"account": "account2", "limit": 10.0, "spent": 12.0, "remaining": 0.0} | free,
    ]


def test_an_account_without_a_limit_has_no_end() -> None:
    (state,) = account_states(["account1"], [], lambda _: 5.0)
    assert (state.spent, state.remaining, state.parked_until) == (5.0, None, None)


async def test_names_are_no_formulas_in_a_spreadsheet(client: httpx2.AsyncClient, books: Books) -> None:
    names = ['=HYPERLINK("http://evil.example")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "plain, with a comma", ""]
    books.lines = [line(date(2026, 11, 2), name, "account1", LLAMA) for name in names]
    response = await client.get("/v1/admin/usage?group_by=key,model&format=csv", headers=ADMIN)
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert {row["key"] for row in rows} == {f"'{name}" for name in names[:6]} | set(names[6:])
    assert {row["model"] for row in rows} == {f"'{LLAMA}"}


@pytest.mark.parametrize(
    ("admin_key", "headers", "status"),
    [
        ("the-admin-key", {"x-api-key": "the-admin-key"}, 200),
        ("the-admin-key", {"authorization": "bearer  the-admin-key "}, 200),
        ("the-admin-key", {"x-api-key": "key-one", "authorization": "Bearer the-admin-key"}, 200),
        ("the-admin-key", {"authorization": "the-admin-key"}, 401),
        ("the-admin-key", {"authorization": "Bearer key-one"}, 401),
        ("the-admin-key", {"authorization": "Bearer"}, 401),
        ("the-admin-key", {}, 401),
        ("schlüssel", {"authorization": "Bearer schlüssel".encode()}, 200),
        (None, ADMIN, 404),
        ("", {"authorization": "Bearer "}, 404),
    ],
)
async def test_only_the_admin_key_opens_the_admins_report(admin_key: str | None, headers: Any, status: int) -> None:
    async with served(Books(), admin_key) as client:
        response = await client.get("/v1/admin/usage", headers={"x-api-key": "key-one"} | headers)
    assert response.status_code == status
    if status != 200:
        assert "the-admin-key" not in response.text
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_other_headers_are_no_keys() -> None:
    check_admin([(b"cookie", b"x"), (b"x-api-key", b"secret")], "secret")


async def test_the_admins_key_is_no_key_of_a_caller(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v1/usage", headers={"x-api-key": "the-admin-key"})
    assert response.status_code == 401


async def test_a_report_that_cannot_be_read_may_be_asked_for_again() -> None:
    async with served(Lost()) as client:
        response = await client.get("/v1/usage")
    assert response.status_code == 503
    assert "disk" not in response.text


async def test_the_log_says_who_asked(client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    await client.get("/v1/usage")
    await client.get("/v1/admin/usage", headers=ADMIN)
    lines: list[SimpleNamespace] = [SimpleNamespace(**vars(record)) for record in caplog.records]
    assert [line.fields["caller"] for line in lines] == [ONE, "admin"]
