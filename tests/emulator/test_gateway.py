"""AI Gateway in the box: its two entrances, its keys, its cache, and what it refuses."""

import asyncio
from typing import Any

import httpx2
import pytest

from app.emulator.gateway import KNOWN, GatewayOptions, Gateways, entry_of
from app.emulator.options import Options
from app.emulator.replies import Reply
from app.emulator.requests import ReceivedRequest
from tests.emulator.asking import BGE, CHAT, FLUX, FLUX_2, GPT_OSS, HELLO, NATIVE, Asker, asking, events, scripted

pytestmark = pytest.mark.anyio

HOST = "http://emulator/v1/a1/gw/"
API = "http://emulator/client/v4/accounts/a1/ai/"
COMPLETIONS = "v1/chat/completions"
BY_HEADER = {"cf-aig-gateway-id": "gw"}
WHISPER = "@cf/openai/whisper"


def gateway(**options: Any) -> Options:
    return Options(tokens={"a1": "t1"}, gateways={"gw": GatewayOptions(**options)})


async def ask_host(ask: Asker, path: str, body: Any = None, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask.client.post(HOST + path, json=body or {"messages": HELLO}, headers=named)


async def ask_api(ask: Asker, path: str, body: Any = None, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask.client.post(API + path, json=body or {"messages": HELLO}, headers=BY_HEADER | named)


async def chat_at_api(ask: Asker, content: str = "Hello", **headers: str) -> httpx2.Response:
    body = {"model": CHAT, "messages": [{"role": "user", "content": content}]}
    return await ask_api(ask, COMPLETIONS, body, **headers)


def refused(response: httpx2.Response) -> tuple[int, int]:
    """Status and code of a refusal of the gateway's own."""
    body = response.json()
    [error] = body["error"]
    assert (body["success"], body["result"], body["messages"], body["name"]) == (False, [], [], "AiGatewayError")
    assert (body["httpCode"], body["internalCode"], body["message"]) == (
        response.status_code,
        error["code"],
        error["message"],
    )
    return response.status_code, error["code"]


async def test_a_gateway_is_reached_by_a_header_of_the_api(ask: Asker) -> None:
    response = await ask_api(ask, f"run/{NATIVE}")
    assert response.json()["result"]["response"]
    assert response.headers["cf-aig-step"] == "0"
    assert {"cf-aig-log-id", "cf-aig-request-id", "cf-aig-event-id"} <= response.headers.keys()
    assert "cf-aig-cache-status" not in response.headers


async def test_without_the_header_there_are_no_features_of_it(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=HELLO)
    assert not [name for name in response.headers if name.startswith("cf-aig-")]


@pytest.mark.parametrize("path", [f"workers-ai/run/{NATIVE}", f"workers-ai/{NATIVE}"])
async def test_the_gateway_host_runs_models_at_two_paths(ask: Asker, path: str) -> None:
    response = await ask_host(ask, path)
    assert response.json()["result"]["response"]
    assert "cf-aig-log-id" in response.headers


@pytest.mark.parametrize(("form", "right", "wrong"), [("run", "run/", ""), ("bare", "", "run/")])
async def test_or_at_one_of_them(form: str, right: str, wrong: str) -> None:
    async with asking(gateway(run_form=form), "t1") as ask:
        assert (await ask_host(ask, f"workers-ai/{right}{NATIVE}")).status_code == 200
        response = await ask_host(ask, f"workers-ai/{wrong}{NATIVE}")
        assert (response.status_code, response.json()["errors"][0]["code"]) == (404, 7003)


async def test_the_gateway_host_has_openais_paths(ask: Asker) -> None:
    chat = await ask_host(ask, f"workers-ai/{COMPLETIONS}", {"model": CHAT, "messages": HELLO})
    assert chat.json()["object"] == "chat.completion"
    vectors = await ask_host(ask, "workers-ai/v1/embeddings", {"model": BGE, "input": "Hi"})
    assert vectors.json()["object"] == "list"
    body = {"model": f"workers-ai/{CHAT}", "messages": HELLO}
    prefixed = await ask_host(ask, f"workers-ai/{COMPLETIONS}", body)
    assert prefixed.json()["errors"][0]["code"] == 5007


async def test_streams_pass_through(ask: Asker) -> None:
    body = {"model": CHAT, "messages": HELLO, "stream": True}
    assert events(await ask_api(ask, COMPLETIONS, body, cf_aig_cache_ttl="60"))[-1] == "[DONE]"


async def test_an_unknown_gateway_is_2001_and_default_is_there() -> None:
    async with asking(Options(gateways={})) as ask:
        assert refused(await ask_host(ask, f"workers-ai/{NATIVE}")) == (400, 2001)
        assert refused(await ask_api(ask, f"run/{NATIVE}")) == (400, 2001)
        assert (await ask_api(ask, f"run/{NATIVE}", cf_aig_gateway_id="default")).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        (f"workers-ai/{NATIVE}", {}, (401, 2009)),
        (f"workers-ai/{NATIVE}", {"cf-aig-authorization": "Bearer t1"}, (401, 2009)),
        (f"workers-ai/{NATIVE}", {"authorization": "Bearer aig"}, (401, 2009)),
        (f"workers-ai/{NATIVE}", {"cf-aig-authorization": "Bearer aig"}, None),
        ("compat/chat/completions", {"cf-aig-authorization": "Bearer aig"}, None),
        ("compat/chat/completions", {"authorization": "Bearer aig"}, None),
        ("compat/chat/completions", {"authorization": "Bearer t1"}, (401, 2009)),
    ],
)
async def test_an_authenticated_gateway_asks_for_its_token_on_its_host(path: str, headers: Any, expected: Any) -> None:
    async with asking(gateway(token="aig"), "t1") as ask:
        body = {"model": "openai/gpt-4.1", "messages": HELLO}
        response = await ask.client.post(HOST + path, json=body, headers=headers)
        assert (refused(response) if expected else response.status_code) == (expected or 200)
        assert (await ask_api(ask, f"run/{NATIVE}")).status_code == 200


