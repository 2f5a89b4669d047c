import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from app.calls import Account
from app.doctor import Doctor, Finding, Outcome, Setup, clock_finding, disk_finding, is_well, port_finding
from app.emulator.gateway import GatewayOptions
from app.upstream.gateway import Gateway
from app.upstream.transport import make_transport
from tests.serving import ACCOUNT, HYBRID, TOKEN, Cloudflare, cloudflare, flarelay

pytestmark = pytest.mark.anyio

API = "https://api.example/client/v4"
ID = "0123456789abcdef0123456789abcdef"
SECRET = "cloudflare-token-nobody-may-see"
GATEWAY_SECRET = "gateway-token-nobody-may-see"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
OURS = Account(ID, SECRET, API)
REST = Gateway("my-gateway", GATEWAY_SECRET)
HOST = Gateway("my-gateway", GATEWAY_SECRET, base_url="https://gateway.example/v1", route="host")

Handler = Callable[[httpx2.Request], httpx2.Response]


def ok(result: Any = None, date: float = NOW) -> httpx2.Response:
    headers = {"date": format_datetime(datetime.fromtimestamp(date, UTC), usegmt=True)}
    return httpx2.Response(200, json={"success": True, "errors": [], "result": result}, headers=headers)


def fault(status: int, code: int | None = None, message: str = "Something") -> httpx2.Response:
    errors = [{"code": code, "message": message}] if code else []
    return httpx2.Response(status, json={"success": False, "errors": errors, "result": None})


def gateway_fault(status: int, code: int) -> httpx2.Response:
    error = {"code": code, "message": "Something"}
    body = {"success": False, "result": [], "error": [error], "name": "AiGatewayError", "internalCode": code}
    return httpx2.Response(status, json=body)


NO_MODEL = fault(400, 5007, "AiError: No such model @cf/flarelay/doctor or task")
ACTIVE = {"id": "1", "status": "active"}


class Api:
    """Cloudflare, with whatever is put in the place of its usual answers."""

    def __init__(self, **answers: httpx2.Response | Exception) -> None:
        self.answers: dict[str, httpx2.Response | Exception] = {
            "verify": ok(ACTIVE),
            "list": ok([{"name": "a-model"}]),
            "run": NO_MODEL,
            "gateway": NO_MODEL,
            "other": NO_MODEL,
            **answers,
        }
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers[self.kind(request)]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def kind(self, request: httpx2.Request) -> str:
        path = request.url.path
        if path.endswith("/user/tokens/verify"):
            return "verify"
        if path.endswith("/ai/models/search"):
            return "list"
        if request.url.host == "gateway.example":
            return "gateway" if "/workers-ai/run/" in path else "other"
        return "gateway" if "cf-aig-gateway-id" in request.headers else "run"


async def examined(api: Handler, **options: Any) -> dict[str, Finding]:
    usual: dict[str, Any] = {"mode": "managed", "accounts": (OURS,), "api_base_url": API, "keys": 1}
    setup = Setup(**usual | options)
    findings = await Doctor(httpx2.MockTransport(api), now=lambda: NOW).examine(setup)
    lines = "\n".join(finding.line() for finding in findings)
    assert len(lines.splitlines()) == len(findings)
    assert SECRET not in lines
    assert GATEWAY_SECRET not in lines
    assert ID not in lines
    return {finding.check: finding for finding in findings}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(mode="managed", api_base_url=API, accounts=(OURS,), data_dir=tmp_path, keys=1)


async def test_a_server_that_has_all_it_needs_is_well(tmp_path: Path) -> None:
    api = Api()
    found = await examined(api, data_dir=tmp_path, gateway=REST)
    assert {name: str(finding.outcome) for name, finding in found.items()} == {
        "mode": "ok",
        "token of 012345…": "ok",
        "account 012345…": "ok",
        "models on 012345…": "ok",
        "gateway my-gateway of 012345…": "ok",
        "clock": "ok",
        "DATA_DIR": "ok",
        "disk": "ok",
        "port 0": "ok",
        "PUBLIC_BASE_URL": "ok",
        "API_KEYS": "ok",
    }
    assert is_well(found.values())
    assert found["mode"].text == "managed: calls run on 1 account, through AI Gateway my-gateway."
    assert sorted(request.method for request in api.requests) == ["GET", "GET", "POST", "POST"]
    assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {SECRET}"}


