import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls import Failure, FailureKind
from app.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)
from app.upstream.answers import ANSWERS, OURS, to_error
from app.upstream.failure_codes import ADVICE, CODES
from app.upstream.failures import CHANNEL_KILLERS, SENTENCES, UNPAID, classify, classify_event, from_exception

K = FailureKind
ID = "6f0d2c1e-0404-4b7a-9429-1f6d6c1b2a3e"
ACCOUNT = "0123456789abcdef0123456789ABCDEF"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VLLM = (
    "This model's maximum context length is 24000 tokens. However, you requested 25100 tokens "
    "(21004 in the messages, 4096 in the completion). Please reduce the length of the messages or completion."
)


def envelope(message: str, code: Any = None, key: str = "errors") -> dict[str, Any]:
    error = {"message": message} if code is None else {"message": message, "code": code}
    return {key: [error], "success": False, "result": {}, "messages": []}


def read(status: int, body: Any, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(status, named, body, now=NOON)


# Bodies as they were reported publicly, with the status they came with.
EXAMPLES: list[tuple[int, Any, FailureKind, int | None, bool, str]] = [
    (
        429,
        envelope(
            "AiError: AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to "
            f"Cloudflare's Workers Paid plan if you would like to continue usage. ({ID})",
            4006,
        ),
        K.QUOTA,
        4006,
        False,
        (
            "you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's "
            "Workers Paid plan if you would like to continue usage."
        ),
    ),
    (
        429,
        envelope(f"AiError: No more data centers to forward the request to ({ID})", 3040),
        K.CAPACITY,
        3040,
        True,
        "No more data centers to forward the request to",
    ),
    (
        429,
        envelope(f"AiError: Capacity temporarily exceeded, please try again. ({ID})", 3040),
        K.CAPACITY,
        3040,
        True,
        "Capacity temporarily exceeded, please try again.",
    ),
    (
        400,
        envelope(f"AiError: Bad input: Error: required properties at '/' are 'multipart' ({ID})", 5006),
        K.BAD_REQUEST,
        5006,
        False,
        "Bad input: Error: required properties at '/' are 'multipart'",
    ),
    (
        413,
        envelope(
            "AiError: The estimated number of input and maximum output tokens (25100) exceeded this model context "
            f"window limit (24000). ({ID})",
            5021,
        ),
        K.CONTEXT_LENGTH,
        5021,
        False,
        (
            "The estimated number of input and maximum output tokens (25100) exceeded this model context window limit "
            "(24000)."
        ),
    ),
    (
        400,
        envelope(f"AiError: No such model @cf/x/y or task ({ID})", 5007),
        K.MODEL_NOT_FOUND,
        5007,
        False,
        "No such model @cf/x/y or task",
    ),
    (
        410,
        envelope(f"AiError: Model has been deprecated: @cf/x/y was deprecated on 2026-05-30. ({ID})", 5028),
        K.MODEL_NOT_FOUND,
        5028,
        False,
        "Model has been deprecated: @cf/x/y was deprecated on 2026-05-30.",
    ),
    (
        403,
        envelope("Model @cf/x/y is not available on the Workers Free plan. Upgrade to use it.", 5035),
        K.PERMISSION,
        5035,
        False,
        "Model @cf/x/y is not available on the Workers Free plan. Upgrade to use it.",
    ),
    (
        401,
        {
            "success": False,
            "errors": [{"code": 10000, "message": "Authentication error"}],
            "messages": [],
            "result": None,
        },
        K.AUTHENTICATION,
        10000,
        False,
        "Authentication error",
    ),
    (
        429,
        envelope(f"AiError: rate limiting: inference request per min rate reached ({ID})", 0),
        K.RATE_LIMIT,
        None,
        True,
        "rate limiting: inference request per min rate reached",
    ),
    (
        413,
        envelope(f"AiError: Request is too large ({ID})", 3006),
        K.TOO_LARGE,
        3006,
        False,
        "Request is too large",
    ),
    (408, envelope(f"AiError: Request timeout ({ID})", 3046), K.TIMEOUT, 3046, True, "Request timeout"),
    (401, envelope("Unauthorized", 2009, "error"), K.AUTHENTICATION, 2009, False, "Unauthorized"),
    (429, envelope("Rate limited", 2003, "error"), K.RATE_LIMIT, 2003, True, "Rate limited"),
    (
        424,
        envelope("Prompt blocked due to security configurations", 2016, "error"),
        K.CONTENT_FILTER,
        2016,
        False,
        "Prompt blocked due to security configurations",
    ),
    (
        400,
        envelope("Request content blocked due to DLP policy violations", 2029, "error"),
        K.CONTENT_FILTER,
        2029,
        False,
        "Request content blocked due to DLP policy violations",
    ),
    (
        400,
        envelope(
            "AiError: AiError: "
            + json.dumps(
                {"object": "error", "message": VLLM, "type": "BadRequestError", "param": None, "code": 400},
            )
            + f" ({ID})",
            8007,
        ),
        K.CONTEXT_LENGTH,
        8007,
        False,
        VLLM,
    ),
    (
        400,
        {
            "success": False,
            "errors": [
                {
                    "code": 7003,
                    "message": "Could not route to /accounts/xyz/ai/run/@cf/a/b, perhaps your object identifier is "
                    "invalid?",
                },
                {"code": 7000, "message": "No route for that URI"},
            ],
            "messages": [],
            "result": None,
        },
        K.CONFIGURATION,
        7003,
        False,
        "Could not route to /accounts/…/ai/run/@cf/a/b, perhaps your object identifier is invalid?",
    ),
    (
        400,
        {
            "success": False,
            "result": [],
            "messages": [],
            "error": [{"code": 2001, "message": "Please configure AI Gateway in the Cloudflare dashboard"}],
            "name": "AiGatewayError",
            "httpCode": 400,
            "internalCode": 2001,
            "message": "Please configure AI Gateway in the Cloudflare dashboard",
        },
        K.CONFIGURATION,
        2001,
        False,
        "Please configure AI Gateway in the Cloudflare dashboard",
    ),
    (
        200,
        {
            "state": "Failed",
            "error": {"code": "provider_unavailable", "message": "No provider can serve this model now."},
            "model": "google/nano-banana",
        },
        K.CAPACITY,
        None,
        True,
        "No provider can serve this model now.",
    ),
]


@pytest.mark.parametrize(("status", "body", "kind", "code", "is_retryable", "message"), EXAMPLES)
@pytest.mark.parametrize("is_parsed", [True, False])
def test_a_reported_body_is_understood(
    status: int, body: Any, kind: FailureKind, code: int | None, is_retryable: bool, message: str, is_parsed: bool
) -> None:
    failure = read(status, body if is_parsed else json.dumps(body).encode())
    assert (failure.kind, failure.code, failure.is_retryable) == (kind, code, is_retryable)
    assert failure.message.removesuffix(ADVICE.get(failure.code or 0, "")).rstrip(" ") in (message, f"{message}.")
    assert failure.status == status


# The kind and the retry of every code, beside the status it usually comes with.
MEANINGS: dict[int, tuple[int, FailureKind, bool]] = {
    1031: (500, K.SERVER, True),
    2001: (400, K.CONFIGURATION, False),
    2002: (400, K.BAD_REQUEST, False),
    2003: (429, K.RATE_LIMIT, True),
    2005: (400, K.MODEL_NOT_FOUND, False),
    2008: (400, K.BAD_REQUEST, False),
    2009: (401, K.AUTHENTICATION, False),
    2016: (424, K.CONTENT_FILTER, False),
    2017: (422, K.CONTENT_FILTER, False),
    2018: (429, K.RATE_LIMIT, True),
    2019: (400, K.BAD_REQUEST, False),
    2021: (402, K.QUOTA, False),
    2029: (400, K.CONTENT_FILTER, False),
    2030: (400, K.CONTENT_FILTER, False),
    2040: (400, K.CONFIGURATION, False),
    2041: (429, K.QUOTA, False),
    3003: (400, K.BAD_REQUEST, False),
    3006: (413, K.TOO_LARGE, False),
    3007: (408, K.TIMEOUT, True),
    3008: (408, K.SERVER, True),
    3010: (413, K.CONTEXT_LENGTH, False),
    3023: (403, K.PERMISSION, False),
    3030: (400, K.BAD_REQUEST, False),
    3036: (429, K.QUOTA, False),
    3039: (400, K.BAD_REQUEST, False),
    3040: (429, K.CAPACITY, True),
    3041: (403, K.PERMISSION, False),
    3042: (404, K.MODEL_NOT_FOUND, False),
    3046: (500, K.TIMEOUT, True),
    3050: (503, K.CAPACITY, True),
    4006: (429, K.QUOTA, False),
    5004: (400, K.BAD_REQUEST, False),
    5005: (405, K.BAD_REQUEST, False),
    5006: (400, K.BAD_REQUEST, False),
    5007: (400, K.MODEL_NOT_FOUND, False),
    5016: (403, K.PERMISSION, False),
    5018: (403, K.PERMISSION, False),
    5019: (405, K.BAD_REQUEST, False),
    5021: (413, K.CONTEXT_LENGTH, False),
    5023: (400, K.JSON_MODE, False),
    5024: (400, K.JSON_MODE, False),
    5025: (400, K.NO_JSON_MODE, False),
    5028: (400, K.MODEL_NOT_FOUND, False),
    5035: (403, K.PERMISSION, False),
    7000: (404, K.CONFIGURATION, False),
    7003: (404, K.CONFIGURATION, False),
    7009: (502, K.SERVER, True),
    7013: (503, K.SERVER, True),
    8001: (400, K.BAD_REQUEST, False),
    8004: (400, K.SERVER, True),
    8006: (400, K.BAD_REQUEST, False),
    8007: (400, K.BAD_REQUEST, False),
    8008: (500, K.SERVER, True),
    9106: (400, K.AUTHENTICATION, False),
    9109: (403, K.AUTHENTICATION, False),
    10000: (400, K.AUTHENTICATION, False),
}

FORMS: dict[str, Any] = {
    "errors": lambda code: envelope("Some text", code),
    "a code in digits": lambda code: envelope("Some text", str(code)),
    "error as a list": lambda code: envelope("Some text", code, "error"),
    "error as an object": lambda code: {"error": {"message": "Some text", "code": code}},
    "internalCode alone": lambda code: {"errors": [], "name": "AiGatewayError", "internalCode": code},
    "among other errors": lambda code: {"errors": [{"code": 1, "message": "a"}, {"code": code, "message": "b"}]},
    "a bare list": lambda code: [{"code": code, "message": "Some text"}],
    "a failed state": lambda code: {"state": "Failed", "error": {"code": str(code), "message": "Some text"}},
    "a failed state in an envelope": lambda code: {
        "success": True,
        "errors": [],
        "result": {"state": "Failed", "error": {"code": str(code), "message": "Some text"}},
    },
}


def test_every_known_code_has_a_case() -> None:
    assert set(MEANINGS) == set(CODES)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("code", MEANINGS)
def test_a_code_means_the_same_in_every_form_of_body(code: int, form: Any) -> None:
    status, kind, is_retryable = MEANINGS[code]
    failure = read(status, form(code))
    assert (failure.kind, failure.code, failure.is_retryable) == (kind, code, is_retryable)


@pytest.mark.parametrize("code", [code for code in MEANINGS if code < 10_000])
@pytest.mark.parametrize("prefix", ["{}: ", "AiError: {}: ", "InferenceUpstreamError: {}: AiError: "])
def test_a_code_that_opens_the_message_counts(code: int, prefix: str) -> None:
    status, kind, _ = MEANINGS[code]
    failure = read(status, envelope(prefix.format(code) + "Some text"))
    assert (failure.kind, failure.code) == (kind, code)
    assert failure.message == (f"Some text. {ADVICE[code]}" if code in ADVICE else "Some text")


# What a person reads who has to set a gateway right.
ADVISED: list[tuple[int, str, int, str]] = [
    (400, "Please configure AI Gateway in the Cloudflare dashboard", 2001, "AI_GATEWAY_ID"),
    (429, "Rate limited", 2003, "rate limit of the AI Gateway"),
    (401, "Unauthorized", 2009, "AI_GATEWAY_TOKEN"),
    (424, "Prompt blocked due to security configurations", 2016, "guardrails"),
    (422, "Response blocked due to security configurations", 2017, "guardrails"),
    (429, "Wholesale rate limited", 2018, "store a key"),
    (402, "Insufficient credits", 2021, "top it up"),
    (400, "Request content blocked due to DLP policy violations", 2029, "DLP"),
    (400, "Response content blocked due to DLP policy violations", 2030, "DLP"),
    (400, "No stored key", 2040, "Provider Keys"),
    (429, "Spend limit reached: rule daily, limit 10 USD, window 1 day", 2041, "rule daily"),
    (401, "Authentication error", 10000, "CLOUDFLARE_API_TOKEN"),
    (404, "No route for that URI", 7000, "CLOUDFLARE_ACCOUNT_ID"),
    (404, "Could not route to it, perhaps your object identifier is invalid?", 7003, "? Either the account id"),
]


@pytest.mark.parametrize(("status", "message", "code", "hint"), ADVISED)
@pytest.mark.parametrize("key", ["error", "errors"])
def test_terse_refusals_say_what_to_set(status: int, message: str, code: int, hint: str, key: str) -> None:
    assert hint in read(status, envelope(message, code, key)).message


@pytest.mark.parametrize("code", ADVICE)
def test_advice_stands_alone_where_cloudflares_words_are_missing_or_unfit(code: int) -> None:
    assert read(400, envelope("", code)).message == ADVICE[code]
    assert read(400, envelope("Insufficient credits", code)).message == ADVICE[code]


@pytest.mark.parametrize("killer", CHANNEL_KILLERS)
def test_no_advice_switches_a_channel_off(killer: str) -> None:
    assert not [advice for advice in (*ADVICE.values(), *SENTENCES.values(), UNPAID) if killer in advice.lower()]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"errors": [], "error": "Some text"}, "Some text"),
        ({"errors": [], "messages": ["Some text"]}, "Some text"),
        ({"errors": [], "messages": [{"code": 10001, "message": "Some text"}]}, "Some text"),
        ({"errors": [], "detail": "Some text"}, "Some text"),
        ({"detail": [{"loc": ["body"], "msg": "Some text"}]}, "Some text"),
        ({"errors": ["Some text"]}, "Some text"),
        ({"errors": [{"code": 1}, {"message": " "}], "message": "Some text"}, "Some text"),
        ({"error": {"message": "Some text", "type": "invalid_request_error", "code": None}}, "Some text"),
        ({"object": "error", "message": "Some text", "type": "BadRequestError", "code": 400}, "Some text"),
        ("Some text", "Some text"),
        (["Some text"], "Some text"),
        (envelope(f"Ai: AiError:  Some\n text ({ID}) ({ID})"), "Some text"),
        (envelope('AiError: {"error": {"message": "Some text"}}'), "Some text"),
        (envelope('AiError: 400 {"message": "Some text"} from the backend'), "Some text"),
        (envelope("AiError: {not JSON} at all"), "{not JSON} at all"),
        (envelope('AiError: {"some": "object"}'), '{"some": "object"}'),
        ({}, "Cloudflare refused the request as invalid."),
        ({"errors": [{}], "error": 5, "messages": [None]}, "Cloudflare refused the request as invalid."),
        (None, "Cloudflare refused the request as invalid."),
        (5, "Cloudflare refused the request as invalid."),
    ],
)
def test_the_message_is_found_wherever_it_is(body: Any, message: str) -> None:
    failure = read(400, body)
    assert (failure.kind, failure.message) == (K.BAD_REQUEST, message)


