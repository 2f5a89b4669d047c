"""Doctor: looks at everything that has to be right before the server is of use, and says how to mend what is not.

It spends no neurons. What it asks of Cloudflare is a token's state, one row of the list of models, and a run of a
model that does not exist: whoever may not run models, or comes through a gateway that is closed, is told that first.
"""

import asyncio
import errno
import ipaddress
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import orjson

from app import __version__
from app.calls import Account, Failure, FailureKind
from app.settings import Mode
from app.upstream.failures import SENTENCES, classify, classify_event, from_exception
from app.upstream.gateway import Gateway, addressed, is_misrouted
from app.upstream.transport import Transport

TIMEOUT_SECONDS = 10.0
"""For each question to Cloudflare."""
MOST_CLOCK_SECONDS = 60
SOON_SECONDS = 14 * 86_400
LEAST_FREE_BYTES = 100 * 2**20
NOWHERE = "run/@cf/flarelay/doctor"
"""A model that Cloudflare does not have."""
TOKENS_PAGE = "https://dash.cloudflare.com/profile/api-tokens"
VISIBLE = re.compile(r"[\x21-\x7e]+")


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    UNKNOWN = "not checked"


class Finding(NamedTuple):
    """What came of one check. It holds no secret."""

    check: str
    outcome: Outcome
    text: str
    remedy: str = ""

    def line(self) -> str:
        return f"{self.outcome:<12}{self.check}: {self.text}{' ' if self.remedy else ''}{self.remedy}"


@dataclass(frozen=True)
class Setup:
    """The settings, as far as they are examined."""

    mode: Mode
    api_base_url: str = ""
    accounts: tuple[Account, ...] = ()
    """Those of the server; none in pass-through mode."""
    gateway: Gateway | None = None
    licensed_models: tuple[str, ...] = ()
    """Ids of models that have a licence to accept."""
    data_dir: Path = Path("data")
    wanted_bytes: int = 0
    """What the server may keep in `data_dir`."""
    host: str = "127.0.0.1"
    is_loopback: bool = True
    port: int = 0
    public_base_url: str | None = None
    keys: int = 0
    """How many keys callers may show."""


Answer = dict[str, Any] | Failure


