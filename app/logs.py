"""Request ids, and one structured line per request: who asked, how it went, what it cost. Never what was said."""

import logging
import re
import secrets
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from app.calls import Usage

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

logger = logging.getLogger("flarelay")


class JSONLines(logging.Formatter):
    """A record as one line of JSON: `time`, `level`, `event`, then whatever was given as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(level: str) -> None:
    """Send our lines and the server's to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLogger().level, logging.WARNING))


def request_id(given: bytes | None) -> str:
    """The caller's own id if it is one that can stand in a header and a log, else a new one."""
    return given.decode() if given and REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


@dataclass(slots=True)
class Record:
    """What becomes the line of one request, filled in as it goes."""

    request_id: str
    method: str
    path: str
    caller: str | None = None
    model: str | None = None
    ran: str | None = None
    stream: bool = False
    status: int = 0
    error: str | None = None
    usage: Usage | None = None
    first_byte_ms: float | None = None
    started: float = field(default_factory=time.perf_counter)

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.started) * 1000, 1)

    def write(self) -> None:
        level = logging.INFO if self.status < 500 else logging.WARNING
        if logger.isEnabledFor(level):
            logger.log(level, "request", extra={"fields": self._fields()})

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "duration_ms": self.elapsed_ms(),
            "first_byte_ms": self.first_byte_ms,
            "caller": self.caller,
            "model": self.model,
            "ran": self.ran,
            "stream": self.stream or None,
            "error": self.error,
        }
        if self.usage:
            fields |= {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "cached_tokens": self.usage.cached_tokens or None,
                "neurons": self.usage.neurons,
                "usage_estimated": self.usage.is_estimated or None,
            }
        return {key: value for key, value in fields.items() if value is not None}
