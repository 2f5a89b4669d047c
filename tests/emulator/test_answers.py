"""What the emulator says of itself: texts, tools, JSON, thoughts, and where it stops."""

from typing import Any

import pytest

from tests.emulator.asking import (
    CHAT,
    EFFORTS,
    GPT_OSS,
    HELLO,
    HYBRID,
    KIMI,
    LICENSED,
    NATIVE,
    PLAIN,
    UNTAGGED,
    VISION,
    WEATHER,
    Asker,
    picture,
    refusal,
    scripted,
    shown,
)

pytestmark = pytest.mark.anyio

OFF = {"chat_template_kwargs": {"enable_thinking": False}}
NOW = {"type": "function", "function": {"name": "now", "description": "The time"}}
START = "This is the emulator built into Flarelay, not a real model."


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def said(ask: Asker, model: str = CHAT, **body: Any) -> str:
    answer = await ask.chatted(model, **({"messages": HELLO} | body))
    return str(answer["choices"][0]["message"]["content"])


async def thoughts(ask: Asker, model: str = CHAT, **body: Any) -> Any:
    message = (await ask.chatted(model, **({"messages": HELLO} | body)))["choices"][0]["message"]
    return message.get("reasoning_content") or message.get("reasoning")


async def called(ask: Asker, model: str = CHAT, **body: Any) -> list[tuple[str, str]]:
    answer = await ask.chatted(model, **({"messages": HELLO, "tools": [WEATHER, NOW]} | body))
    calls = [call["function"] for call in answer["choices"][0]["message"]["tool_calls"]]
    return [(call["name"], call["arguments"]) for call in calls]


async def test_an_answer_says_what_it_is_and_repeats_the_question(ask: Asker) -> None:
    assert await said(ask) == f"{START} You said: Hello"
    assert await said(ask, messages=[{"role": "system", "content": "Be brief"}]) == START
    assert await said(ask, messages=user("x" * 300)) == f"{START} You said: {'x' * 200}"


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (PLAIN, {"raw": True}, " … and so on (continued by the emulator)."),
        (UNTAGGED, {"raw": True}, " … and so on (continued by the emulator)."),
        (PLAIN, {"raw": False}, "This is the emulator built into Flarelay, not a real model. You said: Once"),
    ],
)
async def test_a_raw_prompt_is_continued(ask: Asker, model: str, body: dict[str, Any], text: str) -> None:
    whole = await ask.ran(model, prompt="Once", **body)
    events = await ask.run_events(model, prompt="Once", **body)
    assert whole["response"] == "".join(event["response"] for event in events[:-1]) == text
    assert whole["usage"]["prompt_tokens"] == (1 if body["raw"] else 5)  # the chat template costs 4


async def test_only_native_prompts_can_be_raw(ask: Asker) -> None:
    assert (await ask.ran(PLAIN, messages=HELLO, raw=True))["response"].startswith("This is the emulator")
    (choice,) = (await ask.ran(HYBRID, prompt="Once", raw=True))["choices"]
    assert choice["text"].startswith("This is the emulator")
    assert (await ask.ran(PLAIN, prompt='!emulate {"text":"One"}', raw=True))["response"] == "One"


