"""What Cloudflare's streams are known to do beside what they should: no word of an answer may depend on it."""

import httpx2
import orjson
import pytest

from app.emulator.quirks import FAILING, QUIRKS
from tests.serving import FAMILIES, NATIVE, UNLISTED, finish_reasons, payloads, scripted, written

CHAT_URL = "/v1/chat/completions"
QUIET = {"reasoning": ""}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
HARMLESS = sorted(QUIRKS.keys() - FAILING - {"broken-frame", "json-mode-unmet", "quiet-replacement"})
"""Every quirk of the service that leaves an answer whole."""
TEXTS = [(model, quirk) for model in FAMILIES for quirk in HARMLESS if (model, quirk) != (NATIVE, "no-done")]
"""A native stream has no other end than [DONE]."""
CALLS = [(model, quirk) for model, quirk in TEXTS if (model, quirk) != (NATIVE, "string-result")]
"""A bare string has no place for tool calls."""


def test_a_native_stream_without_its_end_is_not_whole(http: httpx2.Client) -> None:
    request = scripted(NATIVE, {"text": "One two", "quirks": ["no-done"]}, stream=True)
    *events, last = payloads(http.post(CHAT_URL, json=request).text)
    assert written(events) == "One two"
    assert last["error"]["code"] == "upstream_error"


@pytest.mark.parametrize(("model", "quirk"), TEXTS)
def test_a_quirk_changes_no_word_of_a_stream(http: httpx2.Client, model: str, quirk: str) -> None:
    text = "Grüezi 12 und 3.50\n\n42"
    request = scripted(model, {"text": text, "quirks": [quirk]} | (QUIET if model in (NATIVE, UNLISTED) else {}))
    whole = http.post(CHAT_URL, json=request).json()["choices"][0]
    events = payloads(http.post(CHAT_URL, json=request | {"stream": True}).text)
    assert events[-1] == "[DONE]"
    assert whole["message"]["content"] == text
    assert written(events) == text
    assert finish_reasons(events) == [whole["finish_reason"]] == ["stop"]


@pytest.mark.parametrize("text", ["7", "0.50", "-1e3", "1234567890123456789012"])
@pytest.mark.parametrize("model", FAMILIES)
def test_a_number_stays_the_text_that_it_was(http: httpx2.Client, model: str, text: str) -> None:
    request = scripted(model, {"text": text, "quirks": ["numeric-response"]} | QUIET)
    assert http.post(CHAT_URL, json=request).json()["choices"][0]["message"]["content"] == text
    assert written(payloads(http.post(CHAT_URL, json=request | {"stream": True}).text)) == text


@pytest.mark.parametrize(("model", "quirk"), CALLS)
def test_a_quirk_changes_no_tool_call_of_a_stream(http: httpx2.Client, model: str, quirk: str) -> None:
    calls = [{"name": "weather", "arguments": {"city": "Zürich"}}, {"name": "weather", "arguments": {}}]
    request = scripted(model, {"tool_calls": calls, "quirks": [quirk], "reasoning": ""}, tools=TOOLS)
    whole = http.post(CHAT_URL, json=request).json()["choices"][0]
    events = payloads(http.post(CHAT_URL, json=request | {"stream": True}).text)
    streamed: dict[int, str] = {}
    for event in events[:-1]:
        for piece in event["choices"][0]["delta"].get("tool_calls", ()):
            streamed[piece["index"]] = streamed.get(piece["index"], "") + piece["function"]["arguments"]
    assert [orjson.loads(text) for text in streamed.values()] == [{"city": "Zürich"}, {}]
    told = [orjson.loads(call["function"]["arguments"]) for call in whole["message"]["tool_calls"]]
    assert told == [{"city": "Zürich"}, {}]
    assert len({call["id"] for call in whole["message"]["tool_calls"]}) == 2
    assert finish_reasons(events) == [whole["finish_reason"]] == ["tool_calls"]


@pytest.mark.parametrize("cut_bytes", [1, 7, 64])
@pytest.mark.parametrize("model", FAMILIES)
def test_the_bytes_of_a_stream_may_be_cut_anywhere(http: httpx2.Client, model: str, cut_bytes: int) -> None:
    script = {"text": "Ünïcode \N{GRINNING FACE} \u2028 and more", "cut_bytes": cut_bytes, "reasoning": ""}
    events = payloads(http.post(CHAT_URL, json=scripted(model, script, stream=True)).text)
    assert written(events) == script["text"]
    assert events[-1] == "[DONE]"
