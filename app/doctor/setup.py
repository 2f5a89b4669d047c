"""The setup that is examined, and what shows in it alone."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from app.calls import Account
from app.doctor.findings import Finding, Outcome
from app.settings import Mode
from app.upstream.gateway import Gateway


@dataclass(frozen=True)
class Setup:
    """The settings, as far as they are examined."""

    mode: Mode
    api_base_url: str = ""
    accounts: tuple[Account, ...] = ()
    """Those of the server; none in pass-through mode."""
    gateway: Gateway | None = None
    licenses: Mapping[str, str] = field(default_factory=dict)
    """Ids of models that have a licence to accept -> the prompt that accepts it."""
    data_dir: Path = Path("data")
    wanted_bytes: int = 0
    """What the server may keep in `data_dir`."""
    host: str = "127.0.0.1"
    is_loopback: bool = True
    port: int = 0
    public_base_url: str | None = None
    keys: int = 0
    """How many keys callers may show."""


def mode_finding(setup: Setup) -> Finding:
    if setup.mode == "emulator":
        remedy = "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN for real ones."
        return Finding("mode", Outcome.WARNING, "emulator: answers are made up.", remedy)
    if setup.mode == "pass-through":
        return Finding("mode", Outcome.OK, "pass-through: callers' keys are their own Cloudflare tokens.")
    ways = f"through AI Gateway {setup.gateway.id}" if setup.gateway else "directly"
    count = len(setup.accounts)
    return Finding("mode", Outcome.OK, f"managed: calls run on {count} account{'s' * (count != 1)}, {ways}.")


def public_url_finding(setup: Setup) -> Finding:
    check = "PUBLIC_BASE_URL"
    if setup.public_base_url is None:
        return Finding(check, Outcome.OK, "not set: pictures are linked at the address a request came to.")
    url = urlsplit(setup.public_base_url)
    if url.query or url.fragment or url.username:
        return Finding(check, Outcome.WARNING, "it is more than an address.", "Leave out user, `?` and `#`.")
    if url.path.endswith("/v1"):
        return Finding(check, Outcome.WARNING, "pictures are not below /v1.", "Leave /v1 out.")
    if _is_local(url.hostname) and not setup.is_loopback:
        remedy = "Set it to the name by which users reach the server."
        return Finding(check, Outcome.WARNING, "it leads everybody to their own machine.", remedy)
    return Finding(check, Outcome.OK, f"pictures are linked below {setup.public_base_url}.")


def keys_finding(setup: Setup) -> Finding:
    check = "API_KEYS"
    if setup.mode == "pass-through":
        return Finding(check, Outcome.OK, "callers show Cloudflare tokens.")
    if setup.keys:
        return Finding(check, Outcome.OK, f"callers need one of {setup.keys}.")
    is_reached = setup.public_base_url is not None and not _is_local(urlsplit(setup.public_base_url).hostname)
    if setup.is_loopback and not is_reached:
        return Finding(check, Outcome.OK, "not set: whoever is on this machine may call.")
    outcome = Outcome.FAILED if setup.mode == "managed" else Outcome.WARNING
    text = "not set: everybody who reaches the server may call."
    return Finding(check, outcome, text, "Set them, or `flarelay keys add NAME`.")


def _is_local(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
