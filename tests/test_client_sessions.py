"""A long session of an agent over the wire: everything arrives at Cloudflare, and the answer arrives whole."""

from typing import Any

import httpx2
import orjson
import pytest

from app.translators.turns import WORD_JOINER
from tests.serving import CHAT, Cloudflare
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
