"""Completions: what clients of OpenAI's older API send."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.schemas.chat import StreamOptions
from app.schemas.texts import Input


class CompletionRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/completions/create

    The fields that shape an answer are those of a chat and checked there.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    prompt: Input
    suffix: str | None = None
    echo: bool | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_key: str | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def prompts(self) -> list[str | list[int]]:
        """Every prompt by itself: a single one may be a text or a list of ids."""
        prompt: Any = self.prompt
        is_one = isinstance(prompt, str) or isinstance(prompt[0], int)
        return [prompt] if is_one else list(prompt)