async def test_the_last_user_message_counts_and_its_texts_are_joined(ask: Asker) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [*HELLO, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": parts}]
    assert (await said(ask, messages=messages)).endswith("You said: one\ntwo")


async def test_the_same_question_gets_the_same_answer(ask: Asker) -> None:
    assert await said(ask) == await said(ask)


async def test_there_is_one_choice_whatever_n_says(ask: Asker) -> None:
    assert len((await ask.chatted(CHAT, messages=HELLO, n=3))["choices"]) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_pictures_are_counted_and_measured(ask: Asker, kind: str) -> None:
    assert f"I see 1 picture: {kind} of 3x2 pixels." in await said(ask, VISION, messages=shown(picture(kind=kind)))


async def test_several_pictures_are_plural(ask: Asker) -> None:
    messages = shown(picture()) + shown(picture(5, 4))
    assert "I see 2 pictures: PNG of 3x2 pixels, PNG of 5x4 pixels." in await said(ask, VISION, messages=messages)


async def test_a_picture_may_stand_in_a_field(ask: Asker) -> None:
    assert "1 picture: picture in the field `image`" in (await ask.ran(LICENSED, prompt="Hi", image=[1, 2]))["response"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tool_choice": "required"}, [("weather", '{"city":"city"}')]),
        ({"tool_choice": {"type": "function", "function": {"name": "now"}}}, [("now", "{}")]),
        ({"messages": user("Call weather and now, please")}, [("weather", '{"city":"city"}'), ("now", "{}")]),
        ({"messages": user("Call weather and now"), "parallel_tool_calls": False}, [("weather", '{"city":"city"}')]),
        ({"messages": user("Call weather"), "tool_choice": "none"}, []),
        ({"messages": user("I know")}, []),
        ({}, []),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]},
                }
            },
            [("now", "{}")],
        ),
        ({"messages": scripted(quirks=["prose-for-required"]), "tool_choice": "required"}, []),
    ],
)
async def test_which_tools_are_called(ask: Asker, body: dict[str, Any], expected: list[Any]) -> None:
    assert await called(ask, **body) == expected


async def test_a_model_without_function_calling_calls_nothing(ask: Asker) -> None:
    assert await called(ask, PLAIN, tool_choice="required") == []


async def test_native_models_take_flat_tools(ask: Asker) -> None:
    result = await ask.ran(NATIVE, messages=user("Use weather"), tools=[WEATHER["function"]])
    assert result["tool_calls"] == [{"name": "weather", "arguments": {"city": "city"}}]


AFTER_TOOL = [
    *scripted(tool_calls=[{"name": "weather", "arguments": {}}]),
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "1", "content": "Rain"},
]


async def test_after_a_tools_result_comes_a_text_that_quotes_it(ask: Asker) -> None:
    assert await said(ask, messages=AFTER_TOOL, tools=[WEATHER]) == "The tool says: Rain"
    assert await called(ask, messages=AFTER_TOOL, tool_choice="required") == []


async def test_a_named_tool_is_called_again_even_then(ask: Asker) -> None:
    named = {"type": "function", "function": {"name": "now"}}
    assert await called(ask, messages=AFTER_TOOL, tool_choice=named) == [("now", "{}")]


async def test_a_leak_goes_out_as_it_is(ask: Asker) -> None:
    leak = '{"name":"weather","parameters":{}}'
    messages = scripted(leak=leak)
    body = await ask.chatted(GPT_OSS, messages=messages, tools=[WEATHER], tool_choice="required")
    assert body["choices"][0]["message"]["content"] == leak
    assert body["choices"][0]["finish_reason"] == "stop"
    result = await ask.ran(NATIVE, messages=messages, response_format={"type": "json_object"})
    assert result["response"] == leak


async def test_json_without_a_schema_holds_the_answer(ask: Asker) -> None:
    result = await ask.ran(NATIVE, messages=HELLO, response_format={"type": "json_object"})
    assert result["response"] == {"answer": f"{START} You said: Hello"}


