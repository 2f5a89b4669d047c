"""A page that is translated paragraph by paragraph: many requests at once, the cache, and readers who leave."""

import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from tests.interpreting import calls, said
from tests.serving import KEY, Cloudflare, Server, cloudflare, connected, flarelay, until

NOUNS = ["harbour", "weather", "doctor", "village", "mountain", "kitchen", "library", "winter", "question", "morning"]
VERBS = ["waits", "changes", "opens", "follows", "reminds", "surprises", "welcomes", "disappoints"]
SENTENCES = [
    f"The {noun} of number {number} {verb} everybody who comes to this part of the country in the summer."
    for number, (noun, verb) in enumerate((noun, verb) for noun in NOUNS for verb in VERBS)
]
"""So long that each is translated by itself."""
PARAGRAPHS = 300


def page() -> list[tuple[str, ...]]:
    """The sentences of each paragraph. Menus and buttons are on every page several times."""
    dice = random.Random(7)
    return [tuple(dice.sample(SENTENCES, dice.randint(1, 3))) for _ in range(PARAGRAPHS)]


def translated(client: httpx2.Client, text: str, target: str = "DE", **options: Any) -> httpx2.Response:
    response = client.post("/translate", json={"text": text, "source_lang": "EN", "target_lang": target} | options)
    assert response.status_code == 200, response.text
    return response


@pytest.fixture
def cloud() -> Any:
    with cloudflare(kept_requests=1000) as running:
        yield running


@pytest.mark.parametrize("at_once", [3, 20, 50])
def test_a_page_is_right_and_each_sentence_costs_one_call(cloud: Cloudflare, tmp_path: Path, at_once: int) -> None:
    paragraphs = page()
    with (
        flarelay(cloud, data_dir=str(tmp_path)) as server,
        connected(server) as client,
        ThreadPoolExecutor(at_once) as pool,
    ):
        texts = list(pool.map(lambda parts: translated(client, " ".join(parts)).json()["data"], paragraphs))
    assert texts == [" ".join(said(part, "en", "de") for part in parts) for parts in paragraphs]
    distinct = {part for parts in paragraphs for part in parts}
    assert sorted(call.body["text"] for call in calls(cloud)) == sorted(distinct)


def test_a_text_that_was_translated_costs_nothing(cloud: Cloudflare, tmp_path: Path) -> None:
    known, other = SENTENCES[:2]
    with flarelay(cloud, data_dir=str(tmp_path)) as server, connected(server) as client:
        first, second = translated(client, known), translated(client, known)
        third = translated(client, f"{known} {other}")
    assert first.json()["data"] == second.json()["data"] == said(known, "en", "de")
    assert third.json()["data"] == f"{said(known, 'en', 'de')} {said(other, 'en', 'de')}"
    assert [each.headers["x-flarelay-cache"] for each in (first, second, third)] == ["miss", "hit", "partial"]
    assert float(first.headers["x-flarelay-neurons"]) > 0
    assert float(second.headers["x-flarelay-neurons"]) == 0
    assert [call.body["text"] for call in calls(cloud)] == [known, other]


