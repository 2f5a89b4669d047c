"""Claude Code's requests, replayed: how it starts, its first turn, its tools, and what it does when a turn is too much.

Source of the shapes: requests of Claude Code 2.1 as a server receives them, and Anthropic's docs, "LLM gateway
protocol".
"""

from typing import Any

import httpx2
import orjson
import pytest

from tests.serving import KEY, Cloudflare
from tests.translators.test_messages import message_of, told

SONNET = "claude-sonnet-5"
HAIKU = "claude-haiku-4-5"
MARK = {"cache_control": {"type": "ephemeral"}}
HEADERS = {
    "accept": "application/json",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,never-heard-of-2031-01-01",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "x-claude-code-session-id": "00000000-0000-4000-8000-000000000000",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
}
DEEP: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "edits": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "Where"},
                    "mode": {"anyOf": [{"type": "string", "enum": ["all", "one"]}, {"type": "null"}]},
                    "answers": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}},
                },
                "required": ["file_path"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["edits"],
    "additionalProperties": False,
}
NAMES = ("Agent", "Bash", "Edit", "Glob", "Grep", "Read", "Skill", "ToolSearch", "WebFetch", "Write")
TOOLS = [
    *({"name": name, "description": f"{name} things. " * 150, "input_schema": DEEP} for name in NAMES),
    {"name": "mcp__later__placeholder", "description": "", "input_schema": {"type": "object"}, "defer_loading": True},
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
]
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0.abc; cc_entrypoint=cli;"},
    {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."} | MARK,
    {"type": "text", "text": "Be concise. " * 800} | MARK,
]


def script(**wishes: Any) -> str:
    return f"!emulate {orjson.dumps(wishes).decode()}"


def asked(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "model": SONNET,
        "messages": list(messages),
        "system": SYSTEM,
        "tools": TOOLS,
        "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
        "max_tokens": 128_000,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    } | fields


def first(prompt: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "<system-reminder>\nToday.\n</system-reminder>"}]},
        {"role": "system", "content": "The following skills are available: none."},
        {"role": "user", "content": [{"type": "text", "text": prompt} | MARK]},
    ]