async def test_models_with_thoughts_in_the_text_keep_them_out_of_json(ask: Asker) -> None:
    model = "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b"
    result = await ask.ran(model, messages=scripted(text="{}"), response_format={"type": "json_object"})
    assert result["response"] == {}


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        ("three", "One two ", "three"),
        (["four", "two"], "One ", "two"),
        (["six"], "One two three four", None),
        ("", "One two three four", None),
    ],
)
async def test_stop_sequences(ask: Asker, stop: Any, text: str, reason: str | None) -> None:
    body = await ask.chatted(CHAT, messages=scripted(text="One two three four"), stop=stop, **OFF)
    choice = body["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == (text, "stop", reason)


async def test_native_models_know_no_stop_sequences(ask: Asker) -> None:
    messages = scripted(text="One two")
    assert (await ask.ran(NATIVE, messages=messages, stop="two"))["response"] == "One two"
    assert await said(ask, NATIVE, messages=messages, stop="two") == "One two"


LOW = "The user wrote 1 tokens."


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (CHAT, {}, f"{LOW} The emulator has an answer to that."),
        (CHAT, OFF, None),
        (CHAT, {"chat_template_kwargs": {"thinking": False}}, None),
        (CHAT, {"chat_template_kwargs": {"enable_thinking": True}}, f"{LOW} The emulator has an answer to that."),
        (CHAT, {"reasoning_effort": None}, None),
        (KIMI, {"reasoning_effort": "none"}, None),
        (KIMI, {"reasoning_effort": "high"}, f"{LOW} The emulator has an answer to that."),
        (EFFORTS, {"reasoning_effort": "low"}, LOW),
        (GPT_OSS, {"reasoning_effort": None}, f"{LOW} The emulator has an answer to that."),
        (GPT_OSS, {"reasoning_effort": "low"}, LOW),
        (HYBRID, {"messages": user("Hello /no_think")}, None),
        (HYBRID, {}, f"{LOW} The emulator has an answer to that."),
        (NATIVE, {}, None),
        (CHAT, {"messages": scripted(empty=True)}, None),
        (CHAT, {"messages": scripted(reasoning="Hm")}, "Hm"),
        (CHAT, {"messages": scripted(reasoning="Hm"), **OFF}, None),
        (NATIVE, {"messages": scripted(reasoning="Hm")}, "Hm"),
    ],
)
async def test_when_a_model_thinks(ask: Asker, model: str, body: dict[str, Any], expected: str | None) -> None:
    assert await thoughts(ask, model, **body) == expected


TEN = scripted(tokens=10)


@pytest.mark.parametrize(
    ("model", "body", "content", "finish"),
    [
        (CHAT, {"max_tokens": 10, **OFF}, 10, "stop"),
        (CHAT, {"max_tokens": 4, **OFF}, 4, "length"),
        (CHAT, {"max_completion_tokens": 3, "max_tokens": 9, **OFF}, 3, "length"),
        (NATIVE, {"max_tokens": 4}, 4, "length"),
    ],
)
async def test_max_tokens_really_cuts(ask: Asker, model: str, body: dict[str, Any], content: int, finish: str) -> None:
    answer = await ask.chatted(model, messages=TEN, **body)
    choice = answer["choices"][0]
    assert (len(choice["message"]["content"].split()), choice["finish_reason"]) == (content, finish)
    assert answer["usage"]["completion_tokens"] == content


async def test_native_answers_are_cut_without_a_word_about_it(ask: Asker) -> None:
    result = await ask.ran(NATIVE, messages=TEN, max_tokens=2)
    assert (result["response"], result["usage"]["completion_tokens"]) == (" so many", 2)
    assert "finish_reason" not in result


@pytest.mark.parametrize(("model", "expected"), [(NATIVE, 256), (HYBRID, 256), (GPT_OSS, 256), (VISION, 1000)])
async def test_without_max_tokens_most_models_stop_at_256(ask: Asker, model: str, expected: int) -> None:
    answer = await ask.chatted(model, messages=scripted(tokens=1000, reasoning=""))
    assert answer["usage"]["completion_tokens"] == expected


async def test_thoughts_use_up_the_tokens_first(ask: Asker) -> None:
    answer = await ask.chatted(CHAT, messages=scripted(text="Yes", reasoning="Hm so it is"), max_tokens=2)
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (None, "Hm so")
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_the_name_of_the_length_may_be_another(ask: Asker) -> None:
    messages = scripted(tokens=9, quirks=["model-length"])
    answer = await ask.chatted(CHAT, messages=messages, max_tokens=2)
    assert answer["choices"][0]["finish_reason"] == "model_length"