def test_the_request_id_leaves_the_message_and_is_kept() -> None:
    failure = read(400, envelope(f"AiError: Some text ({ID})"), cf_ai_req_id="other", cf_ray="ray")
    assert failure.request_id == ID


def test_the_request_id_falls_back_to_the_headers() -> None:
    assert read(400, envelope("Some text"), cf_ai_req_id="inference", cf_ray="ray").request_id == "inference"
    assert read(502, b"<html>", cf_ray="ray").request_id == "ray"
    assert read(502, b"").request_id is None


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (400, "you have used up your daily free allocation of 10,000 neurons", None, K.QUOTA),
        (500, "Capacity temporarily exceeded, please try again.", None, K.CAPACITY),
        (400, "Requested token count exceeds the model's maximum context length of 8 tokens.", None, K.CONTEXT_LENGTH),
        (429, "This model's maximum context length is 8 tokens.", None, K.CONTEXT_LENGTH),
        (400, "Max context reached 70000 tokens but model supports only 60000", 3030, K.CONTEXT_LENGTH),
        (400, "rate limiting: inference request per min rate reached", None, K.RATE_LIMIT),
        (400, "JSON Mode couldn't be met", 8001, K.JSON_MODE),
        (400, "This model doesn't support JSON Schema.", None, K.NO_JSON_MODE),
        (400, "Input prompt contains NSFW content.", 3030, K.CONTENT_FILTER),
        (400, "The output image was flagged. Choose another prompt.", 3030, K.CONTENT_FILTER),
        (400, "failed to process audio: corrupt or unsupported data", 3030, K.BAD_REQUEST),
        (400, "Missing boundary in multipart.", 3030, K.BAD_REQUEST),
        (404, "The model `x` does not exist.", None, K.MODEL_NOT_FOUND),
        # a specific code is stronger than any word
        (400, "required properties at '/' are 'nsfw', context length", 5004, K.BAD_REQUEST),
        (
            400,
            "Bad input: Error: '/messages/0/content' must NOT have more than 131072 characters",
            5006,
            K.CONTEXT_LENGTH,
        ),
        (400, "Bad input: Error: '/prompt' must NOT have more than 2048 characters", 5006, K.BAD_REQUEST),
        # numbers of a status in a text mean nothing
        (400, "AiError: 429 of 404 pages, error 3040 (4006)", None, K.BAD_REQUEST),
        (400, "AiError: 9999: a number that is no code", None, K.BAD_REQUEST),
    ],
)
def test_words_decide_where_no_code_does(status: int, message: str, code: int | None, kind: FailureKind) -> None:
    assert read(status, envelope(message, code)).kind == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "x", "code": "context_length_exceeded"}, K.CONTEXT_LENGTH),
        ({"message": "x", "type": "insufficient_quota", "code": None}, K.QUOTA),
        ({"message": "x", "type": "invalid_request_error", "code": "model_not_found"}, K.MODEL_NOT_FOUND),
        ({"message": "x", "type": "overloaded_error"}, K.CAPACITY),
        ({"message": "x", "type": {}, "code": []}, K.BAD_REQUEST),
    ],
)
def test_a_providers_own_name_for_a_failure_is_understood(error: dict[str, Any], kind: FailureKind) -> None:
    assert read(400, {"error": error}).kind == kind