async def test_workers_ai_behind_it_asks_for_the_accounts_token() -> None:
    async with asking(gateway(token="aig"), "t1") as ask:
        headers = {"authorization": "Bearer aig", "cf_aig_authorization": "Bearer aig"}
        response = await ask_host(ask, f"workers-ai/{NATIVE}", **headers)
        assert (response.status_code, response.json()["errors"][0]["code"]) == (401, 10000)
        assert "cf-aig-log-id" in response.headers


async def test_a_gateway_may_be_down() -> None:
    async with asking(gateway(is_down=True), "t1") as ask:
        for response in (await ask_host(ask, f"workers-ai/{NATIVE}"), await ask_api(ask, f"run/{NATIVE}")):
            assert (response.status_code, response.headers["content-type"]) == (503, "text/html; charset=UTF-8")
        assert (await ask.run(NATIVE, messages=HELLO)).status_code == 200


async def test_the_callers_ids_come_back(ask: Asker) -> None:
    response = await chat_at_api(ask, cf_aig_event_id="e1", cf_aig_collect_log="false")
    assert response.headers["cf-aig-event-id"] == "e1"
    assert "cf-aig-log-id" not in response.headers


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


async def test_the_pace_of_a_gateway_is_limited() -> None:
    async with asking(gateway(requests_per_minute=1), "t1") as ask:
        assert (await chat_at_api(ask)).status_code == 200
        assert refused(await chat_at_api(ask)) == (429, 2003)


def test_a_minute_comes_to_an_end_and_so_does_a_kept_answer() -> None:
    seconds = 1000.0
    options = {"gw": GatewayOptions(requests_per_minute=1, cache_ttl_seconds=60)}
    gateways = Gateways(options, lambda _: "text-generation", lambda: seconds)
    request = ReceivedRequest("POST", f"/accounts/a1/ai/run/{NATIVE}", "", BY_HEADER, {"prompt": "Hi"}, 15)
    entry = entry_of(request)
    assert entry is not None

    async def run(*_: Any) -> Reply:
        return Reply([b"{}"])

    def status() -> tuple[int, str | None]:
        reply = asyncio.run(gateways.passed(entry, request, run))
        return reply.status, reply.headers.get("cf-aig-cache-status")

    assert [status(), status()] == [(200, "MISS"), (429, None)]
    seconds += 60
    assert status() == (200, "MISS")


