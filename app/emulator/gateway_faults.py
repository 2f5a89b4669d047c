"""Gateway faults: what AI Gateway itself refuses, in words of its own. Codes as users met them."""

from typing import Any

from app.emulator.replies import Reply, json_reply

KNOWN: dict[int, tuple[int, str]] = {
    2001: (400, "Please configure AI Gateway in the Cloudflare dashboard"),
    2002: (400, "Provider not found"),
    2003: (429, "Rate limited"),
    2005: (400, "No routable provider for this model"),
    2008: (400, "Invalid provider"),
    2009: (401, "Unauthorized"),
    2016: (424, "Prompt blocked due to security configurations"),
    2017: (424, "Response blocked due to security configurations"),
    2018: (429, "Wholesale rate limited"),
    2019: (400, "Invalid chat completion request"),
    2021: (402, "Insufficient credits"),
    2029: (400, "Request content blocked due to DLP policy violations"),
    2030: (400, "Response content blocked due to DLP policy violations"),
    2040: (400, "No stored key with this alias"),
    2041: (429, "Spend limit exceeded: rule daily, limit 10.00 USD, window 86400 seconds"),
    7013: (503, "Guardrails are unavailable"),
}
"""Code -> status and text."""


class GatewayFault(Exception):  # noqa: N818 - named as Fault
    """A refusal by the gateway itself."""

    def __init__(self, code: int, message: str | None = None, status: int | None = None) -> None:
        known_status, known_message = KNOWN[code]
        self.code = code
        self.status = status or known_status
        self.message = message or known_message
        super().__init__(self.message)

    def reply(self) -> Reply:
        error = {"code": self.code, "message": self.message}
        body: dict[str, Any] = {"success": False, "result": [], "messages": [], "error": [error]}
        body |= {"name": "AiGatewayError", "httpCode": self.status, "internalCode": self.code, "message": self.message}
        return json_reply(body, self.status)
