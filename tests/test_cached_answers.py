"""Answers that are kept and given again, through a server."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving import KEY, Cloudflare, asked, cloudflare, connected, flarelay

EMBEDDER = "@cf/baai/bge-m3"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Cloudflare]:
    with cloudflare() as running:
        yield running


def embedded(http: httpx2.Client, *texts: str) -> httpx2.Response:
    return http.post("/v1/embeddings", json={"model": EMBEDDER, "input": texts})


def test_embeddings_are_made_once(upstream: Cloudflare, tmp_path: Path) -> None:
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as http:
        first, sent = embedded(http, "one", "two"), len(upstream.emulator.requests)
        second = embedded(http, "one", "two")
        other = embedded(http, "one", "two!")
        scrape = http.get("/metrics").text
    assert "x-flarelay-cache" not in first.headers
    assert (second.headers["x-flarelay-cache"], second.headers["x-flarelay-neurons"]) == ("hit", "0")
    assert second.json()["data"] == first.json()["data"]
    assert "x-flarelay-cache" not in other.headers
    assert len(upstream.emulator.requests) == sent + 1
    assert 'flarelay_response_cache_total{result="hit"} 1.0' in scrape
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as http:
        assert embedded(http, "one", "two").headers["x-flarelay-cache"] == "hit", "a restart forgets nothing"


def test_only_what_was_paid_for_is_charged(upstream: Cloudflare, tmp_path: Path) -> None:
    """A hundred texts are a call."""
    texts = [f"text {number}" for number in range(150)]
    with flarelay(upstream, data_dir=str(tmp_path)) as server, connected(server) as http:
        whole = float(embedded(http, *texts[:100]).headers["x-flarelay-neurons"])
        partly = embedded(http, *texts)
    assert "x-flarelay-cache" not in partly.headers
    assert 0 < float(partly.headers["x-flarelay-neurons"]) < whole


@pytest.mark.parametrize(("shared", "told"), [(False, None), (True, "hit")])
def test_keys_share_answers_if_that_is_wanted(
    upstream: Cloudflare, tmp_path: Path, shared: bool, told: str | None
) -> None:
    own = {"data_dir": str(tmp_path), "response_cache_shared": shared, "api_keys": f"{KEY},second-key"}
    with flarelay(upstream, **own) as server:
        with connected(server) as http:
            embedded(http, "a", "b")
        with connected(server, authorization="Bearer second-key") as http:
            assert embedded(http, "a", "b").headers.get("x-flarelay-cache") == told


def test_chats_are_not_kept_unless_that_is_wanted(upstream: Cloudflare, tmp_path: Path) -> None:
    def told(**settings: str) -> list[str | None]:
        with flarelay(upstream, data_dir=str(tmp_path), **settings) as server, connected(server) as http:
            answers = [http.post("/v1/chat/completions", json=asked("Hello?")) for _ in range(2)]
        return [answer.headers.get("x-flarelay-cache") for answer in answers]

    assert told() == [None, None]
    assert told(response_cache="embeddings,chat") == [None, "hit"]
    assert told(response_cache="none") == [None, None]


def test_several_choices_stay_different_calls(upstream: Cloudflare, tmp_path: Path) -> None:
    own = {"data_dir": str(tmp_path), "response_cache": "chat"}
    with flarelay(upstream, **own) as server, connected(server) as http:
        upstream.emulator.requests.clear()
        http.post("/v1/chat/completions", json=asked("Twice, please.", n=2))
    assert len(upstream.emulator.requests) == 2