async def test_every_account_is_examined() -> None:
    others = tuple(Account(f"{n}" * 32, SECRET, API) for n in range(3))
    found = await examined(Api(), accounts=others)
    assert {"account 000000…", "account 111111…", "account 222222…"} <= set(found)
    assert found["mode"].text == "managed: calls run on 3 accounts, directly."


OK, WARNING, FAILED, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNKNOWN
HTML = httpx2.Response(200, text="<html>Welcome to nginx!</html>", headers={"date": "some day"})
NOT_IN_TIME = httpx2.ConnectTimeout("too late")


@pytest.mark.parametrize(
    ("answers", "outcome", "words"),
    [
        ({"verify": ok({"status": "disabled"})}, FAILED, "it is disabled. Renew it"),
        ({"verify": ok({"status": "expired"})}, FAILED, "it is expired."),
        ({"verify": ok()}, FAILED, "it is unknown."),
        ({"verify": ok(ACTIVE | {"expires_on": "2026-11-25T00:00:00Z"})}, WARNING, "it expires on 2026-11-25."),
        ({"verify": ok(ACTIVE | {"expires_on": "2027-11-25T00:00:00Z"})}, OK, "it is active."),
        ({"verify": ok(ACTIVE | {"expires_on": "some day"})}, OK, "it is active."),
        ({"verify": fault(401, 1000, "Invalid API Token")}, OK, "it is the account's own"),
        (
            {"verify": fault(401, 1000, "Invalid API Token"), "list": fault(403, 10000, "Authentication error")},
            FAILED,
            "Cloudflare does not know it. Make one at https://dash",
        ),
        ({"verify": fault(400, 6003, "Invalid request headers"), "list": fault(400, 6003)}, FAILED, "does not know it"),
        ({"verify": fault(500)}, WARNING, "Try again later"),
        ({"verify": httpx2.ConnectError("no route to 10.0.0.1")}, FAILED, "could not be reached. Check the network"),
        ({"verify": NOT_IN_TIME}, FAILED, "did not answer in time. Check the network"),
        ({"verify": HTML}, FAILED, "Is CLOUDFLARE_API_BASE_URL Cloudflare's API"),
        ({"verify": httpx2.Response(200, json=[1])}, FAILED, "Is CLOUDFLARE_API_BASE_URL Cloudflare's API"),
        ({"verify": httpx2.Response(200, json={"hello": "world"})}, FAILED, "CLOUDFLARE_API_BASE_URL"),
        ({"verify": httpx2.Response(200, json={"success": False, "errors": []})}, WARNING, "Try again later"),
    ],
)
async def test_what_is_wrong_with_a_token_is_told(answers: Any, outcome: Outcome, words: str) -> None:
    finding = (await examined(Api(**answers)))["token of 012345…"]
    assert finding.outcome == outcome
    assert words in finding.line()


@pytest.mark.parametrize("token", ["", "two words", '"quoted"', "'quoted", "line\n", "schlüssel", "Bearer x"])
async def test_a_token_that_was_copied_badly_is_not_sent(token: str) -> None:
    api = Api()
    found = await examined(api, accounts=(Account(ID, token, API),))
    assert found["token of 012345…"].outcome == FAILED
    assert "Copy the token again" in found["token of 012345…"].remedy
    assert api.requests == []


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (fault(403, 10000, "Authentication error"), FAILED, "permission Workers AI Read and Edit"),
        (fault(403, 9109), FAILED, "correct the account's id"),
        (fault(404, 7003, "Could not route to /accounts/x"), FAILED, "knows no such account. Copy its id"),
        (httpx2.Response(404, text="not found"), FAILED, "knows no such account"),
        (fault(429), WARNING, "Try again later"),
        (fault(502, 7009), WARNING, "(code 7009)"),
        (httpx2.Response(522, text="<html>"), FAILED, "(HTTP 522)"),
        (fault(400, 7777, "Odd"), FAILED, "Odd (code 7777)."),
    ],
)
async def test_what_is_wrong_with_an_account_is_told(answer: Any, outcome: Outcome, words: str) -> None:
    found = await examined(Api(list=answer), gateway=REST)
    assert found["account 012345…"].outcome == outcome
    assert words in found["account 012345…"].line()
    assert "models on 012345…" not in found
    assert found["gateway my-gateway of 012345…"].outcome == UNKNOWN


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (NO_MODEL, OK, "they may be run"),
        (ok({"response": "hi"}), OK, "they may be run"),
        (fault(400, 5006, "AiError: Bad input"), OK, "they may be run"),
        (fault(403, 10000), FAILED, "Workers AI Edit beside Read"),
        (fault(404, 7003), UNKNOWN, "can't be told"),
        (fault(429, 4006, "you have used up your daily free allocation"), WARNING, "CLOUDFLARE_ACCOUNTS"),
        (fault(429, 3040), WARNING, "Try again later"),
    ],
)
async def test_whether_models_may_be_run_is_told(answer: Any, outcome: Outcome, words: str) -> None:
    finding = (await examined(Api(run=answer)))["models on 012345…"]
    assert finding.outcome == outcome
    assert words in finding.line()