@pytest.mark.parametrize(
    ("status", "of_json", "of_html", "is_retryable"),
    [
        (400, K.BAD_REQUEST, K.BROKEN, False),
        (401, K.AUTHENTICATION, K.AUTHENTICATION, False),
        (402, K.QUOTA, K.QUOTA, False),
        (403, K.AUTHENTICATION, K.AUTHENTICATION, False),
        (404, K.CONFIGURATION, K.BROKEN, False),
        (405, K.BAD_REQUEST, K.BROKEN, False),
        (408, K.TIMEOUT, K.TIMEOUT, True),
        (409, K.SERVER, K.SERVER, True),
        (413, K.TOO_LARGE, K.TOO_LARGE, False),
        (422, K.BAD_REQUEST, K.BROKEN, False),
        (429, K.RATE_LIMIT, K.RATE_LIMIT, True),
        (500, K.SERVER, K.SERVER, True),
        (502, K.SERVER, K.SERVER, True),
        (503, K.SERVER, K.SERVER, True),
        (504, K.TIMEOUT, K.TIMEOUT, True),
        (520, K.SERVER, K.SERVER, True),
        (522, K.TIMEOUT, K.TIMEOUT, True),
        (524, K.TIMEOUT, K.TIMEOUT, True),
        (200, K.SERVER, K.BROKEN, True),
    ],
)
def test_the_status_decides_last(status: int, of_json: FailureKind, of_html: FailureKind, is_retryable: bool) -> None:
    json_failure = read(status, {"error": {"message": "Some text", "code": 1}})
    html_failure = read(status, b"<html><body>rate limiting, error 1020</body></html>")
    assert (json_failure.kind, json_failure.is_retryable) == (of_json, is_retryable)
    assert (html_failure.kind, html_failure.is_retryable) == (of_html, is_retryable)
    assert html_failure.message == (UNPAID if status == 402 else SENTENCES[of_html])


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", bytearray(b"upstream connect error"), memoryview(b"<p>")])
def test_what_is_not_json_is_broken(body: Any) -> None:
    assert read(200, body).kind == K.BROKEN


