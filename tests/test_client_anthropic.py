"""Anthropic's own Python client, unchanged, against a running server."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.serving import (
    CHAT,
    DEADLINE_SECONDS,
    FAMILIES,
    GPT_OSS,
    HYBRID,
    KEY,
    NATIVE,
    THINKING,
    UNLISTED,
    VISION,
    Cloudflare,
    Server,
    asked,
    flarelay,
    scripted,
)

ANSWER = "Ünïcode \u2028 and 'quotes'\n\n  - spaces \U0001f600 kept."
CALLERS = (NATIVE, HYBRID, CHAT, GPT_OSS, UNLISTED)
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
TIME: Any = {"name": "time", "input_schema": {"type": "object", "properties": {}}}
CALLS = [{"name": "weather", "arguments": {"city": "Zürich", "days": 3}}, {"name": "time", "arguments": {}}]
EXPECTED = [("weather", {"city": "Zürich", "days": 3}), ("time", {})]
THINK: Any = {"type": "enabled", "budget_tokens": 2048}


@pytest.fixture(scope="module")
def claude(server: Server) -> Iterator[anthropic.Anthropic]:
    """The client, as its users set it up."""
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client:
        yield client


def without_ids(message: Any) -> Any:
    content = [{key: value for key, value in block.items() if key != "id"} for block in message.to_dict()["content"]]
    return [
        {key: value for key, value in block.items() if key != "signature"} for block in content
    ], message.stop_reason, message.stop_sequence, message.usage.to_dict()  # fmt: skip


def texts_in(message: Any) -> list[str]:
    return [block.text for block in message.content if block.type == "text"]


def uses_in(message: Any) -> list[Any]:
    return [block for block in message.content if block.type == "tool_use"]


@pytest.mark.parametrize("model", FAMILIES)
def test_a_stream_accumulates_to_the_whole(claude: anthropic.Anthropic, model: str) -> None:
    thoughts = {"reasoning": "Hm. So."} if model in THINKING else {}
    request: Any = scripted(model, {"text": ANSWER} | thoughts, max_tokens=1000, thinking=THINK)
    whole = claude.messages.create(**request)
    assert texts_in(whole) == [ANSWER]
    assert (whole.type, whole.role, whole.model, whole.stop_reason) == ("message", "assistant", model, "end_turn")
    with claude.messages.stream(**request) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(texts) == ANSWER
    assert without_ids(message) == without_ids(whole)
    assert whole.usage.input_tokens > 0 < whole.usage.output_tokens


@pytest.mark.parametrize("model", CALLERS)
def test_parallel_tools_whole_and_streamed(claude: anthropic.Anthropic, model: str) -> None:
    request: Any = scripted(model, {"tool_calls": CALLS}, max_tokens=1000, tools=[WEATHER, TIME])
    whole = claude.messages.create(**request)
    with claude.messages.stream(**request) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    for each in (whole, message):
        used = uses_in(each)
        assert [(block.name, block.input) for block in used] == EXPECTED
        assert len({block.id for block in used}) == 2
        assert each.stop_reason == "tool_use"
    assert without_ids(message) == without_ids(whole)
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


@pytest.mark.parametrize("model", CALLERS)
def test_the_loop_of_an_agent(claude: anthropic.Anthropic, model: str) -> None:
    turns: list[Any] = scripted(model, {"tool_calls": CALLS[:1]})["messages"]
    options: Any = {"model": model, "max_tokens": 1000, "tools": [WEATHER]}
    asking = claude.messages.create(messages=turns, **options)
    (call,) = uses_in(asking)
    answer = [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}]
    turns += [{"role": "assistant", "content": asking.content}, {"role": "user", "content": answer}]
    final = claude.messages.create(messages=turns, **options)
    assert final.stop_reason == "end_turn"
    assert "sunny" in "".join(texts_in(final))


@pytest.mark.parametrize("model", [HYBRID, CHAT, GPT_OSS])
def test_thoughts_come_as_blocks_where_they_are_asked_for(claude: anthropic.Anthropic, model: str) -> None:
    request: Any = scripted(model, {"text": "Yes.", "reasoning": "First this."}, max_tokens=3000)
    plain = claude.messages.create(**request)
    assert [block.type for block in plain.content] == ["text"]
    message = claude.messages.create(**request, thinking=THINK)
    thought, text = message.content
    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature), text.type) == ("First this.", True, "text")
    again = [*request["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": "?"}]
    assert claude.messages.create(**request | {"messages": again}).stop_reason == "end_turn"


def test_a_budget_spent_on_thoughts_is_told(claude: anthropic.Anthropic) -> None:
    request: Any = scripted(CHAT, {"text": "Yes.", "reasoning": "so many words " * 50}, max_tokens=20)
    message = claude.messages.create(**request)
    assert (message.content, message.stop_reason) == ([], "max_tokens")
    with claude.messages.stream(**request) as stream:
        assert stream.get_final_message().stop_reason == "max_tokens"


@pytest.mark.parametrize("model", FAMILIES)
def test_stop_sequences(claude: anthropic.Anthropic, model: str) -> None:
    request: Any = scripted(model, {"text": "one two three", "reasoning": ""}, max_tokens=1000, stop_sequences=[" two"])
    message = claude.messages.create(**request)
    assert texts_in(message) == ["one"]
    with claude.messages.stream(**request) as stream:
        streamed = stream.get_final_message()
    assert texts_in(streamed) == ["one"]
    for each in (message, streamed):
        assert (each.stop_reason, each.stop_sequence) == ("stop_sequence", " two")


def test_tokens_are_counted(claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(**asked("Hello", CHAT)).input_tokens > 0


def test_names_of_claude_lead_to_a_model_and_betas_are_taken(claude: anthropic.Anthropic) -> None:
    request: Any = scripted("claude-sonnet-5", {"text": "Yes."}, max_tokens=100)
    message = claude.beta.messages.create(**request, betas=["context-management-2025-06-27"], context_management={})
    assert message.model == "claude-sonnet-5"
    assert message.content[0].to_dict()["text"] == "Yes."


def test_pictures_also_in_results(claude: anthropic.Anthropic) -> None:
    gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": gif}}
    turns: Any = [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "time", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}]},
    ]
    message = claude.messages.create(model=VISION, max_tokens=300, messages=turns, tools=[TIME])
    assert "picture" in "".join(texts_in(message))


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": 3040}, anthropic.InternalServerError),
        ({"code": 3036}, anthropic.RateLimitError),
        ({"code": 5006, "message": "bad"}, anthropic.BadRequestError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_failures_are_the_clients_own(
    upstream: Cloudflare, error: dict[str, Any], failure: type[anthropic.APIStatusError], stream: bool
) -> None:
    with (
        flarelay(upstream, max_tries=1) as server,
        anthropic.Anthropic(base_url=server.url, api_key=KEY, max_retries=0, timeout=DEADLINE_SECONDS) as client,
        pytest.raises(failure) as caught,
    ):
        client.messages.create(**scripted(CHAT, {"error": error}, max_tokens=10), stream=stream)
    assert caught.value.request_id
    assert caught.value.body["type"] == "error"  # type: ignore[index]


def test_a_stream_that_breaks_raises(claude: anthropic.Anthropic) -> None:
    request: Any = scripted(CHAT, {"text": "a b c d e f", "cut": 4}, max_tokens=100)
    with (
        pytest.raises(anthropic.APIStatusError, match="broke off before its end"),
        claude.messages.stream(**request) as stream,
    ):
        stream.until_done()


def test_a_wrong_key_and_an_unknown_model(server: Server, claude: anthropic.Anthropic) -> None:
    with (
        anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**asked("Hi", CHAT), max_tokens=10)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(**asked("Hi", "no-such-model"), max_tokens=10)


@pytest.mark.anyio
async def test_the_asynchronous_client(server: Server) -> None:
    request: Any = scripted(CHAT, {"text": ANSWER}, max_tokens=1000)
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, timeout=DEADLINE_SECONDS) as client:
        async with client.messages.stream(**request) as stream:
            texts = [text async for text in stream.text_stream]
        assert "".join(texts) == ANSWER
