"""Structured log lines, one JSON object each, and request ids.

A server has a line for each request, and Python's logging takes longer for one than all other accounting. So those
lines go straight to our handler, where it is the only one, which puts them in words and writes them together, within a
tenth of a second. Every other line is written at once, behind them.
"""

import asyncio
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson

from app.ids import new_id

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

logger = logging.getLogger("flarelay")


class JSONLines(logging.Formatter):
    """A record as one line of JSON: `time`, `level`, `event`, then whatever was given as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


Fields = Callable[[], Mapping[str, Any]]
_Waiting = tuple[float, int, str, Fields]

PIECE_BYTES = 4096
"""Written in one go at the most: what a pipe takes whole, so that lines of several workers don't mix (PIPE_BUF)."""
MOST_WAITING = 500
"""Lines."""
WAIT_SECONDS = 0.1


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines as JSON: those that were `put` together, all others at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(JSONLines())
        self._waiting: list[_Waiting] = []
        self._locked = threading.RLock()

    def put(self, level: int, event: str, fields: Fields) -> None:
        """For the event loop only. `fields` are asked for later, so they must have come to rest."""
        with self._locked:
            self._waiting.append((time.time(), level, event, fields))
            waiting = len(self._waiting)
        if waiting == 1:
            asyncio.get_running_loop().call_later(WAIT_SECONDS, self.flush)
        elif waiting >= MOST_WAITING:
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()
        super().emit(record)

    def flush(self) -> None:
        with self._locked:
            waiting, self._waiting = self._waiting, []
            try:
                for piece in _pieces(map(_line, waiting)):
                    self.stream.write(piece.decode())
                    self.stream.flush()
                self.stream.flush()
            except Exception:  # noqa: BLE001 - as logging has it: said on standard error, and no reason to stop
                self.handleError(logging.makeLogRecord({"msg": f"{len(waiting)} lines"}))


def _line(waiting: _Waiting) -> bytes:
    seconds, level, event, fields = waiting
    told = orjson.dumps(fields(), default=str, option=orjson.OPT_APPEND_NEWLINE)
    comma = "" if told == b"{}\n" else ","
    return f'{{"time":"{_stamp(seconds)}",{_kind(level, event)}{comma}'.encode() + told[1:]


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, as many as fit."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > PIECE_BYTES:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def flush() -> None:
    """Write what waits: a worker that was told to end does so without another word."""
    for handler in logging.root.handlers:
        handler.flush()


def log_request(level: int, event: str, fields: Fields) -> None:
    """A line of a request, of a level that is on: by our handler if there is no other."""
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handler := handlers[0], Lines):
        handler.put(level, event, fields)
    else:
        logger.log(level, event, extra={"fields": fields()})


def _stamp(seconds: float) -> str:
    """ISO 8601 with milliseconds, in UTC."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=8)
def _kind(level: int, event: str) -> str:
    """As a part of a line."""
    return orjson.dumps({"level": logging.getLevelName(level).lower(), "event": event})[1:-1].decode()


def configure(level: str) -> None:
    """Send our lines and the server's to standard output."""
    handler = Lines(sys.stdout)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLogger().level, logging.WARNING))


def request_id(given: bytes | None) -> str:
    """The caller's own id if it is one that can stand in a header and a log, else a new one."""
    return given.decode() if given and REQUEST_ID.fullmatch(given) else new_id()