@pytest.mark.parametrize(
    ("message", "window", "tokens"),
    [
        (
            (
                "The estimated number of input and maximum output tokens (25100) exceeded this model context "
                "window limit (24000)."
            ),
            24000,
            25100,
        ),
        (VLLM, 24000, 21004),
        ("This model's maximum context length is 24000 tokens. However, you requested 25100 tokens …", 24000, 25100),
        (
            (
                "Requested token count exceeds the model's maximum context length of 8192 tokens. You "
                "requested a total of 9001 tokens: 5001 tokens from the input messages and 4000 tokens for the "
                "completion."
            ),
            8192,
            5001,
        ),
        (
            (
                "Requested token count exceeds the model's maximum context length of 8192 tokens. You "
                "requested a total of 9001 tokens."
            ),
            8192,
            9001,
        ),
        ("Max context reached 70,000 tokens but model supports only 60,000", 60000, 70000),
        (
            (
                "This model's maximum context length is 8192 tokens. However, your request has 9001 input "
                "tokens. Please reduce the length of the input messages."
            ),
            8192,
            9001,
        ),
        (
            (
                "This model's maximum context length is 8192 tokens. However, you requested 100 output tokens and your "
                "prompt contains at least 8093 input tokens, for a total of at least 8193 tokens."
            ),
            8192,
            8093,
        ),
        (
            (
                "You passed 9001 input tokens and requested 10 output tokens. However, the model's context "
                "length is only 8192 tokens."
            ),
            8192,
            9001,
        ),
        ("The decoder prompt (length 9001) is longer than the maximum model length of 8192.", 8192, 9001),
        ("The context window is full.", None, None),
    ],
)
@pytest.mark.parametrize(("code", "status"), [(5021, 413), (3010, 413), (8007, 400), (3030, 400), (None, 400)])
def test_the_numbers_of_an_overflow_are_read_from_every_wording(
    message: str, window: int | None, tokens: int | None, code: int | None, status: int
) -> None:
    failure = read(status, envelope(f"AiError: {message} ({ID})", code))
    assert failure.kind == K.CONTEXT_LENGTH
    assert (failure.context_window, failure.prompt_tokens) == (window, tokens)


