"""Anthropic's Messages: what clients send, and what they get.

Lenient as the agents need it: null counts as absent, and fields, betas and kinds of blocks that are not known here
are kept. Only what decides what is asked is checked.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Any, Literal, NotRequired

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from app.schemas.chat import LOOSE, ToolName

BILLING = "x-anthropic-billing-header:"
"""How Claude Code begins a block of the system prompt that is no prompt, and changes between requests."""


@with_config(LOOSE)
class Source(TypedDict, total=False):
    """Where a picture or a document is."""

    type: str
    media_type: str | None
    data: str | None
    url: str | None
    content: Any


@with_config(LOOSE)
class Block(TypedDict, total=False):
    """One piece of a turn; which fields it has follows from `type`."""

    type: str
    text: str | None
    thinking: str | None
    source: Source | str | None
    """A text in search results."""
    title: str | None
    context: str | None
    id: str | None
    name: str | None
    input: Any
    tool_use_id: str | None
    content: "str | list[Block] | dict[str, Any] | None"
    is_error: bool | None
    cache_control: Any


@with_config(LOOSE)
class Message(TypedDict):
    """One turn. Newer clients put the system's words in the middle of the conversation, too."""

    role: Literal["user", "assistant", "system", "developer"]
    content: NotRequired[str | list[Block] | None]


@with_config(LOOSE)
class Tool(TypedDict):
    """A tool of the client's, with `input_schema`; or one that Claude knows by its `type`. Whole sets have no name."""

    name: NotRequired[ToolName | None]
    type: NotRequired[str | None]
    description: NotRequired[str | None]
    input_schema: NotRequired[dict[str, Any] | None]


@with_config(LOOSE)
class ToolChoice(TypedDict):
    type: Literal["auto", "any", "tool", "none"]
    name: NotRequired[str | None]
    disable_parallel_tool_use: NotRequired[bool | None]


@with_config(LOOSE)
class Thinking(TypedDict):
    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: NotRequired[int | None]
    display: NotRequired[str | None]


@with_config(LOOSE)
class OutputConfig(TypedDict, total=False):
    effort: str | None
    format: dict[str, Any] | None


@with_config(LOOSE)
class Metadata(TypedDict, total=False):
    user_id: str | None


class MessagesRequest(BaseModel):
    """https://docs.anthropic.com/en/api/messages, and what their tokens are counted of."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    messages: Annotated[list[Message], Field(min_length=1)]
    system: str | list[Block] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: dict[str, Any] | None = None
    metadata: Metadata | None = None
    cache_control: dict[str, Any] | None = None

    @property
    def system_texts(self) -> list[str]:
        """The texts of `system`, as far as they are for the model."""
        blocks = [{"text": self.system}] if isinstance(self.system, str) else self.system or []
        texts = [block.get("text") or "" for block in blocks]
        return [text for text in texts if text and not text.startswith(BILLING)]

    @property
    def shows_thoughts(self) -> bool:
        """Whether thinking was asked for, and to be seen: many clients take the first block for the answer."""
        thinking = self.thinking
        return thinking is not None and thinking["type"] != "disabled" and thinking.get("display") != "omitted"

    @property
    def prompt_cache_key(self) -> str | None:
        """What ties the requests of a conversation together, if the client has marked anything for the cache.

        Of what stays while a conversation grows; the marks themselves move on with it.
        """
        if not any(marked.get("cache_control") for marked in self._markable()):
            return None
        user = (self.metadata or {}).get("user_id")
        beginning = [user, self.system_texts, _texts(self.messages[0].get("content"))]
        return sha256(orjson.dumps(beginning)).hexdigest()

    def _markable(self) -> Iterator[Any]:
        yield {"cache_control": self.cache_control}
        yield from self.tools or ()
        for content in (self.system, *(message.get("content") for message in self.messages)):
            for block in _blocks(content):
                yield block
                yield from _blocks(block.get("content"))


class MessageCreation(MessagesRequest):
    """A request to be answered: Anthropic's clients have to say how long the answer may be."""

    max_tokens: Annotated[int, Field(ge=1)]


class MessageUsage(BaseModel):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class MessageBody(BaseModel):
    """A whole answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use", "stop_sequence", "refusal"]
    stop_sequence: str | None
    usage: MessageUsage


class TokenCountBody(BaseModel):
    input_tokens: int


class MessagesFault(BaseModel):
    type: str
    message: str


class MessagesErrorBody(BaseModel):
    """A failure, in Anthropic's shape."""

    type: Literal["error"]
    error: MessagesFault
    request_id: str


def _blocks(content: Any) -> list[Block]:
    return content if isinstance(content, list) else []


def _texts(content: str | list[Block] | None) -> list[str | None]:
    return [content] if isinstance(content, str) else [block.get("text") for block in _blocks(content)]
