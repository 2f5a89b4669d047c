"""Cloudflare's API as the doctor sees it, with whatever is put in the place of its usual answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx2

from app.calls import Account
from app.doctor.examination import Doctor
from app.doctor.findings import Finding
from app.doctor.setup import Setup
from app.upstream.gateway import Gateway

API = "https://api.example/client/v4"
ID = "0123456789abcdef0123456789abcdef"
SECRET = "cloudflare-token-nobody-may-see"
GATEWAY_SECRET = "gateway-token-nobody-may-see"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
OURS = Account(ID, SECRET, API)
REST = Gateway("my-gateway", GATEWAY_SECRET)
HOST = Gateway("my-gateway", GATEWAY_SECRET, base_url="https://gateway.example/v1", route="host")


def ok(result: Any = None, date: float = NOW) -> httpx2.Response:
    headers = {"date": format_datetime(datetime.fromtimestamp(date, UTC), usegmt=True)}
    return httpx2.Response(200, json={"success": True, "errors": [], "result": result}, headers=headers)


def fault(status: int, code: int | None = None, message: str = "Something") -> httpx2.Response:
    errors = [{"code": code, "message": message}] if code else []
    return httpx2.Response(status, json={"success": False, "errors": errors, "result": None})


def gateway_fault(status: int, code: int) -> httpx2.Response:
    error = {"code": code, "message": "Something"}
    body = {"success": False, "result": [], "error": [error], "name": "AiGatewayError", "internalCode": code}
    return httpx2.Response(status, json=body)


NO_PROMPT = fault(400, 5006, "AiError: Bad input: Error: required properties at '/' are 'prompt'")
NO_MODEL = fault(400, 5007, "AiError: No such model @cf/flarelay/doctor or task")
ACTIVE = {"id": "1", "status": "active"}
Handler = Callable[[httpx2.Request], httpx2.Response]


class Api:
    """Cloudflare, with whatever is put in the place of its usual answers."""

    def __init__(self, **answers: httpx2.Response | Exception) -> None:
        self.answers: dict[str, httpx2.Response | Exception] = {
            "verify": ok(ACTIVE),
            "list": ok([{"name": "a-model"}]),
            "run": NO_MODEL,
            "licensed": NO_PROMPT,
            "gateway": NO_MODEL,
            "other": NO_MODEL,
            **answers,
        }
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers[self.kind(request)]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def kind(self, request: httpx2.Request) -> str:
        path = request.url.path
        if path.endswith("/user/tokens/verify"):
            return "verify"
        if path.endswith("/ai/models/search"):
            return "list"
        if request.url.host == "gateway.example":
            return "gateway" if "/workers-ai/run/" in path else "other"
        if path.endswith("/run/a-model"):
            return "licensed"
        return "gateway" if "cf-aig-gateway-id" in request.headers else "run"


async def examined(api: Handler, **options: Any) -> dict[str, Finding]:
    usual: dict[str, Any] = {"mode": "managed", "accounts": (OURS,), "api_base_url": API, "keys": 1}
    setup = Setup(**usual | options)
    findings = await Doctor(httpx2.MockTransport(api), now=lambda: NOW).examine(setup)
    lines = "\n".join(finding.line() for finding in findings)
    assert len(lines.splitlines()) == len(findings)
    assert SECRET not in lines
    assert GATEWAY_SECRET not in lines
    assert ID not in lines
    return {finding.check: finding for finding in findings}
