"""`python -m app doctor` as its user runs it: a process of its own, and Cloudflare on a socket."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from app.emulator.options import GatewayOptions
from tests.serving import ACCOUNT, DEADLINE_SECONDS, KEY, TOKEN, Cloudflare, cloudflare
from tests.test_gateway import host_of

ROOT = Path(__file__).parents[1]
RUN_TOKEN = "token-with-ai-gateway-run"
WRONG = "token-that-nobody-knows"
SECRETS = (TOKEN, RUN_TOKEN, WRONG, KEY)

Environment = dict[str, str]


class Case(NamedTuple):
    settings: Environment
    exit_code: int
    lines: tuple[str, ...]
    """Words of the output, each in a line with the outcome before it."""


HOST = {"AI_GATEWAY_ROUTE": "host", "AI_GATEWAY_TOKEN": RUN_TOKEN}
CASES = {
    "direct": Case({}, 0, ("ok token of account1: it is active", "ok models on account1")),
    "rest": Case({"AI_GATEWAY_ID": "closed"}, 0, ("ok gateway closed of account1: it lets calls through",)),
    "host": Case({"AI_GATEWAY_ID": "closed"} | HOST, 0, ("ok gateway closed of account1: it lets calls through",)),
    "other path": Case({"AI_GATEWAY_ID": "bare"} | HOST, 0, ("ok gateway bare of account1",)),
    "alias": Case({"AI_GATEWAY_ID": "closed", "MODEL_ALIASES": '{"mine": "openai/gpt-4.1"}'}, 0, ("ok settings",)),
    "two accounts": Case(
        {"CLOUDFLARE_ACCOUNTS": f"account2:{TOKEN},account3:{WRONG}"},
        1,
        ("ok account account1", "ok account account2", "FAILED token of account3"),
    ),
    "wrong token": Case(
        {"CLOUDFLARE_API_TOKEN": WRONG},
        1,
        ("FAILED token of account1: Cloudflare does not know it. Make one at https://dash.cloudflare.com",),
    ),
    "wrong account": Case(
        {"CLOUDFLARE_ACCOUNT_ID": "nobodys"},
        1,
        ("FAILED account nobodys: Cloudflare knows no such account. Copy its id from the dashboard",),
    ),
    "another's account": Case(
        {"CLOUDFLARE_ACCOUNT_ID": "account4"},
        1,
        ("FAILED account account4: the token may not use Workers AI on it. Give the token the permission",),
    ),
    "unknown gateway": Case(
        {"AI_GATEWAY_ID": "nobodys"},
        1,
        (
            "FAILED gateway nobodys of account1: there is no such gateway. Make it in the dashboard",
            "correct AI_GATEWAY_ID",
        ),
    ),
    "bad gateway token": Case(
        {"AI_GATEWAY_ID": "closed"} | HOST | {"AI_GATEWAY_TOKEN": WRONG},
        1,
        ("FAILED gateway closed of account1: it does not accept the credentials. Set AI_GATEWAY_TOKEN",),
    ),
    "no Cloudflare": Case(
        {"CLOUDFLARE_API_BASE_URL": "http://127.0.0.1:9/client/v4"},
        1,
        ("FAILED token of account1", "Check the network"),
    ),
    "unwritable folder": Case(
        {"DATA_DIR": "/proc/1/flarelay"}, 1, ("FAILED DATA_DIR: /proc/1/flarelay can't be written", "set DATA_DIR to")
    ),
    "broken settings": Case(
        {"PORT": "many", "AI_GATEWAY_ROUTE": "sideways"},
        1,
        ("FAILED settings: PORT:", "FAILED settings: AI_GATEWAY_ROUTE:"),
    ),
    "broken JSON": Case({"MODEL_ALIASES": f"{{{WRONG}"}, 1, ("FAILED settings:", "it has to be JSON")),
    "alias without a gateway": Case(
        {"MODEL_ALIASES": '{"mine": "openai/gpt-4.1"}'},
        1,
        ("FAILED settings: MODEL_ALIASES", "AI_GATEWAY_ID is not set"),
    ),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Cloudflare]:
    gateways = {"closed": GatewayOptions(token=RUN_TOKEN), "bare": GatewayOptions(token=RUN_TOKEN, run_form="bare")}
    with cloudflare(gateways=gateways, tokens={ACCOUNT: TOKEN, "account2": TOKEN, "account4": WRONG[::-1]}) as running:
        yield running


Outcome = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def outcomes(upstream: Cloudflare, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Of all cases: processes take their time to start, so they run beside each other."""

    def examined(name: str) -> Outcome:
        folder = tmp_path_factory.mktemp("doctor")
        settings = {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_API_BASE_URL": upstream.url,
            "AI_GATEWAY_BASE_URL": host_of(upstream),
            "API_KEYS": KEY,
            "DATA_DIR": str(folder / "data"),
            "PORT": "0",
            "PYTHONPATH": str(ROOT),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_START") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "app", "doctor"],
            cwd=folder,  # where no `.env` lies
            env=kept | settings | CASES[name].settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=3 * DEADLINE_SECONDS,
        )

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(CASES, pool.map(examined, CASES), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(outcomes: dict[str, Outcome], name: str) -> None:
    outcome, case = outcomes[name], CASES[name]
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert outcome.stderr == ""
    assert [words for words in case.lines if not any(words in line for line in lines)] == []
    assert outcome.returncode == case.exit_code
    assert any(line.startswith("FAILED") for line in lines) is (case.exit_code != 0)


@pytest.mark.parametrize("name", CASES)
def test_the_doctor_shows_no_secrets(outcomes: dict[str, Outcome], name: str) -> None:
    output = outcomes[name].stdout + outcomes[name].stderr
    assert output
    assert [secret for secret in SECRETS if secret in output] == []


def test_the_doctor_spends_nothing(outcomes: dict[str, Outcome], upstream: Cloudflare) -> None:
    assert len(outcomes) == len(CASES)
    bodies: list[Any] = [request.body for request in upstream.emulator.requests if request.method == "POST"]
    assert len(bodies) >= 8
    assert {orjson.dumps(body) for body in bodies} == {b'{"prompt":"hi"}', b"{}"}
    assert [upstream.emulator.meters.neurons_today(account) for account in (ACCOUNT, "account2")] == [0, 0]
