"""Chat interfaces: Open WebUI, LobeChat, Cherry Studio, NextChat and Dify, by what they send and how they read."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.serving import (
    CHAT,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    KEY,
    NATIVE,
    THINKING,
    Server,
    asked,
    connected,
    flarelay,
    payloads,
    scripted,
    written,
)

CHAT_URL = "/v1/chat/completions"
USAGE = {"include_usage": True}


def dify_blocks(stream: bytes) -> list[Any]:
    """Dify's own parser: splits at LF LF, takes off `data:`, ignores comments, and ends at what is no JSON."""
    found = []
    for block in stream.decode().split("\n\n"):
        text = block.strip()
        if not text or text.startswith(":"):
            continue
        text = text.removeprefix("data:").strip()
        if text == "[DONE]":
            break
        found.append(json.loads(text))
    return found


def test_open_webui_gets_its_list(http: httpx2.Client) -> None:
    body = http.get("/v1/models").json()
    assert "error" not in body
    assert all(isinstance(model["id"], str) for model in body["data"])


def test_open_webui_asks_for_voices_without_a_key(server: Server) -> None:
    with httpx2.Client(base_url=server.url) as client:
        voices = client.get("/v1/audio/voices").json()["voices"]
    assert voices
    assert all(voice["id"] and voice["name"] for voice in voices)


@pytest.mark.parametrize("model", FAMILIES)
def test_open_webui_runs_its_tasks_at_once(http: httpx2.Client, model: str) -> None:
    def task(number: int) -> httpx2.Response:
        return http.post(CHAT_URL, json=asked(f"Task {number}", model, stream=False, max_tokens=4))

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(task, range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert all(isinstance(answer.json()["choices"][0]["message"]["content"], str) for answer in answers)


@pytest.mark.parametrize("quirks", [[], ["think-tags"], ["reasoning-field"], ["padding", "repeat-role"]], ids=str)
@pytest.mark.parametrize("model", THINKING)
def test_lobechat_never_gets_two_kinds_of_content_in_one_delta(
    http: httpx2.Client, model: str, quirks: list[str]
) -> None:
    request = scripted(model, {"text": "The answer.", "reasoning": "The thoughts.", "quirks": quirks}, stream=True)
    events = payloads(http.post(CHAT_URL, json=request).text)
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    kinds = ("content", "reasoning_content", "tool_calls")
    assert all(sum(bool(delta.get(kind)) for kind in kinds) <= 1 for delta in deltas)
    assert written(events, "reasoning_content").strip() == "The thoughts."
    assert written(events) == "The answer."


def test_cherry_studio_shows_its_key_twice_and_reads_strictly(server: Server) -> None:
    with connected(server, **{"x-api-key": KEY}) as client:
        models = client.get("/v1/models").json()["data"]
        request = asked("Hello", stream=True, stream_options=USAGE)
        events = payloads(client.post(CHAT_URL, json=request).text)
    assert all(isinstance(model["id"], str) and isinstance(model["owned_by"], str) for model in models)
    assert all(isinstance(event["choices"], list) for event in events[:-1])


@pytest.mark.parametrize("model", FAMILIES)
def test_nextchat_always_sends_its_penalties(http: httpx2.Client, model: str) -> None:
    options = {"temperature": 0.5, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1, "stream": True}
    assert written(payloads(http.post(CHAT_URL, json=asked("Hello", model, **options)).text))


@pytest.mark.parametrize("model", FAMILIES)
def test_dify_checks_its_credentials(http: httpx2.Client, model: str) -> None:
    response = http.post(CHAT_URL, json=asked("ping", model, max_tokens=5))
    assert response.status_code == 200
    assert response.json()["object"] == "chat.completion"


@pytest.mark.parametrize("model", FAMILIES)
def test_dify_splits_a_stream_at_empty_lines(http: httpx2.Client, model: str) -> None:
    request = scripted(model, {"text": "One\n\n\ntwo"}, stream=True, stream_options=USAGE, user="me")
    events = dify_blocks(http.post(CHAT_URL, json=request).content)
    assert written(events) == "One\n\n\ntwo"
    assert all("choices" in event for event in events)
    assert [event["choices"] for event in events if "usage" in event] == [[]]


@pytest.mark.parametrize("model", THINKING)
def test_dify_gets_no_empty_delta_while_a_model_thinks(http: httpx2.Client, model: str) -> None:
    script = {"text": "The answer.", "reasoning": "Thoughts about this."}
    events = dify_blocks(http.post(CHAT_URL, json=scripted(model, script, stream=True)).content)
    _first, *deltas, _last = [event["choices"][0]["delta"] for event in events]
    assert all(delta.get("reasoning_content") or delta.get("content") for delta in deltas)


def test_dify_finds_heartbeats_in_blocks_of_their_own() -> None:
    with flarelay(heartbeat_seconds=0.02) as server, connected(server) as client:
        script = {"text": "One two three", "delay_ms": 50}
        content = client.post(CHAT_URL, json=scripted(CHAT, script, stream=True)).content
    assert b"\n\n: keepalive\n\n" in content
    assert written(dify_blocks(content)) == "One two three"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", FAMILIES)
def test_difys_agent_stops_at_its_word(http: httpx2.Client, model: str, stream: bool) -> None:
    script = {"text": "Thought: look.\nAction: weather\nObservation: sunny", "reasoning": ""}
    response = http.post(CHAT_URL, json=scripted(model, script, stream=stream, stop=["Observation"]))
    text = written(payloads(response.text)) if stream else response.json()["choices"][0]["message"]["content"]
    assert text == "Thought: look.\nAction: weather\n"


@pytest.mark.parametrize("model", [NATIVE, HYBRID, CHAT, GPT_OSS])
def test_dify_sends_its_schema_as_a_text(http: httpx2.Client, model: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": json.dumps({"name": "place", "schema": schema})}
    answer = http.post(CHAT_URL, json=asked("Where?", model, response_format=wanted)).json()
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"city"}
