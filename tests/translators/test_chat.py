"""A chat request as the calls that answer it, for every family; and what is tried when one of them fails."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from app.calls import Call, Failure, FailureKind
from app.catalog import Catalog, Model, Quirks
from app.errors import BadRequestError
from app.translators.base import Picture, Plan, Translator
from app.translators.budget import LEAST_ROOM, MARGIN
from app.translators.chat import PER_PICTURE, chat
from app.translators.chat_writer import ChatStream
from app.translators.reading import Reading
from tests.translators.chats import (
    ABLE,
    CHAT,
    FAMILIES,
    HI,
    HYBRID,
    NATIVE,
    OSS,
    TIME,
    WEATHER,
    a_context,
    a_plan,
    a_reply,
    a_request,
    nested,
)

CATALOG = Catalog.load()
LLAMA, QWEN, GLM, GPT_OSS = (
    CATALOG.resolve(name)
    for name in (
        "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "@cf/qwen/qwen3-30b-a3b-fp8",
        "@cf/zai-org/glm-4.7-flash",
        "@cf/openai/gpt-oss-20b",
    )
)
PLAIN = replace(NATIVE, capabilities=frozenset({"streaming"}))
GUARD = replace(NATIVE, quirks=Quirks(turns="alternating"))
TOOLS = nested(WEATHER, TIME)
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
JSON = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
CHAT_MODELS, NATIVE_MODELS = (CHAT, OSS), (NATIVE, HYBRID)
NAMED = {"type": "function", "function": {"name": "get_weather"}}
IN_WORDS = "Answer with one JSON object and nothing else: no prose around it, no code fence."
IN_SCHEMA = f"{IN_WORDS} It must satisfy this JSON Schema:\n{orjson.dumps(SCHEMA).decode()}"


def body_of(model: Model, /, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return a_plan(model, *messages, **fields).calls[0].body


def added(model: Model, /, **fields: Any) -> dict[str, Any]:
    """What the fields add to the body of a plain request, or change in it."""
    plain = body_of(model)
    return {key: value for key, value in body_of(model, **fields).items() if plain.get(key) != value}


FULL = {
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": "END",
    "presence_penalty": 0.1,
    "frequency_penalty": -0.1,
    "seed": 7,
    "user": "ada",
    "reasoning_effort": "low",
    "stream": True,
    "stream_options": {"include_usage": True},
    "top_k": 5,
    "tools": nested(WEATHER),
}
SENT = {
    "messages": [HI],
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "frequency_penalty": -0.1,
    "seed": 7,
    "top_k": 5,
    "tools": nested(WEATHER),
    "tool_choice": "auto",
    "stream": True,
}
SENT_TO_CHAT = {"stop": ["END"], "parallel_tool_calls": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("model", "path", "body", "ignored"),
    [
        (LLAMA, "run/@cf/meta/llama-3.3-70b-instruct-fp8-fast", SENT, ("user", "reasoning_effort")),
        (QWEN, "run/@cf/qwen/qwen3-30b-a3b-fp8", SENT, ("user", "reasoning_effort")),
        (
            GLM,
            "v1/chat/completions",
            SENT | SENT_TO_CHAT | {"model": "@cf/zai-org/glm-4.7-flash"},
            ("user", "reasoning_effort"),
        ),
        (
            GPT_OSS,
            "v1/chat/completions",
            SENT | SENT_TO_CHAT | {"model": "@cf/openai/gpt-oss-20b", "reasoning_effort": "low"},
            ("user",),
        ),
        (
            CATALOG.resolve("@cf/new/unknown"),
            "v1/chat/completions",
            SENT | SENT_TO_CHAT | {"model": "@cf/new/unknown", "reasoning_effort": "low"},
            ("user",),
        ),
    ],
)
def test_every_family_is_spoken_to_in_its_terms(
    model: Model, path: str, body: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    plan = a_plan(model, **FULL)
    assert plan.calls == (Call(model.id, path, body, stream=True),)
    assert plan.ignored == ignored


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_a_plain_request_sends_no_more_than_it_must(model: Model) -> None:
    plan = a_plan(model)
    named = {"model": model.id} if model in CHAT_MODELS else {}
    assert plan.calls[0].body == named | {"messages": [HI], "max_tokens": 4096, "stream": False}
    assert (plan.ignored, plan.calls[0].stream, plan.calls[0].affinity) == ((), False, None)
    assert plan.reading == Reading(plan.reading.offer, 5, "abc", model.quirks.think_tags)


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"temperature": None, "top_p": None, "stop": None, "tools": None, "n": None, "seed": None}, {}),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": 2}, {"temperature": 2.0}),
        ({"top_p": 0}, {"top_p": 0.001}),
        ({"top_p": 1}, {"top_p": 1.0}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_tokens": 7}),
        ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2.0, "frequency_penalty": 2.0}),
        ({"seed": 1}, {"seed": 1}),
        ({"seed": 9_999_999_999}, {"seed": 9_999_999_999}),
        ({"lora": "mine", "repetition_penalty": 1.1}, {"lora": "mine", "repetition_penalty": 1.1}),
        ({"chat_template_kwargs": {"a": 1}}, {"chat_template_kwargs": {"a": 1}}),
        ({"stream_options": {"include_usage": True}}, {}),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {}),
        ({"tools": [], "functions": []}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"prompt_cache_key": "x"}, {}),
        ({"n": 1}, {}),
        ({"stop": []}, {}),
        ({"stop": ""}, {}),
        ({"stop": [""]}, {}),
    ],
)
def test_these_fields_are_the_same_for_all(model: Model, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    assert added(model, **fields) == sent
    assert a_plan(model, **fields).ignored == ()


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", "ada"),
        ("store", True),
        ("metadata", {"a": "b"}),
        ("service_tier", "auto"),
        ("safety_identifier", "x"),
        ("prompt_cache_retention", "24h"),
        ("prediction", {"type": "content", "content": "x"}),
        ("verbosity", "low"),
        ("modalities", ["text"]),
        ("audio", {"voice": "x"}),
        ("web_search_options", {}),
    ],
)
def test_these_fields_are_left_out_and_named(model: Model, field: str, value: Any) -> None:
    assert added(model, **{field: value}) == {}
    assert a_plan(model, **{field: value}).ignored == (field,)


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": "x"}, "prompt", "unknown_parameter"),
        ({"requests": []}, "requests", "unknown_parameter"),
        ({"raw": True}, "raw", "unknown_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"chat_template_kwargs": "x"}, "chat_template_kwargs", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"tools": nested(WEATHER | {"parameters": {"maximum": 2**70}})}, "tools", "invalid_value"),
    ],
)
def test_these_fields_are_refused(model: Model, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        a_plan(model, **fields)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_modalities_of_any_type_are_survived() -> None:
    assert a_plan(CHAT, modalities=7).ignored == ("modalities",)


LOGPROBS = {"logprobs": True, "top_logprobs": 5, "logit_bias": {"50256": -100.0}}


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_chat_models_take_logprobs(model: Model) -> None:
    assert added(model, **LOGPROBS) == LOGPROBS


@pytest.mark.parametrize("model", NATIVE_MODELS)
@pytest.mark.parametrize("field", LOGPROBS)
def test_native_models_have_no_logprobs(model: Model, field: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        a_plan(model, **{field: LOGPROBS[field]})
    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")
    assert added(model, logprobs=False, top_logprobs=0, logit_bias={}) == {}


@pytest.mark.parametrize(
    ("stop", "sent"),
    [
        ("END", ["END"]),
        (["A", "", "B"], ["A", "B"]),
        (["A", "B", "C", "D", "E"], ["A", "B", "C", "D"]),
    ],
)
def test_stops_are_sent_to_those_who_know_them_and_always_enforced(stop: Any, sent: list[str]) -> None:
    assert added(CHAT, stop=stop) == {"stop": sent}
    assert added(NATIVE, stop=stop) == {}
    for model in (CHAT, NATIVE):
        assert a_plan(model, stop=stop).reading.stops == tuple(each for each in stop if each) if stop != "END" else sent


@pytest.mark.parametrize("seed", [0, -1, 10**10, -(2**63), 2**63 - 1])
def test_seeds_beyond_the_native_range_are_named(seed: int) -> None:
    assert added(CHAT, seed=seed) == {"seed": seed}
    assert added(NATIVE, seed=seed) == {}
    assert (a_plan(CHAT, seed=seed).ignored, a_plan(NATIVE, seed=seed).ignored) == ((), ("seed",))


@pytest.mark.parametrize(
    ("model", "seed", "expected"),
    [
        (CHAT, None, [None, None, None]),
        (CHAT, 0, [0, 1, 2]),
        (CHAT, -1, [-1, 0, 1]),
        (CHAT, 2**63 - 2, [2**63 - 2, 2**63 - 1, -(2**63)]),
        (NATIVE, 7, [7, 8, 9]),
        (NATIVE, 9_999_999_998, [9_999_999_998, 9_999_999_999, 1]),
        (NATIVE, 0, [None, None, None]),
    ],
)
def test_every_choice_is_a_call_with_a_seed_of_its_own(model: Model, seed: int | None, expected: list[Any]) -> None:
    calls = a_plan(model, n=3, seed=seed).calls
    assert [call.body.get("seed") for call in calls] == expected
    assert all("n" not in call.body for call in calls)
    orjson.dumps([call.body for call in calls])


@pytest.mark.parametrize(
    ("fields", "has_stream"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"stream": True, "response_format": {"type": "json_object"}}, False),
        ({"stream": True, "tools": TOOLS}, True),
        ({"stream": True, "tools": TOOLS, "tool_choice": "required"}, False),
    ],
)
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_what_must_be_checked_is_not_streamed(model: Model, fields: dict[str, Any], has_stream: bool) -> None:
    call = a_plan(model, **fields).calls[0]
    assert (call.stream, call.body["stream"]) == (has_stream, has_stream)
    assert ("stream_options" in call.body) == (has_stream and model in CHAT_MODELS)


@pytest.mark.parametrize(("model", "has_stream"), [(CHAT, True), (OSS, True), (NATIVE, False), (HYBRID, False)])
def test_a_named_tool_is_enforced_upstream_by_chat_models_only(model: Model, has_stream: bool) -> None:
    assert a_plan(model, stream=True, tools=TOOLS, tool_choice=NAMED).calls[0].stream is has_stream


@pytest.mark.parametrize(
    ("fields", "to_chat", "to_native"),
    [
        (
            {"tools": TOOLS},
            {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True},
            {"tools": TOOLS, "tool_choice": "auto"},
        ),
        (
            {"tools": TOOLS, "parallel_tool_calls": False, "tool_choice": "auto"},
            {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
            {"tools": TOOLS, "tool_choice": "auto"},
        ),
        (
            {"tools": TOOLS, "tool_choice": "none"},
            {"tools": TOOLS, "tool_choice": "none", "parallel_tool_calls": True},
            {},
        ),
        (
            {"tools": TOOLS, "tool_choice": "any"},
            {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True},
            {"tools": TOOLS, "tool_choice": "required"},
        ),
        (
            {"tools": TOOLS, "tool_choice": NAMED},
            {"tools": TOOLS[:1], "tool_choice": NAMED, "parallel_tool_calls": True},
            {"tools": TOOLS[:1], "tool_choice": "required"},
        ),
        (
            {"tools": TOOLS[:1], "tool_choice": "required"},
            {"tools": TOOLS[:1], "tool_choice": NAMED, "parallel_tool_calls": True},
            {"tools": TOOLS[:1], "tool_choice": "required"},
        ),
        (
            {"functions": [WEATHER], "function_call": {"name": "get_weather"}},
            {"tools": TOOLS[:1], "tool_choice": NAMED, "parallel_tool_calls": False},
            {"tools": TOOLS[:1], "tool_choice": "required"},
        ),
    ],
)
def test_tools_are_sent_in_the_dialect(
    fields: dict[str, Any], to_chat: dict[str, Any], to_native: dict[str, Any]
) -> None:
    assert [added(model, **fields) for model in FAMILIES.values()] == [to_native, to_native, to_chat, to_chat]


def test_native_tools_are_strict() -> None:
    function = {"name": "f", "strict": True, "parameters": {"properties": {"x": {"type": "integer"}}}}
    sent = added(NATIVE, tools=nested(function))["tools"][0]["function"]
    assert sent == {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer", "description": ""}}},
    }
    assert added(CHAT, tools=nested(function))["tools"][0]["function"] == function | {"description": ""}


def test_tools_of_other_kinds_are_named() -> None:
    plan = a_plan(CHAT, tools=[{"type": "web_search"}, *TOOLS])
    assert (plan.ignored, plan.calls[0].body["tools"]) == (("tools[0]",), TOOLS)


@pytest.mark.parametrize(("fields", "param"), [({"tools": TOOLS}, "tools"), ({"functions": [WEATHER]}, "functions")])
def test_a_model_without_tools_says_so(fields: dict[str, Any], param: str) -> None:
    context = a_context(PLAIN, tool_emulation=False)
    with pytest.raises(BadRequestError, match="can't call tools") as caught:
        chat.to_plan(a_request(**fields), context)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")
    chat.to_plan(a_request(tools=TOOLS, tool_choice="none"), context)
    a_plan(Model("@cf/new/unknown", "text-generation"), **fields)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (NATIVE, {"type": "json_schema", "json_schema": {"title": "person"} | SCHEMA}),
        (HYBRID, {"type": "json_schema", "json_schema": {"title": "person"} | SCHEMA}),
        (CHAT, JSON),
        (OSS, JSON),
    ],
)
def test_json_is_asked_for_in_the_dialect(model: Model, sent: dict[str, Any]) -> None:
    assert added(model, response_format=JSON) == {"response_format": sent}


@pytest.mark.parametrize(
    ("model", "fields", "turns"),
    [
        (PLAIN, {"response_format": JSON}, [{"role": "system", "content": IN_SCHEMA}, HI]),
        (
            replace(GUARD, capabilities=frozenset()),
            {"response_format": JSON},
            [{"role": "user", "content": f"{IN_SCHEMA}\n\nHi"}],
        ),
        (
            CHAT,
            {"response_format": {"type": "json_object"}, "tools": TOOLS},
            [{"role": "system", "content": IN_WORDS}, HI],
        ),
    ],
)
def test_json_is_asked_for_in_words_where_there_is_no_mode_or_tools_beside_it(
    model: Model, fields: dict[str, Any], turns: list[dict[str, Any]]
) -> None:
    body = body_of(model, **fields)
    assert body["messages"] == turns
    assert "response_format" not in body
    assert a_plan(model, **fields).reading.wanted


def test_json_in_words_counts_in_the_prompt() -> None:
    assert a_plan(PLAIN, response_format=JSON).reading.prompt_tokens > len(IN_SCHEMA) // 4


@pytest.mark.parametrize(
    ("model", "fields", "sent"),
    [
        (OSS, {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        (GLM, {"reasoning_effort": None}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            GLM,
            {"reasoning_effort": "none", "chat_template_kwargs": {"clear_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False, "clear_thinking": True}},
        ),
        (
            CATALOG.resolve("gpt-3.5-turbo"),
            {"chat_template_kwargs": {"enable_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        (QWEN, {"enable_thinking": False}, {"messages": [{"role": "user", "content": "Hi /no_think"}]}),
    ],
)
def test_thinking_is_set_in_the_terms_of_the_model(model: Model, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    assert added(model, **fields) == sent
    assert a_plan(model, **fields).ignored == ()


def test_a_wish_about_thinking_that_is_not_heard_is_named() -> None:
    assert a_plan(OSS, reasoning_effort="none").ignored == ("reasoning_effort",)
    assert a_plan(OSS, reasoning={"max_tokens": 5}, user="ada").ignored == ("user", "reasoning")


def test_the_end_of_thinking_goes_behind_the_last_user_turn() -> None:
    assistant = {"role": "assistant", "content": "A"}
    turns = body_of(QWEN, HI, assistant, HI, assistant, reasoning_effort="none")["messages"]
    assert turns == [HI, assistant, {"role": "user", "content": "Hi /no_think"}, assistant]
    alone = body_of(QWEN, assistant, reasoning_effort="none")["messages"]
    assert alone == [assistant]


ROOMY = replace(CHAT, context_window=10_000, default_max_tokens=5000)


@pytest.mark.parametrize(
    ("model", "default", "words", "fields", "expected"),
    [
        (CHAT, None, 1, {}, 4096),
        (CHAT, 500, 1, {}, 500),
        (CHAT, 500, 1, {"max_tokens": 7}, 7),
        (CHAT, None, 1, {"max_tokens": 10**9}, 10**9),
        (replace(CHAT, max_output_tokens=2000), None, 1, {}, 2000),
        (replace(CHAT, max_output_tokens=2000), None, 1, {"max_tokens": 128_000}, 2000),
        (ROOMY, None, 1, {}, 5000),
        (ROOMY, None, 1, {"max_tokens": 128_000}, 10_000 - 5 - MARGIN),
        (ROOMY, 20_000, 1, {}, 10_000 - 5 - MARGIN),
        (ROOMY, None, 32_000, {}, 10_000 - 8004 - MARGIN),
        (ROOMY, None, 32_000, {"max_tokens": 100}, 100),
        (ROOMY, None, 40_000, {}, LEAST_ROOM),
        (ROOMY, None, 40_000, {"max_tokens": 100}, 100),
    ],
)
def test_max_tokens_is_always_sent_and_fits(
    model: Model, default: int | None, words: int, fields: dict[str, Any], expected: int
) -> None:
    request = a_request({"role": "user", "content": "x" * words}, **fields)
    plan = chat.to_plan(request, a_context(model, default_max_tokens=default))
    assert plan.calls[0].body["max_tokens"] == expected


def test_the_prompt_is_estimated_with_all_that_is_in_it() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    call = {"id": "c", "function": {"name": "f", "arguments": "x" * 400}}
    request = a_request(
        {"role": "user", "content": [{"type": "text", "text": "x" * 400}, picture]},
        {"role": "assistant", "tool_calls": [call]},
        tools=nested(WEATHER | {"description": "x" * 400}),
    )
    context = a_context(CHAT, pictures={"data:image/png;base64,AA": "data:image/png;base64,AA"})
    prompt_tokens = chat.to_plan(request, context).reading.prompt_tokens
    assert PER_PICTURE + 300 < prompt_tokens < PER_PICTURE + 350


def test_the_affinity_of_the_context_is_that_of_the_call() -> None:
    plan = chat.to_plan(a_request(prompt_cache_key="x"), a_context(CHAT, affinity="y"))
    assert (plan.calls[0].affinity, plan.ignored) == ("y", ())


LICENSED = replace(NATIVE, quirks=Quirks(license_prompt="agree"))
AGREE = {"role": "user", "content": "agree"}


def test_the_prompt_of_a_license_goes_alone() -> None:
    assert body_of(LICENSED, AGREE) == {"prompt": "agree", "max_tokens": 4096, "stream": False}


@pytest.mark.parametrize(
    ("model", "messages", "fields"),
    [
        (NATIVE, [AGREE], {}),
        (LICENSED, [HI], {}),
        (LICENSED, [HI, AGREE], {}),
        (LICENSED, [{"role": "system", "content": "A"}, AGREE], {}),
        (LICENSED, [AGREE], {"tools": TOOLS}),
        (LICENSED, [AGREE], {"response_format": {"type": "json_object"}}),
    ],
)
def test_other_words_of_agreement_are_a_chat(model: Model, messages: Any, fields: dict[str, Any]) -> None:
    assert "prompt" not in body_of(model, *messages, **fields)


def test_a_reading_knows_what_the_history_used() -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    reading = a_plan(CHAT, HI, {"role": "assistant", "tool_calls": [call]}, stop=["A", "B"]).reading
    assert (reading.used_ids, reading.stops, reading.id) == ({"call_1"}, ("A", "B"), "abc")


def test_the_translator_names_its_parts() -> None:
    assert chat.tasks == {"text-generation", "moderation"}
    assert chat.endpoint == "/v1/chat/completions"
    assert isinstance(chat.to_stream(a_plan(CHAT)), ChatStream)
    body, usage = chat.from_replies(a_plan(CHAT), [a_reply({"response": "Hi"})])
    assert (body["choices"][0]["message"]["content"], usage.completion_tokens) == ("Hi", 1)
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert chat.pictures(a_request({"role": "user", "content": [part]})) == [
        Picture("https://example.com/a.png", "messages[0].content[0].image_url.url")
    ]


def again(plan: Plan[Any], outcome: Any) -> dict[str, Any] | None:
    """What the second call has that the first had not; None marks what it has no more."""
    call = plan.calls[0]
    second = chat.again(plan, call, a_reply(outcome) if isinstance(outcome, dict) else outcome)
    if second is None:
        return None
    assert (second.model, second.path, second.affinity) == (call.model, call.path, call.affinity)
    assert second.stream is second.body["stream"]
    keys = call.body.keys() | second.body.keys()
    return {key: second.body.get(key) for key in keys if second.body.get(key) != call.body.get(key)}


def too_long(window: int | None, prompt_tokens: int | None) -> Failure:
    kind = FailureKind.CONTEXT_LENGTH
    return Failure(kind, "Too long.", status=400, context_window=window, prompt_tokens=prompt_tokens)


@pytest.mark.parametrize(
    ("window", "prompt_tokens", "expected"),
    [
        (8000, 5000, {"max_tokens": 8000 - 5000 - MARGIN}),  # the prompt alone
        (8000, 9000, {"max_tokens": 8000 - (9000 - 4096) - MARGIN}),  # prompt and answer
        (8000, 8000 - 2 * MARGIN, {"max_tokens": MARGIN}),
        (8000, 8001 - 2 * MARGIN, None),
        (8000, 8000, None),
        (8000, 13_000, None),  # the prompt alone is too long
        (8000, 100, None),  # it would have fitted: whatever was wrong, this is not it
        (8000, None, None),
        (None, 9000, None),
        (None, None, None),
    ],
)
def test_an_answer_that_did_not_fit_is_asked_for_shorter(
    window: int | None, prompt_tokens: int | None, expected: dict[str, Any] | None
) -> None:
    assert again(a_plan(NATIVE), too_long(window, prompt_tokens)) == expected


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.CONTEXT_LENGTH])
@pytest.mark.parametrize("response_format", [None, JSON])
def test_of_other_failures_only_those_of_json_mode_can_be_mended(kind: FailureKind, response_format: Any) -> None:
    found = again(a_plan(NATIVE, response_format=response_format), Failure(kind, "No.", status=400))
    if response_format and kind in (FailureKind.JSON_MODE, FailureKind.NO_JSON_MODE):
        assert found == {"response_format": None, "messages": [{"role": "system", "content": IN_SCHEMA}, HI]}
    else:
        assert found is None


def test_the_first_call_is_left_as_it_was() -> None:
    plan = a_plan(NATIVE, {"role": "system", "content": "A"}, HI, response_format=JSON)
    before = orjson.dumps(plan.calls[0].body)
    assert again(plan, Failure(FailureKind.NO_JSON_MODE, "No.")) == {
        "response_format": None,
        "messages": [{"role": "system", "content": f"A\n\n{IN_SCHEMA}"}, HI],
    }
    assert orjson.dumps(plan.calls[0].body) == before


@pytest.mark.parametrize(
    "reply",
    [
        {"response": "JSON Mode couldn't be met"},
        {"response": "I'd rather not."},
        {"response": {"age": "old"}},
        {"choices": [{"message": {"content": '{"age":'}, "finish_reason": "stop"}]},
    ],
)
def test_json_mode_that_gave_no_json_is_replaced_by_words(reply: dict[str, Any]) -> None:
    assert again(a_plan(NATIVE, response_format=JSON), reply) == {
        "response_format": None,
        "messages": [{"role": "system", "content": IN_SCHEMA}, HI],
    }


def test_json_mode_of_a_model_without_a_system_is_replaced_by_words_to_the_user() -> None:
    assert again(a_plan(GUARD, response_format=JSON), {"response": "safe"}) == {
        "response_format": None,
        "messages": [{"role": "user", "content": f"{IN_SCHEMA}\n\nHi"}],
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I'd rather not.", "The model did not answer with valid JSON."),
        (
            '{"age": "old"}',
            'The model\'s JSON does not satisfy the schema: "old" is not of type "integer"',
        ),
    ],
)
def test_words_that_gave_no_json_are_followed_by_more(text: str, problem: str) -> None:
    plan = a_plan(PLAIN, response_format=JSON)
    found = again(plan, {"response": text})
    assert found == {
        "messages": [
            *plan.calls[0].body["messages"],
            {"role": "assistant", "content": text},
            {"role": "user", "content": f"{problem} Answer again, with the JSON only."},
        ]
    }


DEMAND = (
    "You must call the tool {} now. If you cannot call it directly, answer with nothing but "
    'JSON of the form {{"name": "<tool>", "arguments": {{...}}}}.'
)


@pytest.mark.parametrize(
    ("choice", "names"), [("required", "get_weather or get_time"), (NAMED, "get_weather"), ("auto", None)]
)
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_a_tool_that_was_not_called_is_demanded(model: Model, choice: Any, names: str | None) -> None:
    found = again(a_plan(model, tools=TOOLS, tool_choice=choice, stream=True), {"response": "It is sunny."})
    assert found == ({"messages": [{"role": "system", "content": DEMAND.format(names)}, HI]} if names else None)


def test_an_answer_that_is_as_it_should_be_is_left() -> None:
    call = {"name": "get_weather", "arguments": {}}
    assert again(a_plan(NATIVE), {"response": "Hi"}) is None
    assert again(a_plan(NATIVE, response_format=JSON), {"response": {"age": 36}}) is None
    assert again(a_plan(NATIVE, tools=TOOLS, tool_choice=NAMED), {"response": None, "tool_calls": [call]}) is None
    cut = {"choices": [{"message": {"content": "I"}, "finish_reason": "length"}]}
    assert again(a_plan(NATIVE, tools=TOOLS, tool_choice=NAMED), cut) is None
    assert again(a_plan(NATIVE, response_format=JSON), cut) is None


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS}])
def test_a_stream_answered_by_an_empty_object_is_asked_for_whole(model: Model, fields: dict[str, Any]) -> None:
    found = again(a_plan(model, stream=True, **fields), {})
    assert found == {"stream": False} | ({"stream_options": None} if model in CHAT_MODELS else {})


def test_a_forced_tool_and_an_empty_object_are_asked_for_whole_too() -> None:
    plan = a_plan(CHAT, stream=True, tools=TOOLS, tool_choice=NAMED)
    assert again(plan, {}) == {"stream": False, "stream_options": None}


def test_a_whole_answer_that_is_empty_is_not_asked_for_again() -> None:
    assert again(a_plan(NATIVE), {}) is None


def test_words_about_json_mode_are_not_a_failure() -> None:
    assert again(a_plan(NATIVE), {"response": "It says: JSON Mode couldn't be met."}) is None


def test_capabilities_of_the_tests_are_those_of_the_catalogue() -> None:
    known = {capability for model in CATALOG for capability in model.capabilities}
    assert known >= ABLE


def test_an_endpoint_may_leave_out_streams_pictures_and_second_tries() -> None:
    bare = Translator(
        tasks=frozenset({"text-generation"}),
        endpoint="/v1/bare",
        to_plan=chat.to_plan,
        from_replies=chat.from_replies,
    )
    plan = a_plan(CHAT)
    assert bare.again(plan, plan.calls[0], a_reply({})) is None
    assert bare.pictures(plan.request) == []
    with pytest.raises(BadRequestError) as caught:
        bare.to_stream(plan)
    assert (caught.value.param, caught.value.code) == ("stream", "unsupported_parameter")


def test_a_broken_reply_is_no_reason_to_press_for_a_tool() -> None:
    assert again(a_plan(NATIVE, tools=TOOLS, tool_choice="required"), {}) is None
