"""OpenAI's own Python client: which exception a failure becomes, and what stands in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import openai
import pytest

from tests.serving import (
    ACCOUNT,
    CHAT,
    DEADLINE_SECONDS,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    KEY,
    NATIVE,
    TOKEN,
    UNLISTED,
    Cloudflare,
    Server,
    asked,
    cloudflare,
    flarelay,
    scripted,
)

KILLERS = (
    "credit",
    "balance",
    "permission denied",
    "api key not valid",
    "api key expired",
    "violation of our policies",
    "organization has been disabled",
    "organization has been restricted",
    "your access was terminated",
    "已欠费",
    "you exceeded your current quota",
    "the security token included in the request is invalid",
    "operation not allowed",
    "your account is not authorized",
)
"""Words by which One API and new-api switch off a channel."""


@contextmanager
def client_of(server: Server, key: str = KEY) -> Iterator[openai.OpenAI]:
    url = f"{server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


@contextmanager
def in_front_of(options: dict[str, Any] | None = None, **settings: Any) -> Iterator[openai.OpenAI]:
    """A client of a server in front of an emulator with `options`."""
    with ExitStack() as stack:
        server = stack.enter_context(flarelay(stack.enter_context(cloudflare(**options or {})), **settings))
        yield stack.enter_context(client_of(server))


def failing(client: openai.OpenAI, model: str = NATIVE, *, stream: bool = False, **error: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(**scripted(model, {"error": error}), stream=stream)
    return raised.value


@pytest.fixture(scope="module")
def quick(upstream: Cloudflare) -> Iterator[openai.OpenAI]:
    """A client of a server that tries once."""
    with flarelay(upstream, max_tries=1) as server, client_of(server) as client:
        yield client


def test_a_wrong_key(server: Server) -> None:
    with client_of(server, "wrong") as client, pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(**asked("Hello"))
    assert (raised.value.type, raised.value.code, raised.value.param) == (
        "invalid_request_error", "invalid_api_key", None
    )  # fmt: skip
    assert "wrong" not in raised.value.message


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(**asked("Hello", "@cf/meta/llama-3.3-70b-instruct-fp8-slow"))
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match=f"Did you mean .*{NATIVE}"):
        client.chat.completions.create(**asked("Hello", "llama-3.3-70b-instruct-fp8-fas"))
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-9000-of-nobody")
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "Hello"}]}, "messages[0].role", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_request_names_its_fault(client: openai.OpenAI, change: Any, param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked("Hello") | change)
    assert (raised.value.type, raised.value.param, raised.value.code) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_spent_allowance(stream: bool) -> None:
    with in_front_of({"daily_neurons": 0}) as client, pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(**asked("Hello"), stream=stream)
    assert (raised.value.type, raised.value.code) == ("rate_limit_error", "daily_limit_reached")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.request_id
    assert "neurons" in raised.value.message


def test_too_many_requests() -> None:
    with in_front_of({"requests_per_minute": 0}, max_tries=1) as client, pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(**asked("Hello"))
    assert raised.value.code == "rate_limit_exceeded"
    assert 1 <= int(raised.value.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_no_capacity(quick: openai.OpenAI, stream: bool) -> None:
    error = failing(quick, stream=stream, code=3040)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.type, error.code) == (503, "server_error", "overloaded")
    assert 1 <= int(error.response.headers["retry-after"]) <= 60


def test_a_moment_without_capacity_is_waited_for() -> None:
    with in_front_of({"busy_every": {NATIVE: 2}}) as client:
        for _ in range(2):
            assert client.chat.completions.create(**asked("Hello")).choices


def test_a_failing_model_is_a_server_error(quick: openai.OpenAI) -> None:
    error = failing(quick, code=8004)
    page = failing(quick, status=502, code=7009)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code, error.param) == (502, "upstream_error", None)
    assert isinstance(page, openai.InternalServerError)


@pytest.mark.parametrize(
    "options", [{"tokens": {ACCOUNT: "another"}}, {"tokens": {"another": TOKEN}}], ids=["token", "account"]
)
def test_one_api_does_not_blame_its_channel_when_cloudflare_refuses_us(options: dict[str, Any]) -> None:
    with in_front_of(options) as client, pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(**asked("Hello"))
    assert raised.value.status_code == 503
    assert raised.value.type == "server_error"
    assert raised.value.code in ("upstream_auth", "upstream_configuration")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert TOKEN not in raised.value.message


@pytest.mark.parametrize(
    "message", [f"{words.upper()} {words} of account 0123456789abcdef0123456789abcdef" for words in KILLERS]
)
@pytest.mark.parametrize("code", [5006, 8004, 3040, 5018])
def test_one_api_finds_no_word_that_switches_off_its_channel(quick: openai.OpenAI, message: str, code: int) -> None:
    told = failing(quick, code=code, message=message)
    assert not [word for word in KILLERS if word in told.message.lower()]
    assert "0123456789abcdef" not in told.message
    assert told.message
    assert told.type in ("invalid_request_error", "server_error", "rate_limit_error")
    assert told.status_code != 401


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", FAMILIES)
def test_agents_recognise_a_prompt_that_is_too_long(client: openai.OpenAI, model: str, stream: bool) -> None:
    kilowords = {NATIVE: 30, HYBRID: 40, CHAT: 140, GPT_OSS: 140, UNLISTED: 1}[model]
    request = scripted(model, {"error": {"code": 5021}} if model == UNLISTED else {})
    request["messages"] = [{"role": "user", "content": "word " * 1000}] * kilowords + request["messages"]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**request, stream=stream)
    assert raised.value.code == "context_length_exceeded"
    assert raised.value.type == "invalid_request_error"
    assert "This model's maximum context length is" in raised.value.message
    assert "prompt is too long" in raised.value.message
    if model != UNLISTED:
        assert "tokens > " in raised.value.message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nothing_listens_at_cloudflares_address(stream: bool) -> None:
    gone = {"cloudflare_api_base_url": "http://127.0.0.1:9", "max_tries": 1}
    with ExitStack() as stack:
        server = stack.enter_context(flarelay(stack.enter_context(cloudflare()), **gone))
        client = stack.enter_context(client_of(server))
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(**asked("Hello"), stream=stream)
        assert (raised.value.status_code, raised.value.code) == (503, "upstream_unreachable")
        assert raised.value.response.headers["retry-after"]
        assert len(list(client.models.list())) > 50


def test_an_upstream_that_is_too_slow() -> None:
    request = scripted(script={"first_delay_ms": 60_000})
    with in_front_of(request_timeout_seconds=0.2) as client, pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(**request)
    assert (raised.value.status_code, raised.value.code) == (504, "upstream_timeout")


def test_every_answer_has_an_id_that_the_exception_tells(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked("Hello"), n=0, extra_headers={"x-request-id": "mine-1"})
    assert raised.value.request_id == "mine-1"
    answered = client.chat.completions.create(**asked("Hello"))
    assert answered._request_id
