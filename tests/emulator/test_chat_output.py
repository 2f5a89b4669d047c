"""Every form of an OpenAI-shaped answer, on both paths, whole and streamed."""

from typing import Any

import pytest

from tests.emulator.asking import (
    CHAT,
    GPT_OSS,
    HELLO,
    HYBRID,
    KIMI,
    NATIVE,
    UNTAGGED,
    Asker,
    events,
    scripted,
)

pytestmark = pytest.mark.anyio

CALLS = [{"name": "weather", "arguments": {"city": "Rome"}}]
ID = "chatcmpl-00000001-0404-4429-9304-"
OFF = {"chat_template_kwargs": {"enable_thinking": False}}
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 3,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 0},
}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


async def whole(ask: Asker, model: str = CHAT, **script: Any) -> Any:
    return await ask.chatted(model, messages=scripted(**script), **OFF)


async def choice(ask: Asker, model: str = CHAT, **script: Any) -> Any:
    return (await whole(ask, model, **script))["choices"][0]


async def stream(ask: Asker, model: str = CHAT, **script: Any) -> list[Any]:
    """The events of ai/run without padding."""
    script["quirks"] = [*script.get("quirks", ()), "-padding"]
    return await ask.run_events(model, messages=scripted(**script), **OFF)


def deltas(found: list[Any]) -> list[Any]:
    return [event["choices"][0]["delta"] for event in found if event != "[DONE]" and event.get("choices")]


async def test_a_completion(ask: Asker) -> None:
    body = await whole(ask, text="One two three")
    assert body.pop("id").startswith(ID)
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "chat.completion",
        "model": CHAT,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "One two three", "tool_calls": []},
                "finish_reason": "stop",
                "stop_reason": None,
                "logprobs": None,
            }
        ],
        "usage": USAGE,
        "prompt_logprobs": None,
    }


async def test_ai_run_puts_it_in_the_envelope(ask: Asker) -> None:
    result = await ask.ran(CHAT, messages=scripted(text="One"))
    assert (result["object"], result["choices"][0]["message"]["content"]) == ("chat.completion", "One")


async def test_a_native_model_is_converted_and_tells_its_neurons(ask: Asker) -> None:
    body = await ask.chatted(NATIVE, messages=scripted(tool_calls=CALLS))
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":"Rome"}'
    assert body["usage"]["neurons"] > 0


async def test_a_stream_of_ai_run(ask: Asker) -> None:
    found = await stream(ask, text="One two three")
    heads = [(event.pop("id")[: len(ID)], event.pop("object"), event.pop("model")) for event in found[:-2]]
    assert set(heads) == {(ID, "chat.completion.chunk", CHAT)}
    assert {event.pop("created") > 1_700_000_000 for event in found[:-2]} == {True}
    assert found == [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "One"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": " two"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": " three"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": ZERO},
        {"choices": [], "usage": USAGE},
        {"response": "", "usage": {key: USAGE[key] for key in ZERO} | {"neurons": 0.1367}},
        "[DONE]",
    ]


@pytest.mark.parametrize(
    ("model", "options", "last"),
    [
        (CHAT, None, {}),
        (CHAT, {"include_usage": False}, {}),
        (CHAT, {"include_usage": True}, USAGE | {"neurons": 0.1367}),
        (NATIVE, None, USAGE | {"neurons": 0.747755}),
    ],
)
async def test_the_openai_path_has_no_frame_of_its_own_and_usage_on_request(
    ask: Asker, model: str, options: Any, last: Any
) -> None:
    body = {"messages": scripted(text="One two three"), **OFF} | ({"stream_options": options} if options else {})
    found = await ask.chat_events(model, **body)
    assert all("choices" in event for event in found[:-1])
    assert found[-2].get("usage", {}) == last


async def test_padding_is_on_the_chunks_of_the_answer(ask: Asker) -> None:
    found = await ask.run_events(CHAT, messages=scripted(text="One"), **OFF)
    assert ["p" in event for event in found[:-1]] == [True, True, False, False, False]


@pytest.mark.parametrize(("model", "key"), [(CHAT, "reasoning_content"), (KIMI, "reasoning")])
async def test_thoughts_have_a_field_of_their_own(ask: Asker, model: str, key: str) -> None:
    messages = scripted(text="Yes", reasoning="Hm so")
    body = await ask.chatted(model, messages=messages)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Yes", key: "Hm so", "tool_calls": []}
    found = deltas(await ask.run_events(model, messages=messages))
    assert found == [{"role": "assistant", "content": ""}, {key: "Hm"}, {key: " so"}, {"content": "Yes"}, {}]


@pytest.mark.parametrize(
    ("model", "quirks", "content"),
    [(UNTAGGED, [], "Hm\n</think>\n\nYes"), (GPT_OSS, ["think-tags"], "<think>\nHm\n</think>\n\nYes")],
)
async def test_or_they_stand_in_the_text(ask: Asker, model: str, quirks: list[str], content: str) -> None:
    body = await ask.chatted(model, messages=scripted(text="Yes", reasoning="Hm", quirks=quirks))
    assert body["choices"][0]["message"] == {"role": "assistant", "content": content, "tool_calls": []}


