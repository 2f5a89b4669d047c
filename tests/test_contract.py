"""What the OpenAPI document promises, and that no body whatsoever makes the server fail."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.schemas.chat import ChatCompletionRequest
from tests.serving import BEARER, FAMILIES, cloudflare, connected, flarelay

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BOUNDED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def quick() -> Iterator[httpx2.Client]:
    """A client of a server that tries once."""
    with cloudflare() as upstream, flarelay(upstream, max_tries=1) as server, connected(server) as client:
        yield client


def test_every_answer_fits_its_declared_schema(quick: httpx2.Client) -> None:
    document: Any = schemathesis.openapi.from_url(f"{quick.base_url}".rstrip("/") + "/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert {operation.path for operation in operations} >= {
        "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/models/{model}", "/health"
    }  # fmt: skip
    for operation in operations:

        @given(operation.as_strategy())
        @BOUNDED
        def ask(case: Any) -> None:
            case.call_and_validate(headers=BEARER, checks=CHECKS)

        ask()


TEXTS = st.text(max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
ANYTHING: Any = st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3))

PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "input_text", "image_url", "input_audio", "file", "refusal"]) | TEXTS},
    optional={"text": TEXTS | ANYTHING, "image_url": st.fixed_dictionaries({"url": TEXTS}) | ANYTHING},
)
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": TEXTS}, optional={"arguments": TEXTS | ANYTHING})},
    optional={"id": TEXTS | ANYTHING, "type": st.just("function")},
)
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": TEXTS | st.none() | st.lists(PARTS, max_size=3) | ANYTHING,
        "name": TEXTS,
        "tool_calls": st.lists(CALLS, max_size=2) | ANYTHING,
        "tool_call_id": TEXTS,
        "function_call": ANYTHING,
        "reasoning_content": TEXTS,
    },
)
SCHEMAS = st.fixed_dictionaries({"type": st.sampled_from(["object", "string", "array"]) | TEXTS}, optional={
    "properties": st.dictionaries(TEXTS, st.fixed_dictionaries({"type": st.just("string")}), max_size=2) | ANYTHING,
    "required": st.lists(TEXTS, max_size=2),
})  # fmt: skip
TOOLS = st.fixed_dictionaries(
    {"type": st.just("function") | TEXTS},
    optional={"function": st.fixed_dictionaries({"name": TEXTS}, optional={"parameters": SCHEMAS | ANYTHING})},
)
FORMATS = st.fixed_dictionaries({"type": st.sampled_from(["text", "json_object", "json_schema"])}, optional={
    "json_schema": st.fixed_dictionaries({"name": TEXTS, "schema": SCHEMAS | ANYTHING}) | ANYTHING,
})  # fmt: skip
KNOWN: dict[str, Any] = {
    "stream": st.booleans() | ANYTHING,
    "tools": st.lists(TOOLS, max_size=2),
    "tool_choice": st.sampled_from(["auto", "none", "required"]) | ANYTHING,
    "response_format": FORMATS | ANYTHING,
    "temperature": st.floats(0, 2) | ANYTHING,
    "n": st.integers(1, 3),
    "stop": TEXTS | st.lists(TEXTS, max_size=5) | ANYTHING,
    "seed": st.integers() | ANYTHING,
    "reasoning_effort": st.sampled_from(["none", "low", "high"]) | TEXTS,
}
OTHERS = {name: ANYTHING for name in ChatCompletionRequest.model_fields if name not in ("model", "messages", *KNOWN)}
CHATS = st.fixed_dictionaries(
    {"model": st.sampled_from(FAMILIES), "messages": st.lists(TURNS, min_size=1, max_size=3)}, optional=KNOWN
)
LOOSE_CHATS = st.fixed_dictionaries(
    {"model": st.sampled_from(FAMILIES) | ANYTHING, "messages": st.lists(TURNS, max_size=2) | ANYTHING},
    optional=KNOWN | OTHERS,
)


KINDS = (
    "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result",
    "server_tool_use",
)  # fmt: skip
TYPES = ("custom", "bash_20250124", "text_editor_20250728", "memory_20250818", "web_search_20250305", "mcp_toolset")


def messages(odd: Any) -> Any:
    """Requests of Anthropic's, with anything `odd` where something else may stand."""
    sources = st.fixed_dictionaries(
        {"type": st.sampled_from(["base64", "url", "text", "content", "file"]) | odd},
        optional={"media_type": TEXTS, "data": TEXTS, "url": TEXTS, "content": TEXTS | odd},
    )
    blocks: Any = st.deferred(
        lambda: st.fixed_dictionaries(
            {"type": st.sampled_from(KINDS) | TEXTS | odd},
            optional={
                "text": TEXTS | st.none() | odd,
                "thinking": TEXTS | odd,
                "source": sources | TEXTS | odd,
                "id": TEXTS | odd,
                "name": TEXTS | odd,
                "input": ANYTHING,
                "tool_use_id": TEXTS | odd,
                "is_error": st.booleans() | odd,
                "content": TEXTS | st.lists(blocks, max_size=2) | odd,
                "cache_control": ANYTHING,
                "unheard_of": ANYTHING,
            },
        )
    )
    turns = st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"])},
        optional={"content": TEXTS | st.none() | st.lists(blocks, max_size=3) | odd},
    )
    tools = st.fixed_dictionaries(
        {"name": st.text(min_size=1, max_size=9) | odd},
        optional={
            "type": st.sampled_from(TYPES) | TEXTS | odd,
            "description": TEXTS | odd,
            "input_schema": SCHEMAS | odd,
            "max_characters": ANYTHING,
        },
    )
    choices = st.fixed_dictionaries(
        {"type": st.sampled_from(["auto", "any", "tool", "none"]) | odd}, optional={"name": TEXTS | odd}
    )
    return st.fixed_dictionaries(
        {
            "model": st.sampled_from(FAMILIES),
            "messages": st.lists(turns, max_size=3).map(lambda said: [{"role": "user", "content": "Hi"}, *said]),
        },
        optional={
            "max_tokens": st.integers(1, 1000) | odd,
            "stream": st.booleans(),
            "system": TEXTS | st.lists(blocks, max_size=2) | odd,
            "tools": st.lists(tools, max_size=2),
            "tool_choice": choices,
            "thinking": st.fixed_dictionaries({"type": st.sampled_from(["enabled", "adaptive", "disabled"])}) | odd,
            "output_config": st.fixed_dictionaries({}, optional={"effort": TEXTS}) | odd,
            "stop_sequences": st.lists(TEXTS, max_size=3) | odd,
            "context_management": ANYTHING,
        },
    )


