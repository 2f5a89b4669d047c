"""Pictures through chat: what a chat asks for, and what it is answered."""

from typing import Any

import pytest

from app.calls import Call
from app.catalog import Model
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest
from app.translators.base import Context, Plan
from app.translators.chat_writer import to_completion
from app.translators.picture_chat import (
    sources_in,
    to_chat_plan,
    to_chat_replies,
    to_edit_request,
    to_image_request,
)

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def chat(*contents: Any, role: str = "user", **fields: Any) -> ChatCompletionRequest:
    messages = [{"role": role, "content": content} for content in contents]
    return ChatCompletionRequest.model_validate({"model": "dall-e-3", "messages": messages} | fields)


@pytest.mark.parametrize(
    ("content", "prompt", "size"),
    [
        ("a cat", "a cat", None),
        ("a cat size=512x768", "a cat", "512x768"),
        ("SIZE = Auto a cat", "a cat", "auto"),
        ("a cat of resize=5x5", "a cat of resize=5x5", None),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "cat"}, PICTURE], "a\ncat", None),
    ],
)
def test_the_last_user_turn_is_the_prompt(content: Any, prompt: str, size: str | None) -> None:
    wish = to_image_request(chat("a dog", content))
    assert (wish.prompt, wish.size, wish.model) == (prompt, size, "dall-e-3")


def test_fields_of_an_image_request_pass() -> None:
    wish = to_image_request(chat("a cat", n=2, seed=7, size="256x256", quality="high", guidance=3, other=1))
    assert (wish.n, wish.seed, wish.size, wish.quality, wish.guidance) == (2, 7, "256x256", "high", 3)
    assert "other" not in (wish.model_extra or {})


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat("a cat", role="assistant"), "messages"),
        (chat(""), "messages"),
        (chat("size=512x512"), "messages"),
        (chat([PICTURE]), "messages"),
        (chat("a cat", output_compression=900), "output_compression"),
    ],
)
def test_what_can_not_be_made_is_named(request_: ChatCompletionRequest, param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        to_image_request(request_)
    assert failure.value.param == param


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("a cat", []),
        (None, []),
        ([{"type": "text", "text": "a"}, PICTURE], ["data:image/png;base64,AAAA"]),
        ([{"type": "image_url", "image_url": "https://a/b.png"}], ["https://a/b.png"]),
    ],
)
def test_the_pictures_of_the_last_user_turn_are_the_sources(content: Any, found: list[str]) -> None:
    assert sources_in(chat([PICTURE], content)) == found


def test_an_edit_has_the_same_fields() -> None:
    edit = to_edit_request(chat("a cat", strength=0.5))
    assert (edit.prompt, edit.strength, edit.model) == ("a cat", 0.5, "dall-e-3")


def test_the_answer_is_a_chats() -> None:
    context = Context(Model("@cf/a/b", "text-to-image"), "dall-e-3", "abc", 1_790_000_000)
    plan: Plan[Any] = Plan(None, context, (Call("@cf/a/b", "run/@cf/a/b", {}),) * 2)
    request = chat("a cat", n=2)
    replies = to_chat_replies(["https://a/1.png", "https://a/2.png"], 4)
    body, _ = to_completion(to_chat_plan(request, plan), replies)
    assert [choice["message"]["content"] for choice in body["choices"]] == [
        "![image](https://a/1.png)",
        "![image](https://a/2.png)",
    ]
    assert {choice["finish_reason"] for choice in body["choices"]} == {"stop"}
    assert body["model"] == "dall-e-3"
    assert body["usage"]["completion_tokens"] > 0