async def test_a_hybrid_model_completes_a_prompt_as_text(ask: Asker) -> None:
    body = await ask.ran(HYBRID, prompt='!emulate {"text":"One two"} /no_think')
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": "One two", "finish_reason": "stop", "stop_reason": None, "logprobs": None}
    ]
    found = await ask.run_events(HYBRID, prompt='!emulate {"text":"One two","quirks":["-padding"]} /no_think')
    assert [event["choices"] for event in found[:3]] == [
        [{"index": 0, "text": "One", "finish_reason": None}],
        [{"index": 0, "text": " two", "finish_reason": None}],
        [{"index": 0, "text": "", "finish_reason": "stop"}],
    ]
    assert {event["object"] for event in found[:4]} == {"text_completion"}


async def test_tool_calls(ask: Asker) -> None:
    found = await choice(ask, tool_calls=CALLS)
    function = {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert found["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_000000010", "type": "function", "function": function}],
    }
    assert found["finish_reason"] == "tool_calls"


async def test_a_stream_of_tool_calls(ask: Asker) -> None:
    found = await stream(ask, tool_calls=[*CALLS, {"name": "now", "arguments": {}}])
    assert deltas(found) == [
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "weather"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_000000011", "type": "function", "function": {"name": "now"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert found[-4]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("quirk", "calls"),
    [
        (
            "null-ids",
            [
                {"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "now"}},
                {"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": "{}"}},
            ],
        ),
        (
            "missing-index",
            [
                {"id": "call_000000010", "type": "function", "function": {"name": "now"}},
                {"function": {"arguments": "{}"}},
            ],
        ),
        (
            "arguments-first",
            [
                {"index": 0, "function": {"arguments": "{}"}},
                {"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "now"}},
            ],
        ),
        (
            "object-arguments",
            [{"index": 0, "id": "call_000000010", "type": "function", "function": {"name": "now", "arguments": {}}}],
        ),
    ],
)
async def test_a_quirk_of_streamed_tool_calls(ask: Asker, quirk: str, calls: list[Any]) -> None:
    found = await stream(ask, tool_calls=[{"name": "now", "arguments": {}}], quirks=[quirk])
    assert deltas(found)[1:-1] == [{"tool_calls": [call]} for call in calls]


@pytest.mark.parametrize(
    ("quirk", "script", "path", "expected"),
    [
        ("numeric-response", {"text": "42"}, "message.content", 42),
        ("object-arguments", {"tool_calls": CALLS}, "message.tool_calls.0.function.arguments", {"city": "Rome"}),
        ("space-beside-tools", {"tool_calls": CALLS}, "message.content", " "),
        ("empty-beside-tools", {"tool_calls": CALLS}, "message.content", ""),
        ("stop-after-tools", {"tool_calls": CALLS}, "finish_reason", "stop"),
        ("null-finish", {"text": "One"}, "finish_reason", None),
        ("vllm-fields", {"text": "One"}, "token_ids", None),
        ("reasoning-field", {"text": "One"}, "message.content", "One"),
    ],
)
async def test_a_quirk_of_whole_answers(
    ask: Asker, quirk: str, script: dict[str, Any], path: str, expected: Any
) -> None:
    found = await choice(ask, quirks=[quirk], **script)
    for key in path.split("."):
        found = found[int(key) if key.isdigit() else key]
    assert found == expected


async def test_parallel_calls_may_share_one_id(ask: Asker) -> None:
    found = await choice(ask, tool_calls=[*CALLS, *CALLS], quirks=["same-tool-ids"])
    assert [call["id"] for call in found["message"]["tool_calls"]] == ["call_000000010", "call_000000010"]


async def test_a_text_may_stand_beside_tool_calls(ask: Asker) -> None:
    found = await choice(ask, tool_calls=CALLS, text="Let me see.")
    assert (found["message"]["content"], found["finish_reason"]) == ("Let me see.", "tool_calls")
    assert {"content": "Let"} in deltas(await stream(ask, tool_calls=CALLS, text="Let me see."))


async def test_a_stray_space_streams_too(ask: Asker) -> None:
    found = await stream(ask, tool_calls=CALLS, quirks=["space-beside-tools"])
    assert deltas(found)[1] == {"content": " "}


async def test_vllm_leaves_fields_of_its_own(ask: Asker) -> None:
    body = await whole(ask, text="One", quirks=["vllm-fields"])
    assert {"service_tier", "kv_transfer_params", "prompt_token_ids"} <= body.keys()
    assert "token_ids" in (await stream(ask, text="One", quirks=["vllm-fields"]))[2]["choices"][0]


async def test_usage_may_be_missing(ask: Asker) -> None:
    assert "usage" not in await whole(ask, text="One", quirks=["no-usage"])
    found = await stream(ask, text="One", quirks=["no-usage"])
    assert not any("usage" in event for event in found[:-1])
    assert found[-2]["choices"][0]["finish_reason"] == "stop"


async def test_usage_may_count_the_thoughts(ask: Asker) -> None:
    messages = scripted(text="Yes", reasoning="Hm so", quirks=["reasoning-tokens"])
    body = await ask.chatted(CHAT, messages=messages)
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


async def test_a_chunk_of_ai_run_may_say_its_text_twice(ask: Asker) -> None:
    script: dict[str, Any] = {"text": "One", "quirks": ["double-response"]}
    found = await stream(ask, **script)
    assert [event.get("response") for event in found[:3]] == [None, "One", None]
    openai = await ask.chat_events(CHAT, messages=scripted(**script), **OFF)
    assert all("response" not in event for event in openai[:-1])


def finishes(found: list[Any]) -> list[Any]:
    return [
        (event["choices"][0]["finish_reason"] if event["choices"] else None, "usage" in event)
        for event in found
        if "choices" in event
    ][2:]


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        ([], [("stop", True), (None, True)]),
        (["-zero-usage"], [("stop", False), (None, True)]),
        (["late-finish"], [("stop", True)]),
        (["late-finish", "no-usage"], [("stop", False)]),
        (["repeat-finish"], [("stop", True), ("stop", False), ("stop", True)]),
        (["no-finish"], [(None, True)]),
        (["no-finish", "no-usage"], []),
    ],
)
async def test_where_the_finish_reason_comes(ask: Asker, quirks: list[str], expected: list[Any]) -> None:
    assert finishes(await stream(ask, text="One", quirks=quirks)) == expected


