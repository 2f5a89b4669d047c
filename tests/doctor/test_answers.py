"""What is wrong with tokens, accounts and gateways, told from the answers of Cloudflare."""

from typing import Any

import httpx2
import pytest

from app.doctor.findings import Outcome
from app.upstream.gateway import Gateway
from tests.doctor.api import (
    ACTIVE,
    GATEWAY_SECRET,
    HOST,
    NO_MODEL,
    NO_PROMPT,
    REST,
    Api,
    examined,
    fault,
    gateway_fault,
    ok,
)

pytestmark = pytest.mark.anyio

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


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (NO_PROMPT, OK, "does not ask for it"),
        (ok(), OK, "does not ask for it"),
        (fault(403, 5016), WARNING, "it is not accepted. Before the model can be used, send it the prompt `agree`"),
        (fault(403, 5035), UNKNOWN, "can't be told now"),
        (fault(429, 4006), UNKNOWN, "can't be told now"),
    ],
)
async def test_whether_a_licence_is_accepted_is_told(answer: Any, outcome: Outcome, words: str) -> None:
    api = Api(licensed=answer)
    found = await examined(api, licenses={"a-model": "agree"})
    finding = found["licence of a-model on 012345…"]
    assert finding.outcome == outcome
    assert words in finding.line()
    assert not [request for request in api.requests if b"agree" in request.content]
