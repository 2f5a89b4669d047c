"""Structured log lines, one JSON object each, and request ids."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from app.ids import new_id

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
    return given.decode() if given and REQUEST_ID.fullmatch(given) else new_id()
