"""A failed answer of Cloudflare's -> a Failure: by its code, then the words of its message, then its HTTP status."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx2
import orjson

from app.calls import Failure, FailureKind
from app.upstream.failure_codes import ADVICE, CODES, DAILY, NAMES, OF_THE_DAY, RETRYABLE, STATUSES, TEXTS, WRAPPERS

MAX_MESSAGE_CHARACTERS = 1000
MAX_TEXT_CHARACTERS = 20_000
"""What is read of a message: patterns over megabytes would hold up everybody else's request."""

SENTENCES: dict[FailureKind, str] = {
    FailureKind.QUOTA: "The Cloudflare account has used up its allowance. The daily one starts anew at 00:00 UTC.",
    FailureKind.CAPACITY: "Cloudflare has no machine free for this model at the moment.",
    FailureKind.RATE_LIMIT: "Cloudflare received too many requests in a short time.",
    FailureKind.AUTHENTICATION: "Cloudflare did not accept the API token.",
    FailureKind.PERMISSION: "The Cloudflare account may not use this model.",
    FailureKind.CONFIGURATION: "Cloudflare knows no such account or gateway.",
    FailureKind.MODEL_NOT_FOUND: "Cloudflare does not have this model.",
    FailureKind.CONTEXT_LENGTH: "The prompt and the answer asked for do not fit into the context of this model.",
    FailureKind.CONTENT_FILTER: "The content was refused by a filter.",
    FailureKind.TOO_LARGE: "The request is too large for Cloudflare.",
    FailureKind.JSON_MODE: "The model could not answer in the JSON format that was asked for.",
    FailureKind.NO_JSON_MODE: "This model has no JSON mode.",
    FailureKind.BAD_REQUEST: "Cloudflare refused the request as invalid.",
    FailureKind.TIMEOUT: "Cloudflare did not answer in time.",
    FailureKind.CONNECTION: "Cloudflare could not be reached.",
    FailureKind.BROKEN: "Cloudflare's answer broke off or could not be understood.",
    FailureKind.SERVER: "Cloudflare failed to answer the request.",
}
"""Said where Cloudflare's own words are missing or unfit."""
UNPAID = "The allowance for this model is used up."
"""In place of the first, where it is not the neurons of the day."""

CHANNEL_KILLERS = (
    # One API, monitor/manage.go
    "your access was terminated",
    "violation of our policies",
    "organization has been disabled",
    "credit",
    "balance",
    "permission denied",
    "organization has been restricted",
    "api key not valid",
    "api key expired",
    "已欠费",
    # new-api, its default list
    "you exceeded your current quota",
    "the security token included in the request is invalid",
    "operation not allowed",
    "your account is not authorized",
)
"""Lower-case texts that make One API or new-api switch a channel off, wherever they stand in a message."""


def classify(status: int, headers: Mapping[str, str], body: Any, *, now: datetime | None = None) -> Failure:
    """The Failure that an answer of Cloudflare means.

    `body` is the raw bytes or the parsed JSON value, in any of the forms Cloudflare, its gateway or a provider uses;
    `headers` are case-insensitive or in lower case. `prompt_tokens` is the prompt alone where the text gives it, and
    otherwise the total that was asked for (prompt and answer). `retry_after_seconds` is the `Retry-After` header, and
    for the neurons of the day the time left until 00:00 UTC; `now` (aware) is for tests. Never raises.
    """
    now = now or datetime.now(UTC)
    payload = _parse(body) if isinstance(body, bytes | bytearray | memoryview) else body
    if payload is _NOT_JSON:
        report = _Report()
        kind = STATUSES.get(status) or (FailureKind.SERVER if status >= 500 else FailureKind.BROKEN)
    else:
        report = _read(payload)
        kind = _kind(report, status if status >= 400 else report.status)
    is_context = kind is FailureKind.CONTEXT_LENGTH
    is_daily = kind is FailureKind.QUOTA and _is_daily(report)
    sentence = UNPAID if kind is FailureKind.QUOTA and not is_daily else SENTENCES[kind]
    return Failure(
        kind,
        _advised(_clean(report.message), report.code) or sentence,
        status=status,
        code=report.code,
        param=report.param or (_field(report.message) if kind is FailureKind.BAD_REQUEST else None),
        retry_after_seconds=_until_midnight(now) if is_daily else _retry_after(headers, now),
        context_window=_number(report.message, _WINDOW) if is_context else None,
        prompt_tokens=_number(report.message, _PROMPT, _TOTAL) if is_context else None,
        request_id=report.request_id or headers.get("cf-ai-req-id") or headers.get("cf-ray"),
        is_retryable=kind in RETRYABLE and (kind is not FailureKind.BROKEN or status < 300),
    )