def test_translations_outlive_the_server(cloud: Cloudflare, tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        with flarelay(cloud, data_dir=str(tmp_path)) as server, connected(server) as client:
            answers.append(translated(client, SENTENCES[0]))
    assert answers[0].json()["data"] == answers[1].json()["data"]
    assert [answer.headers["x-flarelay-cache"] for answer in answers] == ["miss", "hit"]
    assert len(calls(cloud)) == 1


def test_the_cache_tells_apart_what_matters(cloud: Cloudflare, tmp_path: Path) -> None:
    """Languages, models, glossaries; not who asks, nor which API."""
    text = next(sentence for sentence in SENTENCES if "village" in sentence)
    ways: list[dict[str, Any]] = [{}, {"target": "FR"}, {"model": "gpt-4o-mini"}]
    ways += [{"model": "gpt-4o-mini", "glossary": {"village": "Dorf"}}]
    with flarelay(cloud, data_dir=str(tmp_path)) as server, connected(server) as client:
        first = [translated(client, text, **way).json()["data"] for way in ways]
        second = [translated(client, text, **way) for way in ways]
        other = client.post("/v2/translate", json={"text": [text], "source_lang": "EN", "target_lang": "DE"})
    assert [answer.json()["data"] for answer in second] == first
    assert {answer.headers["x-flarelay-cache"] for answer in [*second, other]} == {"hit"}
    assert "Dorf" in first[3]
    assert len(calls(cloud)) == len(ways)


def test_the_metrics_tell_how_much_the_cache_saves(cloud: Cloudflare, tmp_path: Path) -> None:
    with flarelay(cloud, data_dir=str(tmp_path)) as server, connected(server) as client:
        for number in (0, 1, 0, 0):
            translated(client, SENTENCES[number])
        lines = client.get("/metrics").text.splitlines()
    assert 'flarelay_translation_units_total{source="cache"} 2.0' in lines
    assert 'flarelay_translation_units_total{source="engine"} 2.0' in lines
    assert "flarelay_translation_calls_total 2.0" in lines
    assert "flarelay_translation_hit_ratio 0.5" in lines


def test_without_room_nothing_is_kept(cloud: Cloudflare, tmp_path: Path) -> None:
    options: dict[str, Any] = {"data_dir": str(tmp_path), "translation_cache_max_bytes": 0}
    with flarelay(cloud, **options) as server, connected(server) as client:
        answers = [translated(client, SENTENCES[0]) for _ in range(2)]
    assert [answer.headers["x-flarelay-cache"] for answer in answers] == ["miss", "miss"]
    assert len(calls(cloud)) == 2


def test_who_asks_for_the_same_at_once_shares_a_call(tmp_path: Path) -> None:
    with (
        cloudflare(latency_seconds=0.2) as slow,
        flarelay(slow, data_dir=str(tmp_path)) as server,
        connected(server) as client,
        ThreadPoolExecutor(10) as pool,
    ):
        answers = list(pool.map(lambda _: translated(client, SENTENCES[0]).json()["data"], range(10)))
        assert answers == [said(SENTENCES[0], "en", "de")] * 10
        assert len(calls(slow)) == 1


@pytest.fixture
def silent(tmp_path: Path) -> Any:
    """A server whose Cloudflare does not answer in time."""
    with cloudflare(latency_seconds=60) as slow, flarelay(slow, data_dir=str(tmp_path)) as server:
        yield slow, server


def left(server: Server, **options: Any) -> socket.socket:
    """A client that has asked, and may close."""
    body = orjson.dumps({"text": f"{SENTENCES[0]} {SENTENCES[1]}", "source_lang": "EN", "target_lang": "DE"} | options)
    head = f"POST /translate?token={KEY} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(server.socket.getsockname())
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("options", [{}, {"model": "gpt-4o-mini"}])
def test_a_reader_who_leaves_ends_the_calls(silent: tuple[Cloudflare, Server], options: dict[str, Any]) -> None:
    slow, server = silent
    with left(server, **options):
        until(lambda: len(calls(slow)) == (1 if options else 2))
        assert server.tasks()
    until(lambda: not server.tasks())


def test_others_go_on_when_one_of_them_leaves(tmp_path: Path) -> None:
    with (
        cloudflare(latency_seconds=0.5) as slow,
        flarelay(slow, data_dir=str(tmp_path)) as server,
        connected(server) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = left(server)
        until(lambda: len(calls(slow)) == 2)
        other = pool.submit(translated, client, SENTENCES[0])
        until(lambda: 'flarelay_translation_units_total{source="shared"} 1.0' in client.get("/metrics").text)
        first.close()
        assert other.result().json()["data"] == said(SENTENCES[0], "en", "de")
        assert len(calls(slow)) == 2
        until(lambda: not server.tasks())
