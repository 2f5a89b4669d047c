"""Responses in a model's own Responses: when, with what, and what becomes of failures."""

from dataclasses import replace
from typing import Any

import pytest

from app.calls import Call, Failure, FailureKind, Reply
from app.catalog import Quirks
from app.schemas.responses import ResponsesRequest
from app.translators.base import Plan
from app.translators.responses import Exchange, ResponseStream, responses, to_exchange
from app.translators.responses_native import can_speak, is_native, is_unheard, to_native
from tests.translators.chats import OSS, a_context, a_reply

NATIVE = replace(OSS, quirks=Quirks(think_tags="tagged", speaks_responses=True))
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
TIME = WEATHER | {"name": "time", "strict": True, "description": "The time"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
NAMED = {"type": "function", "name": "weather"}
USAGE = {"input_tokens": 70, "output_tokens": 25, "total_tokens": 95}


def plan(model: Any = NATIVE, **fields: Any) -> Plan[Exchange]:
    exchange = to_exchange(ResponsesRequest.model_validate({"model": "m", "input": "Hi"} | fields))
    return responses.to_plan(exchange, a_context(model))


def call(**fields: Any) -> Call:
    (made,) = plan(**fields).calls
    return made


def answer(*items: dict[str, Any], **fields: Any) -> Reply:
    """As Cloudflare gives it, without the fields that OpenAI's has more."""
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": list(items), "usage": USAGE}
    return a_reply(whole | fields)


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


THOUGHTS = {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}


def test_the_least_request() -> None:
    made = call()
    assert (made.path, made.model, made.stream) == ("run/@cf/test/oss", "@cf/test/oss", False)
    message = {"type": "message", "role": "user", "content": "Hi"}
    assert made.body == {"input": [message], "max_output_tokens": 4096}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"instructions": "Be brief."}, {"instructions": "Be brief."}),
        ({"max_output_tokens": 50}, {"max_output_tokens": 50}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"reasoning": {"effort": "minimal", "summary": "auto"}}, {"reasoning": {"effort": "low"}}),
        ({"text": {"format": SCHEMA}}, {"text": {"format": SCHEMA}}),
        ({"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "json_object"}}}),
        (
            {"tools": [WEATHER, TIME], "tool_choice": "auto", "parallel_tool_calls": False},
            {
                "tools": [WEATHER | {"description": "", "strict": None}, TIME],
                "tool_choice": None,
                "parallel_tool_calls": False,
            },
        ),
        ({"tools": [WEATHER], "tool_choice": "none"}, {"tool_choice": "none"}),
        ({"tools": [WEATHER, TIME], "tool_choice": NAMED}, {"tool_choice": NAMED}),
        ({"tools": [WEATHER], "tool_choice": "required"}, {"tool_choice": NAMED}),
        ({"tools": [{"type": "custom", "name": "patch"}, {"type": "web_search"}]}, {"tool_choice": None}),
    ],
)
def test_fields_in_its_own_terms(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    made = call(**asked)
    assert is_native(made)
    assert {key: made.body.get(key) for key in sent} == sent


@pytest.mark.parametrize(
    "asked",
    [
        {"stream": True},
        {"stream": True, "text": {"format": SCHEMA}},  # replayed from a whole answer, but a stream to the client
        {"tools": [WEATHER, TIME], "tool_choice": "required"},
        {"top_logprobs": 2},
        {"seed": 1},
        {"stop": ["END"]},
    ],
)
def test_all_else_stays_a_chat(asked: dict[str, Any]) -> None:
    made = call(**asked)
    assert not is_native(made)
    assert made.path == "v1/chat/completions"


def test_a_model_that_only_chats_does_so() -> None:
    assert not is_native(call(model=OSS))


def test_a_call_that_streams_is_none() -> None:
    chat = call(model=OSS)
    assert can_speak(chat, NATIVE)
    assert not can_speak(replace(chat, stream=True), NATIVE)


def test_a_conversation_is_told_item_by_item() -> None:
    """Thoughts with their content, ids used once, results with the call that they answer."""
    first = {"type": "function_call", "call_id": "call_0", "name": "weather", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_0"}
    given = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        THOUGHTS,
        first,
        first,
        output | {"output": "fine"},
        output | {"output": "warm"},
        said("Nice."),
        {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
        {"role": "assistant", "content": ""},
    ]
    body = call(input=given).body
    assert body["instructions"] == "Be brief."
    part = {"type": "output_text", "text": "Nice.", "annotations": []}
    message = {"type": "message", "role": "assistant", "status": "completed"}
    assert body["input"] == [
        {"type": "message", "role": "user", "content": "Hi"},
        THOUGHTS | {"id": "rs_1"},
        first,
        first | {"call_id": "call_0_2"},
        output | {"output": "fine"},
        output | {"call_id": "call_0_2", "output": "warm"},
        message | {"id": "msg_4", "content": [part]},
        {"type": "message", "role": "user", "content": "And?"},
        message | {"id": "msg_6", "content": [part | {"text": ""}]},
    ]


def test_pictures() -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    chat = Call("m", "v1/chat/completions", {"messages": [{"role": "user", "content": parts}], "max_tokens": 9})
    (message,) = to_native(chat).body["input"]
    assert message["content"] == [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AA"},
    ]


def test_the_answer_is_read() -> None:
    made = plan(tools=[WEATHER], reasoning={"summary": "auto"})
    asked = {"type": "function_call", "call_id": "call_9", "name": "weather", "arguments": '{"city":"Rome"}'}
    response, usage = responses.from_replies(made, [answer(THOUGHTS, said("Let me see."), asked)])
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "Hm"}]
    call_item = response["output"][2]
    assert (call_item["call_id"], call_item["arguments"]) == ("call_9", '{"city":"Rome"}')
    assert (usage.prompt_tokens, usage.completion_tokens, usage.is_estimated) == (70, 25, False)
    assert response["usage"]["total_tokens"] == 95
    assert (response["model"], response["status"]) == ("m", "completed")


