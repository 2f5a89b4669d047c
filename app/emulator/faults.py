"""Fault: a request that Workers AI refuses, with the status, code and wording the service is known to use."""

import json
from collections.abc import Sequence
from typing import Any

KNOWN: dict[int, tuple[int, str]] = {
    3003: (400, "Invalid or incomplete request: headers or body missing"),
    3006: (413, "Request is too large"),
    3007: (408, "Timeout"),
    3008: (408, "Aborted"),
    3010: (413, "Invalid input"),
    3023: (403, "Account blocked"),
    3030: (400, "Invalid user input"),
    3036: (429, "You have used up your daily free allocation of 10,000 neurons"),
    3039: (400, "Fine-tune is missing required files"),
    3040: (429, "Capacity temporarily exceeded, please try again."),
    3041: (403, "Account is not allowed for private model"),
    3042: (404, "Invalid model ID"),
    3046: (408, "Request timeout"),
    3050: (503, "Max retries exhausted"),
    4006: (
        429,
        "you have used up your daily free allocation of 10,000 neurons, please upgrade to Workers Paid plan",
    ),
    5004: (400, "Invalid data type"),
    5005: (405, "Model doesn't support LoRA"),
    5006: (400, "Bad input"),
    5007: (400, "No such model or task"),
    5016: (
        403,
        "Prior to using this model, you must submit the prompt 'agree' and thereby accept its License and Use Policy.",
    ),
    5018: (403, "This account is not allowed to access this model."),
    5019: (405, "This SDK version is deprecated"),
    5021: (413, "The estimated number of input and maximum output tokens exceeded this model context window limit."),
    5023: (400, "JSON Mode doesn't support streaming"),
    5024: (400, "JSON Mode couldn't be met"),
    5025: (400, "This model doesn't support JSON Schema."),
    5028: (410, "Model has been deprecated"),
    5035: (403, "This model is not available on the Workers Free plan. Upgrade to Workers Paid."),
    7009: (502, "Upstream service unavailable"),
    8001: (400, "Invalid input"),
    8004: (500, "Internal server error"),
    8006: (400, "Invalid data for image - reason invalid base64"),
    8007: (400, "Invalid request payload"),
    8008: (500, "Internal server error"),
}
"""Code -> status and text. Source: Cloudflare's docs, Workers AI errors; the undocumented ones as users met them."""


class Fault(Exception):  # noqa: N818 - named as the emulator speaks of it, as Reply's other outcome
    """`code` is None where the service is known to send none. `prefix` is what stands before the text."""

    def __init__(
        self,
        code: int | None,
        message: str | None = None,
        *,
        status: int | None = None,
        prefix: str = "AiError: ",
        retry_after: int | None = None,
    ) -> None:
        known_status, known_message = KNOWN.get(code or 0, (400, "Unknown error"))
        self.code = code
        self.status = status or known_status
        self.message = known_message if message is None else message
        self.prefix = prefix
        self.retry_after = retry_after
        super().__init__(self.message)

    def errors(self, request_id: str) -> list[dict[str, Any]]:
        error: dict[str, Any] = {"message": f"{self.prefix}{self.message} ({request_id})"}
        return [error if self.code is None else error | {"code": self.code}]

    def body(self, request_id: str) -> dict[str, Any]:
        return {"errors": self.errors(request_id), "success": False, "result": {}, "messages": []}


class EdgeFault(Fault):
    """A refusal by Cloudflare's API before any model is reached: plain texts and `result:null`."""

    def __init__(self, status: int, *errors: tuple[int, str]) -> None:
        super().__init__(errors[0][0], errors[0][1], status=status)
        self._errors: Sequence[tuple[int, str]] = errors

    def errors(self, request_id: str) -> list[dict[str, Any]]:  # noqa: ARG002 - the edge names no inference
        return [{"code": code, "message": message} for code, message in self._errors]

    def body(self, request_id: str) -> dict[str, Any]:
        return {"success": False, "errors": self.errors(request_id), "messages": [], "result": None}


def bad_input(problem: str) -> Fault:
    """A body that doesn't fit the schema of the model."""
    return Fault(5006, f"Bad input: Error: {problem}")


def neither_prompt_nor_messages(problem: str = "required properties at '/' are 'messages'") -> Fault:
    return bad_input(f"oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', {problem}")


def invalid_input(problem: str) -> Fault:
    """A body that doesn't fit OpenAI's schema."""
    return Fault(8001, f"Invalid input: {problem}")


def refused_by_backend(problem: str) -> Fault:
    """vLLM's own error, as a JSON text inside the message."""
    inner = {"object": "error", "message": problem, "type": "BadRequestError", "param": None, "code": 400}
    return Fault(8007, json.dumps(inner), prefix="AiError: AiError: ")


def no_route(path: str) -> EdgeFault:
    hint = f"Could not route to {path}, perhaps your object identifier is invalid?"
    return EdgeFault(404, (7003, hint), (7000, "No route for that URI"))


def no_method(method: str) -> EdgeFault:
    return EdgeFault(405, (7001, f"Method {method} not available for that URI."))


def no_credentials() -> EdgeFault:
    return EdgeFault(400, (9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"))


def not_authenticated() -> EdgeFault:
    return EdgeFault(401, (10000, "Authentication error"))


def no_such_model(model_id: str) -> Fault:
    return Fault(5007, f"No such model {model_id} or task")


def paid_plan_needed(model_id: str) -> Fault:
    text = f"Model {model_id} is not available on the Workers Free plan. Upgrade to Workers Paid to use it."
    return Fault(5035, text, prefix="")


def retired(model_id: str) -> Fault:
    # The catalogue keeps no date; most retired models left with the last wave, on this one.
    return Fault(5028, f"Model has been deprecated: {model_id} was deprecated on 2026-05-30.")


def too_many_requests() -> Fault:
    return Fault(0, "rate limiting: inference request per min rate reached", status=429)
