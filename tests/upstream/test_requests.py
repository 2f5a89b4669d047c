"""What is sent for a call, through the whole of WorkersAI."""

from dataclasses import replace

import pytest

from app import __version__
from app.calls import Call, Failure, FailureKind
from tests.upstream.replaying import (
    ACCOUNT,
    BASE,
    CALLER,
    MODEL,
    OK,
    RUN,
    STREAM,
    client,
    frames,
    streamed,
    whole,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (f"run/{MODEL}", f"{BASE}/run/@cf/meta/llama-3.2-3b-instruct"),
        ("run/@hf/nousresearch/hermes-2-pro", f"{BASE}/run/@hf/nousresearch/hermes-2-pro"),
        ("v1/chat/completions", f"{BASE}/v1/chat/completions"),
    ],
)
async def test_a_call_is_one_post(path: str, url: str) -> None:
    workers, transport, _ = client(whole(OK))
    await workers.run(Call(MODEL, path, {"prompt": "é", "n": 1}), CALLER)
    (request,) = transport.requests
    assert request.method == "POST"
    assert f"https://cloudflare.test{request.url.raw_path.decode()}" == url
    assert request.content == '{"prompt":"é","n":1}'.encode()
    assert dict(request.headers) == {
        "host": "cloudflare.test",
        "content-type": "application/json",
        "content-length": str(len(request.content)),
        "authorization": "Bearer token-of-acc0",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": f"flarelay/{__version__}",
    }


async def test_the_affinity_is_a_header() -> None:
    workers, transport, _ = client(whole(OK))
    await workers.run(replace(RUN, affinity="abc"), CALLER)
    assert transport.requests[0].headers["x-session-affinity"] == "abc"


async def test_the_token_is_in_the_authorization_only() -> None:
    workers, transport, _ = client(whole(OK))
    await workers.run(RUN, CALLER)
    (request,) = transport.requests
    headers = request.headers
    del headers["authorization"]
    assert ACCOUNT.token not in f"{request.url}{headers.raw}{request.content!r}"


async def test_the_limits_of_time() -> None:
    options = {"connect_timeout_seconds": 1, "idle_timeout_seconds": 2, "request_timeout_seconds": 30}
    workers, transport, _ = client(whole(OK), streamed(frames({})), whole({"result": [], "success": True}), **options)
    await workers.run(RUN, CALLER)
    await workers.open(STREAM, CALLER)
    await workers.models(ACCOUNT)
    whole_timeout = {"connect": 1, "read": 30, "write": 30, "pool": 1}
    assert [request.extensions["timeout"] for request in transport.requests] == [
        whole_timeout,
        {"connect": 1, "read": 2, "write": 2, "pool": 1},
        whole_timeout,
    ]


async def test_a_body_that_is_no_json_is_refused() -> None:
    workers, transport, _ = client()
    with pytest.raises(Failure, match="64-bit") as caught:
        await workers.run(Call(MODEL, f"run/{MODEL}", {"top_k": 2**70}), CALLER)
    assert caught.value.kind is FailureKind.BAD_REQUEST
    assert transport.requests == []


async def test_a_call_may_have_bytes_in_place_of_a_body() -> None:
    workers, transport, _ = client(whole({"result": {}, "success": True}))
    await workers.run(replace(RUN, content=b"--x", content_type="multipart/form-data; boundary=x"), CALLER)
    (request,) = transport.requests
    assert (request.content, request.headers["content-type"]) == (b"--x", "multipart/form-data; boundary=x")