def post(http: httpx2.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The message, put together if it was streamed."""
    response = http.post("/v1/messages?beta=true", json=body, headers=HEADERS)
    assert response.status_code == 200
    message: dict[str, Any] = message_of(told(response.content)) if body.get("stream") else response.json()
    return message


def test_it_starts(http: httpx2.Client) -> None:
    assert http.head("/api/hello", headers={"authorization": ""}).status_code == 200
    body = http.get("/v1/models?limit=1000", headers=HEADERS).json()
    assert {"data", "has_more", "first_id", "last_id"} <= body.keys()
    assert {model["type"] for model in body["data"]} == {"model"}
    quota = {"role": "user", "content": "quota"}
    message = post(http, {"model": HAIKU, "max_tokens": 1, "messages": [quota], "metadata": {"user_id": "{}"}})
    assert (message["type"], message["stop_reason"]) == ("message", "max_tokens")
    counted = http.post(
        "/v1/messages/count_tokens?beta=true",
        json={"model": SONNET, "messages": [{"role": "user", "content": "foo"}], "tools": TOOLS[:-1]},
        headers=HEADERS,
    )
    assert counted.json()["input_tokens"] > 1000


def test_a_title_by_the_small_model(http: httpx2.Client) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": f"Name it.\n{script(text='Naming things')}"}]}
    fields = {"temperature": 1, "max_tokens": 32_000, "thinking": {"type": "disabled"}, "stream": True, "tools": []}
    message = post(http, {"model": HAIKU, "messages": [turn], "system": SYSTEM[:2]} | fields)
    assert message["content"] == [{"type": "text", "text": "Naming things"}]
    assert (message["model"], message["stop_reason"]) == (HAIKU, "end_turn")


@pytest.mark.parametrize("is_streamed", [True, False])
def test_its_first_turn(http: httpx2.Client, upstream: Cloudflare, is_streamed: bool) -> None:
    body = asked(*first(script(text="Hello.", reasoning="Greet.")), stream=is_streamed)
    if not is_streamed:
        del body["stream"]  # how it asks again when a stream came to nothing
    message = post(http, body)
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["content"][1]["text"] == "Hello."
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] > 0
    system, user = upstream.sent["messages"]
    assert "billing" not in system["content"]
    assert system["content"].startswith("You are Claude Code")
    assert user["content"].index("Today.") < user["content"].index("skills") < user["content"].index("!emulate")
    assert [tool["function"]["name"] for tool in upstream.sent["tools"]] == [*NAMES, "mcp__later__placeholder"]
    assert upstream.sent["max_tokens"] == 16_384  # all that the model has


CALLS = [
    {"name": "Read", "arguments": {"edits": [{"file_path": "/a", "mode": None, "answers": {"x": {"y": [1]}}}]}},
    {"name": "Bash", "arguments": {"edits": []}},
    {"name": "Bash", "arguments": {"edits": [{"file_path": 'b "quoted"\n'}]}},
]


def test_a_session_with_parallel_tools(http: httpx2.Client, upstream: Cloudflare) -> None:
    turns = first(script(text="I look.", reasoning="Look first.", tool_calls=CALLS))
    message = post(http, asked(*turns))
    thought, text, *uses = message["content"]
    assert (thought["thinking"], text["text"], message["stop_reason"]) == ("Look first.", "I look.", "tool_use")
    assert [(use["name"], use["input"]) for use in uses] == [(call["name"], call["arguments"]) for call in CALLS]
    assert len({use["id"] for use in uses}) == 3
    image = {
        "type": "base64",
        "media_type": "image/gif",
        "data": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    }
    long = "data:image/png;base64,AAAA " + "0123456789" * 20_000
    results = [
        {"type": "tool_result", "tool_use_id": uses[0]["id"], "content": [{"type": "image", "source": image}]},
        {"type": "tool_result", "tool_use_id": uses[1]["id"], "content": long, "is_error": False},
        {"type": "tool_result", "tool_use_id": uses[2]["id"], "content": "<tool_use_error>no</tool_use_error>"}
        | {"is_error": True}
        | MARK,
        {"type": "text", "text": f"Go on.\n{script(text='Done.', reasoning='')}"},
    ]
    turns += [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": results}]
    final = post(http, asked(*turns))
    assert [block["text"] for block in final["content"]] == ["Done."]
    sent = upstream.sent["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "tool", "tool", "tool", "user"]
    assert [call["id"] for call in sent[2]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[3:6]]
    assert sent[2]["reasoning"] == "Look first."
    assert len(sent[4]["content"]) >= 200_000
    assert [part["type"] for part in sent[6]["content"]] == ["text", "image_url", "text"]


def test_a_session_of_many_turns_with_the_same_ids(http: httpx2.Client, upstream: Cloudflare) -> None:
    turns = first("Go.")
    for number in range(150):
        uses = [{"type": "tool_use", "id": f"call_{i}", "name": "Bash", "input": {"n": number}} for i in range(2)]
        results = [{"type": "tool_result", "tool_use_id": f"call_{i}", "content": f"{number}.{i}"} for i in (1, 0)]
        turns += [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    turns.append({"role": "assistant", "content": None})
    turns.append({"role": "user", "content": script(text="Done.", reasoning="")})
    assert post(http, asked(*turns))["content"] == [{"type": "text", "text": "Done."}]
    sent = upstream.sent["messages"]
    made = {call["id"]: call["function"]["arguments"] for turn in sent for call in turn.get("tool_calls", ())}
    told_of = {turn["tool_call_id"]: turn["content"] for turn in sent if turn["role"] == "tool"}
    assert len(made) == len(told_of) == 300
    assert all(orjson.loads(made[call_id])["n"] == int(said.split(".")[0]) for call_id, said in told_of.items())


def test_what_is_too_long_is_told_so_that_it_compacts(http: httpx2.Client) -> None:
    response = http.post("/v1/messages?beta=true", json=asked(*first("word " * 300_000)), headers=HEADERS)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("prompt is too long: ")
    assert error["message"].endswith(" tokens > 256000 maximum")


def test_the_token_may_be_sent_as_an_api_key(http: httpx2.Client) -> None:
    headers = HEADERS | {"x-api-key": KEY, "authorization": ""}
    response = http.post("/v1/messages?beta=true", json=asked(*first("Hi"), max_tokens=10), headers=headers)
    assert response.status_code == 200
