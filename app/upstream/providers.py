"""Providers: which models only AI Gateway knows, and what they are called there. Pure."""

import re
from functools import lru_cache

from app.upstream.gateway import Gateway

PROVIDERS = frozenset(
    {
        *("adobe-firefly", "anthropic", "aws-bedrock", "azure-openai", "cartesia", "cerebras", "cohere", "deepseek"),
        *("elevenlabs", "google-ai-studio", "google-vertex-ai", "grok", "groq", "huggingface", "mistral", "openai"),
        *("openrouter", "perplexity-ai", "replicate"),
        *("alibaba", "google", "xai"),  # as the API host names them
        "dynamic",
    }
)
"""What may stand before the first slash of a model that AI Gateway reaches elsewhere."""
AT_API = frozenset({"alibaba", "anthropic", "dynamic", "google", "openai", "workers-ai", "xai"})
"""Those that Cloudflare's API knows too (its docs, AI Gateway, REST API), and not only the gateway's own host."""
PROVIDER_MODEL = re.compile(r"[a-z][a-z0-9-]*(?:/[A-Za-z0-9@_~][A-Za-z0-9@._:~+-]*)+")
"""What may be asked for in a path or a body, so nothing that could leave its place in one."""
AUTO = "cloudflare/auto"
LONGEST_NAME = 200
WORKERS_AI = "workers-ai/"


@lru_cache(maxsize=1024)
def is_provider_model(name: str) -> bool:
    """Whether only AI Gateway's chat completions know the model: `openai/…`, `dynamic/…`, `workers-ai/@cf/…`."""
    provider = name.partition("/")[0]
    is_known = provider in PROVIDERS or name == AUTO or name.startswith(f"{WORKERS_AI}@")
    return is_known and len(name) <= LONGEST_NAME and PROVIDER_MODEL.fullmatch(name) is not None


def is_at_host_only(name: str) -> bool:
    """Of a model that `is_provider_model`."""
    return name.partition("/")[0] not in AT_API


def upstream_model(name: str, gateway: Gateway | None) -> str:
    """The name to send. Only the gateway host knows Workers AI's models with a provider before them."""
    is_host = gateway is not None and gateway.route == "host"
    return name if is_host or not is_provider_model(name) else name.removeprefix(WORKERS_AI)
