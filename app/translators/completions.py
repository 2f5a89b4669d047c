"""Completions, OpenAI's older API: prompts instead of turns.

Where a model takes a prompt as it is (natively, `raw`), it goes on from there; a model that only chats gets it as a
user's turn. Everything else is as in a chat, whose plan this one is made of. Where we differ from OpenAI:

1. Without `max_tokens` an answer may be as long as in a chat, not 16 tokens.
2. `logprobs` are refused: no model gives them for a prompt. So is `best_of` beyond `n`.
3. `suffix` works on models that were trained to fill in the middle, and is refused on others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from app.calls import Call, Failure, Reply, Usage
from app.errors import BadRequestError
from app.schemas.chat import ChatCompletionRequest
from app.schemas.completions import CompletionRequest
from app.translators import chat, chat_again
from app.translators.base import Context, Plan, Translator
from app.translators.chat_reader import ChatReader
from app.translators.chat_writer import DONE, LONGEST_PIECE, to_usage
from app.translators.choices import ChoiceStream
from app.translators.deltas import Delta, Refusal, Text
from app.translators.reading import Reading
from app.translators.token_ids import to_text

RAW_SHAPES = ("prompt-or-messages", "response-text")
"""What the models read and write that take `raw` prompts. Source: Cloudflare's docs, Workers AI, prompting."""

MOST_CHOICES = 128
"""OpenAI's limit for `n`."""

OWN = ("prompt", "suffix", "echo", "best_of", "logprobs")
"""Fields that a chat has not, or has in another meaning."""


def to_plan(request: CompletionRequest, context: Context) -> Plan[CompletionRequest]:
    """A call for each choice of each prompt. Raises BadRequestError."""
    if request.logprobs:
        raise _unsupported("logprobs", "Completions can't have 'logprobs'; chat completions can, on some models.")
    if (request.best_of or 1) > (request.n or 1):
        raise _unsupported("best_of", "'best_of' can't be more than 'n': the answers are not ranked.")
    if len(request.prompts) * (request.n or 1) > MOST_CHOICES:
        raise BadRequestError(f"A request can have {MOST_CHOICES} choices: prompts times 'n'.", param="n")
    plans = [_plan(request, text, context) for text in _texts(request)]
    calls = tuple(call for plan in plans for call in plan.calls)
    readings = tuple(plan.reading for plan in plans for _ in plan.calls)
    return Plan(request, context, calls, plans[0].ignored, readings)


def _texts(request: CompletionRequest) -> list[str]:
    return [
        prompt if isinstance(prompt, str) else to_text(prompt, f"prompt[{i}]" if len(request.prompts) > 1 else "prompt")
        for i, prompt in enumerate(request.prompts)
    ]


def _plan(request: CompletionRequest, text: str, context: Context) -> Plan[ChatCompletionRequest]:
    """The plan of the chat that this prompt would be, with the prompt put back in its place if the model takes it."""
    plan = chat.to_plan(_as_chat(request, text), context)
    model = context.model
    if request.suffix:
        if not model.quirks.fill_in_middle:
            raise _unsupported("suffix", f"The model '{context.name}' can't fill in between a prompt and a suffix.")
        before, after, middle = model.quirks.fill_in_middle
        text = f"{before}{text}{after}{request.suffix}{middle}"
    if (model.input_shape, model.output_shape) != RAW_SHAPES:
        return plan
    calls = tuple(replace(call, body=_raw(call.body, text)) for call in plan.calls)
    return replace(plan, calls=calls, reading=replace(plan.reading, think_tags="none"))


def _as_chat(request: CompletionRequest, text: str) -> ChatCompletionRequest:
    given = request.model_dump(exclude_unset=True, exclude=set(OWN))
    try:
        return ChatCompletionRequest(**given | {"messages": [{"role": "user", "content": text}]})
    except ValidationError as failure:
        fault = failure.errors(include_url=False, include_context=False, include_input=False)[0]
        param = str(fault["loc"][0])
        raise BadRequestError(
            f"Invalid value for '{param}': {fault['msg']}.", param=param, code="invalid_value"
        ) from failure


def _raw(body: dict[str, Any], text: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "messages"} | {"prompt": text, "raw": True}


def again(plan: Plan[CompletionRequest], call: Call, outcome: Reply | Failure) -> Call | None:
    """As in a chat."""
    choice = next(i for i, each in enumerate(plan.calls) if each is call)
    as_chat: Plan[Any] = replace(plan, reading=plan.reading[choice])
    return chat_again.again(as_chat, call, outcome)


def from_replies(plan: Plan[CompletionRequest], replies: Sequence[Reply]) -> tuple[dict[str, Any], Usage]:
    """The replies, one for each choice, as a `text_completion`. Raises Failure."""
    choices, usage = [], Usage()
    for i, (reading, call, reply) in enumerate(zip(plan.reading, plan.calls, replies, strict=True)):
        reader = ChatReader(reading, call, i)
        text = "".join(delta.text for delta in reader.read(reply) if isinstance(delta, Text | Refusal))
        choices.append(
            {"text": _echo(plan, i) + text, "index": i, "logprobs": None, "finish_reason": reader.finish_reason}
        )
        usage += reader.usage
    return _head(plan) | {"choices": choices, "usage": to_usage(usage)}, usage


class CompletionStream(ChoiceStream):
    """The event stream of one request: the texts of all its choices."""

    def __init__(self, plan: Plan[CompletionRequest]) -> None:
        pairs: list[tuple[Reading, Call]] = list(zip(plan.reading, plan.calls, strict=True))
        super().__init__([ChatReader(reading, call, i) for i, (reading, call) in enumerate(pairs)])
        self._include_usage = plan.request.include_usage
        self._head = b"data: " + orjson.dumps(_head(plan))[:-1] + b',"choices":['
        self._echoes = [_echo(plan, i) for i in range(len(plan.calls))]

    def end(self) -> bytes:
        if not self._include_usage:
            return DONE
        return self._head + b'],"usage":' + orjson.dumps(to_usage(self.usage)) + b"}\n\n" + DONE

    def _write(self, choice: int, deltas: Sequence[Delta]) -> bytes:
        text = "".join(delta.text for delta in deltas if isinstance(delta, Text | Refusal))
        text, self._echoes[choice] = self._echoes[choice] + text, ""
        pieces = (text[start : start + LONGEST_PIECE] for start in range(0, len(text), LONGEST_PIECE))
        return b"".join(self._chunk(choice, piece, None) for piece in pieces)

    def _ending(self, choice: int, finish_reason: str) -> bytes:
        return self._chunk(choice, "", finish_reason)

    def _chunk(self, choice: int, text: str, finish_reason: str | None) -> bytes:
        content = {"text": text, "index": choice, "logprobs": None, "finish_reason": finish_reason}
        return self._head + orjson.dumps(content) + b"]}\n\n"


def _head(plan: Plan[CompletionRequest]) -> dict[str, Any]:
    context = plan.context
    return {
        "id": f"cmpl-{context.id}",
        "object": "text_completion",
        "created": context.created,
        "model": context.name,
    }


def _echo(plan: Plan[CompletionRequest], choice: int) -> str:
    return _texts(plan.request)[choice // (plan.request.n or 1)] if plan.request.echo else ""


def _unsupported(param: str, message: str) -> BadRequestError:
    return BadRequestError(message, param=param, code="unsupported_parameter")


completions = Translator(
    tasks=frozenset({"text-generation"}),
    endpoint="/v1/completions",
    to_plan=to_plan,
    from_replies=from_replies,
    to_stream=CompletionStream,
    again=again,
)
