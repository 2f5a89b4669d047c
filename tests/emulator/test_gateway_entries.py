"""The two entrances of AI Gateway, and the models of others behind them."""

from typing import Any

import pytest

from app.emulator.options import GatewayOptions, Options
from tests.emulator.asking import BGE, CHAT, HELLO, NATIVE, Asker, asking, events
from tests.emulator.gateways import API, BY_HEADER, COMPLETIONS, HOST, ask_api, ask_host, gateway, refused

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(("method", "path", "status"), [("GET", f"run/{NATIVE}", 405), ("POST", "v1/completions", 404)])
async def test_other_methods_and_paths_are_refused(ask: Asker, method: str, path: str, status: int) -> None:
    response = await ask.client.request(method, API + path, json={"messages": HELLO}, headers=BY_HEADER)
    assert response.status_code == status


async def test_other_parts_of_the_api_know_no_gateway() -> None:
    async with asking(gateway(is_down=True), "t1") as ask:
        response = await ask.client.get(f"{API}models/search", headers=BY_HEADER)
        assert response.status_code == 200
