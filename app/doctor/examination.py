"""The examination: everything that has to be right before the server is of use is looked at in one go.

It spends no neurons. What it asks of Cloudflare is a token's state, one row of the list of models, a run of a model
that does not exist, and runs without an input: whoever may not run models, comes through a gateway that is closed, or
has not accepted a licence, is told that first.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

import httpx2
import orjson

from app import __version__
from app.calls import Account, Failure, FailureKind
from app.doctor.answers import (
    Answer,
    gateway_finding,
    license_finding,
    list_finding,
    reach_finding,
    read,
    run_finding,
    token_finding,
)
from app.doctor.findings import Finding, Outcome
from app.doctor.machine import clock_finding, port_finding, storage_findings
from app.doctor.setup import Setup, keys_finding, mode_finding, public_url_finding
from app.upstream.addresses import addressed
from app.upstream.failures import SENTENCES, from_exception
from app.upstream.gateway import Gateway, is_misrouted

TIMEOUT_SECONDS = 10.0
"""For each question to Cloudflare."""
NOWHERE = "run/@cf/flarelay/doctor"
"""A model that Cloudflare does not have."""
GREETING = {"prompt": "hi"}
VISIBLE = re.compile(r"[\x21-\x7e]+")


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
        examined = await asyncio.gather(*(self._account(account, setup) for account in setup.accounts))
        return [finding for findings in examined for finding in findings]

    async def _account(self, account: Account, setup: Setup) -> list[Finding]:
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
            for model, prompt in setup.licenses.items():
                asked = await self._ask("POST", f"{direct}run/{model}", headers, {})
                findings.append(license_finding(f"licence of {model} on {name}", asked, prompt))
        if gateway := setup.gateway:
            answer = None if isinstance(listed, Failure) else await self._through(account, gateway)
            findings.append(gateway_finding(f"gateway {gateway.id} of {name}", answer, gateway))
        return findings

    async def _through(self, account: Account, gateway: Gateway) -> Answer:
        address = addressed(account, NOWHERE, gateway, {})
        answer = await self._ask("POST", address.url, address.headers)
        if address.other_url and isinstance(answer, Failure) and is_misrouted(answer):
            return await self._ask("POST", address.other_url, address.headers)
        return answer

    async def _ask(
        self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]] = (), body: Mapping[str, str] = GREETING
    ) -> Answer:
        content = orjson.dumps(body) if method == "POST" else None
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


def shortened(account_id: str) -> str:
    """Enough of an id to tell accounts apart."""
    return account_id if len(account_id) <= 8 else f"{account_id[:6]}…"