class Doctor:
    """For one examination."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        *,
        now: Callable[[], float] = time.time,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`transport` leads to Cloudflare; `now` is in Unix seconds."""
        self._client = httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False)  # `_ask` has one
        self._now = now
        self._timeout_seconds = timeout_seconds
        self._ahead: list[float] = []
        """Seconds by which this machine's clock was ahead of Cloudflare's, answer by answer."""

    async def examine(self, setup: Setup) -> list[Finding]:
        async with self._client:
            upstream = await self._upstream(setup)
        return [
            mode_finding(setup),
            *upstream,
            clock_finding(self._ahead),
            *storage_findings(setup.data_dir, setup.wanted_bytes),
            await port_finding(setup.host, setup.port),
            public_url_finding(setup),
            keys_finding(setup),
        ]

    async def _upstream(self, setup: Setup) -> list[Finding]:
        if setup.mode == "emulator":
            return [Finding("Cloudflare", Outcome.UNKNOWN, "the emulator stands in for it.")]
        if setup.mode == "pass-through":
            answer = await self._ask("GET", f"{setup.api_base_url}/user/tokens/verify")
            theirs = "callers bring them."
            return [reach_finding(answer), Finding("tokens and accounts", Outcome.UNKNOWN, theirs)]
        examined = await asyncio.gather(*(self._account(account, setup.gateway) for account in setup.accounts))
        return [finding for findings in examined for finding in findings] + license_findings(setup.licensed_models)

    async def _account(self, account: Account, gateway: Gateway | None) -> list[Finding]:
        name = shortened(account.id)
        if not VISIBLE.fullmatch(account.token) or account.token.strip("\"'") != account.token:
            text = "it holds spaces, quotes or other characters that tokens don't have."
            return [Finding(f"token of {name}", Outcome.FAILED, text, "Copy the token again, and nothing around it.")]
        direct = f"{account.base_url}/accounts/{account.id}/ai/"
        headers = [(b"authorization", b"Bearer " + account.token.encode())]
        verified, listed = await asyncio.gather(
            self._ask("GET", f"{account.base_url}/user/tokens/verify", headers),
            self._ask("GET", f"{direct}models/search?per_page=1", headers),
        )
        findings = [
            token_finding(f"token of {name}", verified, listed, self._now()),
            list_finding(f"account {name}", listed),
        ]
        if not isinstance(listed, Failure):
            findings.append(run_finding(f"models on {name}", await self._ask("POST", direct + NOWHERE, headers)))
        if gateway:
            answer = None if isinstance(listed, Failure) else await self._through(account, gateway)
            findings.append(gateway_finding(f"gateway {gateway.id} of {name}", answer, gateway))
        return findings

    async def _through(self, account: Account, gateway: Gateway) -> Answer:
        address = addressed(account, NOWHERE, gateway, {})
        answer = await self._ask("POST", address.url, address.headers)
        if address.other_url and isinstance(answer, Failure) and is_misrouted(answer):
            return await self._ask("POST", address.other_url, address.headers)
        return answer

    async def _ask(self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
        content = orjson.dumps({"prompt": "hi"}) if method == "POST" else None
        common = [(b"user-agent", b"flarelay/" + __version__.encode()), (b"content-type", b"application/json")]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.request(method, url, headers=[*headers, *common], content=content)
        except TimeoutError:
            return Failure(FailureKind.TIMEOUT, SENTENCES[FailureKind.TIMEOUT])
        except httpx2.RequestError as failure:
            return from_exception(failure)
        self._note_time(response.headers)
        return read(response)

    def _note_time(self, headers: Mapping[str, str]) -> None:
        try:
            told = parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return
        self._ahead.append(self._now() - told.timestamp())


def read(response: httpx2.Response) -> Answer:
    """What an answer of Cloudflare's says."""
    if response.status_code != 200:
        return classify(response.status_code, response.headers, response.content)
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or "success" not in value:
        return Failure(FailureKind.BROKEN, SENTENCES[FailureKind.BROKEN])
    return classify_event(value) or value


def shortened(account_id: str) -> str:
    """Enough of an id to tell accounts apart."""
    return account_id if len(account_id) <= 8 else f"{account_id[:6]}…"


def mode_finding(setup: Setup) -> Finding:
    if setup.mode == "emulator":
        remedy = "Set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN for real ones."
        return Finding("mode", Outcome.WARNING, "emulator: answers are made up.", remedy)
    if setup.mode == "pass-through":
        return Finding("mode", Outcome.OK, "pass-through: callers' keys are their own Cloudflare tokens.")
    ways = f"through AI Gateway {setup.gateway.id}" if setup.gateway else "directly"
    count = len(setup.accounts)
    return Finding("mode", Outcome.OK, f"managed: calls run on {count} account{'s' * (count != 1)}, {ways}.")


TRY_LATER = "Try again later; https://www.cloudflarestatus.com tells of disturbances."
NETWORK = "Check the network, DNS, the proxy (HTTPS_PROXY) and CLOUDFLARE_API_BASE_URL."
COMMON: dict[FailureKind, tuple[Outcome, str]] = {
    FailureKind.CONNECTION: (Outcome.FAILED, NETWORK),
    FailureKind.TIMEOUT: (Outcome.FAILED, NETWORK),
    FailureKind.BROKEN: (Outcome.FAILED, "Is CLOUDFLARE_API_BASE_URL Cloudflare's API, or a proxy before it?"),
    FailureKind.QUOTA: (Outcome.WARNING, "Wait, raise the limit, or add accounts to CLOUDFLARE_ACCOUNTS."),
    FailureKind.RATE_LIMIT: (Outcome.WARNING, TRY_LATER),
    FailureKind.CAPACITY: (Outcome.WARNING, TRY_LATER),
    FailureKind.SERVER: (Outcome.WARNING, TRY_LATER),
}
"""What a failure means wherever it is met."""
REFUSED = (FailureKind.AUTHENTICATION, FailureKind.PERMISSION)
PASSED = (FailureKind.MODEL_NOT_FOUND, FailureKind.BAD_REQUEST)
"""Workers AI itself answered to the run of a model that does not exist."""


def failure_finding(check: str, failure: Failure) -> Finding:
    outcome, remedy = COMMON.get(failure.kind, (Outcome.FAILED, ""))
    code = f" (code {failure.code})" if failure.code else f" (HTTP {failure.status})" if failure.status else ""
    return Finding(check, outcome, failure.message.rstrip(".") + f"{code}.", remedy)


def reach_finding(answer: Answer) -> Finding:
    """Of a question without a token, which Cloudflare refuses in its own way."""
    if isinstance(answer, Failure) and (answer.code is None or answer.kind in COMMON):
        return failure_finding("Cloudflare", answer)
    return Finding("Cloudflare", Outcome.OK, "it answers.")


def token_finding(check: str, verified: Answer, listed: Answer, now: float) -> Finding:
    """`verified` and `listed` are the answers about the token and of the list of models."""
    if isinstance(verified, Failure):
        if verified.kind in COMMON:
            return failure_finding(check, verified)
        if not isinstance(listed, Failure):  # Cloudflare's page for users does not know tokens that accounts own
            return Finding(check, Outcome.OK, "it works; it is the account's own.")
        remedy = f"Make one at {TOKENS_PAGE} from the template Workers AI; mind where it begins and ends."
        return Finding(check, Outcome.FAILED, "Cloudflare does not know it.", remedy)
    told = verified.get("result")
    result = told if isinstance(told, dict) else {}
    state = result.get("status", "unknown")
    if state != "active":
        return Finding(check, Outcome.FAILED, f"it is {str(state)[:40]}.", f"Renew it at {TOKENS_PAGE}.")
    expires = _unix(result.get("expires_on"))
    if expires is not None and expires - now < SOON_SECONDS:
        day = datetime.fromtimestamp(expires, UTC).date()
        return Finding(check, Outcome.WARNING, f"it expires on {day}.", f"Renew it at {TOKENS_PAGE}.")
    return Finding(check, Outcome.OK, "it is active.")


def list_finding(check: str, listed: Answer) -> Finding:
    if not isinstance(listed, Failure):
        return Finding(check, Outcome.OK, "it exists, and its models may be read.")
    if listed.kind in REFUSED:
        remedy = "Give the token the permission Workers AI Read and Edit on this account, or correct the account's id."
        return Finding(check, Outcome.FAILED, "the token may not use Workers AI on it.", remedy)
    if listed.kind is FailureKind.CONFIGURATION or listed.status == 404:
        remedy = "Copy its id from the dashboard: 32 digits and letters, on the page Workers AI > Use REST API."
        return Finding(check, Outcome.FAILED, "Cloudflare knows no such account.", remedy)
    return failure_finding(check, listed)


def run_finding(check: str, answer: Answer) -> Finding:
    """Of a model that does not exist, run directly."""
    if not isinstance(answer, Failure) or answer.kind in PASSED:
        return Finding(check, Outcome.OK, "they may be run.")
    if answer.kind is FailureKind.CONFIGURATION:  # of the model, since the account is known
        return Finding(check, Outcome.UNKNOWN, "whether they may be run can't be told.")
    if answer.kind in REFUSED:
        remedy = "Give the token the permission Workers AI Edit beside Read."
        return Finding(check, Outcome.FAILED, "the token may list them, but not run them.", remedy)
    return failure_finding(check, answer)


LETS_THROUGH = "it lets calls through to Workers AI."
AT_HOST = "Set AI_GATEWAY_TOKEN to a token with the permission AI Gateway Run."
AT_API = "Give the account's token the permission AI Gateway Run, beside that for Workers AI."
NO_GATEWAY = ("there is no such gateway.", "Make it in the dashboard under AI > AI Gateway, or correct AI_GATEWAY_ID.")
NO_ROUTE = ("its address leads nowhere.", "Check AI_GATEWAY_BASE_URL, or set AI_GATEWAY_ROUTE=rest.")
GATEWAY_FAULTS = {2001: NO_GATEWAY, 2002: NO_ROUTE, 2008: NO_ROUTE, 7000: NO_ROUTE, 7003: NO_ROUTE}
"""Code -> what is wrong, and how to mend it."""


def gateway_finding(check: str, answer: Answer | None, gateway: Gateway) -> Finding:
    """Of a model that does not exist, run through the gateway; None: the account is at fault already."""
    if answer is None:
        return Finding(check, Outcome.UNKNOWN, "the account comes first.")
    if not isinstance(answer, Failure):
        return Finding(check, Outcome.OK, LETS_THROUGH)
    if answer.code in GATEWAY_FAULTS:
        return Finding(check, Outcome.FAILED, *GATEWAY_FAULTS[answer.code])
    if answer.kind in PASSED:
        return Finding(check, Outcome.OK, LETS_THROUGH)
    if answer.kind in REFUSED:
        remedy = AT_HOST if gateway.route == "host" else AT_API
        return Finding(check, Outcome.FAILED, "it does not accept the credentials.", remedy)
    return failure_finding(check, answer)


def license_findings(models: Iterable[str]) -> list[Finding]:
    """Whether a licence is accepted shows only in an answer that costs neurons."""
    remedy = "If it is refused with code 5016, send it the prompt `agree` once, on every account."
    text = "whether its licence is accepted can't be seen for free."
    return [Finding(f"licence of {model}", Outcome.UNKNOWN, text, remedy) for model in models]


def clock_finding(ahead: Sequence[float]) -> Finding:
    """`ahead`: by how many seconds this clock was ahead of Cloudflare's, answer by answer."""
    if not ahead:
        return Finding("clock", Outcome.UNKNOWN, "no answer of Cloudflare's told the time.")
    seconds = min(ahead, key=abs)
    if abs(seconds) <= MOST_CLOCK_SECONDS:
        return Finding("clock", Outcome.OK, "it agrees with Cloudflare's.")
    text = f"it is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} Cloudflare's."
    return Finding("clock", Outcome.WARNING, text, "Days of limits begin by it: let NTP set it.")


def _unix(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def storage_findings(folder: Path, wanted_bytes: int) -> list[Finding]:
    """Of the folder, or the nearest above it that there is; `wanted_bytes` is what the server may keep there."""
    try:
        standing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        with tempfile.TemporaryFile(dir=standing):
            free = shutil.disk_usage(standing).free
    except OSError as failure:
        remedy = "Let the server's user write there, or set DATA_DIR to another folder."
        text = f"{folder} can't be written: {failure.strerror}."
        return [Finding("DATA_DIR", Outcome.FAILED, text, remedy)]
    return [Finding("DATA_DIR", Outcome.OK, f"{folder} can be written."), disk_finding(free, wanted_bytes)]


def disk_finding(free: int, wanted_bytes: int) -> Finding:
    shown = f"{free / 2**30:.1f} GiB are free"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", Outcome.FAILED, f"{shown}.", "Make room, or set DATA_DIR to another disk.")
    if free < wanted_bytes:
        remedy = "Set PICTURES_MAX_BYTES and TRANSLATION_CACHE_MAX_BYTES lower."
        return Finding("disk", Outcome.WARNING, f"{shown}, {wanted_bytes / 2**30:.1f} GiB may be kept.", remedy)
    return Finding("disk", Outcome.OK, f"{shown}.")


PORT_REMEDIES = {
    errno.EADDRINUSE: "Set PORT to another, or stop the program that has it.",
    errno.EACCES: "Set PORT to 1024 or above, or let the program have lower ones.",
}


async def port_finding(host: str, port: int) -> Finding:
    check = f"port {port}"
    failure = _bind_failure(host, port)
    if failure is None:
        return Finding(check, Outcome.OK, "it is free.")
    if failure.errno == errno.EADDRINUSE and (version := await running_version(host, port)):
        return Finding(check, Outcome.OK, f"Flarelay {version} is running there.")
    remedy = PORT_REMEDIES.get(failure.errno or 0, "Set HOST to an address of this machine.")
    return Finding(check, Outcome.FAILED, f"can't listen on {host}: {failure.strerror}.", remedy)


def _bind_failure(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            bound.bind(address)
    except OSError as failure:
        return failure
    return None


async def running_version(host: str, port: int, *, timeout_seconds: float = 3) -> str | None:
    """The version of the Flarelay that listens there; None if something else does."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    url = f"http://[{name}]:{port}/health" if ":" in name else f"http://{name}:{port}/health"
    try:
        async with httpx2.AsyncClient(transport=Transport(), trust_env=False) as client:  # by no proxy
            async with asyncio.timeout(timeout_seconds):
                health = orjson.loads((await client.get(url)).content)
    except (httpx2.RequestError, TimeoutError, orjson.JSONDecodeError):
        return None
    is_ours = isinstance(health, dict) and {"status", "mode", "version"} <= health.keys()
    return str(health["version"])[:40] if is_ours else None


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


def _is_local(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


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


def is_well(findings: Iterable[Finding]) -> bool:
    return all(finding.outcome is not Outcome.FAILED for finding in findings)