@pytest.mark.parametrize(("quirk", "roles"), [("repeat-role", [True, True, True]), ("no-role", [False, False, False])])
async def test_where_the_role_comes(ask: Asker, quirk: str, roles: list[bool]) -> None:
    found = deltas(await stream(ask, text="One", quirks=[quirk]))
    assert ["role" in delta for delta in found] == roles


async def test_chunks_may_lack_what_names_them(ask: Asker) -> None:
    found = await stream(ask, text="One", quirks=["bare-frames"])
    assert [sorted(event) for event in found[1:4]] == [["choices"], ["choices", "usage"], ["choices", "usage"]]


async def test_chunks_may_change_their_ids(ask: Asker) -> None:
    found = await stream(ask, text="One two", quirks=["changing-ids"])
    assert len({event["id"] for event in found[:3]}) == 3
    assert len({event["created"] for event in found[:3]}) == 3


async def test_content_may_be_numbers(ask: Asker) -> None:
    found = deltas(await stream(ask, text="7", quirks=["numeric-response"]))
    assert found[1] == {"content": 7}


async def test_logprobs_come_when_asked_for(ask: Asker) -> None:
    asked = {"logprobs": True, "top_logprobs": 2, **OFF}
    body = await ask.chatted(CHAT, messages=scripted(text="One two"), **asked)
    token = {"token": "One", "logprob": -0.125, "bytes": [79, 110, 101]}
    other = {"token": "other1", "logprob": -3.5, "bytes": None}
    content = body["choices"][0]["logprobs"]["content"]
    assert (content[0], len(content)) == (token | {"top_logprobs": [token, other]}, 2)
    found = await ask.chat_events(CHAT, messages=scripted(text="One two"), **asked)
    assert found[1]["choices"][0]["logprobs"]["content"] == [token | {"top_logprobs": [token, other]}]
    assert "logprobs" not in found[0]["choices"][0]


async def test_native_models_have_no_logprobs(ask: Asker) -> None:
    body = await ask.chatted(NATIVE, messages=HELLO, logprobs=True)
    assert body["choices"][0]["logprobs"] is None


async def test_logprobs_come_when_the_script_wants_them(ask: Asker) -> None:
    assert (await choice(ask, text="One", logprobs=True))["logprobs"]["content"][0]["top_logprobs"] == []


async def test_content_in_json_mode_is_text_or_by_a_quirk_an_object(ask: Asker) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": {"a": {"const": 1}}}}}
    body = await ask.chatted(CHAT, messages=HELLO, response_format=wanted, **OFF)
    assert body["choices"][0]["message"]["content"] == '{"a":1}'
    body = await ask.chatted(CHAT, messages=scripted(quirks=["json-object-content"]), response_format=wanted, **OFF)
    assert body["choices"][0]["message"]["content"] == {"a": 1}


async def test_an_empty_answer_is_an_empty_text(ask: Asker) -> None:
    body = await ask.chatted(CHAT, messages=scripted(empty=True))
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "", "tool_calls": []}
    assert body["usage"]["completion_tokens"] == 0


async def test_chat_models_stream_json_mode(ask: Asker) -> None:
    response = await ask.chat(
        CHAT, messages=scripted(text='{"a":1}'), response_format={"type": "json_object"}, stream=True, **OFF
    )
    assert {"content": '{"a":1}'} in deltas(events(response))
