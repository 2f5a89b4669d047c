from typing import Any

import httpx2
import pytest

from app.catalog import Catalog
from app.main import create_app
from app.routes.openai import LONGEST_HEADER, headers_of
from app.translators.base import Context, Plan
from tests.serving import ACCOUNT, CHAT, TOKEN, UNLISTED, asked, settings

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 1}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "headers", "usage", "neurons", "is_estimated"),
    [
        (UNLISTED, {}, USAGE, None, False),  # no price is known
        (UNLISTED, {"cf-ai-neurons": "1.25"}, USAGE, "1.25", False),
        (UNLISTED, {}, {}, None, True),
        (CHAT, {}, USAGE, "5500.04", False),  # by the price list
        (CHAT, {"cf-ai-neurons": "1.25"}, {}, "1.25", True),
    ],
)
async def test_the_headers_tell_the_price_as_far_as_it_is_known(
    model: str, headers: dict[str, str], usage: dict[str, int], neurons: str | None, is_estimated: bool
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=ANSWER | {"usage": usage}, headers=headers)

    account = {"cloudflare_account_id": ACCOUNT, "cloudflare_api_token": TOKEN}
    app = create_app(settings(**account), transport=httpx2.MockTransport(answer))  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        response = await client.post("/v1/chat/completions", json=asked("Hi", model))
    assert response.headers["x-flarelay-model"] == model
    assert response.headers.get("x-flarelay-neurons") == neurons
    assert response.headers.get("x-flarelay-usage") == ("estimated" if is_estimated else None)
    assert "x-flarelay-ignored" not in response.headers


@pytest.mark.parametrize(
    ("ignored", "value"),
    [
        ((), None),
        (("user", "tools[0]"), b"user, tools[0]"),
        (("a\r\nset-cookie: b", "\x00", "é", "\N{GRINNING FACE}"), rb"a\r\nset-cookie: b, \x00, \xe9, \U0001f600"),
        (("x" * 10_000,), b"x" * LONGEST_HEADER),
    ],
    ids=["none", "some", "no-header", "long"],
)
def test_what_was_ignored_fits_into_a_header(ignored: tuple[str, ...], value: bytes | None) -> None:
    context = Context(Catalog.load().resolve(CHAT), CHAT, id="id", created=0)
    plan: Plan[Any] = Plan(None, context, (), ignored, None)
    assert dict(headers_of(plan)) == {b"x-flarelay-model": CHAT.encode()} | (
        {b"x-flarelay-ignored": value} if value else {}
    )
