"""Whole servers examined: against made-up answers, and against the emulator on a socket."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.calls import Account
from app.doctor.examination import Doctor
from app.doctor.findings import Outcome, is_well
from app.doctor.setup import Setup
from app.emulator.options import GatewayOptions
from app.upstream.gateway import Gateway
from app.upstream.transport import make_transport
from tests.doctor.api import API, GATEWAY_SECRET, ID, REST, SECRET, Api, examined
from tests.serving import ACCOUNT, HYBRID, TOKEN, Cloudflare, cloudflare

pytestmark = pytest.mark.anyio

LICENSED = "@cf/meta/llama-3.2-11b-vision-instruct"
OK, WARNING, FAILED, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNKNOWN


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


@pytest.mark.parametrize("token", ["", "two words", '"quoted"', "'quoted", "line\n", "schlüssel", "Bearer x"])
async def test_a_token_that_was_copied_badly_is_not_sent(token: str) -> None:
    api = Api()
    found = await examined(api, accounts=(Account(ID, token, API),))
    assert found["token of 012345…"].outcome == FAILED
    assert "Copy the token again" in found["token of 012345…"].remedy
    assert api.requests == []


async def test_the_emulator_needs_no_network() -> None:
    api = Api()
    found = await examined(api, mode="emulator", accounts=(), keys=0)
    assert api.requests == []
    assert found["mode"].outcome == WARNING
    assert found["Cloudflare"].outcome == UNKNOWN
    assert found["clock"].outcome == UNKNOWN
    assert is_well(found.values())


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


async def test_the_emulators_licences_are_examined_like_cloudflares(setup: Setup) -> None:
    with cloudflare(needs_license=True) as strict:
        ours = replace(setup, accounts=(Account(ACCOUNT, TOKEN, strict.url),), licenses={LICENSED: "agree"})
        findings = await Doctor(make_transport()).examine(ours)
        strict.emulator.options = replace(strict.emulator.options, needs_license=False)
        findings += await Doctor(make_transport()).examine(ours)
        assert strict.emulator.meters.neurons_today(ACCOUNT) == 0
    found = [finding.outcome for finding in findings if finding.check == f"licence of {LICENSED} on account1"]
    assert found == [WARNING, OK]


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
