"""What a gateway keeps, and for how long."""

from typing import Any

import pytest

from tests.emulator.asking import BGE, CHAT, FLUX, HELLO, NATIVE, Asker, asking, scripted
from tests.emulator.gateways import API, BY_HEADER, COMPLETIONS, ask_api, gateway

pytestmark = pytest.mark.anyio
# Headers of two requests, their texts -> the cache's status of both.
CACHED: list[tuple[dict[str, str], dict[str, str], tuple[str, str], tuple[str | None, str | None]]] = [
    ({}, {}, ("a", "a"), (None, None)),
    ({"cf-aig-cache-ttl": "60"}, {"cf-aig-cache-ttl": "60"}, ("a", "a"), ("MISS", "HIT")),
    ({"cf-cache-ttl": "60"}, {"cf-cache-ttl": "60"}, ("a", "a"), ("MISS", "HIT")),
    ({"cf-aig-cache-ttl": "60"}, {"cf-aig-cache-ttl": "60"}, ("a", "b"), ("MISS", "MISS")),
    ({"cf-aig-cache-ttl": "60"}, {"cf-aig-cache-ttl": "0"}, ("a", "a"), ("MISS", None)),
    (
        {"cf-aig-cache-ttl": "60"},
        {"cf-aig-cache-ttl": "60", "cf-aig-skip-cache": "true"},
        ("a", "a"),
        ("MISS", "MISS"),
    ),
    ({"cf-aig-cache-ttl": "60"}, {"cf-aig-cache-ttl": "60", "cf-skip-cache": "true"}, ("a", "a"), ("MISS", "MISS")),
    ({"cf-aig-cache-key": "k"}, {"cf-aig-cache-key": "k"}, ("a", "b"), ("MISS", "HIT")),
    ({"cf-aig-cache-key": "k"}, {"cf-aig-cache-key": "l"}, ("a", "a"), ("MISS", "MISS")),
]


@pytest.mark.parametrize(("first", "second", "texts", "statuses"), CACHED)
async def test_answers_are_kept_as_asked(
    ask: Asker, first: Any, second: Any, texts: tuple[str, str], statuses: Any
) -> None:
    replies = []
    for text, headers in zip(texts, (first, second), strict=True):
        body = {"model": CHAT, "messages": [{"role": "user", "content": text}]}
        replies.append(await ask.client.post(API + COMPLETIONS, json=body, headers=BY_HEADER | headers))
    assert tuple(reply.headers.get("cf-aig-cache-status") for reply in replies) == statuses
    if statuses[1] == "HIT":
        assert replies[0].content == replies[1].content
        assert "cf-ai-neurons" in replies[0].headers
        assert "cf-ai-neurons" not in replies[1].headers


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"run/{NATIVE}", {"messages": HELLO}, "HIT"),
        (f"run/{FLUX}", {"prompt": "A cat"}, "HIT"),
        ("run", {"model": NATIVE, "input": {"messages": HELLO}}, "HIT"),
        (COMPLETIONS, {"model": "openai/gpt-4.1", "messages": HELLO}, "HIT"),
        ("v1/embeddings", {"model": BGE, "input": "Hi"}, None),
        (f"run/{BGE}", {"text": "Hi"}, None),
        (COMPLETIONS, {"model": CHAT, "messages": HELLO, "stream": True}, None),
        (COMPLETIONS, {"messages": HELLO}, None),
        (COMPLETIONS, {"model": CHAT, "messages": scripted(error={"code": 3040})}, "MISS"),
    ],
)
async def test_a_gateway_keeps_texts_and_pictures_only(path: str, body: Any, status: str | None) -> None:
    async with asking(gateway(cache_ttl_seconds=60), "t1") as ask:
        await ask_api(ask, path, body)
        assert (await ask_api(ask, path, body)).headers.get("cf-aig-cache-status") == status
