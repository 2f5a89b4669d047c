"""AI Gateway in the box, asked at both of its entrances."""

from typing import Any

import httpx2

from app.emulator.options import GatewayOptions, Options
from tests.emulator.asking import CHAT, HELLO, Asker

HOST = "http://emulator/v1/a1/gw/"
API = "http://emulator/client/v4/accounts/a1/ai/"
COMPLETIONS = "v1/chat/completions"
BY_HEADER = {"cf-aig-gateway-id": "gw"}


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