@pytest.mark.parametrize(
    ("gateway", "answers", "outcome", "words"),
    [
        (REST, {}, OK, "lets calls through"),
        (HOST, {}, OK, "lets calls through"),
        (REST, {"gateway": ok({"response": "hi"})}, OK, "lets calls through"),
        (REST, {"gateway": gateway_fault(400, 2005)}, OK, "lets calls through"),
        (REST, {"gateway": gateway_fault(400, 2001)}, FAILED, "no such gateway. Make it in the dashboard"),
        (HOST, {"gateway": gateway_fault(400, 2001)}, FAILED, "correct AI_GATEWAY_ID"),
        (HOST, {"gateway": gateway_fault(401, 2009)}, FAILED, "Set AI_GATEWAY_TOKEN to a token"),
        (REST, {"gateway": gateway_fault(401, 2009)}, FAILED, "Give the account's token the permission AI Gateway"),
        (REST, {"gateway": fault(403, 10000)}, FAILED, "does not accept the credentials"),
        (REST, {"gateway": gateway_fault(429, 2003)}, WARNING, "Try again later"),
        (REST, {"gateway": gateway_fault(429, 2041)}, WARNING, "raise the limit"),
        (REST, {"gateway": httpx2.ReadError("reset")}, FAILED, "CLOUDFLARE_API_BASE_URL"),
        (HOST, {"gateway": gateway_fault(400, 2008)}, OK, "lets calls through"),
        (HOST, {"gateway": fault(404, 7003), "other": fault(404, 7003)}, FAILED, "AI_GATEWAY_ROUTE=rest"),
        (HOST, {"gateway": fault(404, 7000), "other": gateway_fault(401, 2009)}, FAILED, "AI_GATEWAY_TOKEN"),
    ],
)
async def test_what_is_wrong_with_a_gateway_is_told(
    gateway: Gateway, answers: Any, outcome: Outcome, words: str
) -> None:
    api = Api(**answers)
    finding = (await examined(api, gateway=gateway))["gateway my-gateway of 012345…"]
    assert finding.outcome == outcome
    assert words in finding.line()
    if gateway is HOST:
        at_host = [request for request in api.requests if request.url.host == "gateway.example"]
        assert {request.headers["cf-aig-authorization"] for request in at_host} == {f"Bearer {GATEWAY_SECRET}"}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (fault(400, 9106, "Missing X-Auth-Key"), OK),
        (fault(401, 1000, "Invalid API Token"), OK),
        (ok(), OK),
        (httpx2.ConnectError("no route"), FAILED),
        (httpx2.Response(403, text="<html>blocked</html>"), FAILED),
        (fault(502, 7009), WARNING),
    ],
)
async def test_callers_tokens_are_not_examined(answer: Any, outcome: Outcome) -> None:
    api = Api(verify=answer)
    found = await examined(api, mode="pass-through", accounts=(), keys=0, gateway=REST)
    assert found["Cloudflare"].outcome == outcome
    assert found["tokens and accounts"].outcome == UNKNOWN
    assert found["API_KEYS"].outcome == OK
    assert [request.headers.get("authorization") for request in api.requests] == [None]


async def test_the_emulator_needs_no_network() -> None:
    api = Api()
    found = await examined(api, mode="emulator", accounts=(), keys=0)
    assert api.requests == []
    assert found["mode"].outcome == WARNING
    assert found["Cloudflare"].outcome == UNKNOWN
    assert found["clock"].outcome == UNKNOWN
    assert is_well(found.values())