def test_the_numbers_of_other_failures_mean_nothing() -> None:
    failure = read(400, envelope("you requested 5 tokens, the window limit (3)", 5006))
    assert (failure.context_window, failure.prompt_tokens) == (None, None)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Bad input: Error: Type mismatch of '/prompt', 'array' not in 'string'", "prompt"),
        ("Bad input: Error: Type mismatch of '/messages/0/content'", "messages.0.content"),
        ("Bad input: Error: required properties at '/' are 'audio'", "audio"),
        ("Bad input: Error: required properties at '/messages/0' are 'role'", "messages.0.role"),
        ("Bad input: '/text' must NOT have more than 100 items", "text"),
        ("Bad input: must NOT have additional properties: 'seed'", "seed"),
        ("Bad input: additional property 'seed' is not allowed", "seed"),
        (
            (
                "Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', required "
                "properties at '/' are 'messages'"
            ),
            None,
        ),
        ("Bad input: Error: oneOf at '/' not met", None),
    ],
)
def test_a_schema_error_names_its_field(message: str, param: str | None) -> None:
    assert read(400, envelope(f"AiError: {message} ({ID})", 5006)).param == param


@pytest.mark.parametrize(
    ("param", "expected"), [("messages[0].content", "messages[0].content"), ("", None), ({}, None), ("a b", None)]
)
def test_the_param_of_a_provider_is_kept_if_it_is_one(param: Any, expected: str | None) -> None:
    assert read(400, {"error": {"message": "x", "param": param}}).param == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 1.5 ", 1.5),
        ("9" * 400, 86400),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 22 Nov 2027 11:00:00 GMT", 86400),
        ("", None),
        ("-3", None),
        ("nan", None),
        ("soon", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
        ("Sun, 22 Nov 2026 12:00:30 +99999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert read(429, envelope("rate limiting", 0), retry_after=value).retry_after_seconds == seconds


def test_retry_after_is_read_from_the_clients_headers() -> None:
    assert classify(503, httpx2.Headers({"Retry-After": "3"}), b"").retry_after_seconds == 3


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (NOON, 12 * 3600),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), 1),
        (datetime(2026, 11, 22, 0, 0, tzinfo=UTC), 24 * 3600),
        (datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=8))), 7 * 3600),
    ],
)
def test_a_spent_quota_waits_for_midnight_whatever_the_header_says(now: datetime, seconds: float) -> None:
    failure = classify(429, {"retry-after": "5"}, envelope("x", 4006), now=now)
    assert failure.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, envelope("Insufficient credits", 2021)),
        (429, envelope("Spend limit exceeded: rule monthly, limit 10 USD, window 30 days", 2041)),
        (402, {}),
        (429, {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota"}}),
    ],
)
def test_what_is_spent_otherwise_is_not_back_at_midnight(status: int, body: dict[str, Any]) -> None:
    failure = read(status, body)
    assert (failure.kind, failure.retry_after_seconds) == (K.QUOTA, None)
    assert "00:00" not in failure.message
    assert read(status, body, retry_after="7200").retry_after_seconds == 7200


@pytest.mark.parametrize("code", [3036, 4006, 5006, 0])
def test_the_neurons_of_the_day_are_back_at_midnight(code: int) -> None:
    body = envelope("you have used up your daily free allocation of 10,000 neurons", code)
    assert classify(429, {}, body, now=NOON).retry_after_seconds == 12 * 3600


