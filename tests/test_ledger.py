"""The ledger behind a whole server: what was spent, by every kind of request, and that none of it is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.emulator.asking import picture_bytes
from tests.serving import (
    ACCOUNT,
    CHAT,
    DEADLINE_SECONDS,
    KEY,
    NATIVE,
    NO_TLS,
    TOKEN,
    Cloudflare,
    asked,
    cloudflare,
    connected,
    flarelay,
    payloads,
    scripted,
    until,
)
from tests.sounding import recording

ROOT = Path(__file__).parent.parent
OTHER = "key-of-another-caller"
ADMIN = "key-of-the-admin"
KEYS = {"api_keys": f"first={KEY},second={OTHER}", "admin_key": ADMIN}

EMBEDDING = "@cf/baai/bge-m3"
PICTURE = "@cf/black-forest-labs/flux-1-schnell"
WHISPER = "@cf/openai/whisper-large-v3-turbo"
SPEECH = "@cf/deepgram/aura-1"
RERANK = "@cf/baai/bge-reranker-base"
M2M = "@cf/meta/m2m100-1.2b"
SENTIMENT = "@cf/huggingface/distilbert-sst-2-int8"

Ask = Callable[[httpx2.Client], httpx2.Response]


def posting(path: str, json: Any) -> Ask:
    return lambda http: http.post(path, json=json)


def transcribing(http: httpx2.Client) -> httpx2.Response:
    sound = recording(["alpha", "bravo"])
    return http.post("/v1/audio/transcriptions", data={"model": WHISPER}, files={"file": ("a.wav", sound)})


def editing(http: httpx2.Client) -> httpx2.Response:
    form = {"model": "@cf/black-forest-labs/flux-2-klein-4b", "prompt": "a cat", "response_format": "b64_json"}
    return http.post("/v1/images/edits", data=form, files={"image": ("a.png", picture_bytes())})


ASKS: dict[str, tuple[str, Ask]] = {
    "chat": (NATIVE, posting("/v1/chat/completions", asked("Hello"))),
    "chat of OpenAI's shape": (CHAT, posting("/v1/chat/completions", asked("Hello", CHAT))),
    "two choices": (NATIVE, posting("/v1/chat/completions", asked("Hello", n=2))),
    "completion": (NATIVE, posting("/v1/completions", {"model": NATIVE, "prompt": "Hello"})),
    "embeddings": (EMBEDDING, posting("/v1/embeddings", {"model": EMBEDDING, "input": ["one", "two"]})),
    "picture": (
        PICTURE,
        posting("/v1/images/generations", {"model": PICTURE, "prompt": "a cat", "response_format": "b64_json"}),
    ),
    "transcription": (WHISPER, transcribing),
    "speech": (SPEECH, posting("/v1/audio/speech", {"model": SPEECH, "input": "Hello there.", "voice": "alloy"})),
    "rerank": (RERANK, posting("/v1/rerank", {"model": RERANK, "query": "a", "documents": ["a", "b"]})),
    "translation": (M2M, posting("/v2/translate", {"text": ["A good day."], "target_lang": "FR", "source_lang": "EN"})),
    "raw run": (SENTIMENT, posting(f"/v1/run/{SENTIMENT}", {"text": "fine"})),
    "raw chat": (NATIVE, posting(f"/v1/run/{NATIVE}", {"prompt": "Hello"})),
}


def report(http: httpx2.Client, path: str = "/v1/usage", key: str = KEY, group_by: str = "day,model") -> Any:
    headers = {"authorization": f"Bearer {key}"}
    return http.get(path, params={"group_by": group_by}, headers=headers).raise_for_status().json()


def charges(answers: list[httpx2.Response]) -> list[float]:
    return [float(answer.headers["x-flarelay-neurons"]) for answer in answers]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloudflare]:
    with cloudflare() as upstream:
        yield upstream


def test_every_request_is_in_the_report_with_what_it_cost(cloud: Cloudflare, tmp_path: Path) -> None:
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        costs: dict[str, float] = {}
        for model, ask in ASKS.values():
            answer = ask(http).raise_for_status()
            assert "x-flarelay-neurons-estimated" not in answer.headers
            costs[model] = costs.get(model, 0) + charges([answer])[0]
        assert min(costs.values()) > 0
        told = report(http)
        assert {row["model"]: row["neurons"] for row in told["data"]} == pytest.approx(costs, rel=1e-4)
        assert told["total"]["neurons"] == pytest.approx(sum(costs.values()), rel=1e-4)
        assert told["total"]["calls"] == len(ASKS) + 1  # two choices are two calls
        assert told["allowance"]["spent"] == pytest.approx(sum(costs.values()), rel=1e-4)
        (row,) = [row for row in told["data"] if row["model"] == WHISPER]
        assert row["audio_seconds"] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("model", [NATIVE, CHAT])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/run/"])
def test_a_stream_is_in_the_report_with_what_it_cost(cloud: Cloudflare, tmp_path: Path, model: str, path: str) -> None:
    is_raw = path == "/v1/run/"
    before = cloud.emulator.meters.neurons_today(ACCOUNT)
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        response = http.post(path + model if is_raw else path, json=asked("Hello", model, stream=True))
        assert payloads(response.text)[-1] == "[DONE]"
        paid = cloud.emulator.meters.neurons_today(ACCOUNT) - before
        (row,) = report(http)["data"]
        assert (row["model"], row["calls"]) == (model, 1)
        assert row["neurons"] == pytest.approx(paid, rel=0.02)
        assert paid > 0


def test_each_key_sees_its_own_and_the_admin_sees_all(cloud: Cloudflare, tmp_path: Path) -> None:
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        _, chat = ASKS["chat"]
        mine = charges([chat(http), chat(http)])
        with connected(server, authorization=f"Bearer {OTHER}") as second:
            theirs = charges([chat(second)])
        assert report(http)["total"]["neurons"] == pytest.approx(sum(mine), rel=1e-4)
        assert report(http, key=OTHER)["total"]["neurons"] == pytest.approx(sum(theirs), rel=1e-4)
        everybodys = report(http, "/v1/admin/usage", ADMIN, "key,account")
        assert [(row["key"], row["account"], row["calls"]) for row in everybodys["data"]] == [
            ("first", ACCOUNT, 2),
            ("second", ACCOUNT, 1),
        ]
        assert everybodys["total"]["neurons"] == pytest.approx(sum(mine + theirs), rel=1e-4)


@pytest.mark.parametrize("model", [NATIVE, CHAT])
def test_what_had_to_be_asked_again_is_paid_for_twice(cloud: Cloudflare, tmp_path: Path, model: str) -> None:
    wish = scripted(model, {"quirks": ["json-mode-unmet"]}, response_format={"type": "json_object"})
    before = cloud.emulator.meters.neurons_today(ACCOUNT)
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        (cost,) = charges([http.post("/v1/chat/completions", json=wish).raise_for_status()])
        paid = cloud.emulator.meters.neurons_today(ACCOUNT) - before
        assert cost == pytest.approx(paid, rel=1e-4)
        assert report(http)["total"]["neurons"] == pytest.approx(paid, rel=1e-4)


PROSE = {"leak": "I would rather not."}
UNTYPED: dict[str, Any] = {"type": "object"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": UNTYPED}}


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/v1/chat/completions", {"tools": [TOOL], "tool_choice": "required"}),
        ("/v1/chat/completions", {"response_format": {"type": "json_object"}}),
        ("/v1/chat/completions", {"response_format": {"type": "json_object"}, "stream": True}),
        ("/v1/chat/completions", {"response_format": {"type": "json_object"}, "n": 2}),
        ("/v1/messages", {"tools": [{"name": "look", "input_schema": UNTYPED}], "tool_choice": {"type": "any"}}),
    ],
)
def test_an_answer_that_was_no_good_is_paid_for(
    cloud: Cloudflare, tmp_path: Path, path: str, wish: dict[str, Any]
) -> None:
    before = cloud.emulator.meters.neurons_today(ACCOUNT)
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        assert http.post(path, json=scripted(CHAT, PROSE, max_tokens=50, **wish)).status_code >= 400
        paid = cloud.emulator.meters.neurons_today(ACCOUNT) - before
        (row,) = report(http)["data"]
    assert (row["model"], row["neurons"]) == (CHAT, pytest.approx(paid, rel=1e-4))
    assert paid > 0


def test_a_failure_costs_nothing(cloud: Cloudflare, tmp_path: Path) -> None:
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        assert http.post("/v1/chat/completions", json=asked('!emulate {"error":{"code":5006}}')).status_code == 400
        assert report(http)["data"] == []


def test_what_a_client_has_read_before_it_left_is_in_the_report(cloud: Cloudflare, tmp_path: Path) -> None:
    long = 'Hello\n!emulate {"tokens": 50, "delay_ms": 20}'
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        with http.stream("POST", "/v1/chat/completions", json=asked(long, stream=True)) as response:
            pieces = response.iter_bytes()
            for _ in range(5):
                next(pieces)
        until(lambda: report(http)["total"]["calls"] == 1)
        assert report(http)["total"]["neurons"] > 0


def test_it_is_still_there_after_a_restart(cloud: Cloudflare, tmp_path: Path) -> None:
    _, chat = ASKS["chat"]
    costs = []
    for _ in range(2):
        with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
            costs += charges([chat(http)])
            told = report(http)
            assert told["total"]["neurons"] == pytest.approx(sum(costs), rel=1e-4)
            assert told["allowance"]["spent"] == pytest.approx(sum(costs), rel=1e-4)


@contextmanager
def process(cloud: Cloudflare, data_dir: Path, **settings: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`python -m app`, and where it listens. It and its workers are ended with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "CLOUDFLARE_API_BASE_URL": cloud.url,
        "API_KEYS": KEYS["api_keys"],
        "ADMIN_KEY": ADMIN,
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "NEURON_BUDGET": "0",
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
        "LOG_LEVEL": "warning",
    }
    popen = subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=data_dir,  # where no `.env` lies
        env=own | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # so that its workers can be ended with it
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_up(url))
        yield popen, url
    finally:
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(DEADLINE_SECONDS)


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", verify=NO_TLS).status_code == 200
    except httpx2.TransportError:
        return False


def _asking(url: str, times: int) -> list[float]:
    """Each over a connection of its own, so that all workers get some."""
    found = []
    for _ in range(times):
        with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, verify=NO_TLS) as http:
            found += charges([http.post("/v1/chat/completions", json=asked("Hello")).raise_for_status()])
    return found


def test_a_killed_server_has_lost_nothing_older_than_a_second(cloud: Cloudflare, tmp_path: Path) -> None:
    with process(cloud, tmp_path) as (popen, url):
        costs = _asking(url, 3)
        time.sleep(1)  # what the promise allows to be lost
        os.killpg(popen.pid, signal.SIGKILL)
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        assert report(http)["total"]["neurons"] == pytest.approx(sum(costs), rel=1e-4)


def test_workers_that_write_at_the_same_time_lose_nothing(cloud: Cloudflare, tmp_path: Path) -> None:
    with process(cloud, tmp_path, WORKERS="2") as (popen, url):
        with ThreadPoolExecutor(4) as pool:
            costs = [cost for found in pool.map(lambda _: _asking(url, 10), range(4)) for cost in found]
        with httpx2.Client(base_url=url, verify=NO_TLS) as http:
            until(lambda: report(http)["total"]["calls"] == 40)
            assert report(http)["total"]["neurons"] == pytest.approx(sum(costs), rel=1e-4)
        popen.send_signal(signal.SIGTERM)
        popen.wait(DEADLINE_SECONDS)
    with flarelay(cloud, data_dir=str(tmp_path), **KEYS) as server, connected(server) as http:
        assert report(http)["total"]["calls"] == 40