async def test_licences_are_not_accepted_in_passing() -> None:
    api = Api()
    found = await examined(api, licensed_models=("a-model",))
    assert found["licence of a-model"].outcome == UNKNOWN
    assert "5016" in found["licence of a-model"].remedy
    assert not [request for request in api.requests if b"agree" in request.content]


@pytest.mark.parametrize(
    ("ahead", "outcome", "words"),
    [
        ([], UNKNOWN, "told the time"),
        ([0.4, -59.0], OK, "agrees"),
        ([3600.0, 3599.0], WARNING, "3599 s ahead of Cloudflare's. Days of limits"),
        ([-61.2], WARNING, "61 s behind"),
    ],
)
def test_a_clock_that_is_wrong_is_told(ahead: list[float], outcome: Outcome, words: str) -> None:
    assert clock_finding(ahead).outcome == outcome
    assert words in clock_finding(ahead).line()


async def test_the_clock_is_compared_with_cloudflares() -> None:
    found = await examined(Api(verify=ok(ACTIVE, date=NOW - 100), list=ok([], date=NOW - 90)))
    assert found["clock"].text == "it is 90 s ahead of Cloudflare's."


@pytest.mark.parametrize(
    ("free", "wanted", "outcome"),
    [(2**40, 2**31, OK), (2**30, 2**31, WARNING), (2**20, 0, FAILED), (100 * 2**20, 0, OK)],
)
def test_a_full_disk_is_told(free: int, wanted: int, outcome: Outcome) -> None:
    assert disk_finding(free, wanted).outcome == outcome


async def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = await examined(Api(), data_dir=file)
    assert found["DATA_DIR"].outcome == FAILED
    assert "Not a directory" in found["DATA_DIR"].text
    assert "disk" not in found


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def test_a_folder_that_is_to_be_made_is_not_made_yet(tmp_path: Path) -> None:
    found = await examined(Api(), data_dir=tmp_path / "a" / "b", wanted_bytes=2**60)
    assert found["DATA_DIR"].outcome == OK
    assert found["disk"].outcome == WARNING
    assert is_empty(tmp_path)


async def test_flarelay_itself_may_have_the_port(upstream: Cloudflare) -> None:
    with flarelay(upstream) as server:
        port = int(server.url.rpartition(":")[2])
        for host in ("127.0.0.1", EVERYWHERE):
            finding = await port_finding(host, port)
            assert finding.outcome == OK
            assert "is running there" in finding.text


def answer_once(listener: socket.socket, content: bytes) -> threading.Thread:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.parametrize("content", [b"Welcome to nginx!", b"[]", b'{"status": "ok"}'])
async def test_a_port_that_somebody_else_has_is_told(content: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answer_once(listener, content)
        finding = await port_finding("127.0.0.1", listener.getsockname()[1])
        thread.join()
    assert finding.outcome == FAILED
    assert "Set PORT to another" in finding.remedy


async def test_a_port_that_breaks_off_is_somebody_elses() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        finding = await port_finding("::1", listener.getsockname()[1])
        thread.join()
    assert finding.outcome == FAILED


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
async def test_an_address_that_is_not_the_machines_is_told(host: str) -> None:
    finding = await port_finding(host, 8000)
    assert finding.outcome == FAILED
    assert "Set HOST" in finding.remedy


@pytest.mark.parametrize(
    ("url", "is_loopback", "outcome"),
    [
        ("https://ai.example.com", False, OK),
        ("https://ai.example.com/flarelay", False, OK),
        ("http://localhost:8000", True, OK),
        ("https://ai.example.com/v1", False, WARNING),
        ("https://user@ai.example.com", False, WARNING),
        ("https://ai.example.com?x=1", False, WARNING),
        ("https://ai.example.com#x", False, WARNING),
        ("http://localhost:8000", False, WARNING),
        ("http://127.0.0.1:8000", False, WARNING),
        ("http://[::1]:8000", False, WARNING),
        ("http://192.168.1.2", False, OK),
    ],
)
async def test_an_address_for_users_that_leads_them_astray_is_told(
    url: str, is_loopback: bool, outcome: Outcome
) -> None:
    found = await examined(Api(), public_base_url=url, is_loopback=is_loopback)
    assert found["PUBLIC_BASE_URL"].outcome == outcome


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, OK),
        ({"public_base_url": "http://localhost:8000"}, OK),
        ({"public_base_url": "https://ai.example.com"}, FAILED),
        ({"is_loopback": False}, FAILED),
        ({"is_loopback": False, "keys": 2}, OK),
        ({"is_loopback": False, "mode": "emulator"}, WARNING),
    ],
)
async def test_a_server_that_is_open_to_all_is_told(options: Any, outcome: Outcome) -> None:
    found = await examined(Api(), **{"keys": 0} | options)
    assert found["API_KEYS"].outcome == outcome


