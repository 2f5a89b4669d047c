"""What the answers of Cloudflare say: about a token, an account, its models, a gateway."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson

from app.calls import Failure, FailureKind
from app.doctor.findings import Finding, Outcome
from app.upstream.failures import SENTENCES, classify, classify_event
from app.upstream.gateway import Gateway

Answer = dict[str, Any] | Failure

SOON_SECONDS = 14 * 86_400
TOKENS_PAGE = "https://dash.cloudflare.com/profile/api-tokens"

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


def _unix(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


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


UNLICENSED = 5016
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


def license_finding(check: str, answer: Answer, prompt: str) -> Finding:
    """Of a model that was run with nothing to answer to. Only who wants the model needs its licence."""
    if isinstance(answer, Failure) and answer.code == UNLICENSED:
        remedy = f"Before the model can be used, send it the prompt `{prompt}` once on this account."
        return Finding(check, Outcome.WARNING, "it is not accepted.", remedy)
    if not isinstance(answer, Failure) or answer.kind is FailureKind.BAD_REQUEST:
        return Finding(check, Outcome.OK, "Cloudflare does not ask for it.")
    return Finding(check, Outcome.UNKNOWN, f"it can't be told now: {answer.message}")
