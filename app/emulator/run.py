"""Run: one request as it reached a model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

from app.catalog import Model
from app.emulator.quirks import MODEL_QUIRKS, switched
from app.emulator.script import MARK, Script, script_of

TEXT_FIELDS = (
    *("text", "queries", "documents", "query", "contexts", "input", "question"),
    *("initial_prompt", "prefix", "extra"),  # beside a recording, which can't hold a script
)
"""Where the models that are no chat's find their texts."""
REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
"""What Claude Code writes into the user's turns, or as one of them, though the user never said it."""


class Family(StrEnum):
    """The dialects of text models."""

    NATIVE = "native"  # prompt or messages in, {"response"} out
    HYBRID = "hybrid"  # prompt or messages in, OpenAI's choices out
    CHAT = "chat"  # OpenAI in and out
    RESPONSES = "responses"  # the same; takes OpenAI's Responses too


def family_of(model: Model) -> Family:
    if model.input_shape == "prompt-or-messages":
        return Family.NATIVE if model.output_shape == "response-text" else Family.HYBRID
    return Family.RESPONSES if model.quirks.speaks_responses else Family.CHAT


def text_of(content: Any) -> str:
    """The text of a message's content, whatever form that has."""
    if isinstance(content, dict):  # some native models take a part by itself
        content = [content]
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def is_tool_result(turn: Mapping[str, Any]) -> bool:
    """Whether a turn tells what a tool answered: in the role for that, or as Hermes and Qwen's templates write it."""
    text = text_of(turn.get("content")) if turn.get("role") == "user" else ""
    return turn.get("role") == "tool" or (text.startswith("<tool_response") and text.endswith("</tool_response>"))


def texts_of(value: Any) -> list[str]:
    """The texts of a field that takes one or many, plain or as `{"text"}`."""
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    if isinstance(value, dict):
        value = value.get("text")
    return [value] if isinstance(value, str) else []


@dataclass(frozen=True)
class Run:
    id: str
    """Of this inference; stands in errors and in `cf-ai-req-id`."""
    account: str
    model: Model
    is_openai: bool
    """It came through a path below `ai/v1`, not through `ai/run`."""
    body: dict[str, Any]
    created: int
    """Unix seconds."""
    base_quirks: frozenset[str]
    affinity: str | None = None
    is_response: bool = False
    """It was asked in OpenAI's Responses, and is answered so; the body is the chat that this comes to."""
    data: bytes = b""
    """The body of a run that is no JSON."""

    @property
    def family(self) -> Family:
        return family_of(self.model)

    @property
    def takes_openai(self) -> bool:
        return self.is_openai or self.model.input_shape == "chat-completions"

    @property
    def gives_openai(self) -> bool:
        return self.is_openai or self.model.output_shape == "openai-choices"

    @property
    def is_raw(self) -> bool:
        """The prompt reaches the model as it is, to be continued. Source: Cloudflare's docs, for native models."""
        return self.family is Family.NATIVE and "prompt" in self.body and self.body.get("raw") is True

    @property
    def wants_stream(self) -> bool:
        return self.body.get("stream") is True

    @cached_property
    def turns(self) -> list[dict[str, Any]]:
        """The messages, as far as they are some; a prompt counts as one of the user."""
        messages = self.body.get("messages")
        if isinstance(messages, list):
            return [message for message in messages if isinstance(message, dict)]
        return [{"role": "user", "content": self.body.get("prompt")}]

    @cached_property
    def question(self) -> str:
        """The last text of the user, without the script in it and without reminders of the user's program."""
        return REMINDER.sub("", self._spoken[1]).strip()

    @cached_property
    def script(self) -> Script:
        return self._spoken[0].after(self._rounds)

    @cached_property
    def quirks(self) -> frozenset[str]:
        return switched(self.base_quirks, self.script.quirks) | MODEL_QUIRKS.get(self.model.id, frozenset())

    @cached_property
    def _spoken(self) -> tuple[Script, str]:
        """The script, and the text beside it: in the last turn of the user (or the last of all, if that is judged), or
        where there are no turns in the first text, or rather the first with a script."""
        if "messages" in self.body or "prompt" in self.body:
            said = [turn for turn in self.turns if self.model.task == "moderation" or _is_users(turn)]
            return script_of(text_of(said[-1].get("content")) if said else "")
        texts = [text for name in TEXT_FIELDS for text in texts_of(self.body.get(name))]
        return script_of(next((text for text in texts if MARK in text), texts[0] if texts else ""))

    @property
    def _rounds(self) -> int:
        """How often tools have answered since the user last spoke."""
        spoken = max((number for number, turn in enumerate(self.turns) if _is_users(turn)), default=0)
        later = pairwise(map(is_tool_result, self.turns[spoken:]))
        return sum(is_result and not was_result for was_result, is_result in later)

    @property
    def json_mode(self) -> dict[str, Any] | None:
        """The `response_format`, if it asks for JSON."""
        wanted = self.body.get("response_format")
        return wanted if isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema") else None

    @property
    def max_tokens(self) -> int | None:
        """What the caller allows, or else the 256 that native models and gpt-oss keep to. Source: Cloudflare's model
        schemas."""
        wanted = (self.body.get("max_completion_tokens") if self.takes_openai else None) or self.body.get("max_tokens")
        return wanted or (None if self.family is Family.CHAT else 256)


def _is_users(turn: Mapping[str, Any]) -> bool:
    if turn.get("role") != "user" or is_tool_result(turn):
        return False
    text = text_of(turn.get("content"))
    return not text.startswith("<system-reminder>") or bool(REMINDER.sub("", text).strip())
