import pytest

from app.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    InternalServerError,
    MethodNotAllowedError,
    ModelNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)


@pytest.mark.parametrize(
    ("error", "status", "type_", "code"),
    [
        (APIStatusError, 500, "server_error", None),
        (BadRequestError, 400, "invalid_request_error", None),
        (AuthenticationError, 401, "invalid_request_error", "invalid_api_key"),
        (PermissionDeniedError, 403, "invalid_request_error", None),
        (NotFoundError, 404, "invalid_request_error", "not_found"),
        (MethodNotAllowedError, 405, "invalid_request_error", "method_not_allowed"),
        (RequestTooLargeError, 413, "invalid_request_error", "request_too_large"),
        (RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
        (InternalServerError, 500, "server_error", "internal_error"),
    ],
)
def test_an_error_has_openais_envelope(error: type[APIStatusError], status: int, type_: str, code: str | None) -> None:
    failure = error("Some text")
    assert failure.status == status
    assert failure.envelope() == {"error": {"message": "Some text", "type": type_, "param": None, "code": code}}
    assert str(failure) == "Some text"
    assert failure.headers() == {}


def test_param_code_and_status_can_be_set() -> None:
    failure = InternalServerError("Some text", param="seed", code="upstream_timeout", status=504)
    assert failure.status == 504
    assert failure.envelope()["error"] == {
        "message": "Some text",
        "type": "server_error",
        "param": "seed",
        "code": "upstream_timeout",
    }


def test_one_error_does_not_change_the_next() -> None:
    BadRequestError("first", code="invalid_value", status=422)
    assert (BadRequestError("second").code, BadRequestError("second").status) == (None, 400)


# One API switches a channel off for these types (monitor/manage.go).
@pytest.mark.parametrize("error", [AuthenticationError, PermissionDeniedError, RateLimitError, InternalServerError])
def test_no_type_switches_a_channel_off(error: type[APIStatusError]) -> None:
    assert error.type not in ("insufficient_quota", "authentication_error", "permission_error", "forbidden")


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "1"), (0.2, "1"), (1, "1"), (1.6, "2"), (59.7, "60"), (43200, "43200")]
)
def test_retry_after_is_in_whole_seconds_and_at_least_one(seconds: float, header: str) -> None:
    assert RateLimitError("x", retry_after_seconds=seconds).headers() == {"retry-after": header}


@pytest.mark.parametrize(("should_retry", "header"), [(True, "true"), (False, "false")])
def test_clients_are_told_whether_to_retry(should_retry: bool, header: str) -> None:
    assert InternalServerError("x", should_retry=should_retry).headers() == {"x-should-retry": header}


def test_an_overflow_has_the_words_that_agents_recognise() -> None:
    failure = ContextLengthError(8192, 9001)
    assert failure.status == 400
    assert failure.envelope() == {
        "error": {
            "message": "This model's maximum context length is 8192 tokens. However, your prompt is too long: 9001 "
            "tokens > 8192 maximum. Please reduce the length of the messages.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }


def test_an_unknown_model_comes_with_the_closest_known_ones() -> None:
    failure = ModelNotFoundError("gpt-4p", ["gpt-4o", "gpt-4", "whisper-1"])
    assert failure.message == "The model 'gpt-4p' does not exist. Did you mean gpt-4 or gpt-4o?"
    assert (failure.status, failure.param, failure.code) == (404, "model", "model_not_found")


def test_at_most_three_models_are_suggested() -> None:
    assert ModelNotFoundError("abcdx", ["abcd1", "abcd2", "abcd3", "abcd4"]).message.count(" or ") == 2


@pytest.mark.parametrize("known", [[], ["whisper-1"]])
def test_without_a_close_name_the_list_of_models_is_named(known: list[str]) -> None:
    failure = ModelNotFoundError("gpt-4p", known)
    assert failure.message == "The model 'gpt-4p' does not exist. GET /v1/models lists what there is."


def test_a_long_name_is_cut_in_the_message() -> None:
    assert ModelNotFoundError("x" * 10_000).message.count("x") == 200 + "does not exist".count("x")