@pytest.mark.parametrize(
    ("options", "content", "by_host", "expected"),
    [
        ({"is_spent": True}, "Hello", False, (429, 2041)),
        ({"unsafe_words": ("Bomb",)}, "a BOMB", True, (424, 2016)),
        ({"unsafe_words": ("emulator built",)}, "Hello", True, (424, 2017)),
        ({"unsafe_words": ("bomb",)}, "a bomb", False, None),
        ({"unsafe_words": ("bomb",)}, "Hello", True, None),
        ({"private_words": ("4111-1111",)}, "4111-1111", False, (400, 2029)),
        ({"private_words": ("emulator built",)}, "Hello", False, (400, 2030)),
        ({"private_words": ("emulator built",)}, "Hello", True, (400, 2030)),
    ],
)
async def test_what_a_gateway_blocks(options: Any, content: str, by_host: bool, expected: Any) -> None:
    async with asking(gateway(**options), "t1") as ask:
        body = {"model": CHAT, "messages": [{"role": "user", "content": content}]}
        send, path = (ask_host, f"workers-ai/{COMPLETIONS}") if by_host else (ask_api, COMPLETIONS)
        response = await send(ask, path, body)
        assert (refused(response) if expected else response.status_code) == (expected or 200)
        assert "cf-aig-request-id" in response.headers


async def test_what_is_scanned_comes_as_a_whole() -> None:
    body = {"model": CHAT, "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    async with asking(gateway(unsafe_words=("bomb",)), "t1") as ask:
        response = await ask_host(ask, f"workers-ai/{COMPLETIONS}", body)
        assert (response.headers["content-type"], response.json()["object"]) == ("application/json", "chat.completion")
        assert events(await ask_api(ask, COMPLETIONS, body))[-1] == "[DONE]"


@pytest.mark.parametrize("code", KNOWN)
async def test_a_script_may_ask_for_every_refusal(ask: Asker, code: int) -> None:
    response = await ask_api(ask, f"run/{NATIVE}", {"messages": scripted(error={"code": code})})
    assert refused(response) == (KNOWN[code][0], code)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"run/{BGE}", {"text": '!emulate {"error":{"code":2017,"status":422,"message":"No"}}'}, 422, 2017),
        (f"run/{NATIVE}", {"prompt": 'Hi\n!emulate {"error":{"code":2003}}'}, 429, 2003),
        (f"run/{GPT_OSS}", {"input": scripted(error={"code": 2003})}, 429, 2003),
    ],
)
async def test_wherever_the_script_stands(ask: Asker, path: str, body: Any, status: int, code: int) -> None:
    assert refused(await ask_api(ask, path, body)) == (status, code)


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        (scripted(error={"code": 3040}), 429),
        (scripted(text="Hi"), 200),
        ([{"role": "user", "content": "!emulate {nonsense"}], 400),
        ("nonsense", 400),
    ],
)
async def test_other_scripts_are_the_runs_own(ask: Asker, messages: Any, status: int) -> None:
    response = await ask_api(ask, f"run/{NATIVE}", {"messages": messages})
    assert response.status_code == status
    assert "error" not in response.json()


async def test_forms_and_files_are_spoiled() -> None:
    async with asking(gateway(), "t1") as ask:
        url, form = f"{API}run/{FLUX_2}", {"prompt": (None, "A cat")}
        broken = await ask.client.post(url, files=form, headers=BY_HEADER)
        assert (broken.status_code, broken.json()["errors"][0]["code"]) == (400, 8001)
        sound = {"content-type": "application/octet-stream"}
        broken = await ask.client.post(f"{API}run/{WHISPER}", content=b"RIFF", headers=BY_HEADER | sound)
        assert (broken.status_code, broken.json()["errors"][0]["code"]) == (400, 3030)
        assert (await ask.client.post(url, files=form)).status_code == 200


