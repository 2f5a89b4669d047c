"""What the OpenAPI document promises, and that no body whatsoever makes the server fail."""

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
    assert {operation.path for operation in operations} >= {"/v1/chat/completions", "/v1/models/{model}", "/health"}
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


@given(st.text(max_size=60))
@settings(BOUNDED, max_examples=100)
def test_any_name_of_a_model_gets_an_answer_in_openais_shape(quick: httpx2.Client, name: str) -> None:
    path = f"/v1/models/m{httpx2.URL('', params={'': name}).query.decode()[1:]}"
    response = quick.get(path)
    assert response.status_code == 200 or response.json()["error"]["code"] in ("model_not_found", "not_found")
