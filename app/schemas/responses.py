"""Responses: what clients send. Items and tools are kept as they came; what they mean is read by the translator.

Lenient where clients are known to be loose: null counts as absent, whole floats as integers, unknown fields are kept.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.schemas.chat import LOOSE

Item = dict[str, Any]
"""A piece of a conversation: a message, a tool's call or its output, thoughts. `type` tells which."""


class TextOptions(BaseModel):
    """What the answer's text shall be."""

    model_config = LOOSE

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ReasoningOptions(BaseModel):
    """How much to think, and whether to tell of it."""

    model_config = LOOSE

    effort: str | None = None
    summary: str | None = None


class ResponsesRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/responses/create"""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    stream: bool | None = None
    background: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None

    @property
    def is_stored(self) -> bool:
        return self.store is not False