async def test_unless_the_gateway_is_a_good_one() -> None:
    async with asking(gateway(spoils_files=False, unsafe_words=("a bomb",)), "t1") as ask:
        form = {"prompt": (None, "A cat")}
        response = await ask.client.post(f"{HOST}workers-ai/run/{FLUX_2}", files=form)
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai/gpt-4.1", "openai", "gpt-4.1"),
        ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("google-ai-studio/gemini-2.5-pro", "google-ai-studio", "gemini-2.5-pro"),
        ("dynamic/my-route", "openai", "gpt-4o-mini"),
        ("cloudflare/auto", "openai", "gpt-4o-mini"),
    ],
)
async def test_models_of_others_answer_as_a_chat(ask: Asker, model: str, provider: str, name: str) -> None:
    body = {"model": model, "messages": HELLO}
    for response in (await ask_host(ask, "compat/chat/completions", body), await ask_api(ask, COMPLETIONS, body)):
        assert (response.json()["object"], response.json()["model"]) == ("chat.completion", name)
        assert (response.headers["cf-aig-provider"], response.headers["cf-aig-model"]) == (provider, name)
        assert "cf-ai-neurons" not in response.headers
    body["stream"] = True  # type: ignore[assignment]
    assert events(await ask_host(ask, "compat/chat/completions", body))[-1] == "[DONE]"


async def test_without_a_gateway_they_go_through_the_default_one() -> None:
    options = Options(gateways={"default": GatewayOptions(has_credits=False)})
    async with asking(options) as ask:
        response = await ask.chat("openai/gpt-4.1", messages=HELLO)
        assert refused(response) == (402, 2021)


async def test_the_unified_api_has_workers_ai_under_its_name_only(ask: Asker) -> None:
    async def code(model: Any) -> tuple[int, int]:
        return refused(await ask_host(ask, "compat/chat/completions", {"model": model, "messages": HELLO}))

    response = await ask_host(ask, "compat/chat/completions", {"model": f"workers-ai/{CHAT}", "messages": HELLO})
    assert response.json()["model"] == CHAT
    assert await code(CHAT) == (400, 2008)
    assert await code("nobody/nothing") == (400, 2005)
    assert await code("openai") == (400, 2005)
    assert await code(5) == (400, 2005)


async def test_the_unified_api_takes_chats_in_json(ask: Asker) -> None:
    response = await ask.client.post(f"{HOST}compat/chat/completions", content=b"x")
    assert refused(response) == (400, 2019)
    response = await ask_host(ask, "compat/embeddings", {"model": f"workers-ai/{BGE}", "input": "Hi"})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, 7003)


async def test_somebody_has_to_pay_other_providers() -> None:
    body = {"model": "openai/gpt-4.1", "messages": HELLO}
    async with asking(gateway(), "t1") as ask:
        del ask.client.headers["authorization"]
        assert refused(await ask_host(ask, "compat/chat/completions", body)) == (401, 2009)
        paid = await ask_host(ask, "compat/chat/completions", body, cf_aig_authorization="Bearer any")
        assert paid.status_code == 200
        key = {"cf_aig_authorization": "Bearer any", "cf_aig_byok_alias": "other"}
        assert refused(await ask_host(ask, "compat/chat/completions", body, **key)) == (400, 2040)
        assert (await ask_api(ask, COMPLETIONS, body)).json()["errors"][0]["code"] == 9106


@pytest.mark.parametrize(("method", "path", "status"), [("GET", f"run/{NATIVE}", 405), ("POST", "v1/completions", 404)])
async def test_other_methods_and_paths_are_refused(ask: Asker, method: str, path: str, status: int) -> None:
    response = await ask.client.request(method, API + path, json={"messages": HELLO}, headers=BY_HEADER)
    assert response.status_code == status


async def test_other_parts_of_the_api_know_no_gateway() -> None:
    async with asking(gateway(is_down=True), "t1") as ask:
        response = await ask.client.get(f"{API}models/search", headers=BY_HEADER)
        assert response.status_code == 200


def test_a_gateway_does_not_show_its_token() -> None:
    assert "aig" not in repr(GatewayOptions(token="aig"))