async def test_a_script_names_its_own_finish_reason(ask: Asker) -> None:
    answer = await ask.chatted(CHAT, messages=scripted(text="One", finish_reason="unknown"))
    assert answer["choices"][0]["finish_reason"] == "unknown"


async def test_a_tool_call_is_cut_in_its_arguments(ask: Asker) -> None:
    messages = scripted(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}}] * 2)
    answer = await ask.chatted(CHAT, messages=messages, max_tokens=2, **OFF)
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city":']
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_cut_native_arguments_stay_a_text(ask: Asker) -> None:
    messages = scripted(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}}])
    result = await ask.ran(NATIVE, messages=messages, max_tokens=2)
    assert result["tool_calls"] == [{"name": "weather", "arguments": '{"city":'}]


async def test_too_few_tokens_for_a_forced_tool_are_8006(ask: Asker) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    response = await ask.chat(CHAT, messages=HELLO, tools=[WEATHER], tool_choice=named, max_tokens=2)
    assert refusal(response) == (400, 8006, "max_tokens is too small for the forced tool call")


async def test_too_few_tokens_for_native_json_are_5024(ask: Asker) -> None:
    response = await ask.run(NATIVE, messages=HELLO, response_format={"type": "json_object"}, max_tokens=2)
    assert refusal(response) == (400, 5024, "JSON Mode couldn't be met")


SPLIT = [{"role": "user", "content": "word" + " word" * 19995}] * 2


@pytest.mark.parametrize(
    ("model", "status", "code", "words"),
    [
        (
            NATIVE,
            413,
            5021,
            "input and maximum output tokens (40256) exceeded this model context window limit (24000).",
        ),
        (HYBRID, 413, 3010, "(40256) exceeded this model context window limit (32768)."),
        (
            "@cf/utter-project/eurollm-9b-it",
            400,
            8007,
            "maximum context length is 32000 tokens. However, you requested 40001 tokens (40000 in the messages, 1",
        ),
    ],
)
async def test_a_prompt_beyond_the_window_has_the_words_of_its_family(
    ask: Asker, model: str, status: int, code: int, words: str
) -> None:
    response = await ask.chat(model, messages=SPLIT)
    assert refusal(response)[:2] == (status, code)
    assert words in response.json()["errors"][0]["message"]


async def test_gpt_oss_refuses_it_without_a_code(ask: Asker) -> None:
    response = await ask.chat(GPT_OSS, messages=HELLO, max_tokens=128000)
    text = (
        "Requested token count exceeds the model's maximum context length of 128000 tokens. You requested a total of "
        "128005 tokens: 5 tokens from the input messages and 128000 tokens for the completion."
    )
    assert refusal(response) == (400, None, text)


async def test_a_prompt_up_to_the_window_fits(ask: Asker) -> None:
    assert (await ask.run(NATIVE, messages=HELLO, max_tokens=23995)).status_code == 200
    assert (await ask.run(NATIVE, messages=HELLO, max_tokens=23996)).status_code == 413


async def test_a_model_with_an_unknown_window_takes_everything(ask: Asker) -> None:
    model = "@cf/daily-co/phonellm-mini-alpha-2"
    assert (await ask.chat(model, messages=HELLO, max_tokens=10**9)).status_code == 200


async def test_pictures_tools_and_calls_cost_tokens(ask: Asker) -> None:
    async def cost(**body: Any) -> int:
        return int((await ask.chatted(VISION, **body))["usage"]["prompt_tokens"])

    assert await cost(messages=user("Look")) == 5
    assert await cost(messages=shown(picture())) == 5 + 256
    assert await cost(messages=user("Look"), tools=[NOW]) == 5 + 9
    assert await cost(messages=AFTER_TOOL) > 15


async def test_thinking_native_models_count_their_thoughts_as_text(ask: Asker) -> None:
    result = await ask.ran(UNTAGGED, messages=scripted(text="Yes", reasoning="Hm"))
    assert result["usage"]["completion_tokens"] == 4
