"""Chat completions: what clients send.

Lenient where clients are known to be loose: null counts as absent, whole floats as integers, unknown fields are
kept. Strict where a wrong value would change the answer.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

LOOSE = ConfigDict(extra="allow")

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

ToolName = Annotated[str, StringConstraints(min_length=1, max_length=128)]

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


@with_config(LOOSE)
class ImageURL(TypedDict):
    url: Annotated[str, StringConstraints(min_length=1)]


@with_config(LOOSE)
class File(TypedDict, total=False):
    """A document: a data URI, bare base64, or the http(s) address of one."""

    file_data: str | None
    filename: str | None
    file_id: str | None


@with_config(LOOSE)
class Part(TypedDict, total=False):
    """One piece of a turn; which fields it has follows from `type`."""

    type: str
    text: str | None
    image_url: ImageURL | str | None
    file: File | None
    refusal: str | None


@with_config(LOOSE)
class FunctionCall(TypedDict):
    name: str
    arguments: NotRequired[str | dict[str, Any] | None]


@with_config(LOOSE)
class ToolCall(TypedDict):
    id: NotRequired[str | None]
    function: FunctionCall


@with_config(LOOSE)
class Message(TypedDict):
    """One turn of the conversation."""

    role: Role
    content: NotRequired[str | list[Part] | None]
    name: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]
    tool_call_id: NotRequired[str | None]
    function_call: NotRequired[FunctionCall | None]
    reasoning_content: NotRequired[str | None]
    reasoning: NotRequired[str | None]
    refusal: NotRequired[str | None]


@with_config(LOOSE)
class Function(TypedDict):
    name: ToolName
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]


@with_config(LOOSE)
class Tool(TypedDict, total=False):
    """A tool in OpenAI's nested shape, or in Cloudflare's flat one (`name` and `parameters` on top)."""

    type: str
    function: Function
    name: ToolName
    description: str | None
    parameters: dict[str, Any] | None


class StreamOptions(BaseModel):
    model_config = LOOSE

    include_usage: bool | None = None


class ChatCompletionRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/chat/create"""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | str | None = None
    reasoning_effort: str | None = None
    prompt_cache_key: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def stops(self) -> tuple[str, ...]:
        stop = self.stop
        if not stop:
            return ()
        return (stop,) if isinstance(stop, str) else tuple(each for each in stop if each)
