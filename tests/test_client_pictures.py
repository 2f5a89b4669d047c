"""OpenAI's own Python client: pictures in a chat."""

import base64
import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from PIL import Image
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.serving import KEY, NATIVE, UNLISTED, VISION, Cloudflare, Server, flarelay, serving


def picture(width: int = 30, height: int = 20) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(data, "PNG")
    return data.getvalue()


INLINE = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


def shown(model: str, url: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": model, "messages": [{"role": "user", "content": parts}]}


async def album(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(picture(), media_type="image/png")(scope, receive, send)


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    """A server of pictures on this machine."""
    with serving(album, lifespan="off") as running:
        yield running


@pytest.fixture(scope="module")
def neighbourly(upstream: Cloudflare) -> Iterator[openai.OpenAI]:
    """A client of a server that may fetch from this machine."""
    with ExitStack() as stack:
        server = stack.enter_context(flarelay(upstream, remote_fetch_allow="127.0.0.1"))
        yield stack.enter_context(openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0))


@pytest.mark.parametrize("model", [VISION, UNLISTED, "gpt-4o"])
def test_a_picture_in_the_request(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(**shown(model, INLINE)).choices[0].message.content
    assert "I see 1 picture: " in (answer or "")
    assert "30x20" in (answer or "").replace("×", "x")


def test_a_picture_is_fetched_where_the_settings_allow_it(neighbourly: openai.OpenAI, web: Server) -> None:
    answer = neighbourly.chat.completions.create(**shown(VISION, f"{web.url}/cat.png")).choices[0].message.content
    assert "30x20" in (answer or "").replace("×", "x")


def test_a_private_address_is_not_fetched(client: openai.OpenAI, web: Server) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**shown(VISION, f"{web.url}/cat.png"))
    assert raised.value.param == "messages[0].content[1].image_url.url"
    assert "REMOTE_FETCH_ALLOW" in raised.value.message


def test_a_model_that_sees_nothing_refuses_pictures(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**shown(NATIVE, INLINE))
    assert (raised.value.param, raised.value.code) == ("messages[0].content[1].image_url.url", "unsupported_content")


def test_what_is_no_picture_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**shown(VISION, "data:image/png;base64,aGVsbG8="))
    assert raised.value.param == "messages[0].content[1].image_url.url"
