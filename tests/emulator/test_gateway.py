"""What a gateway asks for, limits and refuses."""

import asyncio
from typing import Any

import pytest

from app.emulator.gateway import Gateways
from app.emulator.gateway_entries import entry_of
from app.emulator.gateway_faults import KNOWN
from app.emulator.options import GatewayOptions, Options
from app.emulator.replies import Reply
from app.emulator.requests import ReceivedRequest
from tests.emulator.asking import BGE, CHAT, FLUX_2, GPT_OSS, HELLO, NATIVE, Asker, asking, events, scripted
from tests.emulator.gateways import API, BY_HEADER, COMPLETIONS, HOST, ask_api, ask_host, chat_at_api, gateway, refused

pytestmark = pytest.mark.anyio
WHISPER = "@cf/openai/whisper"


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


def test_a_gateway_does_not_show_its_token() -> None:
    assert "aig" not in repr(GatewayOptions(token="aig"))
