"""Completions: what is sent for a prompt, and how the answers come back."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app.calls import Failure, FailureKind, Reply
from app.catalog import Catalog
from app.errors import BadRequestError
from app.schemas.completions import CompletionRequest
from app.translators.base import Context, Plan
from app.translators.completions import MOST_CHOICES, completions

CATALOG = Catalog.load()
NATIVE = "@cf/meta/llama-3.2-3b-instruct"
HYBRID = "@cf/qwen/qwen3-30b-a3b-fp8"
CHAT = "@cf/zai-org/glm-4.7-flash"
CODER = "@cf/qwen/qwen2.5-coder-32b-instruct"
HELLO = [9906, 1917]


def plan(model: str = NATIVE, **fields: Any) -> Plan[CompletionRequest]:
    request = CompletionRequest.model_validate({"model": model, "prompt": "Once"} | fields)
    return completions.to_plan(request, Context(CATALOG.resolve(model), model, "abc", 1_790_000_000))


def bodies(model: str = NATIVE, **fields: Any) -> list[dict[str, Any]]:
    return [call.body for call in plan(model, **fields).calls]


def native(text: str, tokens: int = 2) -> Reply:
    usage = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
    return Reply({"response": text, "usage": usage})


def events(stream: bytes) -> list[Any]:
    blocks = [block.removeprefix(b"data: ") for block in stream.split(b"\n\n")[:-1]]
    return [block.decode() if block == b"[DONE]" else orjson.loads(block) for block in blocks]


def test_a_native_model_goes_on_from_the_prompt_itself() -> None:
    made = plan(temperature=0.5, seed=7, stop="x", user="me")
    assert [call.path for call in made.calls] == [f"run/{NATIVE}"]
    assert made.calls[0].body == {
        "prompt": "Once", "raw": True, "max_tokens": 4096, "temperature": 0.5, "seed": 7, "stream": False,
    }  # fmt: skip
    assert made.ignored == ("user",)


@pytest.mark.parametrize("model", [HYBRID, CHAT])
def test_a_model_that_chats_gets_the_prompt_as_a_turn(model: str) -> None:
    (body,) = bodies(model)
    assert body["messages"] == [{"role": "user", "content": "Once"}]
    assert "raw" not in body


def test_every_prompt_has_its_n_choices() -> None:
    assert [body["prompt"] for body in bodies(prompt=["a", "b"], n=2)] == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [("Once", ["Once"]), (["a", "b"], ["a", "b"]), (HELLO, ["Hello world"]), ([HELLO, HELLO], ["Hello world"] * 2)],
)
def test_prompts_may_be_texts_or_token_ids(prompt: Any, texts: list[str]) -> None:
    assert [body["prompt"] for body in bodies(prompt=prompt)] == texts


@pytest.mark.parametrize("prompt", [[100_300], [HELLO, [100_300]]])
def test_an_unknown_token_is_named(prompt: Any) -> None:
    with pytest.raises(BadRequestError) as failure:
        plan(prompt=prompt)
    assert failure.value.param in ("prompt[0]", "prompt[1][0]")


def test_a_suffix_is_put_behind_where_the_model_can_fill_in() -> None:
    (body,) = bodies(CODER, prompt="def f(x):", suffix="return y")
    assert body["prompt"] == "<|fim_prefix|>def f(x):<|fim_suffix|>return y<|fim_middle|>"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": 1}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"temperature": 9}, "temperature"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"prompt": ["a"] * 65, "n": 2}, "n"),
    ],
)
def test_what_can_not_be_done_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        plan(**fields)
    assert failure.value.param == param


@pytest.mark.parametrize("fields", [{"best_of": 2, "n": 2}, {"logprobs": 0}, {"suffix": ""}, {"echo": False}])
def test_what_changes_nothing_is_taken(fields: dict[str, Any]) -> None:
    assert plan(**fields).calls


@pytest.mark.parametrize("prompt", ["", [], {}, None, ["a", 1], 7])
def test_a_prompt_is_needed(prompt: Any) -> None:
    with pytest.raises(ValidationError):
        CompletionRequest.model_validate({"model": NATIVE, "prompt": prompt})


def test_there_is_an_end_to_the_choices() -> None:
    assert len(plan(prompt=["a"] * MOST_CHOICES).calls) == MOST_CHOICES


def test_answers_are_a_text_completion() -> None:
    made = plan(prompt=["Once", "Twice"], echo=True)
    body, usage = completions.from_replies(made, [native(" upon"), native(" over", 4096)])
    assert body == {
        "id": "cmpl-abc",
        "object": "text_completion",
        "created": 1_790_000_000,
        "model": NATIVE,
        "choices": [
            {"text": "Once upon", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "Twice over", "index": 1, "logprobs": None, "finish_reason": "length"},
        ],
        "usage": {
            "prompt_tokens": 6,
            "completion_tokens": 4098,
            "total_tokens": 4104,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    assert (usage.prompt_tokens, usage.completion_tokens) == (6, 4098)


def test_a_refusal_is_the_text() -> None:
    """There is no other field for it."""
    made = plan(prompt="Say", stream=True)
    event = {"choices": [{"delta": {"refusal": "No."}, "message": {"refusal": "No."}, "finish_reason": "stop"}]}
    body, _ = completions.from_replies(made, [Reply(event, orjson.dumps(event))])
    assert body["choices"][0]["text"] == "No."
    assert b'"text":"No."' in completions.to_stream(made).feed(0, [orjson.dumps(event)])


def test_thoughts_are_no_part_of_the_text() -> None:
    message = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    reply = Reply({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    body, _ = completions.from_replies(plan(CHAT), [reply])
    assert body["choices"][0]["text"] == "4"


def test_a_stop_text_ends_a_native_answer() -> None:
    body, _ = completions.from_replies(plan(stop=["\n"]), [native(" upon\na time")])
    assert body["choices"][0]["text"] == " upon"


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_has_a_text_in_each_chunk_and_its_end_in_one_of_its_own(include_usage: bool) -> None:
    made = plan(stream=True, echo=True, stream_options={"include_usage": include_usage})
    stream = completions.to_stream(made)
    sent = stream.feed(0, [b'{"response":" upon"}', b'{"response":" a"}'])
    sent += stream.feed(0, [b'{"response":"","usage":{"prompt_tokens":3,"completion_tokens":2}}', b"[DONE]"])
    found = events(sent + stream.finish(0) + stream.end())
    assert found.pop() == "[DONE]"
    if include_usage:
        last = found.pop()
        assert (last["choices"], last["usage"]["total_tokens"]) == ([], 5)
    choices = [event["choices"][0] for event in found]
    assert "".join(choice["text"] for choice in choices) == "Once upon a"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all(event["object"] == "text_completion" and "usage" not in event for event in found)
    assert stream.usage.completion_tokens == 2


def test_a_long_text_is_cut_into_lines_that_every_parser_takes() -> None:
    stream = completions.to_stream(plan(stream=True))
    sent = stream.replay(0, native("\x00" * 100_000))
    assert max(map(len, sent.split(b"\n"))) < 60_000
    assert "".join(event["choices"][0]["text"] for event in events(sent)) == "\x00" * 100_000


def test_a_stream_that_breaks_off_is_a_failure() -> None:
    stream = completions.to_stream(plan(stream=True))
    stream.feed(0, [b'{"response":" upon"}'])
    with pytest.raises(Failure):
        stream.finish(0)


def test_an_answer_that_does_not_fit_is_asked_for_shorter() -> None:
    made = plan(prompt=["a", "b"])
    failure = Failure(FailureKind.CONTEXT_LENGTH, "too long", context_window=1000, prompt_tokens=500)
    changed = completions.again(made, made.calls[1], failure)
    assert changed is not None
    assert changed.body == made.calls[1].body | {"max_tokens": 1000 - 500 - 64}