def test_without_a_given_time_the_clock_counts() -> None:
    seconds = classify(429, {}, envelope("x", 3036)).retry_after_seconds
    assert seconds is not None
    assert 0 < seconds <= 24 * 3600


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"Account {ACCOUNT} has no access", "Account … has no access"),
        (f"double {ACCOUNT}{ACCOUNT}!", "double …!"),
        (f"See https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai now", "See … now"),
        (
            "See https://developers.cloudflare.com/workers-ai/platform/errors/ now",
            "See https://developers.cloudflare.com/workers-ai/platform/errors/ now",
        ),
        ("no route: accounts/me@example.com/ai", "no route: accounts/…/ai"),
        ("sent Authorization: Bearer abcdefgh.12345678 ok", "sent Authorization: Bearer … ok"),
        ("the bearer token is odd", "the bearer token is odd"),
        ("wrong key sk-abcdefghijklmnop1234.", "wrong key …."),
        ("wrong key " + "aB3_" * 10 + ".", "wrong key …."),
        ("模型" * 50, "模型" * 50),
        (
            "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b is gone",
            "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b is gone",
        ),
        ("long " * 300, ("long " * 300)[:999] + "…"),
    ],
)
def test_messages_carry_no_ids_no_secrets_and_no_novels(message: str, expected: str) -> None:
    failure = read(400, envelope(message))
    assert failure.message == expected
    assert str(failure) == expected


@pytest.mark.parametrize("killer", CHANNEL_KILLERS)
def test_a_message_that_would_switch_a_channel_off_is_replaced(killer: str) -> None:
    failure = read(502, envelope(f"The {killer.upper()}, sorry"))
    assert failure.message == "Cloudflare failed to answer the request."


def test_the_dotted_capital_i_does_not_hide_such_a_message() -> None:
    assert read(502, envelope("no CREDİT")).message == "Cloudflare failed to answer the request."


@pytest.mark.parametrize("kind", FailureKind)
def test_our_own_sentences_switch_no_channel_off(kind: FailureKind) -> None:
    failure = Failure(kind, SENTENCES[kind])
    for is_ours in (True, False):
        message = to_error(failure, is_ours=is_ours).message
        assert message
        assert not [killer for killer in CHANNEL_KILLERS if killer in message.lower()]
        assert not [killer for killer in CHANNEL_KILLERS if killer in failure.message.lower()]


def assert_is_fit(failure: Failure) -> None:
    assert failure.message
    assert len(failure.message) <= 1000
    assert not re.search("[0-9a-fA-F]{32}", failure.message)
    assert not [killer for killer in CHANNEL_KILLERS if killer in failure.message.lower()]
    for is_ours in (True, False):
        error = to_error(failure, is_ours=is_ours)
        assert 400 <= error.status < 600
        assert json.dumps(error.envelope())


WORDS = st.sampled_from([ACCOUNT, ID, f"({ID})", "AiError: ", "credit", "Permission denied", " ", "{", "}", "3040: "])
TEXT = st.lists(WORDS | st.text(max_size=8), max_size=6).map("".join)
KEYS = st.sampled_from(
    [
        "errors",
        "error",
        "messages",
        "detail",
        "message",
        "code",
        "type",
        "param",
        "result",
        "state",
        "status",
        "success",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("Failed") | st.sampled_from([*CODES])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXT, inner, max_size=4), max_leaves=12
)
STATUS = st.integers(100, 599)


@settings(deadline=None)
@given(STATUS, JSON)
def test_any_json_is_a_failure(status: int, body: Any) -> None:
    assert_is_fit(read(status, body))


@settings(deadline=None)
@given(STATUS, JSON.map(json.dumps).map(str.encode) | st.binary())
def test_any_bytes_are_a_failure(status: int, body: bytes) -> None:
    assert_is_fit(read(status, body))


@settings(deadline=None)
@given(STATUS, TEXT, st.sampled_from([None, *CODES]))
def test_any_message_is_made_fit(status: int, message: str, code: int | None) -> None:
    assert_is_fit(read(status, envelope(message, code)))


@settings(deadline=None)
@given(st.text(max_size=40) | st.datetimes().map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S %z0000")))
def test_any_retry_after_is_survived(value: str) -> None:
    seconds = read(503, b"", retry_after=value).retry_after_seconds
    assert seconds is None or 0 <= seconds <= 86400


@settings(deadline=None)
@given(JSON)
def test_any_event_is_a_failure_or_none(payload: Any) -> None:
    failure = classify_event(payload)
    if failure:
        assert_is_fit(failure)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"error": {"message": "x"}}, K.SERVER),
        ({"error": "x"}, K.SERVER),
        ({"errors": [{"code": 3040, "message": "x"}]}, K.CAPACITY),
        ({"error": [{"code": 2003, "message": "x"}]}, K.RATE_LIMIT),
        ({"success": False}, K.SERVER),
        ({"success": False, "errors": [{"code": "4006", "message": "x"}]}, K.QUOTA),
        ({"state": "Failed", "error": {"code": "provider_unavailable", "message": "x"}}, K.CAPACITY),
        ({"success": True, "errors": [], "result": {"state": "Failed", "error": {"message": "x"}}}, K.SERVER),
        ({"object": "error", "message": "x", "type": "BadRequestError", "code": 400}, K.BAD_REQUEST),
        ({"error": {"message": VLLM, "type": "BadRequestError", "param": None, "code": 400}}, K.CONTEXT_LENGTH),
        ({"success": False, "error": [{"message": "x"}], "httpCode": 400}, K.SERVER),
        ({"error": {"message": "x", "status": 429}}, K.RATE_LIMIT),
    ],
)
def test_a_failure_inside_a_200_is_seen(payload: Any, kind: FailureKind) -> None:
    failure = classify_event(payload)
    assert failure is not None
    assert (failure.kind, failure.status) == (kind, 200)


