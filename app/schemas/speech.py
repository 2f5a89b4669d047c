"""Speech: what clients send to have a text spoken.

Beyond OpenAI's fields: `language` (or `lang`), an ISO 639 code. Some clients send `stream`, which changes nothing: the
sound is always sent as it comes.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

DEFAULT_MODEL = "tts-1"
LONGEST_INPUT = 100_000
"""Characters; about two hours of speech. OpenAI's own limit is 4096."""

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
StreamFormat = Literal["audio", "sse"]


def _named(value: Any) -> Any:
    return DEFAULT_MODEL if value in (None, "") else value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank_text", "There is nothing in it to be spoken")
    return text


@with_config(ConfigDict(extra="allow"))
class Voice(TypedDict):
    """A voice as an object, which is how OpenAI's clients send one that was made to order."""

    id: NotRequired[str | None]


class SpeechRequest(BaseModel):
    """https://platform.openai.com/docs/api-reference/audio/createSpeech"""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=300), BeforeValidator(_named)] = DEFAULT_MODEL
    input: Annotated[str, StringConstraints(max_length=LONGEST_INPUT), AfterValidator(_not_blank)]
    voice: str | Voice | None = None
    response_format: Format | None = None
    speed: Annotated[float, Field(ge=0.25, le=4)] | None = None
    instructions: str | None = None
    stream_format: StreamFormat | None = None
    stream: bool | None = None
    language: str | None = None
    lang: str | None = None
    user: str | None = None

    @property
    def voice_name(self) -> str | None:
        """The voice asked for; None leaves it to the model."""
        name = self.voice.get("id") if isinstance(self.voice, dict) else self.voice
        return (name or "").strip() or None
