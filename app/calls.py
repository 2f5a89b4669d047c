"""Call, Reply, Sound, Document, Failure, Usage: the values that pass between the layers, all of them immutable."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from app.values import immutable


@immutable
class Account:
    """A Cloudflare account that pays for calls."""

    id: str
    token: str = field(repr=False)
    base_url: str
    """Up to and without `/accounts`, such as `https://api.cloudflare.com/client/v4`."""
    is_ours: bool = True
    """The token comes from the settings, so its faults are ours; otherwise the caller brought it."""


@immutable
class Limits:
    """What a key may do. None: as much as it likes."""

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    neurons_per_day: float | None = None
    """Between two midnights, UTC."""
    models: tuple[str, ...] = ()
    """Names, in which `*` matches any text; empty: all."""


UNLIMITED = Limits()


@immutable
class Caller:
    """Who is asking."""

    name: str
    """Stands for the key in logs, hashes and reports: what its owner calls it, its fingerprint, or `anonymous`."""
    account: Account
    others: tuple[Account, ...] = ()
    """Accounts that pay as well as the first."""
    limits: Limits = UNLIMITED
    affinity: str | None = None
    """What the request itself says it belongs with, in `x-session-affinity`."""
    gateway: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the request asks of AI Gateway: its `cf-aig-*` headers, as far as callers may set them."""

    @property
    def accounts(self) -> tuple[Account, ...]:
        return (self.account, *self.others)


@immutable
class Call:
    """One Workers AI run."""

    model: str
    path: str
    """Below `…/accounts/{id}/ai/`: `run/@cf/author/name` or `v1/chat/completions`."""
    body: dict[str, Any]
    stream: bool = False
    affinity: str | None = None
    """Sent as `x-session-affinity`, so that equal prefixes meet the same prompt cache."""
    content: bytes | None = None
    """Sent in place of `body`, for models that take forms or bytes."""
    content_type: str = "application/json"
    choice: int = 0
    """Which of several answers to the same: not to be answered from what was kept of another one."""


@immutable
class Origin:
    """Where an answer came from."""

    account: str = ""
    """The id of the account that paid."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What AI Gateway told of the call: its `cf-aig-*` headers that the caller may see."""


NOWHERE = Origin()


@immutable
class Reply:
    """What one Call returned, out of its envelope: an object, a list, a text or bytes."""

    body: Any
    raw: bytes = b""
    """The body as it came, envelope and all: JSON numbers lose their spelling."""
    neurons: float | None = None
    """The exact charge, from `cf-ai-neurons`."""
    origin: Origin = NOWHERE
    is_cached: bool = False
    """It was there already, or on its way for somebody else: nobody paid for it."""


@immutable
class Sound:
    """A piece of a recording, ready for a model that hears."""

    data: bytes = field(repr=False)
    content_type: str
    """Such as `audio/flac`: what the bytes are, not what somebody said of them."""
    start_seconds: float
    """Where in the recording the piece begins; it ends where the next one begins."""
    duration_seconds: float
    is_silent: bool = False
    """There is nothing in it to be heard."""


@immutable
class Document:
    """A file that comes with a request, to be read as text. Equal files are one, wherever they stand."""

    source: str = field(repr=False)
    """An http(s) address, a data URI, or bare base64."""
    media_type: str = ""
    """As the request has it; empty if that is in `source`, or nowhere."""
    name: str = ""
    """Of the file."""
    param: str = field(default="", compare=False)
    """Where in the request it stands."""
    title: str = field(default="", compare=False)
    context: str = field(default="", compare=False)
    """What the request says about it."""

    @property
    def is_remote(self) -> bool:
        return self.source[:100].lstrip()[:8].lower().startswith(("http://", "https://"))


@immutable
class File:
    """The bytes of a document that only Cloudflare can read."""

    data: bytes = field(repr=False)
    extension: str
    """With its dot, such as `.pdf`: what the bytes are."""
    digest: str
    """The SHA-256 of the bytes."""


class FailureKind(StrEnum):
    """What went wrong upstream, as far as the caller's next step differs."""

    QUOTA = "quota"  # the account's daily neurons are spent
    CAPACITY = "capacity"  # no machine is free for the model
    RATE_LIMIT = "rate_limit"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"  # the account may not use this model
    CONFIGURATION = "configuration"  # a gateway or account id that does not exist
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    TOO_LARGE = "too_large"
    JSON_MODE = "json_mode"  # the model could not keep to the schema
    NO_JSON_MODE = "no_json_mode"  # the model has no JSON mode
    BAD_REQUEST = "bad_request"
    TIMEOUT = "timeout"
    CONNECTION = "connection"  # nothing was answered
    BROKEN = "broken"  # an answer that can't be understood, or a stream that stopped early
    SERVER = "server"


@immutable
class Bill:
    """What was paid for although nothing came of it."""

    model: str
    accounts: tuple[str, ...]
    shares: tuple[float, ...]
    """The neurons that each of them has paid."""


class Failure(Exception):  # noqa: N818 - it stands beside Reply as the other outcome of a Call
    """What a Call came to instead of a Reply.

    `message` is fit for a caller: free of ids, tokens and upstream prefixes. `code` is Cloudflare's own number.
    `account`, for the operator, is the id of the account that failed, once somebody knows it. `bill` is set where
    Cloudflare answered, at its price, and the answer was no good.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int = 0,
        code: int | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        context_window: int | None = None,
        prompt_tokens: int | None = None,
        request_id: str | None = None,
        is_retryable: bool = False,
        account: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.context_window = context_window
        self.prompt_tokens = prompt_tokens
        self.request_id = request_id
        self.is_retryable = is_retryable
        self.account = account
        self.bill: Bill | None = None


@immutable
class Usage:
    """What a request consumed. Tokens as OpenAI counts them: cached ones are part of the prompt."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    neurons: float | None = None
    is_estimated: bool = False
    audio_seconds: float = 0
    is_priced: bool = False
    """The neurons follow from the price list: Cloudflare told no exact charge."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            None if self.neurons is None and other.neurons is None else (self.neurons or 0) + (other.neurons or 0),
            self.is_estimated or other.is_estimated,
            self.audio_seconds + other.audio_seconds,
            self.is_priced or other.is_priced,
        )