async def test_whoever_never_answers_is_not_waited_for(setup: Setup) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which takes connections, and nothing else
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        account = Account(ID, SECRET, base_url)
        doctor = Doctor(make_transport(), timeout_seconds=0.05)
        async with asyncio.timeout(20):
            findings = await doctor.examine(replace(setup, accounts=(account,)))
    found = {finding.check: finding for finding in findings}
    assert "did not answer in time" in found["token of 012345…"].text
    assert found["account 012345…"].outcome == FAILED


@pytest.mark.parametrize(
    ("account", "token", "outcomes"),
    [
        (ACCOUNT, TOKEN, {"token of account1": OK, "account account1": OK, "models on account1": OK}),
        (ACCOUNT, "wrong", {"token of account1": FAILED, "account account1": FAILED}),
        ("account2", TOKEN, {"token of account2": OK, "account account2": FAILED}),
    ],
)
async def test_the_emulator_is_examined_like_cloudflare(
    upstream: Cloudflare, setup: Setup, account: str, token: str, outcomes: dict[str, Outcome]
) -> None:
    ours = Account(account, token, upstream.url)
    findings = await Doctor(make_transport()).examine(replace(setup, accounts=(ours,)))
    found = {finding.check: finding.outcome for finding in findings}
    assert {name: found.get(name) for name in outcomes} == outcomes
    assert found["clock"] == OK


async def test_an_account_without_neurons_is_still_well(setup: Setup) -> None:
    with cloudflare(daily_neurons=0, free_plan=True, needs_license=True, busy_every={HYBRID: 1}) as poor:
        ours = Account(ACCOUNT, TOKEN, poor.url)
        assert is_well(await Doctor(make_transport()).examine(replace(setup, accounts=(ours,))))
        bodies = [orjson.dumps(request.body) for request in poor.emulator.requests if request.method == "POST"]
    assert bodies == [b'{"prompt":"hi"}']


@pytest.mark.parametrize(
    ("name", "route", "token", "outcome", "words"),
    [
        ("mine", "rest", None, OK, "lets calls through"),
        ("mine", "host", GATEWAY_SECRET, OK, "lets calls through"),
        ("mine", "host", "wrong", FAILED, "Set AI_GATEWAY_TOKEN"),
        ("mine", "host", None, FAILED, "Set AI_GATEWAY_TOKEN"),
        ("theirs", "rest", None, FAILED, "no such gateway"),
        ("theirs", "host", GATEWAY_SECRET, FAILED, "no such gateway"),
        ("down", "host", GATEWAY_SECRET, WARNING, "Try again later"),
        ("busy", "rest", None, WARNING, "Try again later"),
        ("spent", "rest", None, WARNING, "raise the limit"),
    ],
)
async def test_the_emulators_gateways_are_examined_like_cloudflares(
    setup: Setup, name: str, route: Any, token: str | None, outcome: Outcome, words: str
) -> None:
    gateways = {
        "mine": GatewayOptions(token=GATEWAY_SECRET),
        "down": GatewayOptions(is_down=True),
        "busy": GatewayOptions(requests_per_minute=0),
        "spent": GatewayOptions(is_spent=True),
    }
    with cloudflare(gateways=gateways) as cloud:
        gateway = Gateway(name, token, base_url=cloud.url.replace("/client/v4", "/v1"), route=route)
        ours = Account(ACCOUNT, TOKEN, cloud.url)
        findings = await Doctor(make_transport()).examine(replace(setup, accounts=(ours,), gateway=gateway))
    finding = next(finding for finding in findings if finding.check == f"gateway {name} of account1")
    assert finding.outcome == outcome
    assert words in finding.line()
