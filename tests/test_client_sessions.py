"""A long session of an agent over the wire: everything arrives at Cloudflare, and the answer arrives whole."""

from typing import Any

import httpx2
import orjson
import pytest

from app.translators.turns import UNSEEN, WORD_JOINER
from tests.serving import CHAT, FAMILIES, UNLISTED, Cloudflare
from tests.translators.test_messages import message_of, told
from tests.translators.test_messages_sessions import EVERYTHING, long_session, strings_in


@pytest.mark.parametrize("stream", [True, False])
def test_hundreds_of_turns_of_claude_code(http: httpx2.Client, upstream: Cloudflare, stream: bool) -> None:
    session = long_session(130)
    session.add("user", [("result", "line of a long file\n" * 10_000)], number=3)
    call = {"name": "tool_1", "arguments": {"x": "é" * 1000}}
    wish = orjson.dumps({"reasoning": "Hm.", "text": "Done.", "tool_calls": [call]}).decode()
    session.messages.append({"role": "user", "content": f"!emulate {wish}"})
    body: dict[str, Any] = {"model": CHAT, "max_tokens": 32_000, "messages": session.messages} | EVERYTHING
    assert len(session.messages) > 400
    response = http.post("/v1/messages?beta=true", json=body | {"stream": stream})
    assert response.status_code == 200, response.text
    message = message_of(told(response.content)) if stream else response.json()
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    assert message["content"][2]["input"] == call["arguments"]
    assert message["stop_reason"] == "tool_use"
    arrived = "\n".join(strings_in(upstream.sent["messages"])).replace(WORD_JOINER, "")
    for _, kind, words in session.said:
        assert (orjson.dumps({"said": words}).decode() if kind == "call" else words) in arrived
    assert "ephemeral" not in arrived


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ADDRESS = {"url": f"data:image/png;base64,{PIXEL}"}
SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
LOOK: dict[str, Any] = {"name": "look", "arguments": "{}"}
SESSIONS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": LOOK}]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "image_url", "image_url": ADDRESS}]},
    ]},
    "/v1/responses": {"input": [
        {"role": "user", "content": "Look"},
        LOOK | {"type": "function_call", "call_id": "a"},
        {"type": "function_call_output", "call_id": "a", "output": [
            {"type": "input_image", "image_url": ADDRESS["url"]},
        ]},
    ]},
    "/v1/messages": {"max_tokens": 100, "messages": [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": SOURCE}]},
        ]},
    ]},
}  # fmt: skip


@pytest.mark.parametrize("path", SESSIONS)
@pytest.mark.parametrize("model", [model for model in FAMILIES if model != UNLISTED])
def test_a_picture_that_a_tool_has_found_ends_no_session(
    http: httpx2.Client, upstream: Cloudflare, model: str, path: str
) -> None:
    """None of the models sees."""
    response = http.post(path, json={"model": model} | SESSIONS[path])
    assert response.status_code == 200, response.text
    assert UNSEEN in str(upstream.sent)
    assert PIXEL not in str(upstream.sent)
