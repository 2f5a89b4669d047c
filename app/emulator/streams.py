"""Events as bytes: padding, framing, [DONE], and the ways in which a stream goes wrong."""

from collections.abc import Iterator, Mapping
from itertools import chain, count, islice
from string import ascii_letters
from typing import Any

import orjson

from app.emulator.faults import Fault
from app.emulator.native_output import Frame, Frames
from app.emulator.run import Run
from app.emulator.tokens import Usage

DONE = b"[DONE]"
BROKEN = b'{"response":"bro'


def events(run: Run, frames: Frames, usage: Usage) -> Iterator[bytes]:
    """A stream, one piece of bytes per event. The script may end it early."""
    script, quirks = run.script, run.quirks
    answer: Iterator[Frame] = frames.answer
    if "repeat-usage" in quirks:
        answer = (
            frame | {"usage": usage._replace(completion_tokens=min(number, usage.completion_tokens)).body()}
            for number, frame in enumerate(answer, start=1)
        )
    if "padding" in quirks:
        answer = (frame | {"p": _padding(number)} for number, frame in enumerate(answer))
    all_frames = answer if script.cut is True else chain(answer, frames.closing)
    payloads: Iterator[bytes] = map(orjson.dumps, all_frames)
    if script.error_after is not None:
        payloads = _failing(run, payloads, script.error_after)
    elif script.cut is False:
        payloads = chain(payloads, [DONE] * (("no-done" not in quirks) + ("double-done" in quirks)))
    elif script.cut is not True:
        payloads = islice(payloads, script.cut)
    return _framed(payloads, quirks)


def _padding(number: int) -> str:
    """Of a length that differs from event to event."""
    return ascii_letters[: number * 7 % 32 + 1]


def _failing(run: Run, payloads: Iterator[bytes], after: int | Mapping[str, Any]) -> Iterator[bytes]:
    details: Mapping[str, Any] = {"events": after} if isinstance(after, int) else after
    fault = Fault(details.get("code", 3040), details.get("message"))
    errors = fault.errors(run.id)
    forms = {
        "errors": {"errors": errors},
        "error": {"error": {"message": errors[0]["message"]}},
        "success": fault.body(run.id),
    }
    yield from islice(payloads, details.get("events", 0))
    yield orjson.dumps(forms[details.get("form", "errors")])


def _framed(payloads: Iterator[bytes], quirks: frozenset[str]) -> Iterator[bytes]:
    end = b"\r\n" if "crlf" in quirks else b"\n"
    start = b"data:" if "no-space" in quirks else b"data: "
    for number, payload in zip(count(), payloads, strict=False):
        comment = b": keep-alive" + end + end if "comments" in quirks and number % 3 == 0 else b""
        yield comment + start + payload + end + end
        if number == 0 and "broken-frame" in quirks:
            yield start + BROKEN + end + end
