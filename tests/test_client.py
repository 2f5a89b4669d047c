"""OpenAI's own Python client, unchanged, against a running server: text, whole and streamed."""

import openai
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
    Cloudflare,
    Server,
    asked,
    scripted,
)

ANSWER = "Ünïcode \u2028 and 'quotes'\n\n  - spaces \U0001f600 kept."


@pytest.mark.parametrize("model", FAMILIES)
def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    completion = client.chat.completions.create(**scripted(model, {"text": ANSWER, "reasoning": ""}))
    assert completion.object == "chat.completion"
    assert completion.model == model
    assert isinstance(completion.created, int)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ANSWER, "stop")
    assert completion.usage
    assert 0 < completion.usage.prompt_tokens < completion.usage.total_tokens


@pytest.mark.parametrize("model", FAMILIES)
def test_a_stream_with_usage(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            **scripted(model, {"text": ANSWER, "reasoning": ""}), stream=True, stream_options={"include_usage": True}
        )
    )
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("chat.completion.chunk", model)}
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    *parts, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in parts) == ANSWER
    assert [chunk.choices[0].delta.role for chunk in parts] == ["assistant"] + [None] * (len(parts) - 1)
    assert [chunk.choices[0].finish_reason for chunk in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert [chunk.usage for chunk in parts] == [None] * len(parts)
    assert last.choices == []
    assert last.usage
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens > 0


@pytest.mark.parametrize("model", FAMILIES)
def test_usage_is_the_same_whole_and_streamed(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"text": ANSWER})
    whole = client.chat.completions.create(**request).usage
    *_, last = client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    assert last.usage == whole


@pytest.mark.parametrize("model", FAMILIES)
def test_the_stream_helper_ends_with_the_whole_answer(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(**scripted(model, {"text": ANSWER, "reasoning": ""})) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        completion = stream.get_final_completion()
    assert "".join(deltas) == ANSWER
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].message.role == "assistant"


@pytest.mark.anyio
async def test_the_asynchronous_client(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=DEADLINE_SECONDS) as client:
        completion = await client.chat.completions.create(**scripted(NATIVE, {"text": ANSWER}))
        assert completion.choices[0].message.content == ANSWER
        stream = await client.chat.completions.create(**scripted(CHAT, {"text": ANSWER}), stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == ANSWER
        async with client.chat.completions.stream(**scripted(HYBRID, {"text": ANSWER})) as helper:
            assert (await helper.get_final_completion()).choices[0].message.content == ANSWER
        listed = [model.id async for model in client.models.list()]
        assert GPT_OSS in listed


@pytest.mark.parametrize("model", THINKING)
def test_thoughts_have_a_field_of_their_own(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"text": ANSWER, "reasoning": "First this, then that."})
    message = client.chat.completions.create(**request).choices[0].message
    assert message.content == ANSWER
    assert message.model_extra == {"reasoning_content": "First this, then that."}
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**request, stream=True)]
    thoughts = [(delta.model_extra or {}).get("reasoning_content", "") for delta in deltas]
    assert "".join(thoughts) == "First this, then that."
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    assert not any(thought and delta.content for thought, delta in zip(thoughts, deltas, strict=True))


def test_effort_none_ends_the_thoughts_of_a_model_that_can_leave_them(client: openai.OpenAI) -> None:
    request = scripted(HYBRID, {"text": ANSWER, "reasoning": "Thoughts."})
    message = client.chat.completions.create(**request, reasoning_effort="none").choices[0].message
    assert (message.content, message.model_extra) == (ANSWER, {})


def test_an_effort_that_the_model_has_is_passed_on(client: openai.OpenAI, upstream: Cloudflare) -> None:
    client.chat.completions.create(**scripted(GPT_OSS, {"text": ANSWER}), reasoning_effort="low")
    assert upstream.sent["reasoning_effort"] == "low"


@pytest.mark.parametrize("model", FAMILIES)
def test_three_choices(client: openai.OpenAI, model: str) -> None:
    completion = client.chat.completions.create(**scripted(model, {"text": ANSWER}), n=3)
    assert [(choice.index, choice.message.content) for choice in completion.choices] == [
        (0, ANSWER), (1, ANSWER), (2, ANSWER)
    ]  # fmt: skip


@pytest.mark.parametrize("model", FAMILIES)
def test_three_choices_streamed(client: openai.OpenAI, model: str) -> None:
    texts, ends = ["", "", ""], []
    for chunk in client.chat.completions.create(**scripted(model, {"text": ANSWER}), n=3, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends.append((choice.index, choice.finish_reason))
    assert texts == [ANSWER] * 3
    assert sorted(ends) == [(0, "stop"), (1, "stop"), (2, "stop")]


@pytest.mark.parametrize("stop", ["Observation", ["none of this", "Observation"]], ids=["text", "list"])
@pytest.mark.parametrize("model", [NATIVE, HYBRID, CHAT, UNLISTED])
def test_stop_sequences(client: openai.OpenAI, model: str, stop: str | list[str]) -> None:
    request = scripted(model, {"text": "Thought: look it up.\nObservation: it rains", "reasoning": ""})
    choice = client.chat.completions.create(**request, stop=stop).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Thought: look it up.\n", "stop")
    chunks = list(client.chat.completions.create(**request, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Thought: look it up.\n"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_log_probabilities(client: openai.OpenAI) -> None:
    request = scripted(CHAT, {"text": "It rains.", "reasoning": ""})
    logprobs = client.chat.completions.create(**request, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert logprobs
    assert logprobs.content
    assert "".join(token.token for token in logprobs.content) == "It rains."
    assert {len(token.top_logprobs) for token in logprobs.content} == {2}
    streamed = ""
    for chunk in client.chat.completions.create(**request, logprobs=True, stream=True):
        told = chunk.choices[0].logprobs
        streamed += "".join(token.token for token in told.content or ()) if told else ""
    assert streamed == "It rains."


def test_a_native_model_has_no_log_probabilities(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked("Hello"), logprobs=True)
    assert (raised.value.param, raised.value.code) == ("logprobs", "unsupported_parameter")


@pytest.mark.parametrize("model", FAMILIES)
def test_an_answer_that_is_too_long_says_so(client: openai.OpenAI, model: str) -> None:
    request = scripted(model, {"tokens": 50, "reasoning": ""})
    choice = client.chat.completions.create(**request, max_tokens=20).choices[0]
    assert choice.finish_reason == "length"
    *_, last = client.chat.completions.create(**request, max_completion_tokens=20, stream=True)
    assert last.choices[0].finish_reason == "length"


def test_the_list_of_models(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    assert {NATIVE, HYBRID, CHAT, GPT_OSS, UNLISTED} <= {model.id for model in models}
    assert {model.object for model in models} == {"model"}
    assert all(isinstance(model.created, int) and model.owned_by for model in models)


@pytest.mark.parametrize("model", [NATIVE, UNLISTED, "gpt-4o"])
def test_one_model(client: openai.OpenAI, model: str) -> None:
    assert client.models.retrieve(model).id == model


def test_the_headers_tell_what_ran(client: openai.OpenAI) -> None:
    response = client.chat.completions.with_raw_response.create(**asked("Hello", "gpt-4o"), user="somebody")
    assert response.headers["x-flarelay-model"].startswith("@cf/")
    assert response.headers["x-flarelay-ignored"] == "user"
    assert float(response.headers["x-flarelay-neurons"]) > 0
    assert response.request_id == response.headers["x-request-id"]
    assert response.parse().model == "gpt-4o"