def classify_event(payload: Any) -> Failure | None:
    """The Failure in a frame of a stream, or in a JSON body, that came with status 200; None if there is none."""
    if not isinstance(payload, dict):
        return None
    result = payload.get("result")
    if (
        payload.get("error")
        or payload.get("errors")
        or payload.get("success") is False
        or payload.get("state") == "Failed"
        or payload.get("object") == "error"
        or (isinstance(result, dict) and result.get("state") == "Failed")
    ):
        return classify(200, {}, payload)
    return None


def from_exception(failure: httpx2.RequestError) -> Failure:
    """The Failure behind a call without an answer. Its message names no host.

    A timeout is worth a retry only if nothing had been sent: Cloudflare charges for a call it is still busy with.
    """
    kind = FailureKind.BROKEN
    if isinstance(failure, httpx2.TimeoutException):
        kind = FailureKind.TIMEOUT
    elif isinstance(failure, httpx2.ConnectError | httpx2.ProxyError):
        kind = FailureKind.CONNECTION
    is_sent = isinstance(failure, httpx2.ReadTimeout | httpx2.WriteTimeout)
    return Failure(kind, SENTENCES[kind], is_retryable=not is_sent)


class _Report(NamedTuple):
    """What a body says about its failure."""

    message: str = ""
    code: int | None = None
    kind: FailureKind | None = None
    status: int = 0
    param: str | None = None
    request_id: str | None = None


_NOT_JSON = object()
_LISTS = ("errors", "error", "messages", "detail")
_MESSAGES = ("message", "msg", "detail", "description", "error")
_ID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PREFIX = re.compile(r"(?:(?:AiError|Ai|InferenceUpstreamError): ?|(?:error code: )?([0-9]{4})(?:: ?|$))+")
_PARAM = re.compile(r"[\w.\[\]/-]{1,100}")
_SUFFIX = re.compile(rf"(?: ?\(({_ID})\))+$")


def _parse(body: bytes | bytearray | memoryview) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _read(payload: Any) -> _Report:
    entries = _entries(payload)
    known = (entry for entry in entries if _code(entry) in CODES)
    entry = next(known, None) or next((entry for entry in entries if _message(entry)), {})
    report = _strip(_message(entry))
    param = entry.get("param")
    return report._replace(
        code=_code(entry) or report.code,
        kind=next((NAMES[name] for name in _names(entry) if name in NAMES), None),
        status=_status(entry),
        param=param if isinstance(param, str) and _PARAM.fullmatch(param) else None,
    )


def _entries(payload: Any) -> list[dict[str, Any]]:
    """The objects in a body that may describe its failure, the likeliest first."""
    if isinstance(payload, list | str):
        payload = {"errors": payload}
    if not isinstance(payload, dict):
        return []
    result = payload.get("result")
    if isinstance(result, dict) and result.get("state") == "Failed":
        payload = result
    places = [payload.get(key) for key in _LISTS]
    found = [each for place in places for each in (place if isinstance(place, list) else [place])]
    entries = [{"message": each} if isinstance(each, str) else each for each in [*found, payload]]
    return [entry for entry in entries if isinstance(entry, dict)]


def _message(entry: Mapping[str, Any]) -> str:
    texts = (entry.get(key) for key in _MESSAGES)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[0-9]{1,5}", value) else 0
    return value if isinstance(value, int) else 0


def _code(entry: Mapping[str, Any]) -> int | None:
    """Cloudflare's code. Numbers below 1000 are statuses, as vLLM and other providers put them there."""
    codes = (_integer(entry.get(key)) for key in ("code", "internalCode"))
    return next((code for code in codes if 1000 <= code <= 99999), None)


def _names(entry: Mapping[str, Any]) -> list[str]:
    return [name for name in (entry.get("code"), entry.get("type")) if isinstance(name, str)]


def _status(entry: Mapping[str, Any]) -> int:
    statuses = (_integer(entry.get(key)) for key in ("code", "status", "httpCode"))
    return next((status for status in statuses if 400 <= status <= 599), 0)


def _strip(message: str) -> _Report:
    """The message without what Cloudflare wraps around it: prefixes, a request id, the JSON of a vLLM error."""
    text = " ".join(message.split())
    code, request_id = None, None
    if suffix := _SUFFIX.search(text):
        text, request_id = text[: suffix.start()], suffix[1]
    if prefix := _PREFIX.match(text):
        text, code = text[prefix.end() :], _integer(prefix[1])
    text = (_embedded(text) or text)[:MAX_TEXT_CHARACTERS]
    return _Report(text, code if code in CODES else None, request_id=request_id)


