"""Gateway entries: how a request comes to a gateway, and where it goes on to.

Source: Cloudflare's docs, AI Gateway > Usage > REST API, Workers AI provider, Unified API.
"""

import re
from dataclasses import replace
from typing import NamedTuple

from app.catalog import Model
from app.emulator.faults import no_route
from app.emulator.gateway_faults import GatewayFault
from app.emulator.options import GatewayOptions
from app.emulator.requests import ReceivedRequest

CHAT_PATH = "v1/chat/completions"
HOST_PATH = re.compile(r"(?:/v1)?/([^/]+)/([^/]+)/(workers-ai|compat)/(.+)")
API_PATH = re.compile(r"(?:/client/v4)?/accounts/([^/]+)/ai/(run(?:/.+)?|v1/.+)")
PROVIDERS = {"anthropic", "cloudflare", "deepseek", "dynamic", "google", "google-ai-studio", "groq", "openai", "xai"}
"""What stands before the models that the emulator answers in the place of others."""
STAND_IN = ("openai", "gpt-4o-mini")
"""Who answers dynamic routes and the auto router."""


class Entry(NamedTuple):
    """How a request came to a gateway."""

    account: str
    gateway: str
    path: str
    """Below `…/ai/`, once it is known."""
    is_host: bool
    is_compat: bool = False


class Foreign(NamedTuple):
    """A model of another provider."""

    provider: str
    name: str

    @property
    def model(self) -> Model:
        return Model(self.name, "text-generation")


def entry_of(request: ReceivedRequest) -> Entry | None:
    """None for a request that meets no gateway."""
    if found := HOST_PATH.fullmatch(request.path):
        account, gateway, provider, path = found.groups()
        return Entry(account, gateway, path, True, provider == "compat")
    found = API_PATH.fullmatch(request.path)
    gateway_id = request.headers.get("cf-aig-gateway-id")
    if found and gateway_id is None and found[2] == CHAT_PATH and foreign_of(model_of(request)):
        gateway_id = "default"
    return Entry(found[1], gateway_id, found[2], False) if found and gateway_id is not None else None


def routed(
    entry: Entry, options: GatewayOptions, request: ReceivedRequest
) -> tuple[Entry, ReceivedRequest, Foreign | None]:
    """What goes on to Workers AI, or to whom else. Raises Fault and GatewayFault."""
    if entry.is_compat:
        return _by_model(entry, request)
    if not entry.is_host:
        return entry, request, foreign_of(model_of(request)) if entry.path == CHAT_PATH else None
    if entry.path in (CHAT_PATH, "v1/embeddings"):
        return entry, request, None
    form = "run" if entry.path.startswith("run/") else "bare"
    if options.run_form not in ("any", form):
        raise no_route(request.path)
    return entry._replace(path=f"run/{entry.path.removeprefix('run/')}"), request, None


def _by_model(entry: Entry, request: ReceivedRequest) -> tuple[Entry, ReceivedRequest, Foreign | None]:
    if entry.path != "chat/completions":
        raise no_route(request.path)
    if not isinstance(request.body, dict):
        raise GatewayFault(2019)
    entry, name = entry._replace(path=CHAT_PATH), model_of(request)
    if name.startswith("workers-ai/"):
        return entry, replace(request, body=request.body | {"model": name.removeprefix("workers-ai/")}), None
    if name.startswith("@"):
        raise GatewayFault(2008)
    foreign = foreign_of(name)
    if foreign is None:
        raise GatewayFault(2005)
    return entry, request, foreign


def model_of(request: ReceivedRequest) -> str:
    """As its body names it."""
    name = request.body.get("model") if isinstance(request.body, dict) else None
    return name if isinstance(name, str) else ""


def foreign_of(name: str) -> Foreign | None:
    provider, _, model = name.partition("/")
    if provider not in PROVIDERS or not model:
        return None
    return Foreign(*STAND_IN) if provider in ("dynamic", "cloudflare") else Foreign(provider, model)
