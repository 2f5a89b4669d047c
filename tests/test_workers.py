"""Several workers as one server: what a key may do and what a scrape tells are the same whichever of them one meets."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.stores.board import key_of
from app.stores.slots import Slot
from tests.serving import DEADLINE_SECONDS, KEY, NO_TLS, Cloudflare, asked, cloudflare, flarelay, until
from tests.test_ledger import process

CHAT_URL = "/v1/chat/completions"
ENDLESS = 'Hello\n!emulate {"tokens": 2000, "delay_ms": 50}'


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloudflare]:
    with cloudflare() as upstream:
        yield upstream


@contextmanager
def workers(cloud: Cloudflare, data_dir: Path, limits: str = "") -> Iterator[tuple[str, list[int]]]:
    """Two of them: where they listen, and who they are."""
    with process(cloud, data_dir, WORKERS="2", API_KEYS=f"mine={KEY}{limits}") as (popen, url):
        until(lambda: in_use(data_dir) == 2)
        yield url, workers_of(popen.pid)


def in_use(data_dir: Path) -> int:
    slots = [Slot(path) for path in (data_dir / "workers").iterdir()]
    count = sum(slot.is_used for slot in slots)
    for slot in slots:
        slot.close()
    return count


def running(data_dir: Path) -> int:
    """Requests of the key, in all workers."""
    slots = [Slot(path) for path in (data_dir / "workers").iterdir()]
    count = sum(slot.read(key_of("mine")).running for slot in slots)
    for slot in slots:
        slot.close()
    return count


def workers_of(parent: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            is_child = int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if is_child and b"spawn_main" in (path / "cmdline").read_bytes():
                children.append(int(path.name))
    assert len(children) == 2
    return children


@contextmanager
def without(pid: int) -> Iterator[None]:
    """While this one is stopped the other one has to answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def connected(url: str) -> Iterator[httpx2.Client]:
    """A connection of its own, which any worker may accept."""
    options: dict[str, Any] = {"timeout": DEADLINE_SECONDS, "verify": NO_TLS}
    with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, **options) as client:
        yield client


def ask(url: str) -> httpx2.Response:
    with connected(url) as http:
        return http.post(CHAT_URL, json=asked('Hello\n!emulate {"text":"a"}'))


def is_let_in(url: str) -> bool:
    try:
        return ask(url).status_code == 200
    except httpx2.TransportError:  # it met the one that is being killed
        return False


def scraped(url: str, name: str = "flarelay_requests", **labels: str) -> float:
    with connected(url) as http:
        families = text_string_to_metric_families(http.get("/metrics").text)
        samples = [sample for family in families if family.name == name for sample in family.samples]
    assert not any("worker" in sample.labels for sample in samples)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_connections_spread(cloud: Cloudflare, tmp_path: Path) -> None:
    """Also those that a pool opens one by one, which all workers are free to accept."""
    with workers(cloud, tmp_path) as (url, pids), ExitStack() as held:
        before = [sockets_of(pid) for pid in pids]
        for _ in range(20):
            assert held.enter_context(connected(url)).get("/v1/models").status_code == 200
        accepted = [sockets_of(pid) - was for pid, was in zip(pids, before, strict=True)]
        assert min(accepted) >= 7


def sockets_of(pid: int) -> int:
    """Open ones."""
    return sum(str(path.readlink()).startswith("socket:") for path in Path(f"/proc/{pid}/fd").iterdir())


def test_requests_per_minute_are_those_of_all_workers(cloud: Cloudflare, tmp_path: Path) -> None:
    with workers(cloud, tmp_path, ";rpm=2") as (url, (first, second)):
        with without(second):
            assert ask(url).headers["x-ratelimit-remaining-requests"] == "1"
        with without(first):
            answer = ask(url)
            assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (200, "0")
            assert ask(url).status_code == 429
        with without(second):
            refused = ask(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_requests_of_a_worker_that_is_killed_run_no_more(cloud: Cloudflare, tmp_path: Path) -> None:
    with (
        workers(cloud, tmp_path, ";concurrent=1") as (url, (first, second)),
        connected(url) as http,
        ExitStack() as held,
    ):
        with without(second):
            response = held.enter_context(http.stream("POST", CHAT_URL, json=asked(ENDLESS, stream=True)))
            events = response.iter_bytes()  # which ends the request when nobody holds it
            next(events)
        with without(first):
            assert ask(url).status_code == 429
        os.kill(first, signal.SIGKILL)
        until(lambda: is_let_in(url))


def test_requests_that_have_ended_run_no_more(cloud: Cloudflare, tmp_path: Path) -> None:
    with workers(cloud, tmp_path, ";concurrent=1") as (url, pids):
        for pid in (*pids, *pids):
            with without(pid):
                assert ask(url).status_code == 200
            until(lambda: running(tmp_path) == 0)  # a moment after its answer was sent


def test_a_scrape_tells_the_sums_of_all_workers_also_of_dead_ones(cloud: Cloudflare, tmp_path: Path) -> None:
    def asked_for() -> float:
        return scraped(url, route=CHAT_URL, status="200")

    with workers(cloud, tmp_path) as (url, (first, second)):
        for pid, times in ((second, 3), (first, 2)):
            with without(pid):
                for _ in range(times):
                    assert ask(url).status_code == 200
        for pid in (first, second):
            until(lambda: asked_for() == 5)
            with without(pid):
                assert asked_for() == 5
        os.kill(first, signal.SIGKILL)
        for _ in range(20):
            with suppress(httpx2.TransportError):  # the connection that the dead one had accepted
                assert asked_for() == 5
        until(lambda: in_use(tmp_path) == 2)
        assert asked_for() == 5


def test_a_new_server_begins_anew(cloud: Cloudflare, tmp_path: Path) -> None:
    """Although the one before it was killed while a request ran."""
    with ExitStack() as killed:
        url, _ = killed.enter_context(workers(cloud, tmp_path, ";concurrent=1"))
        assert ask(url).status_code == 200
        until(lambda: running(tmp_path) == 0)
        with connected(url) as http, http.stream("POST", CHAT_URL, json=asked(ENDLESS, stream=True)) as response:
            next(response.iter_bytes())
            assert response.status_code == 200
            killed.close()
    with workers(cloud, tmp_path, ";concurrent=1") as (url, _):
        assert scraped(url, route=CHAT_URL) == 0
        assert ask(url).status_code == 200


def test_a_server_of_one_worker_shares_nothing(cloud: Cloudflare, tmp_path: Path) -> None:
    with process(cloud, tmp_path) as (_, url):
        assert ask(url).status_code == 200
        assert not (tmp_path / "workers").exists()


def test_a_worker_leaves_its_place_to_the_next_one(cloud: Cloudflare, tmp_path: Path) -> None:
    for _ in range(2):
        with flarelay(cloud, workers=2, data_dir=str(tmp_path), api_keys=f"mine={KEY};rpm=9") as server:
            assert in_use(tmp_path) == 1
            assert ask(server.url).status_code == 200
