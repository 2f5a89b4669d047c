"""Every option, from the environment or `.env`: its default and one line of meaning."""

import ipaddress
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Mode = Literal["managed", "pass-through", "emulator"]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _kept(value: Any) -> Any:
    return () if value in ("none", ["none"]) else _split(value)


def _base_url(value: str) -> str:
    """Without a slash at the end. Raises ValueError for a port that is none."""
    urlsplit(value).port  # noqa: B018 - it is read to be checked
    return value.rstrip("/")


ACCOUNT = re.compile(r"[A-Za-z0-9_-]+:[\x21-\x7e]+")

FREE_NEURONS = 10_000.0
"""A day, for each account. Source: Cloudflare's docs, Workers AI, Pricing."""

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+"), AfterValidator(_base_url)]


class Settings(BaseSettings):
    """Where a value is a list it is comma separated; an empty value counts as not set."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=256, description="Processes; one per core is right.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="`info` writes one line per request; `warning` only faults."
    )
    data_dir: str = Field(
        "data", description="Folder for what the server keeps: a database, and the pictures that were made."
    )

    api_keys: Secrets = Field(
        (),
        description="Keys that callers may use (any text), comma separated; `name=key;rpm=60;concurrent=4;neurons=5000;"
        "models=gpt-*|o3` gives one a name and limits. `flarelay keys add NAME` makes more while the server runs.",
    )
    admin_key: SecretStr | None = Field(
        None, min_length=8, description="Opens `GET /v1/admin/usage`, which tells of all keys; empty: nobody."
    )
    neuron_budget: float | None = Field(
        None,
        ge=0,
        description="Neurons that the server may spend in a day (UTC). Empty: 10000 for each account, which is what "
        "Cloudflare gives for free; `0`: as many as are asked for.",
    )
    quota_ends_channel: bool = Field(
        False,
        description="Tell a spent allowance as `insufficient_quota`: One API and new-api switch a channel off for it. "
        "Otherwise they try another channel, and this one again tomorrow.",
    )
    chat_links: bool = Field(
        False,
        description="Answer `GET /v1/chat/completions?model=&prompt=&key=`, a link for trying a model in a browser. "
        "Links, and the keys in them, end up in histories and logs.",
    )
    cors_origins: Names = Field(("*",), description="Origins of web pages that may call; `*` for all.")

    cloudflare_account_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The account that pays. Without a token, callers bring their own.",
    )
    cloudflare_api_token: SecretStr | None = Field(
        None, description="A token of that account with the permission Workers AI Read and Edit."
    )
    cloudflare_accounts: Secrets = Field(
        (),
        description="Several accounts, `id:token,id:token`: when one has spent its neurons of the day, or has no room, "
        "the next one answers.",
    )
    cloudflare_api_base_url: Url = Field(
        "https://api.cloudflare.com/client/v4", description="Cloudflare's API, or a proxy of yours in front of it."
    )

    ai_gateway_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="The AI Gateway (of each account) that all calls go through; empty: none.",
    )
    ai_gateway_token: SecretStr | None = Field(
        None, description="A token with the permission AI Gateway Run, if it is not the account's own."
    )
    ai_gateway_route: Literal["rest", "host"] = Field(
        "rest", description="By way of Cloudflare's API (`rest`), or of the gateway's own host."
    )
    ai_gateway_base_url: Url = Field(
        "https://gateway.ai.cloudflare.com/v1", description="The gateway's host, for `AI_GATEWAY_ROUTE=host`."
    )
    ai_gateway_skip_cache: bool = Field(False, description="Never answer from the gateway's cache.")
    ai_gateway_cache_ttl_seconds: int | None = Field(
        None, ge=60, le=30 * 86400, description="How long the gateway keeps answers; empty: as it is set up there."
    )
    ai_gateway_fallback: bool = Field(False, description="Call Cloudflare directly while the gateway is down.")

    model_aliases: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description='Names for models, as JSON: `{"my-model": "gpt-5-mini"}`. `*` in a name matches any text; '
        "they come before the built-in ones.",
    )
    model_fallbacks: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="What answers where a model can't, after all accounts were tried, as JSON: "
        '`{"gpt-4o": ["gpt-4.1", "gpt-5-mini"]}`.',
    )
    replace_retired_models: bool = Field(
        True, description="Run the successor of a model that Cloudflare has retired, instead of answering 404."
    )
    default_max_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens of an answer when the caller sets none; empty: 4096, or 16384 for models that think.",
    )
    tool_emulation: bool = Field(
        True,
        description="Tell tools in the prompt to models that can't call any, and read the calls from their text; "
        "`false` refuses such requests.",
    )

    remote_fetch: bool = Field(True, description="Fetch pictures and documents that a caller names by http(s) address.")
    remote_fetch_allow: Names = Field(
        (), description="Hosts or networks that may be fetched although private: `nas.lan,192.168.1.0/24`."
    )
    remote_fetch_max_bytes: int = Field(20 * 2**20, ge=1, description="Largest picture or document that is fetched.")
    remote_fetch_timeout_seconds: float = Field(15, gt=0, description="Longest time for one fetch, redirects included.")

    public_base_url: Url | None = Field(
        None, description="The address at which users reach the server; pictures are linked below it."
    )
    trust_forwarded: bool = Field(
        False, description="Believe X-Forwarded-Proto and -Host of a proxy in front where no PUBLIC_BASE_URL is set."
    )
    pictures_url: str | None = Field(
        None,
        pattern=r"^s3://[^/]",
        description="A bucket to keep made pictures in, `s3://bucket/folder`, in place of the disk (S3 or R2). Account "
        "and endpoint are read from the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, "
        "`AWS_ENDPOINT`.",
    )
    pictures_max_bytes: int = Field(2 * 2**30, ge=0, description="Room for made pictures; the oldest go first.")
    pictures_expire_seconds: float = Field(7 * 86400, gt=0, description="How long a made picture is kept.")

    max_upload_bytes: int = Field(
        200 * 2**20, ge=1, description="Largest recording to transcribe; above it 413. It is kept on disk meanwhile."
    )
    transcription_pieces_at_once: int = Field(
        4,
        ge=1,
        le=32,
        description="Pieces of one long recording that are transcribed at the same time. With `1` they run one after "
        "the other, and each is given the text before it: slower, and better at names and sentences that go on.",
    )

    response_cache: Annotated[tuple[Literal["embeddings", "chat"], ...], NoDecode, BeforeValidator(_kept)] = Field(
        ("embeddings",),
        description="Answers that are kept, and given again for exactly the same request: `embeddings`, `chat`; `none` "
        "for none. Streams are not.",
    )
    response_cache_shared: bool = Field(
        False, description="Give callers what others have asked for, too; otherwise each key has its own."
    )
    response_cache_ttl_seconds: float = Field(86400, gt=0, description="How long an answer is kept.")
    response_cache_max_bytes: int = Field(256 * 2**20, ge=0, description="Room for kept answers.")

    stored_responses_max_bytes: int = Field(
        512 * 2**20, ge=0, description="Room for responses that later ones may go on from; the oldest go first."
    )
    stored_responses_expire_seconds: float = Field(
        30 * 86400, gt=0, description="How long a response can be gone on from, or fetched."
    )

    translate_tokens: Secrets = Field(
        (),
        description="Keys that open the translation routes and nothing else; they may stand in the URL, where browser "
        "extensions have no other place for one.",
    )
    translate_model: str = Field(
        "m2m100",
        description="What translates: a model made for it, or any chat model, which is better and dearer.",
    )
    translate_fallback_model: str = Field(
        "gpt-4o-mini",
        description="What translates again where the answer was bad (it loops, is empty, or not translated), or the "
        "languages are beyond the first; `off` for none.",
    )
    translation_cache_max_bytes: int = Field(
        256 * 2**20, ge=0, description="Room for translations that may be asked for again; `0` keeps none."
    )
    translation_pack_ms: float = Field(
        8,
        ge=0,
        le=1000,
        description="How long a text waits for others, to go to a chat model with them in one call.",
    )

    max_body_bytes: int = Field(32 * 2**20, ge=1, description="Largest request body; above it 413.")
    request_timeout_seconds: float = Field(
        600, gt=0, description="Longest time for one request, all tries together, up to the first byte of a stream."
    )
    connect_timeout_seconds: float = Field(10, gt=0, description="Longest time to reach Cloudflare.")
    idle_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of Cloudflare: before a stream's first byte and between two events."
    )
    max_tries: int = Field(3, ge=1, le=10, description="How often a call is sent before its failure is passed on.")
    heartbeat_seconds: float = Field(
        15, gt=0, description="Silence in a stream after which a comment is sent to keep connections open."
    )
    shutdown_seconds: int = Field(30, ge=0, description="How long running answers may finish when the server stops.")
    model_list_ttl_seconds: float = Field(3600, ge=0, description="How long the account's own model list is kept.")

    @model_validator(mode="after")
    def _are_consistent(self) -> "Settings":
        if self.cloudflare_api_token and not self.cloudflare_account_id:
            raise ValueError("CLOUDFLARE_API_TOKEN is set, CLOUDFLARE_ACCOUNT_ID is not: set both.")
        if any(not ACCOUNT.fullmatch(account.get_secret_value()) for account in self.cloudflare_accounts):
            raise ValueError("CLOUDFLARE_ACCOUNTS: each account is `id:token`; they are comma separated.")
        if self.mode == "pass-through" and self.api_keys:
            raise ValueError(
                "API_KEYS are set, but there is no CLOUDFLARE_API_TOKEN they could stand for. Set the token too, or "
                "remove API_KEYS so that callers use their own Cloudflare tokens as keys."
            )
        if self.mode == "pass-through" and self.translate_tokens:
            raise ValueError(
                "TRANSLATE_TOKENS are set, but there is no CLOUDFLARE_API_TOKEN they could stand for. Set the token "
                "too, or remove TRANSLATE_TOKENS so that callers use their own Cloudflare tokens."
            )
        has_keys = self.api_keys or (Path(self.data_dir) / "keys.toml").exists()
        if self.mode == "managed" and not has_keys and not self.is_loopback:
            raise ValueError(
                f"With HOST={self.host} everybody who reaches this server could spend your Cloudflare account. "
                "Set API_KEYS to the keys that callers must show, or HOST=127.0.0.1."
            )
        return self

    @cached_property
    def fallbacks(self) -> dict[str, tuple[str, ...]]:
        """Names of models -> those that may answer in their place, in this order."""
        return {
            name: (others,) if isinstance(others, str) else tuple(others)
            for name, others in self.model_fallbacks.items()
        }

    def budget(self, accounts: int) -> float | None:
        """Neurons a day for so many accounts of ours; None: no limit."""
        budget = FREE_NEURONS * accounts if self.neuron_budget is None else self.neuron_budget
        return budget or None

    @cached_property
    def mode(self) -> Mode:
        """Whose Cloudflare credentials pay: ours, the caller's, or nobody's."""
        if self.cloudflare_accounts:
            return "managed"
        if self.cloudflare_account_id is None:
            return "emulator"
        return "managed" if self.cloudflare_api_token else "pass-through"

    @cached_property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