def check_message(response: httpx2.Response) -> None:
    """No fault of the server's, and every fault in Anthropic's shape."""
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        assert response.text.endswith('{"type":"message_stop"}\n\n') or response.json()["type"] == "message"
        return
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert set(body["error"]) == {"type", "message"}
    assert body["type"] == "error"
    assert body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]


def check(response: httpx2.Response) -> None:
    """No fault of the server's, and every fault in OpenAI's shape."""
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        assert response.text.endswith("data: [DONE]\n\n") or response.json()["object"] == "chat.completion"
        return
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert isinstance(error["param"], str | None)


@given(ANYTHING)
@settings(BOUNDED, max_examples=100)
def test_any_json_gets_an_answer_in_openais_shape(quick: httpx2.Client, body: Any) -> None:
    check(quick.post("/v1/chat/completions", json=body))


@given(st.binary(max_size=100))
@settings(BOUNDED, max_examples=50)
def test_any_bytes_get_an_answer_in_openais_shape(quick: httpx2.Client, body: bytes) -> None:
    check(quick.post("/v1/chat/completions", content=body))


@given(CHATS | LOOSE_CHATS)
@settings(BOUNDED, max_examples=250)
def test_anything_like_a_chat_gets_an_answer_in_openais_shape(quick: httpx2.Client, body: Any) -> None:
    check(quick.post("/v1/chat/completions", json=body))


@given(messages(st.nothing()) | messages(ANYTHING))
@settings(BOUNDED, max_examples=200)
def test_anything_like_a_message_gets_an_answer_in_anthropics_shape(quick: httpx2.Client, body: Any) -> None:
    check_message(quick.post("/v1/messages", json=body))


@given(
    st.binary(max_size=60) | ANYTHING.map(json.dumps).map(str.encode), st.sampled_from(["", "/count_tokens", "/other"])
)
@settings(BOUNDED, max_examples=50)
def test_anything_at_all_gets_an_answer_in_anthropics_shape(quick: httpx2.Client, body: bytes, path: str) -> None:
    check_message(quick.post(f"/v1/messages{path}", content=body))


@given(st.text(max_size=60))
@settings(BOUNDED, max_examples=100)
def test_any_name_of_a_model_gets_an_answer_in_openais_shape(quick: httpx2.Client, name: str) -> None:
    path = f"/v1/models/m{httpx2.URL('', params={'': name}).query.decode()[1:]}"
    response = quick.get(path)
    assert response.status_code == 200 or response.json()["error"]["code"] in ("model_not_found", "not_found")
