import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.calls import Usage
from app.errors import NotFoundError
from app.routes.edge import Edge, Faults, Options, plain_path
from app.routes.record import Record
from app.routes.streaming import ClientLeft
from tests.routes.scripted import Client


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("//v1///models//", "/v1/models"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1/v1/v1/models", "/v1/models"),
        ("//v1//v1/models", "/v1/models"),
        ("/v1/v1", "/v1/v1"),
        ("/v1/models/@cf/a/b", "/v1/models/@cf/a/b"),
    ],
)
def test_paths_are_made_plain(path: str, plain: str) -> None:
    assert plain_path(path) == plain


def scope(path: str = "/", method: str = "GET", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": raw}


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def leave(scope: Scope, receive: Receive, send: Send) -> None:
    raise ClientLeft


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFoundError("There is no such thing.")


async def crash(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("a detail")


async def refuse_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    raise NotFoundError("There is no such thing.")


async def crash_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    raise ZeroDivisionError("a detail")


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    found: dict[str, Any] = vars(next(record for record in caplog.records if record.message == "request"))["fields"]
    return found


@pytest.mark.anyio
async def test_every_answer_gets_an_id_and_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    client = Client()
    await Edge(answer)(scope("//v1/models/", x_request_id="mine"), client.receive, client.send)
    assert client.got[0]["headers"] == [(b"x-request-id", b"mine")]
    assert client.body == b"/v1/models"
    fields = line(caplog)
    assert {name: fields.pop(name) for name in ("duration_ms", "first_byte_ms")}.values()
    assert fields == {"request_id": "mine", "method": "GET", "path": "/v1/models", "status": 200}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("app", "status", "error", "level"),
    [
        (leave, 499, "client_left", "INFO"),
        (refuse, 404, "not_found", "INFO"),
        (crash, 500, "internal_error", "WARNING"),
    ],
)
async def test_what_went_wrong_stands_in_the_line(
    caplog: pytest.LogCaptureFixture, app: Any, status: int, error: str, level: str
) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    client = Client()
    await Edge(Faults(app))(scope(), client.receive, client.send)
    assert (line(caplog)["status"], line(caplog)["error"]) == (status, error)
    assert [record.levelname for record in caplog.records if record.message == "request"] == [level]
    assert [message["status"] for message in client.got if "status" in message] == ([status] if status != 499 else [])
    assert b"detail" not in client.body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("app", "failure", "lines"), [(crash_late, ZeroDivisionError, ["crash"]), (refuse_late, NotFoundError, [])]
)
async def test_a_failure_in_the_middle_of_an_answer_breaks_it(
    caplog: pytest.LogCaptureFixture, app: Any, failure: type[Exception], lines: list[str]
) -> None:
    caplog.set_level(logging.WARNING, "flarelay")
    client = Client()
    with pytest.raises(failure):
        await Edge(Faults(app))(scope(), client.receive, client.send)
    assert [message["type"] for message in client.got] == ["http.response.start"]
    assert [record.message for record in caplog.records] == lines


@pytest.mark.anyio
async def test_options_never_reaches_the_routes() -> None:
    client = Client()
    await Options(crash, ["GET", "POST"])(scope(method="OPTIONS"), client.receive, client.send)
    assert client.got == [
        {"type": "http.response.start", "status": 204, "headers": [(b"allow", b"GET, POST")]},
        {"type": "http.response.body", "body": b""},
    ]


@pytest.mark.anyio
async def test_what_is_no_request_passes_untouched() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def never(message: Message | None = None) -> Any:
        raise AssertionError

    lifespan = {"type": "lifespan"}
    await Edge(Options(Faults(app), []))(lifespan, never, never)
    assert seen == [{"type": "lifespan"}]


def test_a_line_tells_of_the_usage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    record = Record("id", "POST", "/v1/chat/completions", caller="c", model="m", ran="@cf/a/b", stream=True, status=200)
    record.usage = Usage(10, 5, cached_tokens=3, neurons=0.5, is_estimated=True)
    record.write()
    fields = line(caplog)
    assert fields.pop("duration_ms") >= 0
    assert fields == {
        "request_id": "id", "method": "POST", "path": "/v1/chat/completions", "status": 200, "caller": "c",
        "model": "m", "ran": "@cf/a/b", "stream": True, "prompt_tokens": 10, "completion_tokens": 5,
        "cached_tokens": 3, "neurons": 0.5, "usage_estimated": True,
    }  # fmt: skip


def test_a_quiet_log_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "flarelay")
    Record("id", "GET", "/", status=200).write()
    assert not caplog.records
    Record("id", "GET", "/", status=503).write()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/translate", "/translate"),
        ("/v1/translate", "/v1/translate"),
        ("/v2/translate", "/v2/translate"),
        ("/my-key/translate", "/{token}/translate"),
        ("/my-key/translate\n", "/{token}/translate\n"),
        ("/t/my-key/translate", "/t/{token}/translate"),
        ("/t/t/translate", "/t/{token}/translate"),
        ("/my-key/v2/translate", "/{token}/v2/translate"),
        ("/my-key/v2/usage", "/{token}/v2/usage"),
        ("/v1/admin/usage", "/v1/admin/usage"),
        ("/v1/dashboard/billing/usage", "/v1/dashboard/billing/usage"),
        ("/wrong/my-key/translate", "/wrong/{token}/translate"),
    ],
)
async def test_a_key_in_a_path_is_not_logged(path: str, logged: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flarelay")
    client = Client()
    await Edge(answer)(scope(path), client.receive, client.send)
    assert getattr(caplog.records[-1], "fields")["path"] == logged  # noqa: B009 - mypy knows no such attribute