@pytest.mark.parametrize(
    "payload",
    [
        {"response": "Hello", "p": "abc"},
        {"id": "1", "object": "chat.completion.chunk", "choices": []},
        {"result": {"response": "x"}, "success": True, "errors": [], "messages": []},
        {"result": [1], "success": True, "errors": [], "messages": ["deprecated soon"]},
        {"id": "resp", "error": None, "output": []},
        {"state": "Completed", "result": {}},
        {"success": True, "errors": [], "result": {"state": "Completed", "result": {}}},
        {},
        [],
        "error",
        None,
        5,
    ],
)
def test_an_ordinary_frame_is_no_failure(payload: Any) -> None:
    assert classify_event(payload) is None


# What a client sees: (error, status, type, code, param, Retry-After, x-should-retry).
Seen = tuple[type[APIStatusError], int, str, str, str | None, str | None, str | None]
INVALID, SERVER, RATE = "invalid_request_error", "server_error", "rate_limit_error"
THEIRS: dict[FailureKind, Seen] = {
    K.QUOTA: (RateLimitError, 429, RATE, "daily_limit_reached", None, "43200", "false"),
    K.CAPACITY: (InternalServerError, 503, SERVER, "overloaded", None, "2", None),
    K.RATE_LIMIT: (RateLimitError, 429, RATE, "rate_limit_exceeded", None, "10", None),
    K.AUTHENTICATION: (AuthenticationError, 401, INVALID, "invalid_api_key", None, None, None),
    K.PERMISSION: (PermissionDeniedError, 403, INVALID, "model_not_available", None, None, None),
    K.CONFIGURATION: (NotFoundError, 404, INVALID, "upstream_configuration", None, None, None),
    K.MODEL_NOT_FOUND: (NotFoundError, 404, INVALID, "model_not_found", "model", None, None),
    K.CONTEXT_LENGTH: (BadRequestError, 400, INVALID, "context_length_exceeded", "messages", None, None),
    K.CONTENT_FILTER: (BadRequestError, 400, INVALID, "content_policy_violation", None, None, None),
    K.TOO_LARGE: (RequestTooLargeError, 413, INVALID, "request_too_large", None, None, None),
    K.JSON_MODE: (BadRequestError, 400, INVALID, "json_mode_failed", "response_format", None, None),
    K.NO_JSON_MODE: (BadRequestError, 400, INVALID, "unsupported_parameter", "response_format", None, None),
    K.BAD_REQUEST: (BadRequestError, 400, INVALID, "invalid_value", None, None, None),
    K.TIMEOUT: (InternalServerError, 504, SERVER, "upstream_timeout", None, None, None),
    K.CONNECTION: (InternalServerError, 503, SERVER, "upstream_unreachable", None, "2", None),
    K.BROKEN: (InternalServerError, 502, SERVER, "upstream_error", None, None, None),
    K.SERVER: (InternalServerError, 502, SERVER, "upstream_error", None, None, None),
}
MANAGED: dict[FailureKind, Seen] = THEIRS | {
    K.AUTHENTICATION: (InternalServerError, 503, SERVER, "upstream_auth", None, "60", "false"),
    K.CONFIGURATION: (InternalServerError, 503, SERVER, "upstream_configuration", None, "60", "false"),
}


def seen(error: APIStatusError) -> Seen:
    headers, body = error.headers(), error.envelope()["error"]
    waits = headers.get("retry-after"), headers.get("x-should-retry")
    return type(error), error.status, body["type"], body["code"], body["param"], *waits


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("is_ours", [True, False])
def test_every_kind_has_its_answer(kind: FailureKind, is_ours: bool) -> None:
    failure = Failure(kind, "Some text", retry_after_seconds=43200 if kind is K.QUOTA else None)
    assert seen(to_error(failure, is_ours=is_ours)) == (MANAGED if is_ours else THEIRS)[kind]


@pytest.mark.parametrize("kind", [kind for kind in ANSWERS if kind is not K.AUTHENTICATION])
def test_the_client_reads_what_cloudflare_said(kind: FailureKind) -> None:
    assert to_error(Failure(kind, "Some text"), is_ours=False).message == "Some text"


@pytest.mark.parametrize("kind", OURS)
def test_the_client_does_not_read_what_only_concerns_the_operator(kind: FailureKind) -> None:
    assert "Some text" not in to_error(Failure(kind, "Some text"), is_ours=True).message


@pytest.mark.parametrize(
    ("code", "is_ours", "status", "name"),
    [
        (5018, True, 403, "model_not_available"),
        (3041, False, 403, "model_not_available"),
        (5016, True, 403, "model_terms_not_accepted"),
        (5035, True, 403, "plan_required"),
        (3023, False, 403, "account_blocked"),
        (3023, True, 503, "upstream_auth"),
        (5005, True, 400, "unsupported_parameter"),
        (7003, False, 404, "account_not_found"),
        (7000, False, 404, "account_not_found"),
        (7003, True, 503, "upstream_configuration"),
        (2001, False, 404, "gateway_not_found"),
        (2001, True, 503, "upstream_configuration"),
        (2040, False, 404, "upstream_configuration"),
        (10000, True, 503, "upstream_auth"),
        (10000, False, 401, "invalid_api_key"),
    ],
)
def test_some_codes_have_an_answer_of_their_own(code: int, is_ours: bool, status: int, name: str) -> None:
    error = to_error(read(400, envelope("Some text", code)), is_ours=is_ours)
    assert (error.status, error.code) == (status, name)


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("code", [code for code in CODES if code not in (9106, 9109, 10000, 2009)])
def test_only_a_refused_key_of_the_caller_is_a_401(code: int, is_ours: bool) -> None:
    error = to_error(read(MEANINGS[code][0], envelope("Some text", code)), is_ours=is_ours)
    assert error.status != 401
    assert error.type in (INVALID, SERVER, RATE)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("code", [9106, 9109, 10000, 2009, None])
