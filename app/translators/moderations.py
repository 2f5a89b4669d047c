"""Moderations: a guard model judges each text, and its hazards are told in OpenAI's categories.

An answer of the guard's that can't be read is an error, never "safe". Where this differs from OpenAI:

1. Scores are 1.0 for a category that was found and 0.0 for all others: the guard gives none.
2. A hazard that OpenAI has no category for (privacy, elections, ...) flags its input too, with no category set. All
   hazards are listed in a further field, `hazards`.
3. The guard tells nothing of `harassment/threatening`, `hate/threatening`, `self-harm/instructions`,
   `self-harm/intent` and `violence/graphic`, so they are never set.
4. Pictures are refused: the guard reads text.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from app.calls import Call, Failure, FailureKind, Reply, Usage
from app.catalog import Model
from app.errors import BadRequestError
from app.schemas.moderations import (
    CATEGORIES,
    ModerationPart,
    ModerationRequest,
    ModerationResponse,
    ModerationResult,
)
from app.translators.base import Context, Plan, Translator
from app.translators.chat_reader import ChatReader
from app.translators.reading import Reading
from app.translators.tokens import estimate_tokens
from app.translators.tools import Offer

HAZARDS = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Suicide & Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
    "S14": "Code Interpreter Abuse",
}
"""The guard's codes and their names. Source: Meta's model card of Llama Guard 3."""

MAX_TOKENS = 100
"""Of a verdict. All codes together are half as long."""

UNSAFE = re.compile(r"unsafe((?:[\s,]+S[0-9]+)+)")

CONTROL = re.compile(r"<\|(\w+)\|>")
"""What separates the turns of a prompt. Inside a text it could end its turn and speak the verdict itself."""


def to_plan(request: ModerationRequest, context: Context) -> Plan[ModerationRequest]:
    """One call for each input that holds anything. Raises BadRequestError for pictures."""
    texts = _texts(request, context)
    calls = tuple(_call(text, context.model) for text in texts if text.strip())
    ignored = tuple(field for field, value in (request.model_extra or {}).items() if value is not None)
    return Plan(request, context, calls, ignored, texts)


def _texts(request: ModerationRequest, context: Context) -> list[str]:
    """The inputs."""
    if isinstance(request.input, str):
        return [request.input]
    texts = [each for each in request.input if isinstance(each, str)]
    parts = [each for each in request.input if not isinstance(each, str)]
    return texts or ["\n".join(_text(part, f"input[{i}]", context) for i, part in enumerate(parts))]


def _text(part: ModerationPart, param: str, context: Context) -> str:
    if part["type"] == "image_url":
        message = f"The model '{context.name}' reads text only: it can't judge pictures."
        raise BadRequestError(message, param=f"{param}.image_url", code="unsupported_content")
    text = part.get("text")
    if text is None:
        param = f"{param}.text"
        raise BadRequestError(f"'{param}' is missing.", param=param, code="missing_required_parameter")
    return text


def _call(text: str, model: Model) -> Call:
    """A single turn of the user's: the guard judges the last turn, and takes no system turn."""
    turn = {"role": "user", "content": CONTROL.sub(r"<\1>", text)}
    return Call(model.id, f"run/{model.id}", {"messages": [turn], "max_tokens": MAX_TOKENS, "temperature": 0})


def from_replies(plan: Plan[ModerationRequest], replies: Sequence[Reply]) -> tuple[ModerationResponse, Usage]:
    """One result for each input. Raises Failure for a verdict that can't be read."""
    context = plan.context
    judged = [_judged(call, reply, context) for call, reply in zip(plan.calls, replies, strict=True)]
    verdicts = iter([codes for codes, _ in judged])
    results = [_result(next(verdicts) if text.strip() else [], context.model) for text in plan.reading]
    usage = sum((usage for _, usage in judged), Usage())
    return {"id": f"modr-{context.id}", "model": context.name, "results": results}, usage


def _judged(call: Call, reply: Reply, context: Context) -> tuple[list[str], Usage]:
    """The codes of the hazards in a text, none if it is safe."""
    prompt_tokens = estimate_tokens(call.body["messages"][0]["content"])
    reader = ChatReader(Reading(Offer({}), prompt_tokens, context.id), call)
    reader.read(reply)
    codes = None if reader.finish_reason == "length" else _codes(reader.text.strip())
    if codes is None or not all(isinstance(code, str) and code in context.model.hazards for code in codes):
        raise Failure(FailureKind.BROKEN, "The moderation model gave a verdict that can't be read.", status=502)
    return list(dict.fromkeys(codes)), reader.usage


def _codes(verdict: str) -> list[Any] | None:
    """The codes that a verdict names, in either of its forms; None if it is none."""
    if verdict.startswith("{"):
        return _codes_of_object(verdict)
    if verdict == "safe":
        return []
    match = UNSAFE.fullmatch(verdict)
    return re.findall(r"\w+", match[1]) if match else None


def _codes_of_object(source: str) -> list[Any] | None:
    try:
        verdict: Any = orjson.loads(source)
    except orjson.JSONDecodeError:
        return None
    match verdict:
        case {"safe": True} if not verdict.get("categories"):
            return []
        case {"safe": False, "categories": [_, *_]}:
            return list(verdict["categories"])
    return None


def _result(codes: Sequence[str], model: Model) -> ModerationResult:
    found = {category for code in codes for category in model.hazards[code]}
    return {
        "flagged": bool(codes),
        "categories": {category: category in found for category in CATEGORIES},
        "category_scores": {category: float(category in found) for category in CATEGORIES},
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
        "hazards": [{"code": code, "name": HAZARDS[code]} for code in codes],
    }


moderations = Translator(
    tasks=frozenset({"moderation"}), endpoint="/v1/moderations", to_plan=to_plan, from_replies=from_replies
)
