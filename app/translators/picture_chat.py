"""Pictures through chat: the last user turn is the prompt, its pictures the source, and the answer a Markdown image.

For gateways and chat UIs that know no other endpoint. `size=1024x768` in the text, or any field of an image request in
the body, says what the picture shall be like.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from app.calls import Call, Reply
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest, Message
from app.schemas.images import ImageEditRequest, ImageOptions, ImageRequest
from app.translators.base import Plan
from app.translators.reading import Reading
from app.translators.tokens import estimate_tokens
from app.translators.tools import Offer

SIZE = re.compile(r"(?:^|\s)size\s*=\s*([0-9]{2,5}x[0-9]{2,5}|auto)(?=\s|$)", re.IGNORECASE)

FIELDS = frozenset(ImageOptions.model_fields) - {"prompt", "n", "stream", "response_format", "user", "partial_images"}
"""What a chat's body may say about the picture."""


def sources_in(request: ChatCompletionRequest) -> list[str]:
    """The pictures to start from: those of the last user turn."""
    content = _last(request).get("content")
    found = [part.get("image_url") for part in content] if isinstance(content, list) else []
    return [image if isinstance(image, str) else image["url"] for image in found if image]


def to_image_request(request: ChatCompletionRequest) -> ImageRequest:
    """Raises BadRequestError if there is no text to make a picture of, or an option can't be read."""
    return ImageRequest(**_fields(ImageRequest, request) | {"model": request.model})


def to_edit_request(request: ChatCompletionRequest) -> ImageEditRequest:
    """The same with pictures to start from."""
    return ImageEditRequest(**_fields(ImageEditRequest, request) | {"model": request.model})


def to_chat_plan(request: ChatCompletionRequest, plan: Plan[Any]) -> Plan[ChatCompletionRequest]:
    """As if a chat had been asked: what its writers need, a choice for each picture."""
    reading = Reading(Offer({}), prompt_tokens=0, id=plan.context.id)
    call = Call(plan.context.model.id, "", {"max_tokens": 1 << 30})
    return replace(plan, request=request, calls=(call,) * len(plan.calls), reading=reading)


def to_chat_replies(addresses: Sequence[str], prompt_tokens: int) -> list[Reply]:
    """As if a chat had answered: the pictures as Markdown, which every chat shows."""
    texts = [f"![image]({address})" for address in addresses]
    return [
        Reply(
            {
                "response": text,
                "usage": {
                    "prompt_tokens": prompt_tokens,
                    "completion_tokens": (tokens := estimate_tokens(text)),
                    "total_tokens": prompt_tokens + tokens,
                },
            }
        )
        for text in texts
    ]


def _fields(schema: type[ImageOptions], request: ChatCompletionRequest) -> dict[str, Any]:
    text = _text(_last(request))
    given = {name: value for name, value in (request.model_extra or {}).items() if name in FIELDS}
    if size := SIZE.search(text):
        given["size"] = size[1].lower()
        text = SIZE.sub("", text)
    fields = given | {"prompt": text.strip(), "n": request.n, "seed": request.seed}
    if not fields["prompt"]:
        message = "The last user message has no text to make a picture of."
        raise BadRequestError(message, param="messages", code="invalid_value")
    try:
        schema(**fields)
    except ValidationError as failure:
        fault = failure.errors(include_url=False, include_context=False, include_input=False)[0]
        param = str(fault["loc"][0])
        message = f"Invalid value for '{param}': {fault['msg']}."
        raise BadRequestError(message, param=param, code="invalid_value") from failure
    return fields


def _last(request: ChatCompletionRequest) -> Message:
    users = [message for message in request.messages if message["role"] == "user"]
    if not users:
        raise BadRequestError("There is no user message to make a picture of.", param="messages", code="invalid_value")
    return users[-1]


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(text for part in content if isinstance(text := part.get("text"), str))
    return content or ""