def test_a_refused_token_of_ours_is_never_a_401_or_403(code: int | None, status: int) -> None:
    error = to_error(read(status, envelope("Authentication error", code)), is_ours=True)
    assert (error.status, error.type, error.code, error.should_retry) == (503, SERVER, "upstream_auth", False)
    assert "Authentication" not in error.message


@pytest.mark.parametrize(
    ("kind", "given_seconds", "header"),
    [
        (K.RATE_LIMIT, 0, "1"),
        (K.RATE_LIMIT, 0.2, "1"),
        (K.RATE_LIMIT, 30, "30"),
        (K.RATE_LIMIT, 3600, "60"),
        (K.CAPACITY, 7, "7"),
        (K.CONNECTION, 7, "7"),
        (K.SERVER, 7, "7"),
        (K.TIMEOUT, 100, "60"),
        (K.BAD_REQUEST, 7, None),
        (K.TOO_LARGE, 7, None),
        (K.QUOTA, 43200, "43200"),
        (K.QUOTA, None, None),
    ],
)
def test_retry_after_is_passed_on_within_what_clients_obey(
    kind: FailureKind, given_seconds: float | None, header: str | None
) -> None:
    error = to_error(Failure(kind, "Some text", retry_after_seconds=given_seconds), is_ours=True)
    assert error.headers().get("retry-after") == header


def test_the_field_at_fault_reaches_the_client() -> None:
    failure = read(400, envelope("Bad input: Error: required properties at '/' are 'audio'", 5006))
    assert to_error(failure, is_ours=True).envelope() == {
        "error": {
            "message": "Bad input: Error: required properties at '/' are 'audio'",
            "type": "invalid_request_error",
            "param": "audio",
            "code": "invalid_value",
        }
    }


def test_a_prompt_longer_than_the_window_is_a_context_length_error() -> None:
    error = to_error(Failure(K.CONTEXT_LENGTH, "x", context_window=8192, prompt_tokens=9001), is_ours=True)
    assert isinstance(error, ContextLengthError)
    assert error.message == (
        "This model's maximum context length is 8192 tokens. However, your prompt is too long: 9001 tokens > 8192 "
        "maximum. Please reduce the length of the messages."
    )


@pytest.mark.parametrize(
    ("window", "prompt", "message"),
    [
        (
            24000,
            21004,
            (
                "This model's maximum context length is 24000 tokens. However, your prompt is too long: 21004 "
                "tokens leave no room for the answer asked for. Please reduce the length of the messages."
            ),
        ),
        (
            24000,
            None,
            (
                "This model's maximum context length is 24000 tokens. However, your prompt is too long. "
                "Please reduce the length of the messages."
            ),
        ),
        (
            None,
            9001,
            (
                "This model's maximum context length is exceeded. However, your prompt is too long. Please reduce the "
                "length of the messages."
            ),
        ),
    ],
)
def test_an_overflow_with_fewer_numbers_is_still_recognised(
    window: int | None, prompt: int | None, message: str
) -> None:
    error = to_error(Failure(K.CONTEXT_LENGTH, "x", context_window=window, prompt_tokens=prompt), is_ours=False)
    assert (error.message, error.code, error.param) == (message, "context_length_exceeded", "messages")
    assert isinstance(error, BadRequestError)


REQUEST = httpx2.Request("POST", f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai")


@pytest.mark.parametrize(
    ("exception", "kind", "is_retryable"),
    [
        (httpx2.ConnectTimeout, K.TIMEOUT, True),
        (httpx2.PoolTimeout, K.TIMEOUT, True),
        (httpx2.ReadTimeout, K.TIMEOUT, False),
        (httpx2.WriteTimeout, K.TIMEOUT, False),
        (httpx2.ConnectError, K.CONNECTION, True),
        (httpx2.ProxyError, K.CONNECTION, True),
        (httpx2.ReadError, K.BROKEN, True),
        (httpx2.WriteError, K.BROKEN, True),
        (httpx2.RemoteProtocolError, K.BROKEN, True),
        (httpx2.DecodingError, K.BROKEN, True),
    ],
)
def test_a_call_without_an_answer_is_a_failure(
    exception: type[httpx2.RequestError], kind: FailureKind, is_retryable: bool
) -> None:
    failure = from_exception(exception("connect to 104.16.1.2:443 api.cloudflare.com", request=REQUEST))
    assert (failure.kind, failure.is_retryable, failure.status) == (kind, is_retryable, 0)
    assert failure.message == SENTENCES[kind]


@pytest.mark.parametrize("text", ["model ", "{", "(", "https://", "required properties at '/", "9"])
def test_only_the_start_of_a_huge_message_is_read(text: str) -> None:
    failure = read(400, envelope(text * 100_000 + " context window"))
    assert (failure.kind, len(failure.message) <= 1000) == (K.BAD_REQUEST, True)