@pytest.mark.parametrize(
    "reply",
    [
        answer(THOUGHTS, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        answer(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        answer(THOUGHTS),  # completed, it says
        answer(),
    ],
)
def test_a_spent_budget_is_no_success(reply: Reply) -> None:
    response, _ = responses.from_replies(plan(max_output_tokens=25), [reply])
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_json_that_was_not_met_is_asked_for_as_a_chat() -> None:
    made = plan(text={"format": SCHEMA})
    assert responses.again(made, made.calls[0], answer(said("{}"))) is None
    changed = responses.again(made, made.calls[0], answer(said("No")))
    assert changed
    assert changed.path == "v1/chat/completions"
    assert "JSON" in changed.body["messages"][0]["content"]


@pytest.mark.parametrize(
    "outcome",
    [
        Failure(FailureKind.BAD_REQUEST, "required properties at '/' are 'messages'", status=400),
        Failure(FailureKind.MODEL_NOT_FOUND, "No such model or task", status=400),
        a_reply({}),
        a_reply(None),
        answer(usage=None),
    ],
)
def test_what_is_not_understood_is_asked_as_a_chat(outcome: Reply | Failure) -> None:
    made = plan(instructions="Be brief.")
    chat = responses.again(made, made.calls[0], outcome)
    assert chat
    assert (chat.path, chat.body["messages"][0]["content"]) == ("v1/chat/completions", "Be brief.")
    assert responses.again(made, chat, outcome) is None
    response, _ = responses.from_replies(
        replace(made, calls=(chat,)), [a_reply({"choices": [{"message": {"content": "Yes"}}]})]
    )
    assert response["output"][0]["content"][0]["text"] == "Yes"


@pytest.mark.parametrize("kind", [FailureKind.QUOTA, FailureKind.CAPACITY, FailureKind.CONTENT_FILTER])
def test_other_failures_stay_what_they_are(kind: FailureKind) -> None:
    made = plan()
    assert not is_unheard(Failure(kind, "No."))
    assert responses.again(made, made.calls[0], Failure(kind, "No.")) is None


def test_an_answer_that_does_not_fit_is_asked_for_shorter() -> None:
    made = plan(max_output_tokens=5000)
    failure = Failure(FailureKind.CONTEXT_LENGTH, "No.", context_window=8000, prompt_tokens=4000)
    changed = responses.again(made, made.calls[0], failure)
    assert changed
    assert (changed.path, changed.body["max_tokens"]) == ("v1/chat/completions", 3936)


def test_an_answer_in_a_chats_form_is_read_all_the_same() -> None:
    made = plan()
    reply = a_reply({"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}]})
    assert responses.again(made, made.calls[0], reply) is None
    assert responses.from_replies(made, [reply])[0]["output"][0]["content"][0]["text"] == "Yes"


def test_a_stream_is_a_chats() -> None:
    made = plan(stream=True)
    assert made.request.chat_call is None
    assert ResponseStream(made).writer.response == {}