def _embedded(text: str) -> str:
    """The message of an error object that is part of a text, or nothing."""
    middle = text.partition("{")[2].rpartition("}")[0]
    payload = _parse(f"{{{middle}}}".encode(errors="replace"))
    messages = (_message(entry) for entry in _entries(payload))
    return " ".join(next(filter(None, messages), "").split())


def _kind(report: _Report, status: int) -> FailureKind:
    meant = CODES.get(report.code or 0)
    if meant and report.code not in WRAPPERS:
        return meant
    said = next((kind for pattern, kind in TEXTS if pattern.search(report.message)), None)
    return report.kind or said or meant or STATUSES.get(status) or _kind_of_status(status)


def _is_daily(report: _Report) -> bool:
    """Whether the allowance that is spent is that of the day. Only a code that says nothing else leaves it to words."""
    if CODES.get(report.code or 0) is FailureKind.QUOTA:
        return report.code in OF_THE_DAY
    return re.search(DAILY, report.message, re.IGNORECASE) is not None


def _kind_of_status(status: int) -> FailureKind:
    if status == 404:  # the address is wrong, not the request: models that do not exist have codes
        return FailureKind.CONFIGURATION
    return FailureKind.BAD_REQUEST if 400 <= status < 500 else FailureKind.SERVER


_NUMBER = r"([0-9][0-9,]{0,14})"
_WINDOW = re.compile(
    rf"(?:context length (?:is|of)(?: only)?|window limit|supports only|maximum model length of) \(?{_NUMBER}",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    rf"{_NUMBER}(?: tokens)? (?:in|from) the (?:input )?(?:messages|prompt)"
    rf"|(?:request has|prompt contains|passed)(?: at least)? {_NUMBER} input tokens|prompt \(length {_NUMBER}\)",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    rf"tokens \({_NUMBER}\) exceeded|requested(?: a total of)? {_NUMBER}|context reached {_NUMBER}", re.IGNORECASE
)


def _number(message: str, *patterns: re.Pattern[str]) -> int | None:
    """The number that the first pattern with a match captures."""
    for pattern in patterns:
        if found := pattern.search(message):
            return next(int(each.replace(",", "")) for each in found.groups() if each)
    return None


_FIELDS = re.compile(
    r"mismatch of '/(?P<path>[\w./-]{1,100})'"
    r"|required properties at '/(?P<parent>[\w./-]{0,100})' are '(?P<missing>[\w.-]{1,100})'"
    r"|'/(?P<limited>[\w./-]{1,100})' must "
    r"|additional propert(?:y|ies):? '(?P<extra>[\w.-]{1,100})'",
    re.IGNORECASE,
)


def _field(message: str) -> str | None:
    """The field that a JSON Schema error names, as `messages.0.role`; None if it names several, as `oneOf` does."""
    paths = {"/".join(filter(None, found.groups())) for found in _FIELDS.finditer(message)}
    return paths.pop().replace("/", ".") if len(paths) == 1 else None


_SECRETS = re.compile(
    r"https?://(?!developers\.cloudflare\.com/)\S+"  # may hold an account, a gateway or a signature
    r"|(?<=accounts/)[^/\s]+"
    r"|(?i:(?<=bearer )\S{16,})"
    r"|[0-9a-fA-F]{32,}"
    r"|\b(?:sk|cf[a-z]{1,3})[-_][A-Za-z0-9_-]{16,}"
    r"|[A-Za-z0-9_-]{40,}"
)


def _clean(message: str) -> str | None:
    """The message without ids and secrets, cut to length; None if there is none or a gateway would take it amiss."""
    text = _SECRETS.sub("…", message)
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    lowered = text.lower().replace("\u0307", "")  # Go lowers İ to i, Python to i and a combining dot
    return None if any(killer in lowered for killer in CHANNEL_KILLERS) else text


def _advised(text: str | None, code: int | None) -> str | None:
    advice = ADVICE.get(code or 0)
    if text and advice:
        return f"{text} {advice}" if text[-1] in ".!?…" else f"{text}. {advice}"
    return text or advice


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from a `Retry-After` header, which holds seconds or an HTTP date; at most a day."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", value):
        return min(float(value), 86_400)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0), 86_400)


def _until_midnight(now: datetime) -> float:
    now = now.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()
