"""What a gateway is, what callers are told, and when it is down; and whether the emulator's gateways agree."""

from typing import Any

import httpx2
import pytest

from app.calls import Account, Failure, FailureKind
from app.emulator.app import create_emulator
from app.emulator.options import GatewayOptions, Options
from app.emulator.transport import EmulatorTransport
from app.upstream.addresses import addressed
from app.upstream.failures import classify
from app.upstream.gateway import Gateway, is_down, is_misrouted, told
from app.upstream.providers import upstream_model

K = FailureKind
CHAT = "v1/chat/completions"


@pytest.mark.parametrize("gateway_id", ["", "a/b", "a b", "a\r\nb", "a" * 65, "ü"])
def test_a_gateway_has_an_id_that_can_stand_in_a_url(gateway_id: str) -> None:
    with pytest.raises(ValueError, match="id of an AI Gateway"):
        Gateway(gateway_id)


def test_a_gateway_does_not_show_its_token() -> None:
    assert "aig-token" not in repr(Gateway("gw", "aig-token"))


def test_the_caller_is_told_what_the_gateway_did() -> None:
    headers = [
        (b"CF-AIG-Cache-Status", b"HIT"),
        (b"content-type", b"application/json"),
        (b"cf-aig-log-id", b"log1"),
        (b"cf-aig-step", b"0"),
        (b"cf-aig-authorization", b"Bearer secret"),
        (b"cf-aig-dlp", b'{"action":"FLAG"}'),
        (b"cf-ray", b"ray"),
    ]
    assert told(headers) == (
        (b"cf-aig-cache-status", b"HIT"),
        (b"cf-aig-log-id", b"log1"),
        (b"cf-aig-step", b"0"),
        (b"cf-aig-dlp", b'{"action":"FLAG"}'),
    )


def failed(kind: FailureKind, status: int = 0, code: int | None = None, is_retryable: bool = False) -> Failure:
    return Failure(kind, "Some text", status=status, code=code, is_retryable=is_retryable)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (failed(K.CONFIGURATION, 400, 2001), True),
        (failed(K.AUTHENTICATION, 401, 2009), True),
        (failed(K.SERVER, 503, 7013), True),
        (failed(K.SERVER, 503), True),
        (failed(K.TIMEOUT, 522), True),
        (failed(K.CONNECTION, is_retryable=True), True),
        (failed(K.TIMEOUT, is_retryable=True), True),
        (failed(K.TIMEOUT), False),
        (failed(K.TIMEOUT, 504), False),
        (failed(K.RATE_LIMIT, 429, 2003), False),
        (failed(K.QUOTA, 429, 2041), False),
        (failed(K.CONTENT_FILTER, 424, 2016), False),
        (failed(K.CONTENT_FILTER, 400, 2029), False),
        (failed(K.CAPACITY, 503, 3050), False),
        (failed(K.SERVER, 500, 8008), False),
        (failed(K.AUTHENTICATION, 401, 10000), False),
        (failed(K.CAPACITY, 503), False),
        (failed(K.BAD_REQUEST, 400), False),
    ],
)
def test_a_gateway_is_down_when_it_fails_itself_and_not_when_it_refuses(failure: Failure, expected: bool) -> None:
    assert is_down(failure) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (failed(K.CONFIGURATION, 404, 7003), True),
        (failed(K.CONFIGURATION, 400, 7000), True),
        (failed(K.BAD_REQUEST, 400, 2008), True),
        (failed(K.CONFIGURATION, 400, 2001), False),
        (failed(K.BAD_REQUEST, 200, 2008), False),
        (failed(K.CONFIGURATION, 404), False),
    ],
)
def test_a_path_that_the_gateway_does_not_know_is_told_from_other_failures(failure: Failure, expected: bool) -> None:
    assert is_misrouted(failure) is expected


EMULATED = Account("acct", "cf-token", "http://emulator/client/v4")
CF_MODEL = "@cf/zai-org/glm-4.7-flash"


async def asked(
    route: Any, path: str, model: str, *, is_right: bool = True, uses_other: bool = False, **options: Any
) -> httpx2.Response:
    """The emulator's answer at the address of a call."""
    gateway = Gateway("gw", "aig-token" if is_right else "wrong", "http://emulator/v1", route)
    address = addressed(EMULATED, path, gateway, {"cf-aig-event-id": "e1"}, model=model)
    body = {"model": upstream_model(model, gateway), "messages": [{"role": "user", "content": "Hello"}]}
    emulator = create_emulator(
        Options(tokens={"acct": "cf-token"}, gateways={"gw": GatewayOptions(token="aig-token", **options)})
    )
    url = address.other_url if uses_other and address.other_url else address.url
    async with httpx2.AsyncClient(transport=EmulatorTransport(emulator)) as client:
        return await client.post(url, json=body, headers=address.headers)


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["rest", "host"])
@pytest.mark.parametrize(
    ("path", "model"),
    [
        (f"run/{CF_MODEL}", ""),
        (CHAT, CF_MODEL),
        (CHAT, f"workers-ai/{CF_MODEL}"),
        (CHAT, "openai/gpt-4.1"),
        (CHAT, "dynamic/route"),
    ],
)
async def test_an_authenticated_gateway_lets_every_call_in(route: str, path: str, model: str) -> None:
    response = await asked(route, path, model)
    assert response.status_code == 200
    assert (b"cf-aig-event-id", b"e1") in told(response.headers.raw)


@pytest.mark.anyio
async def test_the_other_path_helps_where_the_first_is_not_known() -> None:
    wrong = await asked("host", f"run/{CF_MODEL}", "", run_form="bare")
    assert is_misrouted(classify(wrong.status_code, wrong.headers, wrong.content))
    right = await asked("host", f"run/{CF_MODEL}", "", run_form="bare", uses_other=True)
    assert right.status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["rest", "host"])
async def test_a_gateway_that_is_down_is_known_as_such(route: str) -> None:
    response = await asked(route, CHAT, CF_MODEL, is_down=True)
    assert is_down(classify(response.status_code, response.headers, response.content))


@pytest.mark.anyio
async def test_a_wrong_gateway_token_is_known_as_such() -> None:
    response = await asked("host", CHAT, CF_MODEL, is_right=False)
    failure = classify(response.status_code, response.headers, response.content)
    assert (is_down(failure), "AI_GATEWAY_TOKEN" in failure.message) == (True, True)


@pytest.mark.anyio
async def test_a_gateway_that_refuses_on_purpose_is_not_down() -> None:
    response = await asked("host", CHAT, CF_MODEL, is_spent=True)
    failure = classify(response.status_code, response.headers, response.content)
    assert (failure.kind, is_down(failure)) == (K.QUOTA, False)
